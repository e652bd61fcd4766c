"""`listen`: which events are consumed, when that ends, and what comes of it."""

from __future__ import annotations

import pytest
from tests.unit.interpreter.virtual import Story, run

from workflow_runner.dsl.templates import Json


def event(type_: str, data: Json = None, **attributes: Json) -> dict[str, Json]:
    found: dict[str, Json] = {"specversion": "1.0", "id": "1", "source": "/tests", "type": type_, **attributes}
    return found if data is None else {**found, "data": data}


def listen(to: str, *arrivals: dict[str, Json], input_: Json = None, more: str = "", read: str = "data") -> Story:
    """Listen, while an event comes each second."""
    document = f"do: [{{l: {{listen: {{to: {to}, read: {read}}}{more}}}}}]"
    return run(document, input_, arrivals=[(number + 1, each) for number, each in enumerate(arrivals)])


FILTERS: dict[str, tuple[str, dict[str, Json], bool]] = {
    "an attribute that is the same": ("{type: a.b}", event("a.b"), True),
    "another value": ("{type: a.b}", event("a.c"), False),
    "dots of a name are dots": ("{type: a.b}", event("axb"), False),
    "an attribute that the event lacks": ("{subject: s}", event("a"), False),
    "all have to fit": ("{type: a, subject: s}", event("a", subject="t"), False),
    "a regular expression": (r"{type: 'a\.(b|c)'}", event("a.c"), True),
    "a regular expression fits the whole": (r"{type: 'a\.(b|c)'}", event("a.cd"), False),
    "what is no regular expression is itself": ("{source: '/x?(y'}", event("a", source="/x?(y"), True),
    "what is no regular expression fits nothing else": ("{source: '/x?(y'}", event("a", source="/z"), False),
    "a number, also as text": ("{room: 5}", event("a", room="5"), True),
    "text, also as a number": ("{room: '5'}", event("a", room=5), True),
    "a boolean, also as text": ("{urgent: true}", event("a", urgent="true"), True),
    "a boolean is no number": ("{urgent: true}", event("a", urgent=1), False),
    "an expression over the data that holds": ("{data: '${ .t > 38 }'}", event("a", {"t": 39}), True),
    "an expression over the data that does not hold": ("{data: '${ .t > 38 }'}", event("a", {"t": 37}), False),
    "an expression over an attribute": ("{subject: '${ startswith(\"a\") }'}", event("a", subject="abc"), True),
    "an expression that gives the value": ("{subject: '${ $input.id }'}", event("a", subject="i"), True),
    "an expression that gives another value": ("{subject: '${ $input.other }'}", event("a", subject="i"), False),
    "an expression that fails over the event": ("{data: '${ .t > 38 }'}", event("a", "text"), False),
    "an expression over data that are not there": ("{data: '${ . == null }'}", event("a"), False),
    "data that are the same": ("{data: {a: [1]}}", event("a", {"a": [1]}), True),
    "data that have more": ("{data: {a: 1}}", event("a", {"a": 1, "b": 2}), False),
    "data with an expression in them": ("{data: {a: '${ .id }'}}", event("a", {"a": "i"}), True),
    "data that are text": ("{data: 'h.*o'}", event("a", "hello"), True),
    "a correlation that is as expected": (
        "{type: a}, correlate: {c: {from: .data.id, expect: '${ .id }'}}",
        event("a", {"id": "i"}),
        True,
    ),
    "a correlation with a constant": ("{type: a}, correlate: {c: {from: .room, expect: '5'}}", event("a", room=5), True),
    "a correlation that is not": ("{type: a}, correlate: {c: {from: .data.id, expect: j}}", event("a", {"id": "i"}), False),
    "a correlation without a value": ("{type: a}, correlate: {c: {from: .data.id}}", event("a", {}), False),
    "a correlation that fails": ("{type: a}, correlate: {c: {from: .data.id}}", event("a", "text"), False),
    "two correlations": ("{type: a}, correlate: {c: {from: .id}, d: {from: .room, expect: '6'}}", event("a", room=5), False),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_takes_the_events_that_fit(name: str) -> None:
    with_, arriving, fits = FILTERS[name]
    last = event("last", "last")
    story = listen(f"{{any: [{{with: {with_}}}, {{with: {{type: last}}}}]}}", arriving, last, input_={"id": "i"})
    assert story.elapsed == (1 if fits else 2)


STRATEGIES: dict[str, tuple[str, list[dict[str, Json]], Json]] = {
    "one takes the first that fits": ("{one: {with: {type: b}}}", [event("a", 1), event("b", 2), event("b", 3)], [2]),
    "any takes the first that fits any": (
        "{any: [{with: {type: b}}, {with: {type: c}}]}",
        [event("a", 1), event("c", 2), event("b", 3)],
        [2],
    ),
    "any without filters takes the first": ("{any: []}", [event("a", 1), event("c", 2)], [1]),
    "all waits for each filter's, in the order of arrival": (
        "{all: [{with: {type: a}}, {with: {type: b}}]}",
        [event("b", 1), event("b", 2), event("x", 3), event("a", 4)],
        [1, 4],
    ),
    "an event counts for one filter of all": (
        "{all: [{with: {type: a}}, {with: {source: /tests}}]}",
        [event("a", 1), event("a", 2)],
        [1, 2],
    ),
    "until a condition over what was consumed": (
        "{any: [{with: {type: a}}], until: '. | length >= 2'}",
        [event("a", 1), event("b", 2), event("a", 3), event("a", 4)],
        [1, 3],
    ),
    "until an event, which is not in the output": (
        "{any: [{with: {type: a}}], until: {one: {with: {type: end}}}}",
        [event("a", 1), event("b", 2), event("a", 3), event("end", 4), event("a", 5)],
        [1, 3],
    ),
    "until an event that would be consumed, too": (
        "{any: [], until: {one: {with: {type: end}}}}",
        [event("a", 1), event("end", 2)],
        [1],
    ),
    "until all of some events": (
        "{any: [{with: {type: a}}], until: {all: [{with: {type: x}}, {with: {type: y}}]}}",
        [event("y", 1), event("a", 2), event("y", 3), event("x", 4)],
        [2],
    ),
    "until any event": ("{any: [{with: {type: a}}], until: {any: []}}", [event("a", 1)], []),
    "correlated with the first that came": (
        "{all: [{with: {type: t}, correlate: {room: {from: .room}}}, {with: {type: h}, correlate: {room: {from: .room}}}]}",
        [event("t", 1, room="a"), event("h", 2, room="b"), event("h", 3, room="a")],
        [1, 3],
    ),
    "one that does not fit fixes no correlation": (
        "{all: [{with: {type: t, data: '${ . > 1 }'}, correlate: {room: {from: .room}}}, "
        "{with: {type: h}, correlate: {room: {from: .room}}}]}",
        [event("t", 1, room="a"), event("h", 2, room="b"), event("t", 3, room="b")],
        [2, 3],
    ),
    "correlated with what ends it": (
        "{any: [{with: {type: t}, correlate: {room: {from: .room}}}], "
        "until: {one: {with: {type: out}, correlate: {room: {from: .data.room}}}}}",
        [event("t", 1, room="a"), event("out", {"room": "b"}), event("t", 3, room="a"), event("out", {"room": "a"})],
        [1, 3],
    ),
}


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_strategy_says_which_events_and_until_when(name: str) -> None:
    to, arrivals, output = STRATEGIES[name]
    assert listen(to, *arrivals).output == output


@pytest.mark.parametrize(
    ("arriving", "read", "output"),
    [
        (event("a", {"b": 1}), "data", {"b": 1}),
        (event("a", {"b": 1}), "envelope", event("a", {"b": 1})),
        (event("a", {"b": [1, "é"]}), "raw", '{"b":[1,"é"]}'),
        (event("a", "hello"), "raw", '"hello"'),
        (event("a", "hello", datacontenttype="text/plain; charset=utf-8"), "raw", "hello"),
        (event("a", data_base64="AAE="), "data", "AAE="),
        (event("a", data_base64="AAE="), "raw", "AAE="),
        (event("a"), "data", None),
        (event("a"), "raw", None),
    ],
)
def test_events_are_read_as_the_task_says(arriving: dict[str, Json], read: str, output: Json) -> None:
    assert listen("{any: []}", arriving, read=read).output == [output]


def test_only_what_arrives_while_it_listens_is_heard() -> None:
    story = run(
        """
        do:
          - before: {wait: PT5S}
          - l: {listen: {to: {any: []}}}
          - between: {wait: PT5S}
          - m: {listen: {to: {any: []}}, output: {as: "[$context.l, .]"}}
        """,
        arrivals=[(3, event("a", "early")), (7, event("a", "first")), (9, event("a", "lost")), (14, event("a", "second"))],
    )
    assert story.output == [None, ["second"]]


def test_a_branch_hears_what_another_one_emits() -> None:
    story = run(
        """
        do:
          - f:
              fork:
                branches:
                  - hears: {listen: {to: {one: {with: {type: said}}}, read: envelope}}
                  - says: {emit: {event: {with: {source: /here, type: said, data: '${ . }'}}}}
        """,
        5,
    )
    assert isinstance(story.output, list)
    assert story.output[0] == [story.output[1]]


FOREACH = "{any: [{with: {type: a}}], until: {one: {with: {type: end}}}}"


def test_foreach_handles_one_event_after_the_other_and_loses_none_that_comes_meanwhile() -> None:
    arrivals = [event("a", number) for number in range(4)] + [event("end"), event("a", 9)]
    more = (
        ", foreach: {item: e, at: n, do: [{w: {wait: PT10S}}, {s: {set: '${ [., $e, $n] }'}}], "
        "output: {as: '{got: ., event: $e}'}, export: {as: '{n: .event}'}}"
    )
    story = listen(FOREACH, *arrivals, input_="in", more=more)
    assert story.output == [{"got": ["in", number, number], "event": number} for number in range(4)]
    assert story.elapsed == 41
    assert story.lines.count("started w[2]") == 1


def test_what_foreach_exports_is_seen_by_its_next_pass_and_by_until() -> None:
    more = (
        ", foreach: {do: [{s: {set: '${ ($context.n // 0) + $item }'}}], output: {as: .}, export: {as: '{n: .}'}}, "
        "output: {as: '[., $context]'}"
    )
    story = listen("{any: [], until: '$context.n > 4'}", event("a", 2), event("a", 2), event("a", 3), event("a", 4), more=more)
    assert story.output == [[2, 4, 7], {"n": 7}]


def test_without_output_as_the_items_are_the_events_whatever_the_tasks_gave() -> None:
    assert listen("{any: []}", event("a", 5), more=", foreach: {do: [{s: {set: other}}]}").output == [5]


def test_without_tasks_foreach_transforms_the_events() -> None:
    story = listen(
        "{any: [], until: 'length == 2'}", event("a", 5), event("a", 6), more=", foreach: {output: {as: '. + $index'}}"
    )
    assert story.output == [5, 7]


def test_exit_in_foreach_ends_the_listening_and_end_the_workflow() -> None:
    more = ", foreach: {do: [{s: {if: $item > 1, set: last, then: %s}}]}}}, {after: {set: '${ [.] }'"
    arrivals = [event("a", 1), event("a", 2)]
    assert listen("{any: [], until: '${ false }'}", *arrivals, more=more % "exit").output == [[]]
    assert listen("{any: []}", *arrivals, more=more % "exit").output == [[1]]
    assert listen("{any: [], until: 'false and true'}", *arrivals, more=more % "exit").output == [[1, 2]]
    assert listen("{any: [], until: '${ false }'}", *arrivals, more=more % "end").output == "last"


def test_an_item_that_does_not_match_its_schema_fails_the_task() -> None:
    more = ", foreach: {output: {as: ., schema: {document: {type: integer}}}}"
    fault = listen("{any: [], until: 'length == 2'}", event("a", 1), event("a", "x"), more=more).fault
    assert (fault["status"], fault["instance"]) == (400, "/do/0/l")
    assert "output.schema" in str(fault["detail"])


def test_a_listening_that_never_ends_keeps_nothing_of_what_it_consumed() -> None:
    more = ", foreach: {do: [{s: {set: 1}}]}, timeout: {after: PT60S}"
    story = listen("{any: [], until: '${ false }'}", *(event("a", "x" * 1024 * 1024) for _ in range(20)), more=more)
    assert story.fault["status"] == 408


def test_events_beyond_the_bound_of_an_output_are_a_runtime_error() -> None:
    story = listen("{any: [], until: 'length == 99'}", *(event("a", "x" * 1024 * 1024) for _ in range(20)))
    assert story.fault["type"] == "https://serverlessworkflow.io/spec/1.0.0/errors/runtime"
    assert "16,777,216" in str(story.fault["detail"])
    assert story.elapsed == 16


@pytest.mark.parametrize(
    ("document", "instance"),
    [
        ("do: [{l: {timeout: {after: PT9S}, listen: {to: {one: {with: {type: x}}}}}}]", "/do/0/l"),
        ("timeout: {after: PT9S}\ndo: [{l: {listen: {to: {one: {with: {type: x}}}}}}]", "/timeout"),
        (
            "do: [{l: {timeout: {after: PT9S}, listen: {to: {any: [], until: 'false'}}, foreach: {do: [{w: {wait: PT1H}}]}}}]",
            "/do/0/l",
        ),
    ],
)
def test_a_time_limit_ends_the_listening(document: str, instance: str) -> None:
    story = run(document, arrivals=[(4, event("a"))])
    assert (story.fault["status"], story.fault["instance"]) == (408, instance)
    assert story.elapsed == 9


def test_a_deadline_is_an_approval_that_did_not_come() -> None:
    document = """
        do:
          - t:
              try: [{l: {timeout: {after: PT1H}, listen: {to: {one: {with: {type: approved}}}}}}]
              catch: {errors: {with: {status: 408}}, do: [{no: {set: refused}}]}
    """
    assert run(document, arrivals=[(3601, event("approved", "late"))]).output == "refused"
    assert run(document, arrivals=[(3599, event("approved", "yes"))]).output == ["yes"]


def test_it_is_told_when_the_listening_begins_and_ends_with_the_correlations() -> None:
    to = "{one: {with: {type: a}, correlate: {room: {from: .room}, id: {from: .data.id, expect: 5}}}}"
    story = listen(to, event("a", {"id": 5}, room="x"))
    assert story.lines == [
        "started l",
        "workflow_correlation_started l",
        "workflow_correlation_completed l",
        "completed l",
        "workflow_completed",
    ]
    assert story.events[2].output == {"room": "x", "id": 5}


def test_a_secret_without_a_value_in_a_filter_is_an_authorization_error() -> None:
    document = "use: {secrets: [s]}\ndo: [{l: {listen: {to: {one: {with: {subject: '${ . == $secrets.s }'}}}}}}]"
    assert run(document, arrivals=[(1, event("a", subject="x"))]).fault["status"] == 403
    assert run(document, arrivals=[(1, event("a", subject="x"))], secrets={"s": "x"}).output == [None]


def test_a_regular_expression_that_others_take_years_for_is_quick() -> None:
    assert listen(
        "{one: {with: {subject: '(a+)+b'}}}", event("x", subject="a" * 50_000), event("y", 1, subject="aab")
    ).output == [1]
