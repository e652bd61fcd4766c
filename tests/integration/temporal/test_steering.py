"""Pause, resume and cancel of runs on Temporal: at every kind of moment, and as Temporal's own users do it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from temporalio.api.enums.v1 import EventType as EventKind
from temporalio.client import WorkflowExecutionStatus
from tests.integration.calls.server import answering, http_server
from tests.integration.temporal.runs import Followed, Setting, setting
from tests.servers.temporal import shared_temporal_server
from tests.until import until

from workflow_runner.hosts.temporal import names
from workflow_runner.interpreter.events import EventType
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted

WAITS = "do: [{w: {wait: PT1H}}, {after: {set: {a: 1}}}]"


@pytest.fixture
async def here() -> Setting:
    return await setting(await shared_temporal_server())


class Hanging:
    """An HTTP server whose answers do not come; it knows how many requests are open."""

    def __init__(self) -> None:
        self.open = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.open += 1
        try:
            await until(lambda: request.transport is None or request.transport.is_closing(), 60)
        finally:
            self.open -= 1
        return web.Response()


@pytest.fixture
async def hanging() -> AsyncIterator[Hanging]:
    found = Hanging()
    async with http_server(found.answer) as server:
        found.url = server.url
        yield found


async def _has_started(name: str, run: Followed) -> None:
    await run.told(EventType.TASK_STARTED, name)


def _started(name: str) -> Callable[[Followed], Awaitable[None]]:
    async def ready(run: Followed) -> None:
        await _has_started(name, run)

    return ready


async def _retried(run: Followed) -> None:
    await run.told(EventType.TASK_RETRIED)


async def _listens(run: Followed) -> None:
    await run.told(EventType.CORRELATION_STARTED)


MOMENTS = {
    "a timer": (WAITS, _started("w")),
    "a listen": ("do: [{l: {listen: {to: {one: {with: {type: never}}}}}}]", _listens),
    "a retry delay": (
        "do: [{t: {try: [{x: {raise: {error: {type: 'https://e.test/', status: 500}}}}],"
        " catch: {retry: {delay: PT1H, limit: {attempt: {count: 3}}}}}}]",
        _retried,
    ),
    "a fork": ("do: [{f: {fork: {branches: [{a: {wait: PT1H}}, {b: {do: [{c: {wait: PT1H}}]}}]}}}]", _started("c")),
    "a tight loop": (
        "do: [{l: {for: {each: i, in: '${ [range(100000)] }'}, do: [{s: {set: {i: '${ $i + 1 }'}}}]}}]",
        _started("s"),
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
async def test_a_cancel_ends_a_run_at_every_moment(here: Setting, moment: str) -> None:
    text, ready = MOMENTS[moment]
    async with here.running(text) as run:
        await ready(run)
        run.run.cancel("it is enough")
        assert await run.outcome() == Cancelled("it is enough")
        assert run.types()[-1] == "workflow_cancelled"
        assert (await run.described()).status is WorkflowExecutionStatus.CANCELED
        assert (await run.status())["control"]["result"] == "applied"


async def test_a_cancelled_call_is_aborted_at_its_server(here: Setting, hanging: Hanging) -> None:
    async with here.running(f"do: [{{c: {{call: http, with: {{method: get, endpoint: '{hanging.url}/'}}}}}}]") as run:
        await until(lambda: hanging.open == 1)
        run.run.cancel("enough")
        assert await run.outcome() == Cancelled("enough")
        await until(lambda: hanging.open == 0)


async def test_the_calls_of_branches_that_lose_are_aborted(here: Setting, hanging: Hanging) -> None:
    text = f"""
        do:
          - f:
              fork:
                compete: true
                branches:
                  - slow: {{call: http, with: {{method: get, endpoint: '{hanging.url}/'}}}}
                  - quick: {{do: [{{w: {{wait: PT1S}}}}, {{s: {{set: {{won: true}}}}}}]}}
        """
    async with here.running(text) as run:
        await until(lambda: hanging.open == 1)
        assert await run.outcome() == Completed({"won": True})
        await until(lambda: hanging.open == 0)


async def test_a_time_out_of_the_document_aborts_a_call(here: Setting, hanging: Hanging) -> None:
    call = f"{{call: http, with: {{method: get, endpoint: '{hanging.url}/'}}, timeout: {{after: PT1S}}}}"
    async with here.running(f"do: [{{c: {call}}}]") as run:
        await until(lambda: hanging.open == 1)
        outcome = await run.outcome()
        assert isinstance(outcome, Faulted)
        assert outcome.problem.status == 408
        await until(lambda: hanging.open == 0)
        assert (await run.described()).status is WorkflowExecutionStatus.FAILED


async def test_a_cancel_during_a_pause_wins(here: Setting) -> None:
    async with here.running(WAITS) as run:
        await run.told(EventType.TASK_STARTED, "w")
        run.run.pause("for a while")
        await run.told(EventType.WORKFLOW_PAUSED)
        run.run.cancel("and now no more")
        assert await run.outcome() == Cancelled("and now no more")


async def test_a_paused_run_has_nothing_open_and_goes_on(here: Setting) -> None:
    text = "do: [{w: {wait: PT2S}}, {after: {set: {a: 1}}}]"
    async with here.running(text) as run:
        await run.told(EventType.TASK_STARTED, "w")
        run.run.pause("for a while")
        assert "for a while" in (await run.told(EventType.WORKFLOW_PAUSED)).message
        status = await run.status()
        assert (status["phase"], status["control"]["result"]) == ("Paused", "applied")
        handle = here.client.get_workflow_handle(names.run_id(run.execution_id))
        kinds = [event.event_type async for event in handle.fetch_history_events()]
        # No timer goes on, so nothing wakes the run for as long as it takes.
        assert kinds.count(EventKind.EVENT_TYPE_TIMER_STARTED) == kinds.count(EventKind.EVENT_TYPE_TIMER_CANCELED) == 1
        run.run.resume()
        assert await run.outcome() == Completed({"a": 1})


async def test_a_pause_lets_a_call_end_and_no_task_begin(here: Setting) -> None:
    released = asyncio.Event()

    async def answer(_: web.Request) -> web.StreamResponse:
        await released.wait()
        return web.json_response({})

    async with http_server(answer) as server:
        text = f"do: [{{c: {{call: http, with: {{method: get, endpoint: '{server.url}/'}}}}}}, {{after: {{set: {{a: 1}}}}}}]"
        async with here.running(text) as run:
            await until(lambda: bool(server.seen))
            run.run.pause()
            await until(lambda: _is(run, "accepted"))
            released.set()
            await run.told(EventType.WORKFLOW_PAUSED)
            assert [one for _, one in run.events if one.task_name == "after"] == []
            run.run.resume()
            assert await run.outcome() == Completed({"a": 1})


async def _is(run: Followed, result: str) -> bool:
    control = (await run.status())["control"]
    return bool(control["result"] == result)


async def test_who_attaches_hears_all_that_was_told_and_steers(here: Setting) -> None:
    async with here.running(WAITS) as first:
        await first.told(EventType.TASK_STARTED, "w")
        first.run.pause("before the other came")
        await first.told(EventType.WORKFLOW_PAUSED)
        first.run.cancel(goes_on=True)
        await first.outcome()
        queue = first.execution_id
        async with here.following(WAITS, execution_id=first.execution_id, queue=queue) as second:
            await until(lambda: second.run.paused)
            second.run.resume()
            await second.told(EventType.WORKFLOW_RESUMED)
            told = [(number, event.type) for number, event in second.events]
            assert told[: len(first.events)] == [(number, event.type) for number, event in first.events]
            second.run.cancel("by the second")
            assert await second.outcome() == Cancelled("by the second")


async def test_a_run_that_has_ended_is_told_again_to_who_comes_late(here: Setting) -> None:
    async with here.running("do: [{s: {set: {a: 1}}}]") as first:
        assert await first.outcome() == Completed({"a": 1})
        async with here.following("do: []", execution_id=first.execution_id) as second:
            assert await second.outcome() == Completed({"a": 1})
            assert second.types() == first.types()


async def test_temporals_own_cancel_ends_a_run(here: Setting) -> None:
    async with here.running(WAITS) as run:
        await run.told(EventType.TASK_STARTED, "w")
        await here.client.get_workflow_handle(names.run_id(run.execution_id)).cancel()
        assert isinstance(await run.outcome(), Cancelled)
        assert (await run.described()).status is WorkflowExecutionStatus.CANCELED


async def test_a_terminated_run_is_cancelled_to_who_follows(here: Setting) -> None:
    async with here.running(WAITS) as run:
        await run.told(EventType.TASK_STARTED, "w")
        await here.client.get_workflow_handle(names.run_id(run.execution_id)).terminate(reason="by an administrator")
        assert await run.outcome() == Cancelled("terminated in Temporal: by an administrator")


async def test_a_forced_cancel_does_not_wait_for_calls(here: Setting, hanging: Hanging) -> None:
    text = f"do: [{{c: {{call: http, with: {{method: get, endpoint: '{hanging.url}/'}}}}}}]"
    async with here.running(text) as run:
        await until(lambda: hanging.open == 1)
        run.run.cancel("at once", force=True)
        assert await run.outcome() == Cancelled("at once")


async def test_signals_that_come_too_late_are_refused(here: Setting) -> None:
    async with here.running("do: [{s: {set: {a: 1}}}]") as run:
        await run.outcome()
        run.run.pause("too late")
        assert (await run.status())["phase"] == "Completed"


async def test_events_come_by_signal(here: Setting) -> None:
    text = "do: [{l: {listen: {to: {one: {with: {type: wanted}}}}}}]"
    async with here.running(text) as run:
        await run.told(EventType.CORRELATION_STARTED)
        handle = here.client.get_workflow_handle(names.run_id(run.execution_id))
        event = {"specversion": "1.0", "id": "1", "source": "urn:test", "type": "other", "data": {"n": 1}}
        await handle.signal(names.EVENT, event)
        await handle.signal(names.EVENT, event | {"type": "wanted", "data": {"n": 2}})
        assert await run.outcome() == Completed([{"n": 2}])


async def test_what_a_run_does_not_want_is_no_signal(here: Setting) -> None:
    """The history of a run that listens for something rare does not grow by what others want."""
    text = """
        do:
        - first: {listen: {to: {one: {with: {type: wanted, source: 'urn:test'}}}}}
        - second: {listen: {to: {one: {with: {type: other}}}}}
        """
    async with here.running(text) as run:
        assert here.offer("other").taken == 0
        await run.told(EventType.CORRELATION_STARTED, "first")
        await until(lambda: here.wanted() == [({"source": "urn:test", "type": "wanted"},)])
        for _ in range(50):
            assert here.offer("other").taken == 0
        assert here.offer("wanted").taken == 1
        await run.told(EventType.CORRELATION_STARTED, "second")
        await until(lambda: here.wanted() == [({"type": "other"},)])
        assert here.offer("wanted").taken == 0
        assert here.offer("other", 2).taken == 1
        assert await run.outcome() == Completed([2])
        (history,) = await run.histories()
        signals = [event for event in history.events if event.HasField("workflow_execution_signaled_event_attributes")]
        assert len(signals) == 2
    assert here.wanted() == []


async def test_events_that_come_before_the_run_says_what_it_wants_are_not_lost(here: Setting) -> None:
    text = "do: [{l: {listen: {to: {any: [{with: {type: wanted}}], until: '${ length == 20 }'}}}}]"
    async with here.running(text) as run:
        await until(lambda: bool(here.wanted()))
        for number in range(20):
            here.offer("other")
            here.offer("wanted", number)
            await asyncio.sleep(0)
        assert await run.outcome() == Completed(list(range(20)))


async def test_a_faulted_document_fails_its_workflow_with_its_problem(here: Setting) -> None:
    async with http_server(answering(503)) as server:
        text = f"do: [{{c: {{call: http, with: {{method: get, endpoint: '{server.url}/'}}}}}}]"
        async with here.running(text) as run:
            outcome = await run.outcome()
            assert isinstance(outcome, Faulted)
            assert (outcome.problem.status, outcome.problem.instance) == (503, "/do/0/c")
            assert run.types()[-2:] == ["task_failed", "workflow_failed"]
            assert (await run.described()).status is WorkflowExecutionStatus.FAILED


async def test_who_attaches_to_a_run_that_listens_hands_events_on(here: Setting) -> None:
    text = "do: [{l: {listen: {to: {one: {with: {type: wanted}}}}}}]"
    async with here.running(text) as first:
        await first.told(EventType.CORRELATION_STARTED)
        first.run.cancel(goes_on=True)
        await first.outcome()
        queue = first.execution_id
        # That it listens was told long before the events that this one hears.
        async with here.following(text, execution_id=queue, queue=queue, after=1000) as second:
            await until(lambda: here.offer("wanted", 1).taken > 0, 30)
            assert await second.outcome() == Completed([1])


async def test_a_grace_period_beyond_all_bounds_is_no_trouble(here: Setting) -> None:
    async with here.running(WAITS) as run:
        await run.told(EventType.TASK_STARTED, "w")
        handle = here.client.get_workflow_handle(names.run_id(run.execution_id))
        await handle.signal(names.CANCEL, {"reason": "enough", "graceSeconds": 1e20})
        assert await run.outcome() == Cancelled("enough")
