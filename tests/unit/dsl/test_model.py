"""What a document becomes: tasks with their references and positions, expressions with their variables."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.dsl.cases import HEADER

from workflow_runner.dsl.durations import duration_from_json, parse_duration
from workflow_runner.dsl.loader import load
from workflow_runner.dsl.model import (
    ErrorFilter,
    ForTask,
    HttpCallTask,
    RaiseTask,
    SetTask,
    SwitchTask,
    Task,
    TryTask,
    WaitTask,
)
from workflow_runner.dsl.templates import Expression, Literal, ObjectTemplate

STORY = """\
use:
  secrets: [token]
  errors:
    late: {type: https://example.com/late, status: 504, title: Late, detail: '${ "\\(.who) is late" }'}
  retries:
    often: {delay: PT1S, backoff: {exponential: {}}, limit: {attempt: {count: 3, duration: PT5S}, duration: {minutes: 1}},
            jitter: {from: {milliseconds: 100}, to: PT0.5S}, when: '$error.status == 503'}
do:
  - first:
      set: {name: '${ .name }', fixed: [1, 2]}
      metadata: {owner: me}
  - loop:
      for: {each: pet, in: .pets, at: place}
      while: $pet != null
      do:
        - inner:
            if: $place > 0
            set: {pet: $pet}
            export: {as: '$context + {n: $place}'}
        - nested:
            do:
              - deep/er: {wait: {seconds: 1, milliseconds: 500}, then: exit}
  - guard:
      try:
        - ask:
            call: http
            with:
              method: get
              endpoint: {uri: 'https://example.com/{id}'}
              headers: {authorization: '${ "Bearer " + $secrets.token }'}
      catch:
        errors: {with: {status: 404, details: gone}}
        as: problem
        when: $problem.status == 404
        retry: often
        do:
          - undo: {raise: {error: late}}
  - choose:
      switch:
        - big: {when: .n > 3, then: first}
        - rest: {then: end}
"""

workflow = load(HEADER + STORY, "story.yaml")


def task(reference: str) -> Task:
    found = workflow.task_at(reference)
    assert found is not None, reference
    return found


def test_references_are_pointers_into_the_document() -> None:
    assert [task.reference for task in workflow.tasks()] == [
        "/do/0/first",
        "/do/1/loop",
        "/do/1/loop/do/0/inner",
        "/do/1/loop/do/1/nested",
        "/do/1/loop/do/1/nested/do/0/deep~1er",
        "/do/2/guard",
        "/do/2/guard/try/0/ask",
        "/do/2/guard/catch/do/0/undo",
        "/do/3/choose",
    ]


def test_a_task_knows_its_definition_and_its_position() -> None:
    first = task("/do/0/first")
    assert isinstance(first, SetTask)
    assert first.definition == {"set": {"name": "${ .name }", "fixed": [1, 2]}, "metadata": {"owner": "me"}}
    assert (HEADER + STORY).splitlines()[first.position.line - 1][
        first.position.column - 1 :
    ] == "set: {name: '${ .name }', fixed: [1, 2]}"
    assert first.metadata == {"owner": "me"}
    assert first.then == "continue"


def test_a_template_has_expressions_where_the_document_has_them() -> None:
    first = task("/do/0/first")
    assert isinstance(first, SetTask)
    assert isinstance(first.value, ObjectTemplate)
    (_, name), (_, fixed) = first.value.items
    assert isinstance(name, Expression)
    assert (name.source, name.variables, name.pointer) == (" .name ", (), "/do/0/first/set/name")
    assert isinstance(fixed, Literal)
    assert fixed.value == [1, 2]


def test_expressions_know_the_variables_that_they_need() -> None:
    loop, inner = task("/do/1/loop"), task("/do/1/loop/do/0/inner")
    assert isinstance(loop, ForTask)
    assert loop.while_ is not None
    assert inner.if_ is not None
    assert isinstance(inner.export_as, Expression)
    assert (loop.each, loop.at, loop.in_.source) == ("pet", "place", ".pets")
    assert loop.while_.variables == ("pet",)
    assert inner.if_.variables == ("place",)
    assert inner.export_as.variables == ("context", "place")
    assert isinstance(inner, SetTask)
    assert isinstance(inner.value, Literal), "without ${ } a value is text"


def test_try_and_its_reusable_retry_policy() -> None:
    guard = task("/do/2/guard")
    assert isinstance(guard, TryTask)
    catch, retry = guard.catch, guard.catch.retry
    assert catch.errors == ErrorFilter(status=404, detail="gone")
    assert catch.as_ == "problem"
    assert catch.when is not None
    assert catch.when.variables == ("problem",)
    assert retry is not None
    assert (retry.name, retry.backoff, retry.attempt_count) == ("often", "exponential", 3)
    assert (retry.delay, retry.attempt_duration, retry.duration) == (
        timedelta(seconds=1),
        timedelta(seconds=5),
        timedelta(minutes=1),
    )
    assert retry.jitter == (timedelta(milliseconds=100), timedelta(milliseconds=500))


def test_a_call_of_http_and_the_secrets_it_needs() -> None:
    ask = task("/do/2/guard/try/0/ask")
    assert isinstance(ask, HttpCallTask)
    assert (ask.output, ask.redirect, ask.query, ask.body) == ("content", False, None, None)
    assert isinstance(ask.endpoint, Literal)
    assert ask.endpoint.value == "https://example.com/{id}"
    assert isinstance(ask.headers, ObjectTemplate)
    header = ask.headers.items[0][1]
    assert isinstance(header, Expression)
    assert (header.variables, header.secrets) == (("secrets",), ("token",))


def test_a_raised_error_is_resolved() -> None:
    undo = task("/do/2/guard/catch/do/0/undo")
    assert isinstance(undo, RaiseTask)
    assert (undo.error.name, undo.error.status) == ("late", 504)
    assert isinstance(undo.error.type, Literal)
    assert isinstance(undo.error.detail, Expression)


def test_waits_and_switches() -> None:
    deep, choose = task("/do/1/loop/do/1/nested/do/0/deep~1er"), task("/do/3/choose")
    assert isinstance(deep, WaitTask)
    assert deep.duration == timedelta(seconds=1.5)
    assert isinstance(choose, SwitchTask)
    assert [(case.name, case.when is None, case.then) for case in choose.cases] == [
        ("big", False, "first"),
        ("rest", True, "end"),
    ]


def test_a_list_finds_tasks_by_name() -> None:
    assert workflow.do.index_of("guard") == 2
    assert workflow.do.index_of("inner") is None


def test_nothing_of_it_can_be_changed() -> None:
    with pytest.raises(AttributeError):
        task("/do/0/first").then = "end"  # type: ignore[misc]  # that is the point


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT30S", 30),
        ("PT1M30.5S", 90.5),
        ("P1DT1H", 90_000),
        ("P2W", 1_209_600),
        ("P1Y1M", 395 * 86_400),
        ("PT0S", 0),
        ("PT0.25S", 0.25),
    ],
)
def test_iso_8601_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1", "1S", "PT1H1H", "pt1s", "-PT1S", "PT1S ", "P1DT", "P101Y", "P999999999999D", "PT1e3S"]
)
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_durations_that_are_objects() -> None:
    assert duration_from_json({"days": 1, "hours": 2, "minutes": 3, "seconds": 4, "milliseconds": 5}) == timedelta(
        days=1, hours=2, minutes=3, seconds=4, milliseconds=5
    )
    for wrong in ({}, {"weeks": 1}, {"seconds": True}, {"seconds": 1.5}, {"days": 10**30}, None, 5, ["PT1S"]):
        with pytest.raises(ValueError, match=r"duration|whole number"):
            duration_from_json(wrong)  # type: ignore[arg-type]  # a dict of int is JSON
