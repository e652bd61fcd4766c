"""docs/conformance.md: the requirements of tests/conformance, with the scenarios and hosts that show them.

tools/generate.py writes the page and checks that it is the newest. What it says of hosts follows from the scenarios alone
(`Host.runs`): nothing is run here, that is the suite's part.
"""

from __future__ import annotations

from collections import Counter
from itertools import groupby

from tests.conformance.hosts import HOSTS
from tests.conformance.scenarios import Requirement, Scenario, requirements, scenarios

FEATURES = "../tests/conformance/features"
INTRODUCTION = """\
<!-- Made by `make generate` from tests/conformance; changes here are lost. -->
# Conformance

What the reference of the language demands of a runtime, and the scenarios that show that this one does it. The sentences are
our own; the sections are those of the reference (`dsl.md` and `dsl-reference.md` of the
[specification](https://github.com/serverlessworkflow/specification)). How this version reads the reference where it says
nothing is in [language.md](language.md).

The suite is in [tests/conformance](../tests/conformance): requirements in `requirements.yaml`, scenarios in `features` (in
Gherkin), and the hosts that carry them out in `hosts.py`. A test fails when a requirement has no scenario, when a scenario
shows none, or when no host can run it.

    .venv/bin/python -m pytest tests/conformance                   # all of it
    .venv/bin/python -m pytest tests/conformance -k "[virtual]"    # one host
    .venv/bin/python -m pytest tests/conformance -k "retry:"       # one file of features

A host is what runs a document. A new one joins as a class in `hosts.py` that has a name, says which scenarios it can
run (`runs`), and carries one out (`observe`: a `Case` in, what was seen of it out); it is then added to `HOSTS`. Scenarios
need no change: they know nothing of hosts. After that, and after any change of requirements or scenarios, `make generate`
writes this page anew; `make check` fails when it is old.
"""


def page() -> str:
    """The whole page as Markdown."""
    shown = {id_: [one for one in scenarios() if id_ in one.ids] for one in scenarios() for id_ in one.ids}
    hosts = {one: [host.name for host in HOSTS if host.runs(one.case)] for one in scenarios()}
    parts = [INTRODUCTION, _figures(hosts)]
    for section, found in groupby(requirements(), key=lambda one: one.section):
        rows = [_row(one, shown.get(one.id, []), hosts) for one in found]
        parts.append(
            "\n".join(
                [f"## {section}\n", "| Id | Requirement | State | Scenarios | Hosts |", "|---|---|---|---|---|", *rows, ""]
            )
        )
    return "\n".join(parts)


def _figures(hosts: dict[Scenario, list[str]]) -> str:
    states = Counter(one.status for one in requirements())
    times = Counter(name for names in hosts.values() for name in names)
    rows = [f"| `{host.name}` | {host.what} | {times[host.name]} |" for host in HOSTS]
    return "\n".join(
        [
            f"There are {len(requirements())} requirements: {states['shown']} are shown by {len(hosts)} scenarios,"
            f" {states['later']} come later, and {states['left out']}, which the reference leaves to runtimes, are left out.",
            "",
            "| Host | What it is | Scenarios |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _row(one: Requirement, shown: list[Scenario], hosts: dict[Scenario, list[str]]) -> str:
    text = one.text.replace("|", "\\|")
    if one.reason:
        return f"| {one.id} | {text} | {one.status}: {one.reason} | | |"
    files = Counter(scenario.file for scenario in shown)
    links = ", ".join(f"[{file.removesuffix('.feature')}]({FEATURES}/{file}) {times}" for file, times in sorted(files.items()))
    names = [host.name for host in HOSTS if any(host.name in hosts[scenario] for scenario in shown)]
    return f"| {one.id} | {text} | shown | {links} | {', '.join(names)} |"
