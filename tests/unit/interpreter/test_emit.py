"""`emit`: what an event says when its author leaves things out, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.interpreter.virtual import run

EVENT = "emit: {event: {with: {source: 'https://pets.test/', type: order.placed%s}}}"


def emitted(more: str, input_: Any = None) -> Any:
    return run(f"do: [{{e: {{{EVENT % more}}}}}]", input_)


def test_the_event_is_the_tasks_output_and_its_id_and_time_come_from_the_host() -> None:
    story = emitted(", data: {n: '${ .n }'}", {"n": 1})
    assert story.output == {
        "specversion": "1.0",
        "id": "name-1",
        "source": "https://pets.test/",
        "type": "order.placed",
        "time": "2026-01-01T00:00:00.000Z",
        "data": {"n": 1},
    }
    assert [(call.protocol, call.arguments) for call in story.calls] == [("emit", {"event": story.output})]


def test_an_authors_attributes_are_kept_extensions_too() -> None:
    more = (
        ", id: '${ .id }', time: '2024-07-26T16:59:57-05:00', subject: s, datacontenttype: text/plain, "
        "dataschema: 'https://s.test/{id}', roomid: 5, urgent: true, specversion: '1.0', data: hello"
    )
    story = emitted(more, {"id": "a 1"})
    assert story.output == {
        "specversion": "1.0",
        "id": "a 1",
        "source": "https://pets.test/",
        "type": "order.placed",
        "time": "2024-07-26T16:59:57-05:00",
        "subject": "s",
        "datacontenttype": "text/plain",
        "dataschema": "https://s.test/a%201",
        "roomid": 5,
        "urgent": True,
        "data": "hello",
    }


@pytest.mark.parametrize(
    ("template", "input_", "source"),
    [
        ("'${ .where }'", {"where": "/here"}, "/here"),
        ("'https://x.test/{id}'", {"id": 7}, "https://x.test/7"),
        ("urn:a:b", {}, "urn:a:b"),
    ],
)
def test_a_source_may_be_an_expression_or_a_template(template: str, input_: Any, source: str) -> None:
    story = run(f"do: [{{e: {{emit: {{event: {{with: {{source: {template}, type: t}}}}}}}}}}]", input_)
    assert isinstance(story.output, dict)
    assert story.output["source"] == source


def test_what_an_expression_makes_null_is_left_out_but_for_the_data() -> None:
    story = emitted(", subject: '${ null }', data: '${ null }', id: '${ .id }'", {})
    assert isinstance(story.output, dict)
    assert "subject" not in story.output
    assert story.output["data"] is None
    assert story.output["id"] == "name-1"


@pytest.mark.parametrize(
    ("more", "detail"),
    [
        (", time: '${ \"yesterday\" }'", "'time' of an event must be a moment"),
        (", time: '${ \"2024-13-01T00:00:00Z\" }'", "'time' of an event must be a moment"),
        (", subject: '${ 5 }'", "'subject' of an event must be a string"),
        (", id: '${ \"\" }'", "'id' of an event must be a string that is not empty"),
        (", extra: '${ {a: 1} }'", "'extra' of an event must be a string, a whole number or a boolean"),
        (", specversion: '${ \"0.3\" }'", "must be 1.0"),
    ],
)
def test_an_attribute_that_events_cannot_have_is_an_expression_error(more: str, detail: str) -> None:
    fault = emitted(more, {}).fault
    assert (fault["status"], fault["instance"]) == (400, "/do/0/e")
    assert detail in str(fault["detail"])


def test_an_event_without_a_source_is_an_expression_error() -> None:
    fault = run("do: [{e: {emit: {event: {with: {source: '${ .none }', type: t}}}}}]", {}).fault
    assert "needs the attribute 'source'" in str(fault["detail"])


def test_an_event_that_is_too_large_is_a_validation_error() -> None:
    fault = emitted(", data: '${ . }'", "x" * 1024 * 1024).fault
    assert fault["type"] == "https://serverlessworkflow.io/spec/1.0.0/errors/validation"
    assert "at most 1,048,576 are published" in str(fault["detail"])
