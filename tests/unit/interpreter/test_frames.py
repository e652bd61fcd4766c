"""State written down at any await, and a fresh interpreter that goes on from it, tell the same story."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.unit.interpreter.virtual import START, halves, read, run, told

from workflow_runner.dsl.model import HttpCallTask
from workflow_runner.dsl.problems import COMMUNICATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import InvalidInput
from workflow_runner.expressions.documents import read_document
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.frames import (
    Attempts,
    Branch,
    Fork,
    ListFrame,
    Loop,
    TaskFrame,
    TaskState,
    Wait,
    WorkflowFrame,
)

EXAMPLES = Path(__file__).parents[3] / "examples"

DOCUMENTS: dict[str, tuple[str, Any]] = {
    "sequence": (
        "do: [{a: {set: {n: '${ .n + 1 }'}}}, {b: {if: .n > 5, set: 1}}, {c: {set: '${ .n }', export: {as: '{c: .}'}}}]",
        {"n": 1},
    ),
    "nested": (
        """
        input: {from: .list}
        output: {as: "{result: ., context: $context}"}
        do:
          - outer:
              input: {from: "[.[] + 1]"}
              do:
                - note: {set: "${ . }", export: {as: "$context + {noted: .}"}}
                - inner: {do: [{a: {set: "${ [.[] * 2] }"}}, {b: {set: "${ [., $context] }"}}]}
              output: {as: "{inner: ., input: $input}"}
        """,
        {"list": [1, 2]},
    ),
    "loops": (
        """
        do:
          - outer:
              for: {each: x, in: "[1, 2, 3]"}
              while: . < 40
              do:
                - inner:
                    for: {each: y, in: "[$x, 10]", at: n}
                    do:
                      - add: {set: "${ . + $x * $y + $n }"}
                      - leave: {if: . > 30, wait: PT1S, then: exit}
                - after: {set: "${ . + 1 }"}
        """,
        0,
    ),
    "jumps": (
        """
        do:
          - add: {set: "${ . + 1 }"}
          - choose: {switch: [{more: {when: . < 3, then: add}}, {other: {then: last}}]}
          - never: {raise: {error: {type: 'https://e.test/', status: 501}}}
          - last: {do: [{w: {wait: PT1S}}, {e: {set: "${ [.] }", then: end}}]}
          - unreached: {set: 1}
        """,
        0,
    ),
    "retries": (
        """
        do:
          - t:
              try:
                - a: {set: "${ . + 1 }"}
                - get: {call: http, with: {method: post, endpoint: 'http://x.test/'}}
              catch:
                retry: {delay: PT2S, backoff: {exponential: {}}, jitter: {from: PT0S, to: PT1S}, limit: {attempt: {count: 3}}}
                do:
                  - w: {wait: PT1S}
                  - h: {set: "${ [., $error.detail] }"}
          - after: {set: "${ [.] }"}
        """,
        0,
    ),
    "deadlines": (
        """
        do:
          - t:
              try: [{a: {do: [{w: {wait: PT6S}}, {v: {wait: PT6S}}]}}]
              catch: {retry: {limit: {attempt: {count: 2, duration: PT10S}}}, do: [{h: {set: "${ $error }"}}]}
        """,
        0,
    ),
    "calls": (
        """
        do:
          - get:
              call: http
              with: {method: post, endpoint: 'http://fine.test/'}
              output: {as: "[., [range(2)]]"}
              export: {as: "{got: ., steps: [range(3)]}"}
          - again: {call: http, with: {method: post, endpoint: 'http://fine.test/'}, output: {as: "[., $context]"}}
        """,
        0,
    ),
    "context that changes under a container": (
        """
        do:
          - a:
              input: {from: "[., $context]"}
              do:
                - b: {set: "${ 1 }", export: {as: "{changed: true}"}}
                - c: {set: "${ [range(2)] }"}
              output: {as: "[., $input, [range(2)]]"}
        """,
        0,
    ),
    "fault": (
        "do: [{x: {do: [{w: {wait: PT1S}}, {r: {raise: {error: {type: 'https://e.test/', status: 507, detail: d}}}}]}}]",
        0,
    ),
    "fork": (
        """
        output: {as: "[., $context]"}
        do:
          - before: {set: "${ . }", export: {as: "{before: .}"}}
          - f:
              fork:
                branches:
                  - slow: {do: [{w: {wait: PT5S}}, {x: {set: "${ [., $context] }", export: {as: "$context + {slow: 1}"}}}]}
                  - quick: {set: "${ . + 1 }", export: {as: "$context + {quick: 2}"}}
                  - loop:
                      for: {in: "[range(3)]"}
                      do: [{w: {wait: PT2S}}, {add: {set: "${ . + $item }", export: {as: "$context + {n: .}"}}}]
                  - call: {call: http, with: {method: post, endpoint: 'http://fine.test/'}, output: {as: "[range(2)]"}}
              output: {as: "[.[], [range(2)], $context]"}
          - after: {set: "${ [.] }"}
        """,
        1,
    ),
    "fork that fails": (
        """
        do:
          - t:
              try:
                - f:
                    fork:
                      branches:
                        - slow: {do: [{w: {wait: PT5S}}, {never: {set: 1}}]}
                        - inner: {fork: {branches: [{a: {wait: PT3S}}, {b: {do: [{w: {wait: PT4S}}]}}]}}
                        - fails: {do: [{w: {wait: PT2S}}, {r: {raise: {error: {type: 'https://e.test/', status: 507}}}}]}
              catch: {do: [{h: {set: "${ [., $error.status, $context] }"}}]}
        """,
        1,
    ),
    "race": (
        """
        do:
          - loop:
              for: {in: "[1, 2]"}
              do:
                - f:
                    fork:
                      compete: true
                      branches:
                        - slow: {do: [{w: {wait: PT5S}}, {x: {set: slow, export: {as: '{slow: 1}'}}}]}
                        - out: {raise: {error: {type: 'https://e.test/', status: 507}}}
                        - quick: {do: [{w: {wait: PT2S}}, {x: {set: "${ [., $item] }", export: {as: '$context + {quick: .}'}}}]}
                    output: {as: "[., [range(2)]]"}
          - after: {set: "${ [., $context] }"}
        """,
        1,
    ),
    "a race that nobody wins": (
        """
        do:
          - f:
              fork:
                compete: true
                branches:
                  - later: {do: [{w: {wait: PT5S}}, {r: {raise: {error: {type: 'https://e.test/', status: 501}}}}]}
                  - sooner: {raise: {error: {type: 'https://e.test/', status: 502}}}
        """,
        1,
    ),
    "end in a branch": (
        """
        output: {as: "[., $context]"}
        do:
          - f:
              fork:
                branches:
                  - slow: {do: [{w: {wait: PT5S}}, {x: {set: slow}}]}
                  - quick: {set: quick, export: {as: "$context + {quick: 1}"}}
                  - ends: {do: [{w: {wait: PT2S}}, {x: {set: ended, export: {as: "$context + {ends: 1}"}, then: end}}]}
          - never: {set: never}
        """,
        1,
    ),
    "time limits": (
        """
        timeout: {after: PT60S}
        do:
          - t:
              try:
                - f:
                    timeout: {after: "${ {seconds: .} }"}
                    fork:
                      branches:
                        - a: {do: [{w: {wait: PT3S}}, {v: {wait: PT30S}}]}
                        - b: {timeout: {after: PT4S}, try: [{w: {wait: PT20S}}], catch: {do: [{h: {set: late}}]}}
                        - c: {try: [{w: {timeout: {after: PT4S}, wait: PT20S}}], catch: {do: [{h: {wait: PT1S}}]}}
              catch: {do: [{h: {set: "${ [., $error.instance, [range(2)]] }"}}]}
          - again: {try: [{w: {timeout: {after: PT1S}, wait: PT9S}}], catch: {retry: {limit: {attempt: {count: 3}}}, do: []}}
          - w: {wait: PT90S}
        """,
        10,
    ),
    "schemas": (
        """
        input: {schema: {document: {type: integer}}}
        output: {schema: {document: {$ref: '#/$defs/a', $defs: {a: {type: array}}}}}
        do:
          - a: {set: "${ [.] }", output: {schema: {document: {items: {pattern: x, type: integer}}}}}
          - b:
              input: {schema: {document: {type: array}}}
              set: "${ . }"
              export: {as: "{n: .}", schema: {document: {properties: {n: {uniqueItems: true}}}}}
        """,
        10,
    ),
    "unbounded jq": (
        "do: [{a: {set: '${ [range(3)] }'}}, {l: {for: {in: '[range(2)]'}, do: [{b: {set: '${ [limit(1; .[])] }'}}]}}]",
        [5],
    ),
}


class Counting:
    """Answers calls with how many were made before, or fails with it: a call made twice would show."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, request: Call) -> Json:
        self.asked += 1
        if request.arguments["uri"] == "http://fine.test/":
            return self.asked
        raise WorkflowFault(Problem.standard(COMMUNICATION, f"failure {self.asked}", status=503))


def check_every_stop(document: str, input_: Any) -> int:
    whole = run(document, input_, answer=Counting())
    stop = 0
    while (parts := halves(document, input_, stop_at=stop, answer=Counting())) is not None:
        assert parts.outcome == whole.outcome, f"stopped at await {stop}"
        assert told(parts.before + parts.after) == told(whole.events), f"stopped at await {stop}"
        assert parts.counts == whole.counts
        assert sorted(call.idempotency_key for call in parts.calls) == sorted(call.idempotency_key for call in whole.calls)
        stop += 1
    return stop


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_run_stopped_at_any_await_goes_on_from_its_written_state(name: str) -> None:
    document, input_ = DOCUMENTS[name]
    assert check_every_stop(document, input_) >= 2


@pytest.mark.parametrize(
    ("document", "stop_at"),
    [
        ("do: [{w: {wait: PT10S}}]", 1),
        ("do: [{t: {try: [{a: {set: '${ error(1) }'}}], catch: {retry: {delay: PT10S, limit: {attempt: {count: 2}}}}}}]", 2),
    ],
    ids=["wait", "retry delay"],
)
@pytest.mark.parametrize(("seconds_later", "rest"), [(4, 6), (15, -5)])
def test_a_continued_run_waits_only_for_what_is_left(document: str, stop_at: int, seconds_later: float, rest: float) -> None:
    parts = halves(document, 0, stop_at=stop_at, seconds_later=seconds_later)
    assert parts is not None
    assert parts.sleeps_after == [rest]


def examples() -> list[Path]:
    """The examples that run without the network."""
    found = []
    for path in sorted(EXAMPLES.glob("*.yaml")):
        workflow, _ = read_document(path.read_text(), path.name)
        if not any(isinstance(task, HttpCallTask) for task in workflow.tasks()):
            found.append(path)
    return found


@pytest.mark.parametrize("path", examples(), ids=lambda path: path.stem)
def test_every_example_goes_on_from_its_written_state(path: Path) -> None:
    assert check_every_stop(path.read_text(), {}) >= 1


def test_values_that_frames_share_are_written_once() -> None:
    data: Json = {"large": "x" * 1000}
    frame = WorkflowFrame(raw_input=data, started_at=START, input=data, tasks=ListFrame(data))
    assert frame.tasks is not None
    frame.tasks.task = TaskFrame("/do/0/a", "", (1,), data, START, prepared=True, input=data)
    written = json.dumps(frame_codec.encode(frame))
    assert written.count("x" * 1000) == 1
    read_back = frame_codec.decode(json.loads(written))
    assert read_back == frame
    assert read_back.input is read_back.raw_input


def test_every_kind_of_state_survives_being_written() -> None:
    body = ListFrame([1], position=1, visits={0: 2, 1: 1})
    branches = [
        Branch(body, {"c": 1}),
        Branch(ListFrame(0, 1), 5, True, "completed", [1]),
        Branch(ListFrame(0), 5, False, "failed", None, {"type": "t", "status": 1}),
    ]
    states: list[TaskState] = [
        Fork(branches, {"c": 1}),
        Fork(branches, {"c": 1}, 2),
        Wait(START),
        Loop([1, 2], {"d": 1}, 1, body),
        Attempts(START, 3, START, body),
        Attempts(START, 2, None, None, START, {"type": "t", "status": 1}),
        Attempts(START, 1, None, None, None, {"type": "t", "status": 1}, body),
        body,
    ]
    for state in states:
        task = TaskFrame("/do/0/a", "1.0", (1, 2), None, START, True, 5, state, True, [5], "exit", START)
        frame = WorkflowFrame(1, START, 2, {"c": 1}, ListFrame(None, 3, {}, task), True, "out", 42)
        frame.deadline = frame.paused_since = START
        frame.time_limit, frame.paused = timedelta(seconds=7.5), timedelta(hours=1)
        frame.counts.retried = 7
        assert frame_codec.decode(json.loads(json.dumps(frame_codec.encode(frame)))) == frame


def test_every_field_of_a_frame_is_written() -> None:
    """A field that somebody adds and forgets here would be lost silently."""
    states: list[TaskState] = [Loop([], 1), Attempts(START), Wait(START)]
    fork = Fork([Branch(ListFrame(1, task=TaskFrame("/r", "", (1,), 1, START, state=state)), {}) for state in states], {})
    written = json.dumps(
        frame_codec.encode(WorkflowFrame(1, START, tasks=ListFrame(1, task=TaskFrame("/r", "", (1,), 1, START, state=fork))))
    )
    for kind in (WorkflowFrame, ListFrame, TaskFrame, Fork, Branch, Loop, Attempts, Wait):
        for name in kind.__struct_fields__:
            head, *rest = name.split("_")
            assert f'"{head}{"".join(word.title() for word in rest)}"' in written, (kind, name)


@pytest.mark.parametrize("document", [None, {}, {"version": 1, "frame": {}, "values": []}])
def test_a_frame_of_another_version_is_refused(document: Json) -> None:
    with pytest.raises(InvalidInput) as caught:
        frame_codec.decode(document)
    assert caught.value.code == "frame.version"


@pytest.mark.parametrize("frame", [None, {}, {"rawInput": 5}, {"rawInput": 0, "startedAt": "never"}])
def test_a_damaged_frame_is_refused(frame: Json) -> None:
    with pytest.raises(InvalidInput) as caught:
        frame_codec.decode({"version": frame_codec.VERSION, "frame": frame, "values": [1]})
    assert caught.value.code == "frame.invalid"


def test_a_frame_of_another_document_is_refused() -> None:
    first = read("do: [{a: {do: [{w: {wait: PT1S}}]}}]")
    other = read("do: [{b: {do: [{w: {wait: PT1S}}]}}]")
    with pytest.raises(InvalidInput) as caught:
        halves(first, 1, stop_at=1, continue_with=other)
    assert caught.value.code == "frame.mismatch"
