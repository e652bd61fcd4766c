"""Drawings of documents: what is in them, what a run marks, and that no name of an author can break out of a label."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.interpreter.virtual import HEADER, read, run

from workflow_runner.dsl.model import Workflow
from workflow_runner.errors import InvalidInput
from workflow_runner.expressions.documents import read_document
from workflow_runner.graph.build import build
from workflow_runner.graph.dot import to_dot
from workflow_runner.graph.flat import edges
from workflow_runner.graph.layout import Rect, lay_out
from workflow_runner.graph.marks import marks_of
from workflow_runner.graph.mermaid import to_mermaid
from workflow_runner.graph.model import END, ENTRY, Graph, Marks, Section, Taken
from workflow_runner.graph.svg import to_svg

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*.yaml") if "\ndo:" in path.read_text())

FLOW = """
do:
  - first: {set: 1}
  - choose:
      switch:
        - back: {when: . > 5, then: first}
        - on: {when: . > 4, then: skipped}
        - stop: {when: . > 3, then: end}
        - leave: {when: . > 2, then: exit}
        - far: {then: last}
  - skipped: {if: . == 1, set: 2, then: exit}
  - last: {set: 3, then: end}
"""

KINDS = """
do:
  - a: {set: 1}
  - b: {wait: PT1S}
  - c: {do: [{c1: {set: 1}}]}
  - d: {for: {in: "[1]", each: x}, while: . > 0, do: [{d1: {set: 1}}]}
  - e: {fork: {compete: true, branches: [{e1: {set: 1}}, {e2: {set: 2}}]}}
  - f: {switch: [{f1: {when: ., then: h}}]}
  - g: {call: http, with: {method: get, endpoint: 'https://a.test/{id}'}}
  - h:
      try: [{h1: {set: 1}}]
      catch: {errors: {with: {status: 503}}, retry: {limit: {attempt: {count: 2}}}, do: [{h2: {set: 1}}]}
  - i: {try: [{i1: {set: 1}}], catch: {}}
  - j: {raise: {error: {type: 'https://e.test/late', status: 500}}}
"""

NAMES = [
    '"]; click t0 call alert() %%',
    "</text><script>alert(1)</script>",
    'a"b\\',
    "classDef",
    "subgraph x",
    "#quot; & <b>",
    "a\nb\u2028c\u202e",
    "\\N \\G \\l",
    "${x}|-->|`",
    "ｗｉｄｅ 你好 😀",
]


def drawn(text: str | Workflow) -> Graph:
    return build(read(text) if isinstance(text, str) else text)


def steps(section: Section) -> list[tuple[str, str, str, str]]:
    """The steps of a section by names."""

    def name(place: int) -> str:
        return {ENTRY: "entry", END: "end", len(section.boxes): "exit"}.get(place) or section.boxes[place].name

    return [(name(step.source), name(step.target), step.kind, step.label) for step in section.steps]


def marked(text: str, input_: Any = None) -> tuple[Graph, Marks]:
    """A document and what a run of it did, its events as the command line writes them."""
    workflow = read(text)
    graph = build(workflow)
    story = run(workflow, input_)
    events = [
        {"eventType": event.type.value, "taskReference": event.reference, "taskIteration": event.iteration}
        for event in story.events
    ]
    return graph, marks_of(graph, events)


def taken(graph: Graph, marks: Marks) -> list[str]:
    """The steps that a run took, by the names of their tasks."""
    found = []
    for section, around in graph.sections():
        for step, (source, target, _, label) in zip(section.steps, steps(section), strict=True):
            if Taken.of(section, step) in marks.taken:
                found.append(f"{around.name + '.' if around else ''}{source}>{target}{' ' + label if label else ''}")
    return found


def test_every_way_of_going_on_is_a_step() -> None:
    assert steps(drawn(FLOW).root) == [
        ("entry", "first", "next", ""),
        ("first", "choose", "next", ""),
        ("choose", "first", "case", "back"),
        ("choose", "skipped", "case", "on"),
        ("choose", "end", "case", "stop"),
        ("choose", "exit", "case", "leave"),
        ("choose", "last", "case", "far"),
        ("skipped", "exit", "jump", ""),
        ("skipped", "last", "skip", "if not"),
        ("last", "end", "jump", ""),
    ]


def test_a_switch_that_no_case_need_match_goes_on_besides() -> None:
    (choose,) = [box for box in drawn(KINDS).root.boxes if box.name == "f"]
    assert [step for step in steps(drawn(KINDS).root) if step[0] == choose.name] == [
        ("f", "h", "case", "f1"),
        ("f", "g", "case", "none of them"),
    ]


def test_every_kind_says_what_it_is_about() -> None:
    said = {box.kind: box.lines for box in drawn(KINDS).root.boxes if box.name != "i"}
    assert said == {
        "set": (),
        "wait": ("PT1S",),
        "do": (),
        "for": ("x in [1]",),
        "fork": ("the first to complete wins",),
        "switch": (),
        "call": ("GET https://a.test/{id}",),
        "try": (),
        "raise": ("late 500",),
    }
    handlers = [section.title for section, around in drawn(KINDS).sections() if around and around.kind == "try"]
    assert handlers == ["try", "catch 503 (with retries)", "try", "catch"]


@pytest.mark.parametrize(
    ("task", "line"),
    [
        ("wait: {minutes: 1, seconds: 30}", "1 min 30 s"),
        ("call: http, with: {method: get, endpoint: '${ \"\\(.shop)/stock/\\(.item)\" }'}", "GET {.shop}/stock/{.item}"),
        ('call: http, with: {method: get, endpoint: \'${ "a" + "b" }\'}', 'GET "a" + "b"'),
        ("call: http, with: {method: get, endpoint: '${ \"\\(.a | first(.b))\" }'}", 'GET "\\(.a | first(.b))"'),
        ("listen: {to: {one: {with: {type: paid}}}}", "one: paid"),
        ("listen: {to: {all: [{with: {type: paid}}, {with: {type: sent}}]}}", "all: paid, sent"),
        ("listen: {to: {any: [], until: '${ false }'}}", "any, until false"),
        ("listen: {to: {any: [{with: {type: a}}], until: {one: {with: {type: b}}}}}", "any: a, until one: b"),
    ],
)
def test_what_a_task_is_about_reads_well(task: str, line: str) -> None:
    [box] = drawn(f"do: [{{t: {{{task}}}}}]").root.boxes
    assert box.lines == (line,)


def test_loops_and_handlers_have_their_edges() -> None:
    found = {(edge.kind, edge.label) for edge in edges(drawn(KINDS), None)}
    assert {("loop", "next, while . > 0"), ("catch", "error"), ("case", "f1"), ("next", "")} <= found


EXTENSIONS = """
use:
  extensions:
    - logs: {extend: all, when: . > 1, before: [{a: {set: 1, then: exit}}, {b: {set: 2}}], after: [{c: {set: 3, then: end}}]}
    - times: {extend: wait, after: [{d: {set: 1}}, {e: {if: ., set: 1, then: d}}]}
do: [{w: {wait: PT1S}}]
"""


def test_extensions_stand_beside_the_flow_around_the_task() -> None:
    graph = drawn(EXTENSIONS)
    assert [(box.kind, box.name, box.lines) for box in graph.extensions] == [
        ("extension", "logs", ("around all", "when . > 1")),
        ("extension", "times", ("around wait",)),
    ]
    assert [steps(section) for box in graph.extensions for section in box.sections] == [
        [
            ("entry", "a", "next", ""),
            ("a", "the task", "jump", ""),
            ("b", "the task", "next", ""),
            ("the task", "c", "next", ""),
            ("c", "end", "jump", ""),
        ],
        [
            ("entry", "the task", "next", ""),
            ("the task", "d", "next", ""),
            ("d", "e", "next", ""),
            ("e", "d", "jump", ""),
            ("e", "exit", "skip", "if not"),
        ],
    ]
    for text in (to_mermaid(graph), to_dot(graph), to_svg(graph)):
        assert [text.count(name) for name in ("logs", "the task")] >= [1, 2]
    assert steps(graph.root) == [("entry", "w", "next", ""), ("w", "exit", "next", "")]


def test_a_run_marks_its_way() -> None:
    graph, marks = marked(FLOW.replace("set: 1", "set: 5", 1), None)
    assert taken(graph, marks) == ["entry>first", "first>choose", "choose>skipped on", "skipped>last if not", "last>end"]
    assert {reference.rsplit("/")[-1]: passed.status for reference, passed in marks.passed.items()} == {
        "first": "completed",
        "choose": "completed",
        "skipped": "skipped",
        "last": "completed",
    }


def test_a_run_marks_passes_retries_and_what_was_caught() -> None:
    text = """
    do:
      - each: {for: {in: "[1, 2, 3]"}, do: [{a: {set: "${ $item }"}}, {b: {if: . == 2, set: 9, then: exit}}]}
      - guard:
          try: [{t: {set: 1}}, {r: {raise: {error: {type: 'https://e.test/x', status: 500}}}}]
          catch: {retry: {limit: {attempt: {count: 2}}}, do: [{h: {set: 1}}]}
      - swallow: {try: [{s: {raise: {error: {type: 'https://e.test/x', status: 500}}}}], catch: {}}
      - fine: {try: [{u: {set: 1}}], catch: {}}
    """
    graph, marks = marked(text)
    assert {name: (p.status, p.count) for name, p in ((r.rsplit("/")[-1], p) for r, p in marks.passed.items())} == {
        "each": ("completed", 1),
        "a": ("completed", 2),
        "b": ("completed", 1),
        "guard": ("completed", 1),
        "t": ("completed", 2),
        "r": ("failed", 2),
        "h": ("completed", 1),
        "swallow": ("completed", 1),
        "s": ("failed", 1),
        "fine": ("completed", 1),
        "u": ("completed", 1),
    }
    assert sorted(marks.caught) == ["/do/1/guard", "/do/2/swallow"]
    assert [step for step in taken(graph, marks) if "." in step] == [
        "each.entry>a",
        "each.a>b",
        "each.b>exit",
        "each.exit>entry next",
        "guard.entry>t",
        "guard.t>r",
        "guard.entry>h",
        "guard.h>exit",
        "swallow.entry>s",
        "swallow.entry>exit",
        "fine.entry>u",
        "fine.u>exit",
    ]


def test_an_end_inside_marks_no_way_out_of_what_is_around() -> None:
    graph, marks = marked("do: [{a: {do: [{b: {if: ., set: 1, then: end}}]}}, {c: {set: 2}}]", 1)
    assert taken(graph, marks) == ["entry>a", "a.entry>b", "a.b>end"]


def test_a_fork_marks_each_of_its_branches() -> None:
    graph, marks = marked(
        """
        do:
          - f: {fork: {compete: true, branches: [{slow: {wait: PT9S}}, {quick: {set: 1}}]}}
        """
    )
    assert marks.passed["/do/0/f/fork/branches/0/slow"].status == "cancelled"
    assert taken(graph, marks) == ["entry>f", "f>exit", "f.entry>slow", "f.entry>quick", "f.quick>exit"]


def test_tasks_of_functions_and_extensions_are_a_part_of_the_task_that_brings_them_in() -> None:
    graph, marks = marked(
        """
        use:
          functions: {f: {do: [{w: {wait: PT1S}}]}}
          extensions: [{e: {extend: wait, before: [{b: {wait: PT1S}}]}}]
        do: [{c: {call: f}}, {w: {wait: PT1S}}]
        """
    )
    assert taken(graph, marks) == ["entry>c", "c>w", "w>exit"]
    assert marks.passed["/do/0/c"].status == "completed"


def test_events_of_another_document_are_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        marks_of(drawn(FLOW), [{"eventType": "task_started", "taskReference": "/do/0/other"}])
    assert caught.value.code == "input.other-document"


@pytest.mark.parametrize(
    "events", [[{}], [{"eventType": 5, "taskReference": 7}], [{"eventType": "task_new", "taskReference": ""}]]
)
def test_events_that_mean_nothing_mark_nothing(events: list[dict[str, Any]]) -> None:
    assert marks_of(drawn(FLOW), events) == Marks({}, frozenset(), frozenset())


def named(name: str) -> Workflow:
    """A document with this name wherever an author may write one."""
    document = {
        "document": {"dsl": "1.0.3", "namespace": "a", "name": "b", "version": "1.0.0"},
        "use": {"extensions": [{name: {"extend": "all", "when": json.dumps(name), "before": [{name: {"set": {"x": 1}}}]}}]},
        "do": [
            {name: {"if": json.dumps(name), "switch": [{name: {"when": json.dumps(name), "then": "exit"}}]}},
            {"c": {"call": "http", "with": {"method": "get", "endpoint": "${ " + json.dumps(name) + " }"}}},
            {"t": {"try": [{name: {"set": {"x": 1}}}], "catch": {"when": json.dumps(name), "do": [{name: {"set": {"y": 1}}}]}}},
            {"f": {"for": {"in": json.dumps(name)}, "do": [{name: {"wait": "PT1S"}}]}},
        ],
    }
    return read_document(document)[0]


_ELEMENTS = {"svg", "title", "style", "marker", "path", "rect", "circle", "text"}
_DOT_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')
_MERMAID_LABEL = re.compile(r'"(?:[^"]*)"')


def check_harmless(workflow: Workflow) -> None:
    """Without its labels every drawing has the same lines as that of a harmless document."""
    plain, odd = build(named("plain")), build(workflow)
    root = ElementTree.fromstring(to_svg(odd))
    assert {part.tag.rpartition("}")[2] for part in root.iter()} <= _ELEMENTS
    assert not any(name.lower().startswith("on") for part in root.iter() for name in part.attrib)
    dot = to_dot(odd)
    assert _DOT_STRING.sub('""', dot) == _DOT_STRING.sub('""', to_dot(plain))
    # In the last lines are the styles; in the second is the title, as YAML.
    mermaid = to_mermaid(odd).splitlines()[3:]
    assert [_MERMAID_LABEL.sub('""', line) for line in mermaid] == [
        _MERMAID_LABEL.sub('""', line) for line in to_mermaid(plain).splitlines()[3:]
    ]
    labels = [label for line in mermaid if "classDef" not in line for label in _MERMAID_LABEL.findall(line)]
    assert not any(set(re.sub(r"#\d+;|<br/>", "", label[1:-1])) & set('<>&"`{}[]()|;#%\\\n') for label in labels)


@pytest.mark.parametrize("name", NAMES)
def test_names_cannot_break_out_of_labels(name: str) -> None:
    check_harmless(named(name))


@given(st.text(min_size=1, max_size=30).filter(lambda text: text not in ("exit", "end", "continue", "c", "t", "f")))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_name_can(name: str) -> None:
    try:
        workflow = named(name)
    except Exception:  # noqa: BLE001 - what the loader refuses is not drawn
        return
    check_harmless(workflow)


@pytest.mark.parametrize("text", [FLOW, KINDS, EXTENSIONS, "do: []"], ids=["flow", "kinds", "extensions", "nothing"])
def test_everything_in_a_picture_has_its_own_place(text: str) -> None:
    workflow = read(text)
    page = lay_out(build(workflow), None)
    tasks = {rect.box.reference: rect for rect in page.rects if rect.box is not None}
    beside = set()
    for extension in workflow.use.extensions:
        beside |= {extension.reference, f"{extension.reference}/task"}
        beside |= {task.reference for tasks in (extension.before, extension.after) for task in tasks or ()}
    assert set(tasks) == {task.reference for task in workflow.tasks()} | beside
    for reference, rect in tasks.items():
        assert rect.x >= 0
        assert rect.y >= 0
        assert rect.x + rect.width <= page.width
        assert rect.y + rect.height <= page.height
        for other, around in tasks.items():
            if other != reference:
                assert (
                    apart(rect, around)
                    or (reference.startswith(other + "/") and within(rect, around))
                    or (other.startswith(reference + "/") and within(around, rect))
                )
    points = [point for line in page.lines for point in line.points]
    assert all(0 <= x <= page.width and 0 <= y <= page.height for x, y in points)


def apart(one: Rect, other: Rect) -> bool:
    return (
        one.x + one.width <= other.x
        or other.x + other.width <= one.x
        or one.y + one.height <= other.y
        or other.y + other.height <= one.y
    )


def within(inner: Rect, outer: Rect) -> bool:
    return (
        outer.x <= inner.x
        and inner.x + inner.width <= outer.x + outer.width
        and outer.y <= inner.y
        and inner.y + inner.height <= outer.y + outer.height
    )


def large(count: int) -> str:
    """Tasks with jumps far back and far on."""
    lines = ["do:"]
    for number in range(count):
        if number % 4:
            lines.append(f"  - t{number}: {{set: {{x: 1}}}}")
        else:
            back, on = max(0, number - 90), min(count - 1, number + 70)
            lines.append(
                f"  - t{number}: {{switch: [{{a: {{when: .x, then: t{back}}}}}, {{b: {{when: .y, then: t{on}}}}}, "
                "{c: {when: .z, then: end}}]}"
            )
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT / "examples")))
def test_every_example_can_be_drawn(path: Path) -> None:
    workflow, _ = read_document(path.read_bytes(), path.name)
    graph = build(workflow)
    assert "digraph" in to_dot(graph)
    assert "flowchart" in to_mermaid(graph)
    drawn_tasks = {part.text for part in ElementTree.fromstring(to_svg(graph)).iter() if part.tag.endswith("}title")}
    assert {task.reference for task in workflow.tasks()} <= drawn_tasks


@pytest.mark.timeout(60)
@pytest.mark.parametrize("write", [to_mermaid, to_dot, to_svg])
def test_a_thousand_tasks_are_drawn(write: Any) -> None:
    text = write(drawn(HEADER + large(1000)))
    assert all(f"t{number}" in text for number in range(0, 1000, 50))


@pytest.mark.timeout(60)
def test_the_deepest_document_is_drawn() -> None:
    inner: dict[str, Any] = {"x": {"set": {"y": 1}}}
    for _ in range(38):
        inner = {"d": {"do": [inner]}}
    document = {"document": {"dsl": "1.0.3", "namespace": "a", "name": "b", "version": "1.0.0"}, "do": [inner]}
    graph = build(read_document(document)[0])
    for write in (to_mermaid, to_dot, to_svg):
        assert write(graph)
