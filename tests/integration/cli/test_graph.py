"""`workflow-runner graph` as a process, with a run's events."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.integration.cli.program import EXAMPLES, call

CHOICE = """\
document: {dsl: 1.0.3, namespace: test, name: choice, version: 1.0.0}
do:
  - choose: {switch: [{many: {when: .n > 1, then: large}}, {few: {then: small}}]}
  - small: {set: {size: small}, then: end}
  - large: {set: {size: large}}
"""


@pytest.mark.parametrize(("form", "begin"), [("mermaid", "---\ntitle: "), ("dot", 'digraph "'), ("svg", "<svg ")])
def test_a_document_is_drawn(form: str, begin: str) -> None:
    ended = call("graph", EXAMPLES / "hello.yaml", "--format", form)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(begin)


def test_the_way_of_a_run_is_marked(tmp_path: Path) -> None:
    path, events = tmp_path / "choice.yaml", tmp_path / "events.jsonl"
    path.write_text(CHOICE)
    assert call("run", path, "--input", '{"n": 5}', "--events", events).code == 0
    mermaid = call("graph", path, "--events", events)
    assert mermaid.code == 0
    lines = mermaid.out.splitlines()
    assert '  t3["set · large<br/>completed"]:::run-completed' in lines
    assert '  t2["set · small"]:::run-untouched' in lines
    edges = [line.strip() for line in lines if "-->" in line]
    (thick,) = [line for line in lines if "linkStyle" in line]
    taken = [edges[int(number)] for number in thick.split()[1].split(",")]
    assert taken == ["start --> t1", 't1 -->|"many"| t3', "t3 --> finish"]
    svg = ElementTree.fromstring(call("graph", path, "--events", events, "--format", "svg").out)
    assert "completed" in "".join(svg.itertext())


def test_events_may_come_from_standard_input() -> None:
    ended = call("graph", EXAMPLES / "hello.yaml", "--events", "-", given='{"eventType": "workflow_started"}\n\n')
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize(
    ("events", "said"),
    [
        ("nothing", "input.not-json: <stdin>, line 1 is not JSON"),
        ("[1]", "input.not-json: <stdin>, line 1 is no event"),
        ('{"taskReference": "/do/9/x"}', "input.other-document: the events tell of the task /do/9/x"),
    ],
)
def test_what_are_no_events_of_it_is_told(events: str, said: str) -> None:
    ended = call("graph", EXAMPLES / "hello.yaml", "--events", "-", given=events)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err


def test_a_document_with_mistakes_is_not_drawn(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(CHOICE.replace("then: large", "then: lrge"))
    ended = call("graph", path)
    assert (ended.code, ended.out) == (2, "")
    assert "then.unknown-target" in ended.err
