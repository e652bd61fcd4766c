"""Where emitted events and lifecycle events go, over sockets: what is sent, and what becomes of trouble."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from tests.integration.calls.server import Handler, Server, answering, http_server
from tests.integration.hosts.recorder import Recorder, local_run
from tests.unit.interpreter.virtual import read
from tests.until import until

from workflow_runner import telemetry
from workflow_runner.dsl.model import DocumentInfo
from workflow_runner.dsl.problems import Problem, WorkflowFault
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.event_sink import EventSink
from workflow_runner.hosts.lifecycle import LARGEST_OUTPUT, LONGEST_TEXT, MOST_WAITING, Lifecycle, LifecycleReporter
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.outcome import Completed

EVENT: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"a": "é"}}
DOCUMENT = DocumentInfo(dsl="1.0.3", namespace="tests", name="test", version="1.0.0")
NAME = "test-exec-1.tests"
NOW = datetime(2026, 1, 1, 12, 0, 0, 5000, tzinfo=UTC)
AT = "2026-01-01T12:00:00.005Z"


@contextlib.asynccontextmanager
async def sinking(server: Server, path: str = "/events", **options: Any) -> AsyncIterator[EventSink]:
    sink = EventSink(server.url + path, **options)
    try:
        yield sink
    finally:
        await sink.close()


def first(*answers: Handler) -> Handler:
    """These answers one after the other, the last one again and again."""
    left = list(answers)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return answer


async def test_an_event_is_sent_in_structured_mode() -> None:
    async with http_server(answering(202)) as server, sinking(server, "/e?q=1", token="a-token") as sink:
        await sink.send(EVENT)
        seen = server.seen[0]
        assert (seen.method, seen.path, seen.query) == ("POST", "/e", [("q", "1")])
        assert seen.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert seen.headers["authorization"] == "Bearer a-token"
        assert json.loads(seen.body) == EVENT


async def test_a_large_event_is_sent_as_it_is() -> None:
    event = EVENT | {"data": "é" * 1024 * 1024}
    async with http_server(answering(202)) as server, sinking(server) as sink:
        await sink.send(event)
        assert json.loads(server.seen[0].body) == event


async def test_what_may_succeed_later_is_tried_again() -> None:
    answers = first(answering(503, headers={"Retry-After": "0"}), answering(429), answering(500), answering(204))
    async with http_server(answers) as server, sinking(server) as sink:
        await sink.send(EVENT)
        assert [json.loads(seen.body) for seen in server.seen] == [EVENT] * 4


@pytest.mark.parametrize("status", [400, 401, 404, 301])
async def test_what_is_refused_is_not_tried_again(status: int) -> None:
    async with http_server(answering(status)) as server, sinking(server) as sink:
        with pytest.raises(WorkflowFault, match=f"it answered {status}") as caught:
            await sink.send(EVENT)
        assert (caught.value.problem.type.rpartition("/")[2], caught.value.problem.status) == ("communication", status)
        assert len(server.seen) == 1


async def test_at_its_deadline_a_delivery_is_given_up_and_says_what_was_wrong() -> None:
    async with http_server(answering(503)) as server, sinking(server, "/?key=secret-key", deadline_seconds=2.0) as sink:
        with pytest.raises(WorkflowFault) as caught:
            await sink.send(EVENT)
        detail = str(caught.value.problem.detail)
        assert detail == f"the event was not taken by {server.url}/: it answered 503, within 2 s"
        assert len(server.seen) >= 2


async def test_a_sink_that_does_not_answer_is_asked_again() -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with http_server(first(never, answering(202))) as server, sinking(server, attempt_seconds=0.1) as sink:
        await sink.send(EVENT)
        assert len(server.seen) == 2


async def test_a_sink_that_is_not_there_is_a_fault() -> None:
    sink = EventSink("http://127.0.0.1:1/", deadline_seconds=0.2)
    with pytest.raises(WorkflowFault, match="it cannot be reached"):
        await sink.send(EVENT)
    await sink.close()


async def test_beyond_the_most_that_wait_a_delivery_is_refused_at_once() -> None:
    release = asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response(status=202)

    async with http_server(slow) as server, sinking(server, most_pending=2) as sink:
        going = [asyncio.create_task(sink.send(EVENT)) for _ in range(2)]
        await until(lambda: len(server.seen) == 2)
        with pytest.raises(WorkflowFault, match="more than 2 events wait"):
            await sink.send(EVENT)
        release.set()
        await asyncio.gather(*going)


@pytest.mark.parametrize("url", ["ftp://x.test/", "http://", "x.test", "http://x.test:port/", "http://[::1/"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        EventSink(url)
    assert caught.value.code == "input.bad-sink"


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    assert str(EventSink("https://user:password@[::1]:8443/p?key=k#f")) == "https://[::1]:8443/p"


EMITS = "do: [{e: {emit: {event: {with: {source: /here, type: said, data: '${ . }'}}}}}, {after: {set: done}}]"


async def test_an_emit_has_completed_when_the_sink_has_the_event() -> None:
    async with http_server(first(answering(503), answering(202))) as server, sinking(server) as sink:
        told = Recorder()
        assert await local_run(EMITS, 5, report=told, bus=EventBus(sink.send)).run() == Completed("done")
        assert [json.loads(seen.body)["data"] for seen in server.seen] == [5, 5]
        assert len({json.loads(seen.body)["id"] for seen in server.seen}) == 1


async def test_an_emit_that_the_sink_refuses_is_the_tasks_fault_and_nobody_here_hears_it() -> None:
    async with http_server(answering(400)) as server, sinking(server) as sink:
        bus = EventBus(sink.send)
        document = """
            do:
              - f:
                  fork:
                    compete: true
                    branches:
                      - l: {listen: {to: {any: []}}}
                      - t:
                          try: [{e: {emit: {event: {with: {source: /here, type: said}}}}}]
                          catch: {do: [{h: {set: "${ $error.status }"}}]}
        """
        assert await local_run(document, 5, report=Recorder(), bus=bus).run() == Completed(400)
        assert len(server.seen) == 1


def lifecycle(*events: Event) -> list[dict[str, Any]]:
    making = Lifecycle(DOCUMENT, "exec-1", "prefix")
    return [told for event in events for told in making.events(event)]


PROBLEM = Problem("https://e.test/", 503, "Service Not Available")

SHAPES: list[tuple[Event, list[tuple[str, dict[str, Any]]]]] = [
    (
        Event(EventType.WORKFLOW_STARTED, NOW, 0),
        [
            (
                "workflow.started",
                {
                    "name": NAME,
                    "definition": {"name": "test", "namespace": "tests", "version": "1.0.0"},
                    "startedAt": AT,
                },
            )
        ],
    ),
    (Event(EventType.WORKFLOW_PAUSED, NOW, 0), [("workflow.suspended", {"name": NAME, "suspendedAt": AT})]),
    (Event(EventType.WORKFLOW_RESUMED, NOW, 0), [("workflow.resumed", {"name": NAME, "resumedAt": AT})]),
    (
        Event(EventType.CORRELATION_STARTED, NOW, 0, "l", "/do/0/l"),
        [("workflow.correlation-started", {"name": NAME, "startedAt": AT})],
    ),
    (
        Event(EventType.CORRELATION_COMPLETED, NOW, 0, "l", "/do/0/l", output={"petId": "x"}),
        [("workflow.correlation-completed", {"name": NAME, "completedAt": AT, "correlationKeys": {"petId": "x"}})],
    ),
    (
        Event(EventType.CORRELATION_COMPLETED, NOW, 0, "l", "/do/0/l", output={}),
        [("workflow.correlation-completed", {"name": NAME, "completedAt": AT})],
    ),
    (Event(EventType.WORKFLOW_CANCELLED, NOW, 0), [("workflow.cancelled", {"name": NAME, "cancelledAt": AT})]),
    (
        Event(EventType.WORKFLOW_FAILED, NOW, 0, error=PROBLEM),
        [("workflow.faulted", {"name": NAME, "faultedAt": AT, "error": PROBLEM.to_dict()})],
    ),
    (
        Event(EventType.WORKFLOW_COMPLETED, NOW, 100, output={"a": 1}),
        [("workflow.completed", {"name": NAME, "completedAt": AT, "output": {"a": 1}})],
    ),
    (
        Event(EventType.WORKFLOW_COMPLETED, NOW, 100, output="x" * 300_000),
        [("workflow.completed", {"name": NAME, "completedAt": AT})],
    ),
    (
        Event(EventType.TASK_STARTED, NOW, 0, "a", "/do/0/a"),
        [
            ("task.created", {"workflow": NAME, "task": "/do/0/a", "createdAt": AT}),
            ("task.started", {"workflow": NAME, "task": "/do/0/a", "startedAt": AT}),
        ],
    ),
    (
        Event(EventType.TASK_RETRIED, NOW, 0, "a", "/do/0/a", error=PROBLEM),
        [("task.retried", {"workflow": NAME, "task": "/do/0/a", "retriedAt": AT})],
    ),
    (
        Event(EventType.TASK_CANCELLED, NOW, 0, "a", "/do/0/a"),
        [("task.cancelled", {"workflow": NAME, "task": "/do/0/a", "cancelledAt": AT})],
    ),
    (
        Event(EventType.TASK_FAILED, NOW, 0, "a", "/do/0/a", error=PROBLEM),
        [("task.faulted", {"workflow": NAME, "task": "/do/0/a", "faultedAt": AT, "error": PROBLEM.to_dict()})],
    ),
    (
        Event(EventType.TASK_COMPLETED, NOW, 0, "a", "/do/0/a"),
        [("task.completed", {"workflow": NAME, "task": "/do/0/a", "completedAt": AT})],
    ),
    (Event(EventType.TASK_SKIPPED, NOW, 0, "a", "/do/0/a"), []),
    (Event(EventType.WORKFLOW_VALIDATED, NOW, 0), []),
]


@pytest.mark.parametrize(
    ("event", "shapes"), SHAPES, ids=[f"{number} {event.type}" for number, (event, _) in enumerate(SHAPES)]
)
def test_lifecycle_events_have_the_names_and_shapes_of_the_reference(
    event: Event, shapes: list[tuple[str, dict[str, Any]]]
) -> None:
    told = lifecycle(event)
    assert [(each["type"], each["data"]) for each in told] == [
        (f"io.serverlessworkflow.{kind}.v1", data) for kind, data in shapes
    ]
    for number, each in enumerate(told, start=1):
        assert each["id"] == f"prefix-{number}"
        assert (each["specversion"], each["source"], each["time"]) == ("1.0", "/tests/test/exec-1", AT)


def test_every_kind_of_event_has_a_shape_or_is_known_to_have_none() -> None:
    assert {event.type for event, _ in SHAPES} | {EventType.WORKFLOW_VALIDATING} == set(EventType)


@pytest.mark.parametrize(
    ("type_", "kinds"),
    [
        (EventType.WORKFLOW_PAUSED, ["workflow.suspended", "task.suspended"]),
        (EventType.WORKFLOW_RESUMED, ["workflow.resumed", "task.resumed"]),
        (EventType.WORKFLOW_CANCELLED, ["task.cancelled", "workflow.cancelled"]),
    ],
)
def test_what_happens_to_the_workflow_happens_to_the_tasks_that_are_open(type_: EventType, kinds: list[str]) -> None:
    before = [
        Event(EventType.TASK_STARTED, NOW, 0, "a", "/do/0/a"),
        Event(EventType.TASK_COMPLETED, NOW, 0, "a", "/do/0/a"),
        Event(EventType.TASK_STARTED, NOW, 0, "b", "/do/1/b"),
    ]
    told = lifecycle(*before, Event(type_, NOW, 0))[5:]
    assert [each["type"] for each in told] == [f"io.serverlessworkflow.{kind}.v1" for kind in kinds]
    assert all(each["data"].get("task", "/do/1/b") == "/do/1/b" for each in told)


def test_lifecycle_events_hold_no_secret() -> None:
    telemetry.conceal("a-very-secret-value")
    failed = Event(EventType.TASK_FAILED, NOW, 0, "a", "/do/0/a", error=Problem("t", 500, "x", "with a-very-secret-value"))
    completed = Event(EventType.WORKFLOW_COMPLETED, NOW, 0, output={"list": ["a-very-secret-value"]})
    assert "a-very-secret-value" not in json.dumps(lifecycle(failed, completed))


def test_what_an_error_says_is_cut_in_lifecycle_events() -> None:
    long = Problem("t", 500, "x", "y" * (LONGEST_TEXT + 1))
    told = lifecycle(
        Event(EventType.TASK_FAILED, NOW, 0, "a", "/do/0/a", error=long), Event(EventType.WORKFLOW_FAILED, NOW, 0, error=long)
    )
    assert [each["data"]["error"]["detail"] for each in told] == ["y" * LONGEST_TEXT + "…"] * 2


def test_large_values_of_correlations_are_left_out() -> None:
    found = [
        lifecycle(Event(EventType.CORRELATION_COMPLETED, NOW, 0, "a", "/do/0/a", output={"k": "v" * size}))[0]["data"]
        for size in (10, LARGEST_OUTPUT)
    ]
    assert ["correlationKeys" in data for data in found] == [True, False]


async def test_a_token_goes_in_place_of_the_addresses_user() -> None:
    async with http_server(answering()) as server:
        place = server.url.replace("//", "//ann:word@")
        for token in (None, "token-1"):
            sink = EventSink(place, token=token)
            await sink.send(EVENT)
            await sink.close()
        assert [one.headers["authorization"].split()[0] for one in server.seen] == ["Basic", "Bearer"]


async def test_what_opens_a_sink_is_concealed_wherever_it_turns_up() -> None:
    EventSink("http://ann:pass%20word-1@host.test/x?key=query-key-1", token="token-of-a-sink")
    said = telemetry.redact("pass word-1, pass%20word-1, query-key-1, token-of-a-sink")
    assert said == ", ".join(["[redacted]"] * 4)


async def test_an_event_that_is_no_json_is_not_sent() -> None:
    async with http_server(answering()) as server:
        sink = EventSink(server.url)
        with pytest.raises(WorkflowFault, match="an infinite number"):
            await sink.send({**EVENT, "data": float("inf")})
        await sink.close()
        assert server.seen == []


def document_of(text: str) -> DocumentInfo:
    return read(text).document


async def test_a_runs_lifecycle_is_told_in_order() -> None:
    async with http_server(answering(202)) as server, sinking(server) as sink:
        reporter = LifecycleReporter(sink, lambda: document_of(EMITS), "exec-1")
        await local_run(EMITS, 5, report=reporter.report).run()
        await reporter.finish()
    kinds = [json.loads(seen.body)["type"].removeprefix("io.serverlessworkflow.") for seen in server.seen]
    assert kinds == [
        "workflow.started.v1",
        *["task.created.v1", "task.started.v1", "task.completed.v1"] * 2,
        "workflow.completed.v1",
    ]


async def test_a_sink_in_trouble_breaks_no_run_and_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with http_server(answering(400)) as server, sinking(server) as sink:
        reporter = LifecycleReporter(sink, lambda: DOCUMENT, "exec-1")
        outcome = await local_run(EMITS, 5, report=reporter.report).run()
        await reporter.finish()
        assert outcome == Completed("done")
        assert len(server.seen) == 8
    told = [record for record in caplog.records if record.name == "workflow_runner.hosts.lifecycle"]
    assert [record.levelno for record in told] == [logging.WARNING]


async def test_a_sink_that_hangs_holds_nobody_up_at_the_end() -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with http_server(never) as server, sinking(server) as sink:
        reporter = LifecycleReporter(sink, lambda: DOCUMENT, "exec-1")
        for event, _ in SHAPES:
            reporter.report(event)
        await until(lambda: len(server.seen) == 1)
        await reporter.finish(0.05)


async def test_what_waits_is_bounded_and_the_end_is_told_all_the_same() -> None:
    release = asyncio.Event()

    async def slow(_: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response(status=202)

    async with http_server(slow) as server, sinking(server) as sink:
        reporter = LifecycleReporter(sink, lambda: DOCUMENT, "exec-1")
        for number in range(MOST_WAITING + 500):
            reporter.report(Event(EventType.TASK_COMPLETED, NOW, 0, "a", f"/do/{number}/a"))
        reporter.report(Event(EventType.WORKFLOW_COMPLETED, NOW, 100, output=1))
        release.set()
        await reporter.finish(60)
        assert len(server.seen) == MOST_WAITING + 1
        assert json.loads(server.seen[-1].body)["type"] == "io.serverlessworkflow.workflow.completed.v1"


async def test_events_wait_until_the_document_is_known() -> None:
    known: list[DocumentInfo] = []
    async with http_server(answering(202)) as server, sinking(server) as sink:
        reporter = LifecycleReporter(sink, lambda: known[0] if known else None, "exec-1")
        reporter.report(Event(EventType.WORKFLOW_STARTED, NOW, 0))
        known.append(DOCUMENT)
        reporter.report(Event(EventType.WORKFLOW_VALIDATED, NOW, 0))
        await reporter.finish()
        assert [json.loads(seen.body)["type"] for seen in server.seen] == ["io.serverlessworkflow.workflow.started.v1"]
