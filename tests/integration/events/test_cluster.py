"""CloudEvents for runs in the cluster: the operator's endpoint, its sink and a pod's reporter as they ship, over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import math
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from tests.integration.hosts.recorder import Recorder, local_run
from tests.integration.server import conftest as server
from tests.until import until

from workflow_runner.hosts.cloud_events import LARGEST_EVENT
from workflow_runner.hosts.event_bus import MOST_WAITING, EventBus, Offer
from workflow_runner.hosts.event_endpoint import listen_at, serve_events
from workflow_runner.hosts.reporter import Reporter
from workflow_runner.interpreter.events import TaskCounts
from workflow_runner.interpreter.outcome import Completed
from workflow_runner.interpreter.subscriptions import Subscription
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2, sink_pb2_grpc
from workflow_runner.reconcile.live import End, LiveRun
from workflow_runner.server.events import MOST_ON_THEIR_WAY, EventHub, NamespaceTokens

api_server, cluster, sink = server.api_server, server.cluster, server.sink

EVENT: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "said"}
LISTENS = "do: [{l: {listen: {to: {any: [{with: {type: said}}], until: length == 2}}}}]"


class World:
    """The operator's endpoint, whose tokens are `token-of-NAMESPACE`, and pods of its runs."""

    def __init__(self, sink: server.Sink, folder: Path, port: int) -> None:
        self.sink, self.folder, self.port = sink, folder, port
        self.hub = sink.service.events
        self.reporters: list[Reporter] = []

    async def pod(self, number: int, bus: EventBus) -> Reporter:
        """A connected pod of execution-NUMBER."""
        uid = f"execution-{number}"
        if self.sink.runs.get(uid) is None:
            self.sink.runs.begin(uid, LiveRun(execution_id=uid, attempt=1), None, delivered=0)
        (token := self.folder / f"pod-{number}").write_text(f"pod-{number}.x.y")
        reporter = Reporter(
            f"localhost:{self.sink.port}",
            ca_pem=self.sink.ca,
            token_file=token,
            execution_uid=uid,
            execution_id=uid,
            attempt=1,
            workflow_name="w",
            on_desired_state=lambda desired: None,
            counts=TaskCounts,
            bus=bus,
        )
        self.reporters.append(reporter)
        await reporter.start()
        return reporter

    async def connected(self, streams: int = 1) -> None:
        await until(lambda: self.sink.service.streams["Listen"] == streams)

    async def post(self, namespace: str, *events: dict[str, Any], token: str | None = None) -> tuple[int, Any]:
        body = json.dumps(list(events)).encode()
        headers = {
            "Content-Type": "application/cloudevents-batch+json",
            "Authorization": f"Bearer {token or f'token-of-{namespace}'}",
        }
        async with (
            aiohttp.ClientSession() as session,
            session.post(
                f"http://127.0.0.1:{self.port}/namespaces/{namespace}", data=io.BytesIO(body), headers=headers
            ) as response,
        ):
            return response.status, await response.json()


@pytest.fixture
async def world(sink: server.Sink, tmp_path: Path) -> AsyncIterator[World]:
    (folder := tmp_path / "tokens").mkdir()
    for namespace in ("ns", "elsewhere"):
        (folder / namespace).write_text(f"token-of-{namespace}\n")
    endpoint = await serve_events(await listen_at("127.0.0.1", 0), NamespaceTokens(folder, sink.service.events).admit)
    world = World(sink, tmp_path, endpoint.port)
    yield world
    for reporter in world.reporters:
        await reporter.close()
    await endpoint.close()


async def test_an_event_reaches_the_runs_of_its_namespace_that_listen_for_it(world: World) -> None:
    buses = [EventBus(), EventBus()]
    running = []
    for number, bus in enumerate(buses, start=1):
        told = Recorder()
        running.append(asyncio.create_task(local_run(LISTENS, report=told, bus=bus).run()))
        await told.until("workflow_correlation_started l")
        await world.pod(number, bus)
    await world.connected(2)
    events = [EVENT | {"data": 1}, EVENT | {"type": "other"}, EVENT | {"data": 2}]
    assert await world.post("ns", *events) == (202, {"events": 3, "taken": 2})
    assert [await each for each in running] == [Completed([1, 2])] * 2


async def test_a_run_that_listens_later_and_for_something_else_says_so(world: World) -> None:
    bus, told = EventBus(), Recorder()
    await world.pod(1, bus)
    document = """
        do:
          - a: {listen: {to: {one: {with: {type: a}}}}}
          - b: {listen: {to: {one: {with: {type: 'b.*', room: 5}}}}}
          - c: {listen: {to: {any: []}}}
          - d: {set: done}
    """
    running = asyncio.create_task(local_run(document, report=told, bus=bus).run())
    for type_, name in (("a", "a"), ("bc", "b"), ("x", "c")):
        await told.until(f"workflow_correlation_started {name}")

        async def heard(event: dict[str, Any] = EVENT | {"type": type_, "room": 5}) -> bool:
            return bool((await world.post("ns", event))[1].get("taken") == 1)

        await until(heard)
    assert await running == Completed("done")


@pytest.mark.parametrize(
    ("namespace", "token"),
    [
        ("ns", "token-of-elsewhere"),
        ("ns", "x"),
        ("unknown", "token-of-ns"),
        ("../tokens/ns", "token-of-ns"),
        ("ns/more", "token-of-ns"),
    ],
)
async def test_a_namespace_takes_events_by_its_own_token_only(world: World, namespace: str, token: str) -> None:
    status, _ = await world.post(namespace, EVENT, token=token)
    assert status == 401


async def test_a_token_is_read_as_it_is_now(world: World) -> None:
    (world.folder / "tokens" / "ns").write_text("another")
    assert (await world.post("ns", EVENT))[0] == 401
    assert (await world.post("ns", EVENT, token="another"))[0] == 202
    (world.folder / "tokens" / "ns").write_text("")
    assert (await world.post("ns", EVENT, token="another"))[0] == 401


async def test_other_namespaces_hear_nothing(world: World) -> None:
    bus = EventBus()
    bus.subscribe(subscription := Subscription([{}], []))
    await world.pod(1, bus)
    await world.connected()
    assert await world.post("elsewhere", EVENT) == (202, {"events": 1, "taken": 0})
    assert await world.post("ns", EVENT) == (202, {"events": 1, "taken": 1})
    assert len(subscription.waiting) == 1


async def test_a_pod_that_listens_for_nothing_opens_no_stream_and_is_sent_nothing(world: World) -> None:
    bus = EventBus()
    reporter = await world.pod(1, bus)
    assert await reporter.first_desired_state(20) is not None
    assert world.sink.service.streams["Listen"] == 0
    assert await world.post("ns", EVENT) == (202, {"events": 1, "taken": 0})


async def test_a_run_without_room_makes_the_sender_try_again(world: World) -> None:
    bus = EventBus()
    bus.subscribe(Subscription([{}], [dict(EVENT) for _ in range(MOST_WAITING)]))
    await world.pod(1, bus)
    await world.connected()
    assert (await world.post("ns", EVENT))[0] == 503


async def test_while_a_pod_that_listens_is_away_its_events_are_not_taken(world: World) -> None:
    bus = EventBus()
    bus.subscribe(Subscription([{"type": "said"}], []))
    reporter = await world.pod(1, bus)
    await world.connected()
    assert (await world.post("ns", EVENT))[0] == 202
    await reporter.close()
    await world.connected(0)
    assert (await world.post("ns", EVENT))[0] == 503
    assert (await world.post("ns", EVENT | {"type": "other"}))[0] == 202
    await world.pod(1, bus)
    await world.connected()
    assert (await world.post("ns", EVENT))[0] == 202


async def test_a_pod_whose_stream_the_operator_ended_answers_on_the_next(world: World) -> None:
    bus = EventBus()
    bus.subscribe(Subscription([{}], []))
    await world.pod(1, bus)
    for _ in range(3):
        await world.connected()
        assert await world.post("ns", EVENT) == (202, {"events": 1, "taken": 1})
        [ear] = world.hub._ears["ns"]
        ear.hang_up()
        await until(lambda ear=ear: ear not in world.hub._ears.get("ns", ()))  # type: ignore[misc]


async def test_nobody_waits_for_a_pod_whose_run_has_ended(world: World) -> None:
    bus = EventBus()
    bus.subscribe(Subscription([{}], []))
    reporter = await world.pod(1, bus)
    await world.connected()
    live = world.sink.runs.get("execution-1")
    assert live is not None
    live.conclude(End("Completed", datetime.now(UTC)))
    await reporter.close()
    await world.connected(0)
    assert await world.post("ns", EVENT) == (202, {"events": 1, "taken": 0})


async def test_an_operator_that_has_just_started_takes_nothing_until_pods_are_back(world: World) -> None:
    bus = EventBus()
    bus.subscribe(subscription := Subscription([{}], []))
    world.hub.expect(math.inf)
    await world.pod(1, bus)
    await world.connected()
    assert (await world.post("ns", EVENT))[0] == 503
    assert subscription.waiting == []
    world.hub.expect(0.0)
    assert await world.post("ns", EVENT) == (202, {"events": 1, "taken": 1})


async def test_an_operator_that_has_just_started_waits_no_longer_when_all_pods_are_back(world: World) -> None:
    hub = EventHub(back_seconds=0.0)
    hub.expect(math.inf, ["execution-1", "execution-2"])
    hub.back("execution-1")
    hub.back("another")
    assert await hub.offer("ns", EVENT) == Offer(0, 1)
    hub.back("execution-2")
    assert await hub.offer("ns", EVENT) == Offer(0, 0)
    world.hub.expect(math.inf, ["execution-1"])
    reporter = await world.pod(1, EventBus())
    assert await reporter.first_desired_state(20) is not None
    assert world.hub._complete_at < math.inf


async def test_those_who_were_waited_for_are_forgotten_without_any_event() -> None:
    hub = EventHub(away_seconds=0.0)
    for number in range(3):
        with hub.listening("ns", f"execution-{number}") as ear:
            ear.wanted = [{}]
    assert list(hub._away) == ["execution-2"]


async def test_events_behind_one_that_is_not_taken_are_not_handed_on(world: World) -> None:
    bus = EventBus()
    bus.subscribe(full := Subscription([{"type": "second"}], [dict(EVENT) for _ in range(MOST_WAITING)]))
    bus.subscribe(roomy := Subscription([{}], []))
    await world.pod(1, bus)
    await world.connected()
    events = [EVENT | {"type": name} for name in ("first", "second", "third")]
    assert (await world.post("ns", *events))[0] == 503
    assert [event["type"] for event in roomy.waiting if isinstance(event, dict)] == ["first", "second"]
    full.waiting.clear()
    assert await world.post("ns", *events) == (202, {"events": 3, "taken": 3})


async def test_the_largest_event_reaches_a_pod(world: World) -> None:
    bus = EventBus()
    bus.subscribe(subscription := Subscription([{}], []))
    await world.pod(1, bus)
    await world.connected()
    headers = {"Content-Type": "text/plain", "Authorization": "Bearer token-of-ns"}
    headers |= {f"ce-{name}": value for name, value in EVENT.items()}
    body = bytes([1]) * LARGEST_EVENT
    address = f"http://127.0.0.1:{world.port}/namespaces/ns"
    async with aiohttp.ClientSession() as session, session.post(address, data=io.BytesIO(body), headers=headers) as response:
        assert response.status == 202
    [event] = subscription.waiting
    assert isinstance(event, dict)
    assert event["data"] == body.decode()


async def test_nobody_else_waits_for_a_pod_that_owes_an_answer(world: World) -> None:
    hub = EventHub(answer_seconds=60, late_seconds=0.0)
    with hub.listening("ns", "execution-1") as ear:
        ear.wanted = [{}]
        first = asyncio.create_task(hub.offer("ns", EVENT))
        assert await ear.next() is not None
        async with asyncio.timeout(20):
            assert await hub.offer("ns", EVENT) == Offer(0, 1)
        ear.answered(1, Offer(1, 0))
        assert await first == Offer(1, 0)


async def test_nobody_waits_for_a_pod_that_does_not_come_back(world: World) -> None:
    hub = EventHub(away_seconds=0.05)
    with hub.listening("ns", "execution-1") as ear:
        ear.wanted = [{}]
    assert await hub.offer("ns", EVENT) == Offer(0, 1)

    async def forgotten() -> bool:
        return await hub.offer("ns", EVENT) == Offer(0, 0)

    await until(forgotten)


@contextlib.asynccontextmanager
async def listening(world: World, token: str, uid: str = "execution-1") -> AsyncIterator[Any]:
    """A pod that says what it wants and answers nothing."""
    if world.sink.runs.get("execution-1") is None:
        world.sink.runs.begin("execution-1", LiveRun(execution_id="execution-1", attempt=1), None, delivered=0)
    async with world.sink.channel() as channel:
        call = sink_pb2_grpc.SinkServiceStub(channel).Listen(metadata=(("authorization", f"Bearer {token}"),))
        interest = sink_pb2.Interest(wanted=[sink_pb2.WantedEvent()])
        run = sink_pb2.Run(execution_uid=uid, execution_id=uid, attempt=1)
        with contextlib.suppress(grpc.aio.AioRpcError):  # a server that has refused it by then: reading tells why
            await call.write(sink_pb2.ListenRequest(run=run, interest=interest))
        yield call


@pytest.mark.parametrize(
    ("token", "uid", "code"),
    [
        ("wrong", "execution-1", grpc.StatusCode.UNAUTHENTICATED),
        ("pod-2.x.y", "execution-1", grpc.StatusCode.PERMISSION_DENIED),
        ("pod-1.x.y", "execution-2", grpc.StatusCode.PERMISSION_DENIED),
    ],
)
async def test_a_pod_listens_for_its_own_run_only(world: World, token: str, uid: str, code: grpc.StatusCode) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with listening(world, token, uid) as call:
            await call.read()
    assert caught.value.code() is code
    assert await world.hub.offer("ns", EVENT) == Offer(0, 0)


async def test_events_that_a_pod_does_not_answer_are_bounded_and_not_taken(world: World) -> None:
    async with listening(world, "pod-1.x.y") as call:
        await world.connected()
        offering = [asyncio.create_task(world.hub.offer("ns", EVENT)) for _ in range(MOST_ON_THEIR_WAY)]
        for number in range(1, MOST_ON_THEIR_WAY + 1):
            assert (await call.read()).number == number
        assert await world.hub.offer("ns", EVENT) == Offer(0, 1)
        await call.write(sink_pb2.ListenRequest(answers=[sink_pb2.EventAnswer(number=1, taken=True)]))
        assert await offering[0] == Offer(1, 0)
        call.cancel()
        assert all(not offer.taken and offer.full for offer in await asyncio.gather(*offering[1:]))


async def test_an_answer_is_waited_for_a_bounded_time() -> None:
    hub = EventHub(answer_seconds=0.05)
    with hub.listening("ns", "execution-1") as ear:
        ear.wanted = [{"type": "said"}]
        assert await hub.offer("ns", EVENT) == Offer(0, 1)
