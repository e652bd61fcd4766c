"""How much runs on Temporal may be, and what they do when it is too much; what goes on outside of them; and long runs, which
are continued as new with all that they had."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from temporalio import activity
from temporalio.api.enums.v1 import EventType as EventKind
from temporalio.client import WorkflowExecutionStatus
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker
from tests import canaries
from tests.integration.calls.server import answering, http_server
from tests.integration.temporal.runs import Followed, Setting, setting
from tests.replay.recordings import plain
from tests.servers.temporal import SHORT_HISTORIES, shared_temporal_server
from tests.until import until

from workflow_runner import telemetry
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.library import Library
from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.limits import LARGEST_STORED
from workflow_runner.hosts.temporal.worker import RunWorker
from workflow_runner.interpreter.events import EventType
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted
from workflow_runner.settings.temporal import PayloadSettings

PASSES = 100_000
LARGE = 5 * 1024 * 1024


@pytest.fixture
async def here() -> Setting:
    return await setting(await shared_temporal_server())


@pytest.fixture
async def short() -> Setting:
    """Where a run is continued as new after every few steps."""
    return await setting(await shared_temporal_server(*SHORT_HISTORIES))


def _get(url: str, more: str = "") -> str:
    return f"{{call: http, with: {{method: get, endpoint: '{url}/'{more}}}}}"


async def _told(run: Followed) -> str:
    """All that Temporal keeps of a run, as text."""
    return "\n".join(text for history in await run.histories() for text in plain(history.to_json_dict()))


class TestSizes:
    async def test_a_loop_of_100_000_passes_has_a_short_history(self, here: Setting) -> None:
        set_ = "{set: {i: '${ $i }'}}"
        text = f"do: [{{l: {{for: {{each: i, in: '${{ [range({PASSES})] }}'}}, do: [{{s: {set_}}}]}}}}]"
        async with here.running(text) as run:
            assert await run.outcome() == Completed({"i": PASSES - 1})
        assert [number for number, _ in run.events] == list(range(1, len(run.events) + 1))
        assert run.run.counts.completed == PASSES + 1
        lengths = [len(history.events) for history in await run.histories()]
        # Nothing but what ends a workflow task now and then: that costs six events.
        assert sum(lengths) < 1000

    async def test_a_loop_of_slow_expressions_ends_no_workflow_task_by_force(self, here: Setting) -> None:
        # Each of them takes a tenth of a second; the SDK gives a workflow task up after two.
        text = "do: [{l: {for: {each: i, in: .list}, do: [{s: {set: '${ {list, text: (.text | ascii_downcase)} }'}}]}}]"
        async with here.running(text, {"list": list(range(40)), "text": "X" * 50_000}) as run:
            assert isinstance(await run.outcome(), Completed)
            kinds = [event.event_type for history in await run.histories() for event in history.events]
            assert EventKind.EVENT_TYPE_WORKFLOW_TASK_FAILED not in kinds

    async def test_five_megabytes_go_through_a_store(self, tmp_path: Path) -> None:
        payloads = PayloadSettings(store=tmp_path.as_uri())
        here = await setting(await shared_temporal_server(), payloads)
        large = json.dumps({"text": "x" * LARGE})
        async with http_server(answering(200, large, "application/json")) as server:
            text = f"""
                do:
                  - get: {_get(server.url)}
                  - keep: {{set: {{kept: '${{ .text }}'}}}}
                  - post: {{call: http, with: {{method: post, endpoint: '{server.url}/', body: '${{ . }}'}}}}
                  - done: {{set: {{done: true}}}}
                """
            async with here.running(text, largest_payload=LARGEST_STORED) as run:
                assert await run.outcome() == Completed({"done": True})
            assert json.loads(server.seen[1].body) == {"kept": "x" * LARGE}

    async def test_five_megabytes_are_a_fault_without_a_store_and_the_worker_goes_on(self, here: Setting) -> None:
        queue = str(uuid.uuid4())
        async with (
            http_server(answering(200, json.dumps("x" * LARGE), "application/json")) as server,
            RunWorker(here.client, queue),
            here.following(f"do: [{{c: {_get(server.url)}}}]", queue=queue) as run,
        ):
            outcome = await run.outcome()
            assert isinstance(outcome, Faulted)
            assert outcome.problem.instance == "/do/0/c"
            assert str(outcome.problem.detail).startswith("temporal.payload-too-large: ")
            assert "TEMPORAL_PAYLOAD_STORE" in str(outcome.problem.detail)
            async with here.following("do: [{s: {set: {a: 1}}}]", queue=queue) as second:
                assert await second.outcome() == Completed({"a": 1})

    async def test_endless_jq_faults_and_holds_up_no_other_run(self, here: Setting) -> None:
        queue = str(uuid.uuid4())
        programs = ("[range(1e18)]", "def f: f; f", "last(repeat(1))")
        async with RunWorker(here.client, queue):
            endless = [here.following(f"do: [{{e: {{set: {{x: '${{ {one} }}'}}}}}}]", queue=queue) for one in programs]
            async with endless[0] as first, endless[1] as second, endless[2] as third:
                await asyncio.gather(*(each.told(EventType.TASK_STARTED, "e") for each in (first, second, third)))
                async with here.following("do: [{w: {wait: {milliseconds: 100}}}, {s: {set: {a: 1}}}]", queue=queue) as other:
                    assert await other.outcome() == Completed({"a": 1})
                assert not second.task.done()
                assert not third.task.done()
                for each in (first, second, third):
                    outcome = await each.outcome()
                    assert isinstance(outcome, Faulted)
                    assert outcome.problem.type.endswith("/expression"), outcome
                    assert outcome.problem.instance == "/do/0/e"
            async with here.following("do: [{s: {set: {x: '${ [range(2)] }'}}}]", queue=queue) as after:
                assert await after.outcome() == Completed({"x": [0, 1]})


class TestSecrets:
    MAKES_DATA = """
        document: {dsl: '1.0.3', namespace: tests, name: test, version: '1.0.0'}
        use: {secrets: [key]}
        do:
          - one: {set: {made: '${ "with " + $secrets.key }'}}
          - two: {raise: {error: {type: 'https://e.test/', status: 500, detail: '${ .made }'}}}
        """

    async def test_a_document_that_makes_data_of_them_is_refused_where_it_does(self, here: Setting) -> None:
        async with here.following(self.MAKES_DATA, secrets={"key": canaries.WORKFLOW_SECRET}) as run:
            with pytest.raises(InvalidInput, match=r"test\.yaml:5:\d+: a value made from secrets") as refused:
                await run.outcome()
            assert refused.value.code == "temporal.secrets-unencrypted"

    async def test_an_encrypted_run_leaves_nothing_of_them_in_temporal(self, tmp_path: Path) -> None:
        (tmp_path / "first").write_text(base64.b64encode(os.urandom(32)).decode())
        here = await setting(await shared_temporal_server(), PayloadSettings(tmp_path))
        async with here.running(self.MAKES_DATA, secrets={"key": canaries.WORKFLOW_SECRET}) as run:
            outcome = await run.outcome()
            assert isinstance(outcome, Faulted)
            assert outcome.problem.detail == f"with {telemetry.REDACTED}", "who hears of it may not know what is secret"
            told = await _told(run)
            assert canaries.found_in(told) == []
            assert "with canary" not in told
            assert canaries.found_in(str((await run.described()).raw_description)) == []

    @pytest.mark.parametrize(
        "policy",
        ["{bearer: {use: login}}", "{bearer: {token: '${ $secrets.login.token }'}}", "{use: known}"],
        ids=["a secret", "an expression", "a policy under use"],
    )
    async def test_an_authentication_works_unencrypted_and_stays_in_this_process(self, here: Setting, policy: str) -> None:
        async with http_server(answering(200, "{}", "application/json")) as server:
            text = f"""
                document: {{dsl: '1.0.3', namespace: tests, name: test, version: '1.0.0'}}
                use:
                  secrets: [login]
                  authentications: {{known: {{bearer: {{token: '${{ $secrets.login.token }}'}}}}}}
                do:
                  - c:
                      call: http
                      with: {{method: get, endpoint: {{uri: '{server.url}/', authentication: {policy}}}}}
                """
            async with here.running(text, secrets={"login": {"token": canaries.BEARER}}) as run:
                assert await run.outcome() == Completed({})
                assert server.seen[0].headers["authorization"] == f"Bearer {canaries.BEARER}"
                assert canaries.found_in(await _told(run)) == []


class TestOthers:
    async def test_a_workflow_that_nobody_waits_for_outlives_the_one_that_started_it(
        self, here: Setting, tmp_path: Path
    ) -> None:
        (tmp_path / "child.yaml").write_text(
            "document: {dsl: '1.0.3', namespace: tests, name: child, version: '1.0.0'}\n"
            "do: [{l: {listen: {to: {one: {with: {type: goes-on}}}}}}]\n"
        )
        text = (
            "do: [{r: {run: {await: false, workflow: {namespace: tests, name: child, version: '1.0.0'}}}}, {s: {set: {a: 1}}}]"
        )
        async with here.running(text, host=HostOptions(library=Library([tmp_path]))) as run:
            assert await run.outcome() == Completed({"a": 1})
            [history] = await run.histories()
            kind = EventKind.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED
            [started] = [event for event in history.events if event.event_type == kind]
            id_ = started.start_child_workflow_execution_initiated_event_attributes.workflow_id
            child = here.client.get_workflow_handle(id_)
            assert (await child.describe()).status is WorkflowExecutionStatus.RUNNING
            event = {"specversion": "1.0", "id": "1", "source": "urn:test", "type": "goes-on", "data": {"n": 1}}
            await child.signal(names.EVENT, event)
            async with asyncio.timeout(20):
                assert await child.result() == [{"n": 1}]


class Foreign:
    """Activities of somebody else's worker."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @activity.defn(name="double")
    async def double(self, n: int) -> int:
        """Works."""
        return 2 * n

    @activity.defn(name="refuse")
    async def refuse(self, _: Any) -> None:
        """Fails for good."""
        raise ApplicationError("the shop is closed", type="Closed", non_retryable=True)

    @activity.defn(name="hang")
    async def hang(self, _: Any) -> None:
        """Ends when it is told to."""
        self.seen.append("hangs")
        try:
            while True:
                activity.heartbeat()
                await asyncio.sleep(0.05)
        except asyncio.CancelledError:
            self.seen.append("cancelled")
            raise


@pytest.fixture
async def foreign(here: Setting) -> AsyncIterator[tuple[str, Foreign]]:
    """The queue of a worker with those."""
    queue, found = str(uuid.uuid4()), Foreign()
    often = timedelta(milliseconds=100)
    async with Worker(
        here.client,
        task_queue=queue,
        activities=[found.double, found.refuse, found.hang],
        max_heartbeat_throttle_interval=often,
        default_heartbeat_throttle_interval=often,
    ):
        yield queue, found


class TestActivities:
    async def test_an_activity_of_another_worker_is_called(self, here: Setting, foreign: tuple[str, Foreign]) -> None:
        text = "do: [{d: {call: activity, with: {activity: double, input: 21}}}]"
        async with here.running(text, activity_queue=foreign[0]) as run:
            assert await run.outcome() == Completed(42)

    @pytest.mark.parametrize(
        ("name", "more", "status", "said"),
        [
            ("refuse", "", 500, "failed: the shop is closed"),
            ("hang", ", timeout: {after: PT1S}", 408, ""),
        ],
        ids=["failure", "time-out"],
    )
    async def test_its_end_is_a_fault_that_can_be_caught(
        self, here: Setting, foreign: tuple[str, Foreign], name: str, more: str, status: int, said: str
    ) -> None:
        text = f"""
            do:
              - t:
                  try: [{{a: {{call: activity, with: {{activity: {name}, input: 1}}{more}}}}}]
                  catch: {{as: e, do: [{{s: {{set: {{caught: '${{ $e }}'}}}}}}]}}
            """
        async with here.running(text, activity_queue=foreign[0]) as run:
            outcome = await run.outcome()
            assert isinstance(outcome, Completed)
            caught: Any = outcome.output
            assert caught["caught"]["status"] == status
            assert said in caught["caught"].get("detail", "")
            assert caught["caught"]["instance"] == "/do/0/t/try/0/a"

    async def test_it_is_cancelled_with_the_run(self, here: Setting, foreign: tuple[str, Foreign]) -> None:
        text = "do: [{a: {call: activity, with: {activity: hang, input: 1}}}]"
        async with here.running(text, activity_queue=foreign[0]) as run:
            await until(lambda: "hangs" in foreign[1].seen)
            run.run.cancel("enough")
            assert await run.outcome() == Cancelled("enough")
            await until(lambda: "cancelled" in foreign[1].seen)

    async def test_the_branch_that_loses_has_it_cancelled(self, here: Setting, foreign: tuple[str, Foreign]) -> None:
        hangs = "{call: activity, with: {activity: hang, input: 1}}"
        wins = "{do: [{w: {wait: PT1S}}, {s: {set: {won: true}}}]}"
        text = f"do: [{{f: {{fork: {{compete: true, branches: [{{a: {hangs}}}, {{b: {wins}}}]}}}}}}]"
        async with here.running(text, activity_queue=foreign[0]) as run:
            assert await run.outcome() == Completed({"won": True})
            await until(lambda: "cancelled" in foreign[1].seen)


def _check_numbers(run: Followed) -> None:
    assert [number for number, _ in run.events] == list(range(1, len(run.events) + 1))


class TestContinuedAsNew:
    async def test_a_pause_goes_along(self, short: Setting) -> None:
        released = asyncio.Event()

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path == "/last":
                await released.wait()
            return web.json_response({})

        async with http_server(answer) as server:
            calls = ", ".join(f"{{c{n}: {_get(server.url)}}}" for n in range(4))
            last = f"{{call: http, with: {{method: get, endpoint: '{server.url}/last'}}}}"
            branch = f"{{fork: {{branches: [{{long: {last}}}, {{others: {{do: [{calls}]}}}}]}}}}"
            async with short.running(f"do: [{{f: {branch}}}, {{after: {{set: {{a: 1}}}}}}]") as run:
                await run.told(EventType.TASK_COMPLETED, "others")
                run.run.pause("for the night")
                await until(lambda: _accepted(run))
                before = len(await run.histories())
                released.set()
                await run.told(EventType.WORKFLOW_PAUSED)
                assert len(await run.histories()) > before
                status = await run.status()
                assert (status["phase"], status["control"]["result"]) == ("Paused", "applied")
                assert [one for _, one in run.events if one.task_name == "after"] == []
                run.run.resume()
                assert await run.outcome() == Completed({"a": 1})
        _check_numbers(run)

    async def test_a_long_call_in_one_branch_holds_up_no_other(self, short: Setting) -> None:
        released = asyncio.Event()

        async def answer(request: web.Request) -> web.StreamResponse:
            if request.path == "/long":
                await released.wait()
            return web.json_response({})

        async with http_server(answer) as server:
            calls = ", ".join(f"{{c{n}: {_get(server.url)}}}" for n in range(10))
            long = f"{{call: http, with: {{method: get, endpoint: '{server.url}/long'}}}}"
            text = f"do: [{{f: {{fork: {{branches: [{{a: {long}}}, {{b: {{do: [{calls}]}}}}]}}}}}}, {{e: {{set: {{a: 1}}}}}}]"
            async with short.running(text) as run:
                await run.told(EventType.TASK_COMPLETED, "b")
                assert len(server.seen) == 11
                assert len(await run.histories()) == 1
                released.set()
                assert await run.outcome() == Completed({"a": 1})
                # What was put off is done as soon as it can be.
                assert len(await run.histories()) > 1
                assert len(server.seen) == 11
        _check_numbers(run)

    async def test_no_event_is_lost_meanwhile(self, short: Setting) -> None:
        async with http_server(answering(200, "{}", "application/json")) as server:
            text = f"""
                do:
                  - l:
                      listen: {{to: {{any: [{{with: {{type: said}}}}], until: '${{ length == 8 }}'}}}}
                      foreach: {{item: e, do: [{{c: {_get(server.url, ", query: {n: '${ $e.n }'}")}}}]}}
                """
            async with short.running(text) as run:
                await run.told(EventType.CORRELATION_STARTED)
                handle = short.client.get_workflow_handle(names.run_id(run.execution_id))
                for n in range(8):
                    event = {"specversion": "1.0", "id": str(n), "source": "urn:test", "type": "said", "data": {"n": n}}
                    await handle.signal(names.EVENT, event)
                assert await run.outcome() == Completed([{"n": n} for n in range(8)])
                assert len(await run.histories()) > 2
            assert [request.query for request in server.seen] == [[("n", str(n))] for n in range(8)]
        _check_numbers(run)

    async def test_attempts_and_their_limit_go_along(self, short: Setting) -> None:
        async with http_server(answering(503)) as server:
            text = f"""
                do:
                  - t:
                      try: [{{c: {_get(server.url)}}}]
                      catch: {{retry: {{delay: {{milliseconds: 20}}, limit: {{attempt: {{count: 6}}}}}}}}
                """
            async with short.running(text) as run:
                assert isinstance(await run.outcome(), Faulted)
                assert len(await run.histories()) > 1
            assert run.types().count("task_retried") == len(server.seen) - 1 == 6 - 1
            assert len({request.headers.get("idempotency-key") for request in server.seen}) == 1
        _check_numbers(run)

    async def test_a_time_limit_keeps_its_moment(self, short: Setting) -> None:
        waits = "{for: {each: i, in: .list}, do: [{w: {wait: PT1S}}]}"
        text = f"do: [{{d: {{do: [{{l: {waits}}}], timeout: {{after: PT4S}}}}}}]"
        async with short.running(text, {"list": list(range(12))}) as run:
            outcome = await run.outcome()
            assert isinstance(outcome, Faulted), "the limit began anew with each continuation"
            assert (outcome.problem.status, outcome.problem.instance) == (408, "/do/0/d")
            assert len(await run.histories()) > 2
        _check_numbers(run)

    async def test_the_newest_events_can_be_asked_for(self, short: Setting) -> None:
        waits = "{for: {each: i, in: .list}, do: [{w: {wait: {milliseconds: 10}}}]}"
        async with short.running(f"do: [{{l: {waits}}}]", {"list": list(range(6))}) as run:
            await run.outcome()
            handle = short.client.get_workflow_handle(names.run_id(run.execution_id))
            page = await handle.query(names.EVENTS)
            last = run.events[-1][0]
            assert [event["number"] for event in page["events"]] == list(range(1, last + 1))
            assert page["events"][-1]["type"] == "workflow_completed"
            assert page["status"]["lastSequence"] == last
            assert page["status"]["continued"] == len(await run.histories()) - 1 > 2
            assert [each["number"] for each in (await handle.query(names.EVENTS, last - 2))["events"]] == [last - 1, last]
        _check_numbers(run)


async def _accepted(run: Followed) -> bool:
    return bool((await run.status())["control"]["result"] == "accepted")
