"""State written down at any await, and a fresh interpreter that goes on from it, tell the same story."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.interpreter.virtual import START, halves, read, run, told

from workflow_runner.dsl.model import (
    ActivityCallTask,
    AgentCallTask,
    FunctionCallTask,
    GrpcCallTask,
    HttpCallTask,
    OpenApiCallTask,
    ProcessTask,
    WorkflowRunTask,
)
from workflow_runner.dsl.problems import COMMUNICATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import InvalidInput
from workflow_runner.expressions.documents import read_document
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.frames import (
    Attempts,
    Branch,
    Child,
    Emit,
    Extending,
    Fork,
    Function,
    Listen,
    ListFrame,
    Loop,
    Pass,
    TaskFrame,
    TaskState,
    Wait,
    WorkflowFrame,
)

EXAMPLES = Path(__file__).parents[3] / "examples"
OUTSIDE = (
    ActivityCallTask,
    AgentCallTask,
    FunctionCallTask,
    GrpcCallTask,
    HttpCallTask,
    OpenApiCallTask,
    ProcessTask,
    WorkflowRunTask,
)

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
    "openapi and grpc": (
        """
        use: {authentications: {shared: {bearer: {token: t}}}}
        do:
          - find:
              call: openapi
              with:
                document: {endpoint: 'http://fine.test/{name}.json'}
                operationId: op
                parameters: {a: "${ [range(2)] }"}
                authentication: shared
              output: {as: "[., [range(2)]]"}
          - tell:
              timeout: {after: PT9S}
              call: grpc
              with: {service: {name: S, host: h.test}, method: M, arguments: {a: "${ [range(2)] }"}}
              output: {as: "[., $context, [range(2)]]"}
        """,
        0,
    ),
    "agents and activities": (
        """
        use: {secrets: [T]}
        do:
          - ask:
              timeout: {after: PT9S}
              call: agent
              with: {agent: a, message: "${ [range(2)] | tojson }", env: {A: "${ $secrets.T + ([range(2)] | tojson) }"}}
              output: {as: "[., [range(2)]]"}
              export: {as: "{got: .}"}
          - charge:
              call: activity
              with: {activity: Charge, input: {a: "${ [range(2)] }"}}
              output: {as: "[., $context, [range(2)]]"}
        """,
        0,
    ),
    "authentication": (
        """
        use: {authentications: {shared: {bearer: {token: "${ [range(3)] | tojson }"}}}}
        do:
          - get:
              call: http
              with:
                method: post
                endpoint: {uri: 'http://fine.test/', authentication: {use: shared}}
                headers: {X-Own: "${ $authorization | tojson }"}
              output: {as: "[., [range(2)], $authorization]"}
              export: {as: "[$authorization, [range(2)]]"}
          - after: {set: "${ [., $context] }"}
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

DOCUMENTS |= {
    "emit": (
        """
        do:
          - a: {emit: {event: {with: {source: "${ .source }", type: a, data: "${ [range(2)] }"}}}}
          - b: {emit: {event: {with: {source: /b, type: b, subject: "${ .id }"}}}, output: {as: "[., [range(2)]]"}}
        """,
        {"source": "/tests"},
    ),
    "listen": (
        """
        do:
          - one:
              listen: {to: {one: {with: {type: a, data: "${ [range(.)] | length > 1 }"}}}}
              output: {as: "[.[0], [range(.[0])]]"}
          - all:
              listen:
                to:
                  all:
                    - {with: {type: a}, correlate: {room: {from: "[range(1)] | .[0]"}, id: {from: .room}}}
                    - {with: {type: b}, correlate: {id: {from: .room}}}
                read: envelope
          - until: {listen: {to: {any: [{with: {type: a}}], until: "[range(length)] | length > 1"}}}
          - ended: {listen: {to: {any: [{with: {type: a}}], until: {all: [{with: {type: b}}, {with: {type: c}}]}}}}
        """,
        0,
    ),
    "listen with foreach": (
        """
        output: {as: "[., $context]"}
        do:
          - f:
              fork:
                branches:
                  - l:
                      listen: {to: {any: [{with: {type: a}}], until: {one: {with: {type: c}}}}}
                      foreach:
                        item: event
                        do: [{w: {wait: PT3S}}, {post: {call: http, with: {method: post, endpoint: 'http://fine.test/'}}}]
                        output: {as: "[., $event, [range(2)]]", schema: {document: {type: array, uniqueItems: true}}}
                        export: {as: "{last: [., [range(2)]]}", schema: {document: {pattern: x}}}
                  - m: {listen: {to: {any: [], until: "$context.n == 3"}}, foreach: {export: {as: "{n: .}"}}}
                  - e: {do: [{w: {wait: PT2S}}, {e: {emit: {event: {with: {source: /e, type: a, data: 9}}}}}]}
        """,
        0,
    ),
    "listen that foreach leaves": (
        """
        do:
          - l:
              listen: {to: {any: [], until: "${ false and true }"}}
              foreach: {do: [{w: {wait: PT3S}}, {x: {if: "$item == 2", set: 1, then: exit}}], output: {as: "[range(2)]"}}
          - t:
              try: [{l: {timeout: {after: PT5S}, listen: {to: {one: {with: {type: x}}}}}}]
              catch: {do: [{h: {set: "${ [.] }"}}]}
        """,
        0,
    ),
}


DOCUMENTS |= {
    "functions": (
        """
        use:
          functions:
            add:
              input: {schema: {document: {required: [n], uniqueItems: true}}}
              do: [{w: {wait: PT1S}}, {a: {call: post}}]
            post: {call: http, with: {method: post, endpoint: 'http://fine.test/'}, output: {as: "[., [range(2)], $context]"}}
          catalogs: {c: {endpoint: 'http://x.test'}}
        do:
          - a: {call: add, with: {n: "${ [range(2)] }"}, output: {as: "[., [range(2)]]"}}
          - loop: {for: {in: "[1, 2]"}, do: [{b: {call: 'fetched:1@c', with: {n: "${ $item }", of: "${ [.] }"}}}]}
          - f: {fork: {branches: [{x: {call: add, with: {n: 1}}}, {y: {call: 'http://x.test/fetched'}}]}}
        """,
        0,
    ),
    "functions that are broken off": (
        """
        use:
          functions:
            slow: {do: [{w: {wait: PT5S}}]}
            fails: {do: [{v: {wait: PT2S}}, {r: {raise: {error: {type: 'https://e.test/', status: 507}}}}]}
        do:
          - t:
              try: [{f: {fork: {branches: [{a: {call: slow}}, {b: {call: fails}}, {c: {call: 'http://x.test/slowly'}}]}}}]
              catch: {do: [{h: {timeout: {after: PT1S}, call: slow}}]}
        """,
        0,
    ),
    "extensions": (
        """
        use:
          extensions:
            - one:
                extend: all
                when: "[range(2)] | length == 2"
                before:
                  - b1: {wait: PT1S, export: {as: "$context + {b: ($context.b // 0 | . + 1)}"}, output: {as: "[., [range(1)]]"}}
                after: [{a1: {wait: PT1S, export: {as: "$context + {a: ($context.a // 0 | . + 1)}"}}}]
            - two:
                extend: call
                before: [{b2: {switch: [{skip: {when: '$task.name == "mocked"', then: exit}}]}}]
                after: [{a2: {call: http, with: {method: post, endpoint: 'http://fine.test/'}}}]
            - three: {extend: wait, when: "error([range(2)])", before: [{never: {set: 1}}]}
        output: {as: "[., $context]"}
        do:
          - s: {set: "${ [., $task.input] }", output: {as: "[., [range(2)]]"}, export: {as: "$context + {s: .}"}}
          - real: {call: http, with: {method: post, endpoint: 'http://fine.test/'}, output: {as: "[., [range(2)], $input]"}}
          - mocked: {call: http, with: {method: post, endpoint: 'http://fine.test/'}, output: {as: "[., [range(2)], $input]"}}
          - f: {fork: {compete: true, branches: [{w: {wait: PT9S}}, {q: {wait: PT2S}}]}}
        """,
        0,
    ),
    "other workflows": (
        """
        do:
          - a: {run: {workflow: {namespace: tests, name: child, version: "${ [range(2)] | tojson }", input: {n: "${ . }"}}}}
          - loop:
              for: {in: "[1, 2]"}
              do:
                - b:
                    run: {workflow: {namespace: tests, name: child, input: {n: "${ $item }"}}}
                    output: {as: "[., [range(2)]]"}
          - t:
              try: [{c: {run: {workflow: {namespace: tests, name: failing}}}}]
              catch: {do: [{h: {set: "${ [., $error.instance] }"}}]}
          - f:
              fork:
                compete: true
                branches:
                  - x: {run: {workflow: {namespace: tests, name: slow}}}
                  - y: {run: {workflow: {namespace: tests, name: child}, return: none}}
          - d: {run: {workflow: {namespace: tests, name: child}, await: false}}
        """,
        0,
    ),
    "processes": (
        """
        do:
          - a: {run: {shell: {command: cat, stdin: "${ [range(2)] }"}, return: code}, output: {as: "[., [range(.)]]"}}
          - b: {run: {script: {language: python, code: x, stdin: "${ . }", environment: {A: "${ [range(2)] }"}}, return: all}}
          - t: {try: [{c: {run: {shell: {command: cat, stdin: a}}}}], catch: {do: [{h: {set: "${ $error.detail }"}}]}}
          - d: {run: {shell: {command: cat, stdin: b}, await: false}}
        """,
        0,
    ),
    "loose mode": (
        """
        evaluate: {mode: loose}
        do: [{a: {set: {n: "[range(3)]", m: "range(3)", o: .n.o}}}, {b: {set: "[., [range(2)]]"}}]
        """,
        {"n": 1},
    ),
}


def _child(do: str, **more: Json) -> dict[str, Json]:
    header: dict[str, Json] = {"dsl": "1.0.3", "namespace": "tests", "name": "child", "version": "1.0.0"}
    return {"document": header, "do": yaml.safe_load(do), **more}


ELSEWHERE: dict[str, Json] = {
    "fetched:1@c": {"set": {"n": "${ .n }", "of": "${ [.of, [range(2)]] }"}},
    "http://x.test/fetched": {"do": [{"w": {"wait": "PT2S"}}, {"s": {"set": "${ [range(2)] }"}}]},
    "http://x.test/slowly": {"do": [{"w": {"wait": "PT9S"}}]},
    "child": _child(
        """
        - w: {wait: PT2S}
        - p: {call: http, with: {method: post, endpoint: 'http://fine.test/'}, export: {as: "{got: ., steps: [range(2)]}"}}
        - s: {set: "${ [., $context, $workflow.input, $workflow.id] }"}
        """,
        input={"from": "[., [range(2)]]"},
        output={"as": "[., [range(2)]]"},
        timeout={"after": "PT30S"},
    ),
    "failing": _child("[{d: {do: [{w: {wait: PT1S}}, {r: {raise: {error: {type: 'https://e.test/', status: 507}}}}]}}]"),
    "slow": _child("[{d: {do: [{w: {wait: PT20S}}]}}]"),
}


def _event(type_: str, data: Json, room: str) -> dict[str, Json]:
    return {"specversion": "1.0", "id": "1", "source": "/tests", "type": type_, "room": room, "data": data}


ARRIVALS = {
    "listen": [
        (number + 1, _event(type_, number, room))
        for number, (type_, room) in enumerate(
            [
                ("a", "x"),
                ("b", "x"),
                ("a", "x"),
                ("a", "x"),
                ("b", "y"),
                ("b", "x"),
                ("c", "x"),
                ("a", "x"),
                ("a", "x"),
                ("b", "x"),
                ("a", "x"),
                ("c", "x"),
            ]
        )
    ],
    "listen with foreach": [
        (number + 1, _event(type_, number, "x")) for number, type_ in enumerate(["a", "b", "a", "a", "a", "c", "a"])
    ],
    "listen that foreach leaves": [(number + 1, _event("a", number, "x")) for number in range(5)],
}


class Counting:
    """Answers calls with how many were made before, or fails with it: a call made twice would show."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, request: Call) -> Json:
        if request.protocol == "authorization":
            return {"scheme": "Bearer", "parameter": str(request.authentication)}
        if request.protocol in ("function", "workflow"):
            return ELSEWHERE[str(request.arguments["name"])]
        self.asked += 1
        if request.protocol == "process":
            return {"code": self.asked, "stdout": str(request.arguments["stdin"]), "stderr": ""}
        if request.protocol in ("activity", "agent", "grpc", "openapi") or request.arguments["uri"] == "http://fine.test/":
            return self.asked
        raise WorkflowFault(Problem.standard(COMMUNICATION, f"failure {self.asked}", status=503))


def keys(calls: list[Call]) -> list[str]:
    """Of the calls that count: what `$authorization` is, a continued run asks again."""
    return sorted(call.idempotency_key for call in calls if call.protocol != "authorization")


def check_every_stop(document: str, input_: Any, arrivals: Sequence[tuple[float, dict[str, Json]]] = ()) -> int:
    whole = run(document, input_, answer=Counting(), arrivals=arrivals)
    stop = 0
    while (parts := halves(document, input_, stop_at=stop, answer=Counting(), arrivals=arrivals)) is not None:
        assert parts.outcome == whole.outcome, f"stopped at await {stop}"
        assert told(parts.before + parts.after) == told(whole.events), f"stopped at await {stop}"
        assert parts.counts == whole.counts
        assert keys(parts.calls) == keys(whole.calls)
        stop += 1
    return stop


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_run_stopped_at_any_await_goes_on_from_its_written_state(name: str) -> None:
    document, input_ = DOCUMENTS[name]
    assert check_every_stop(document, input_, ARRIVALS.get(name, ())) >= 2


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
    """The folders of the examples that need nothing from outside: no service, process, other document, event or secret."""
    found = []
    for path in sorted(EXAMPLES.glob("tasks/*/workflow.yaml")):
        workflow, _ = read_document(path.read_text(), path.name)
        outside = workflow.use.secrets or (path.parent / "events.json").exists()
        if not outside and not any(isinstance(task, OUTSIDE) for task in workflow.tasks()):
            found.append(path.parent)
    return found


@pytest.mark.parametrize("folder", examples(), ids=lambda folder: folder.name)
def test_every_example_goes_on_from_its_written_state(folder: Path) -> None:
    given = json.loads((folder / "input.json").read_text())
    assert check_every_stop((folder / "workflow.yaml").read_text(), given) >= 1


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
        Emit({"id": "1"}),
        Listen(
            [{"id": "1"}, {"id": "2"}], [0, 2], [1], {"k": 1}, [[1], 2], 17, 5, Pass({"id": "0"}, body, [3], True), True, True
        ),
        Listen(turn=Pass(1, None, 2)),
        Function(body, "http://x.test/f.yaml", {"c": 2}),
        Child({"do": []}, WorkflowFrame(1, START, 2, tasks=body), START),
    ]
    for state in states:
        task = TaskFrame("/do/0/a", "1.0", (1, 2), None, START, True, 5, state, True, [5], "exit", START)
        frame = WorkflowFrame(1, START, 2, {"c": 1}, ListFrame(None, 3, {}, task), True, "out", 42)
        frame.deadline = frame.paused_since = START
        frame.time_limit, frame.paused = timedelta(seconds=7.5), timedelta(hours=1)
        frame.counts.retried = 7
        frame.functions, task.extending = {"http://x.test/f.yaml": {"set": 1}}, Extending(2, [0, 1], body)
        assert frame_codec.decode(json.loads(json.dumps(frame_codec.encode(frame)))) == frame


def test_every_field_of_a_frame_is_written() -> None:
    """A field that somebody adds and forgets here would be lost silently."""
    states: list[TaskState] = [Loop([], 1), Attempts(START), Wait(START), Emit({}), Listen(turn=Pass(1))]
    states += [Function(ListFrame(1)), Child({}, WorkflowFrame(1, START), START)]
    fork = Fork([Branch(ListFrame(1, task=TaskFrame("/r", "", (1,), 1, START, state=state)), {}) for state in states], {})
    extended = TaskFrame("/r", "", (1,), 1, START, extending=Extending())
    fork.branches.append(Branch(ListFrame(1, task=extended), {}))
    written = json.dumps(
        frame_codec.encode(WorkflowFrame(1, START, tasks=ListFrame(1, task=TaskFrame("/r", "", (1,), 1, START, state=fork))))
    )
    for kind in (
        WorkflowFrame,
        ListFrame,
        TaskFrame,
        Fork,
        Branch,
        Loop,
        Attempts,
        Wait,
        Emit,
        Listen,
        Pass,
        Function,
        Child,
        Extending,
    ):
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
