"""Converted specs run: each kind of task on the local host, against real servers, and what comes out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests import canaries
from tests.integration.calls.server import Server, http_server
from tests.integration.hosts.recorder import Recorder
from tests.servers.agents import AgentServer
from tests.servers.greeter import Greeter, greeter_server
from tests.unit.stigmer.specs import environment, spec, task
from tests.unit.stigmer.test_converter import KINDS
from tests.until import until

from workflow_runner.calls.agent_service import AgentService
from workflow_runner.dsl.templates import Json
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.library import Library
from workflow_runner.hosts.local import LocalRun, Source
from workflow_runner.interpreter.outcome import Completed, Faulted, Outcome
from workflow_runner.stigmer.converter import convert


async def outcome(
    *tasks: dict[str, Any],
    given: Json = None,
    secrets: Mapping[str, Json] | None = None,
    options: HostOptions | None = None,
    bus: EventBus | None = None,
    recorder: Recorder | None = None,
    **members: Any,
) -> Outcome:
    """The spec's text, run."""
    text = convert(spec(*tasks, **members)).yaml
    run = LocalRun(
        Source(text, "converted.yaml"),
        given,
        execution_id="exec-1",
        run_id="run-1",
        secrets=secrets or {},
        report=recorder or Recorder(),
        options=options,
        bus=bus,
    )
    return await asyncio.wait_for(run.run(), 30)


async def output(*tasks: dict[str, Any], **more: Any) -> Json:
    ended = await outcome(*tasks, **more)
    assert isinstance(ended, Completed), ended
    return ended.output


async def problem(*tasks: dict[str, Any], **more: Any) -> dict[str, Json]:
    ended = await outcome(*tasks, **more)
    assert isinstance(ended, Faulted), ended
    return ended.problem.to_dict()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """Answers with what it was sent."""

    async def echo(request: web.Request) -> web.StreamResponse:
        if request.path == "/wait":
            await asyncio.Event().wait()
        body = await request.read()
        return web.json_response({"path": request.path, "body": json.loads(body) if body else None})

    async with http_server(echo) as running:
        yield running


@pytest.fixture
async def greeter() -> AsyncIterator[Greeter]:
    async with greeter_server() as running:
        yield running


NOTE = task("note", "SET", {"variables": {"text": "Order ${ .order.id } of ${.order.by}", "total": "${ .order.a + .order.b }"}})
ORDER: dict[str, Json] = {"order": {"id": 7, "by": "Ann", "a": 1, "b": 2.5}}


class TestKinds:
    async def test_set(self) -> None:
        assert await output(NOTE, given=ORDER) == {"text": "Order 7 of Ann", "total": 3.5}

    async def test_export_and_flow(self) -> None:
        skipped = task("never", "SET", {"variables": {"x": "1"}})
        last = task("last", "SET", {"variables": {"kept": "${ $context.text }", "now": "${ .total }"}})
        first = {**NOTE, "export": {"as": "${.}"}, "flow": {"then": "last"}}
        assert await output(first, skipped, last, given=ORDER) == {"kept": "Order 7 of Ann", "now": 3.5}

    async def test_http_call(self, server: Server) -> None:
        config = {
            "method": "POST",
            "endpoint": {"uri": f"{server.url}/orders/${{.order.id}}"},
            "headers": {"Authorization": "Bearer ${ .secrets.TOKEN }", "X-Region": "${REGION}"},
            "body": {"items": [{"by": "${.order.by}", "note": "for ${.order.by}"}], "n": 1},
            "timeout_seconds": 20,
        }
        got = await output(
            task("post", "HTTP_CALL", config),
            given=ORDER,
            secrets={"TOKEN": canaries.WORKFLOW_SECRET, "REGION": "eu"},
            env_spec=environment(TOKEN={"is_secret": True}, REGION={}),
        )
        assert got == {"path": "/orders/7", "body": {"items": [{"by": "Ann", "note": "for Ann"}], "n": 1}}
        (seen,) = server.seen
        assert (seen.method, seen.headers["x-region"]) == ("POST", "eu")
        assert seen.headers["authorization"] == f"Bearer {canaries.WORKFLOW_SECRET}"

    async def test_the_time_limit_of_an_http_call(self, server: Server) -> None:
        config = {"method": "GET", "endpoint": {"uri": f"{server.url}/wait"}, "timeout_seconds": 1}
        got = await problem(task("get", "HTTP_CALL", config))
        assert got["status"] == 408

    async def test_grpc_call(self, greeter: Greeter) -> None:
        config = {
            "service": f"grpc://127.0.0.1:{greeter.port}/demo.v1.Greeter",
            "method": "SayHello",
            "request": {"name": "${.order.by}", "address": {"numbers": [1, "${ .order.a + 1 }"]}},
        }
        got = await output(task("hello", "GRPC_CALL", config), given=ORDER)
        assert isinstance(got, dict)
        assert got["message"] == "Hello Ann"
        assert greeter.requests[0].address.numbers == [1, 2]

    async def test_call_activity_without_temporal(self) -> None:
        got = await problem(task("charge", "CALL_ACTIVITY", {"activity": "Charge", "input": {"n": "${.order.a}"}}), given=ORDER)
        assert got["type"] == "https://serverlessworkflow.io/spec/1.0.0/errors/configuration"
        assert str(got["detail"]).startswith("call.no-temporal: the activity 'Charge' is not called")

    @pytest.mark.parametrize(("number", "expected"), [(9, {"size": "big"}), (1, {"size": "small"})])
    async def test_switch(self, number: int, expected: Json) -> None:
        cases = [{"name": "big", "when": "${ .n > 5 }", "then": "big"}, {"name": "other", "then": "small"}]
        big = task("big", "SET", {"variables": {"size": "big"}}, flow={"then": "end"})
        small = task("small", "SET", {"variables": {"size": "small"}})
        assert await output(task("pick", "SWITCH", {"cases": cases}), big, small, given={"n": number}) == expected

    async def test_for(self) -> None:
        config = {
            "each": "order",
            "in": "${ .orders }",
            "do": [
                task(
                    "add",
                    "SET",
                    {"variables": {"text": '${ $context.text // "" }${.order.id}@${ $data.index };'}},
                    export={"as": "${ . }"},
                )
            ],
        }
        assert await output(task("each", "FOR", config), given={"orders": [{"id": "a"}, {"id": "b"}]}) == {"text": "a@0;b@1;"}

    async def test_fork(self) -> None:
        branches = [
            {"name": name, "do": [task("say", "SET", {"variables": {"is": f"{name} of ${{.n}}"}})]} for name in ("x", "y")
        ]
        assert await output(task("both", "FORK", {"branches": branches}), given={"n": 2}) == [
            {"is": "x of 2"},
            {"is": "y of 2"},
        ]

    async def test_fork_that_is_a_race(self, server: Server) -> None:
        wait = task("wait", "HTTP_CALL", {"method": "GET", "endpoint": {"uri": f"{server.url}/wait"}})
        quick = task("say", "SET", {"variables": {"is": "quick"}})
        branches = [{"name": "slow", "do": [wait]}, {"name": "quick", "do": [quick]}]
        assert await output(task("race", "FORK", {"branches": branches, "compete": True})) == {"is": "quick"}

    async def test_try_and_raise(self) -> None:
        boom = task("boom", "RAISE", {"error": "ValidationError", "message": "no ${.order.by}"})
        handler = task("note", "SET", {"variables": {"said": "${.oops.message} (${ .oops.status })", "id": "${ .order.id }"}})
        config = {"try": [boom], "catch": {"as": "oops", "do": [handler]}}
        assert await output(task("guard", "TRY", config), given=ORDER) == {"said": "no Ann (400)", "id": 7}

    async def test_try_that_catches_nothing(self) -> None:
        boom = task("boom", "RAISE", {"error": "Out of stock", "message": "sorry"})
        assert await problem(task("guard", "TRY", {"try": [boom]})) == {
            "type": "urn:stigmer:error:Out-of-stock",
            "status": 500,
            "title": "Out of stock",
            "detail": "sorry",
            "instance": "/do/0/guard/do/0/boom",
        }

    async def test_raise_what_an_expression_says(self) -> None:
        got = await problem(task("boom", "RAISE", {"error": "${.code}"}), given={"code": "E42"})
        assert (got["type"], got["title"]) == ("urn:stigmer:error:E42", "E42")

    @pytest.mark.parametrize("mode", ["one", "all"])
    async def test_listen(self, mode: str) -> None:
        bus = EventBus()
        signals = [{"id": "approval", "type": "signal"}, {"id": "${ .also }", "type": "signal"}]
        waiting = task("wait", "LISTEN", {"to": {"mode": mode, "signals": signals}})
        running = asyncio.create_task(output(waiting, given={"also": "payment"}, bus=bus))
        await until(lambda: bus.subscriptions != [])
        for name in ("other", "payment", "approval"):
            event: dict[str, Json] = {"specversion": "1.0", "id": name, "source": "/t", "type": "signal", "data": {"by": name}}
            bus.offer(event)
        expected: list[Json] = [{"by": "payment"}]
        assert await running == (expected if mode == "one" else [*expected, {"by": "approval"}])

    async def test_wait(self) -> None:
        recorder = Recorder()
        assert await output(task("rest", "WAIT", {"seconds": 1}), given=5, recorder=recorder) == 5
        assert recorder.lines[-2:] == ["completed rest", "workflow_completed"]

    async def test_run(self, tmp_path: Path) -> None:
        child = spec(
            task("double", "SET", {"variables": {"twice": "${ .n * 2 }"}}),
            document={"dsl": "1.0.0", "namespace": "acme", "name": "double", "version": "1.0.0"},
        )
        (tmp_path / "double.yaml").write_text(convert(child).yaml)
        options = HostOptions(library=Library([tmp_path], ()))
        assert await output(
            task("sub", "RUN", {"workflow": "double", "input": {"n": "${ .order.a + 20 }"}}), given=ORDER, options=options
        ) == {"twice": 42}

    async def test_agent_call(self) -> None:
        async with AgentServer(canaries.STIGMER_KEY, answers=lambda made: f"{made.spec.message} Fine.") as stigmer:
            options = HostOptions(agents=AgentService(stigmer.listen, canaries.STIGMER_KEY, use_tls=False))
            config = {
                "agent": "reviewer",
                "message": "Review ${ .order.id }.",
                "env": {"TOKEN": "${ .secrets.TOKEN }", "BY": "${.order.by}"},
                "config": {"model": "large", "timeout": 20, "temperature": 0.1},
            }
            reviewing = task("review", "AGENT_CALL", config, export={"as": "${ {review: .} }"})
            use = task("use", "SET", {"variables": {"said": "<${ $context.review }>"}})
            got = await output(reviewing, use, given=ORDER, secrets={"TOKEN": canaries.ENV_SECRET}, options=options)
            assert got == {"said": "<Review 7. Fine.>"}
            (made,) = stigmer.executions.values()
        assert {name: (one.value, one.is_secret) for name, one in made.spec.runtime_env.items()} == {
            "TOKEN": (canaries.ENV_SECRET, True),
            "BY": ("Ann", False),
        }

    def test_every_kind_is_run(self) -> None:
        tests = [name for name in vars(TestKinds) if name.startswith("test_")]
        kinds = {kind.lower() for kind, _, _ in KINDS.values()}
        assert {kind for kind in kinds if not any(kind in name for name in tests)} == set()
