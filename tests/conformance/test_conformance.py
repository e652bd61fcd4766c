"""Every scenario runs on every host that can run it, and every requirement has a scenario."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from tests.conformance.case import Host
from tests.conformance.hosts import HOSTS
from tests.conformance.scenarios import Scenario, requirements, scenarios

RUNS = [(scenario, host) for scenario in scenarios() for host in HOSTS if host.runs(scenario.case)]
NAMES = [f"{scenario.file.removesuffix('.feature')}: {scenario.name} [{host.name}]" for scenario, host in RUNS]


@pytest.mark.parametrize(("scenario", "host"), RUNS, ids=NAMES)
async def test_scenario(scenario: Scenario, host: Host) -> None:
    scenario.check(await host.observe(scenario.case))


def test_every_requirement_has_a_scenario_or_says_why_not() -> None:
    shown = {id_ for scenario in scenarios() for id_ in scenario.ids}
    assert [one.id for one in requirements() if one.status == "shown" and one.id not in shown] == []
    assert [one.id for one in requirements() if one.status != "shown" and one.id in shown] == []


def test_every_scenario_shows_known_requirements_on_some_host() -> None:
    known = {one.id for one in requirements()}
    run = {scenario for scenario, _ in RUNS}
    assert [scenario.name for scenario in scenarios() if not scenario.ids or not known.issuperset(scenario.ids)] == []
    assert [scenario.name for scenario in scenarios() if scenario not in run] == []


def test_ids_names_and_texts_are_used_once() -> None:
    assert [id_ for id_, times in Counter(one.id for one in requirements()).items() if times > 1] == []
    assert [text for text, times in Counter(one.text for one in requirements()).items() if times > 1] == []
    assert [name for name, times in Counter((one.file, one.name) for one in scenarios()).items() if times > 1] == []
    assert [one.id for one in requirements() if not re.fullmatch(r"[A-Z0-9]+(-[A-Z0-9]+)*-\d{3}", one.id)] == []


def test_every_scenario_looks_at_what_came_of_it() -> None:
    assert [scenario.name for scenario in scenarios() if not any(kind == "Outcome" for kind, _, _ in scenario.steps)] == []


def test_every_host_runs_scenarios() -> None:
    assert {host.name for _, host in RUNS} == {host.name for host in HOSTS}
