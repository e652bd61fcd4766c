"""The callback client against a real gRPC server: what is tried again, what is not, and what nobody sees."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import AsyncIterator, Iterator

import pytest
from pydantic import SecretStr
from tests.integration.stigmer.conftest import KEY, QUICK, event, plain
from tests.servers.stigmer import Behaviour, StigmerServer

from workflow_runner.errors import Temporary
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecutionStatus
from workflow_runner.server.tls import new_authority, serving_certificate
from workflow_runner.stigmer.client import (
    LARGEST_EVENT_BYTES,
    Api,
    CallbackClient,
    DeliveryFailed,
    DeliveryRefused,
    Destination,
    DestinationRefused,
)


@pytest.fixture
async def client(stigmer: StigmerServer) -> AsyncIterator[CallbackClient]:
    client = CallbackClient(plain(stigmer), deadline_seconds=5, backoff=QUICK)
    yield client
    await client.close()


async def test_an_event_arrives_whole_with_the_key(client: CallbackClient, stigmer: StigmerServer) -> None:
    sent = event(7)
    sent.error.code, sent.error.instance, sent.task_progress = "x.y", "/do/0/step", 40
    await client.report(sent)
    assert stigmer.arrived == [sent]
    assert stigmer.unauthenticated == 0


@pytest.mark.parametrize(
    "code",
    ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "INTERNAL", "UNKNOWN", "CANCELLED"],
)
async def test_what_may_pass_is_tried_three_times(client: CallbackClient, stigmer: StigmerServer, code: str) -> None:
    stigmer.behaviour = Behaviour("status", code=code)
    with pytest.raises(DeliveryFailed, match=f"event 1 .* in 3 attempts: {code}") as failure:
        await client.report(event(1))
    assert isinstance(failure.value, Temporary)
    assert (failure.value.status, failure.value.code) == (code, "stigmer.unavailable")
    assert len(stigmer.calls) == 3


async def test_the_third_attempt_may_be_the_one(client: CallbackClient, stigmer: StigmerServer) -> None:
    stigmer.behaviour = Behaviour("status")
    report = asyncio.create_task(client.report(event(1)))
    await stigmer.until(lambda: len(stigmer.calls) == 2)
    stigmer.behaviour = Behaviour()
    await report
    assert stigmer.numbers("run-1") == [1]


@pytest.mark.parametrize(
    ("code", "kind", "ours"),
    [
        ("UNAUTHENTICATED", DestinationRefused, "stigmer.unauthenticated"),
        ("PERMISSION_DENIED", DestinationRefused, "stigmer.permission-denied"),
        ("UNIMPLEMENTED", DestinationRefused, "stigmer.unimplemented"),
        ("INVALID_ARGUMENT", DeliveryRefused, "stigmer.refused"),
        ("NOT_FOUND", DeliveryRefused, "stigmer.refused"),
        ("FAILED_PRECONDITION", DeliveryRefused, "stigmer.refused"),
        ("OUT_OF_RANGE", DeliveryRefused, "stigmer.refused"),
    ],
)
async def test_a_refusal_is_not_tried_again(
    client: CallbackClient, stigmer: StigmerServer, code: str, kind: type[DeliveryRefused], ours: str
) -> None:
    stigmer.behaviour = Behaviour("status", code=code)
    with pytest.raises(DeliveryRefused) as refusal:
        await client.report(event(1))
    assert (type(refusal.value), refusal.value.status, refusal.value.code) == (kind, code, ours)
    assert not isinstance(refusal.value, Temporary)
    assert len(stigmer.calls) == 1


async def test_success_false_is_a_refusal_with_its_reason(client: CallbackClient, stigmer: StigmerServer) -> None:
    stigmer.behaviour = Behaviour("refuse", message="no such execution")
    with pytest.raises(DeliveryRefused, match=r"success: false.*no such execution") as refusal:
        await client.report(event(1))
    assert refusal.value.status == "OK"
    assert len(stigmer.calls) == 1


async def test_an_event_that_is_there_already_is_delivered(client: CallbackClient, stigmer: StigmerServer) -> None:
    stigmer.behaviour = Behaviour("status", code="ALREADY_EXISTS")
    await client.report(event(1))
    assert len(stigmer.calls) == 1


async def test_a_hanging_server_costs_one_deadline_an_attempt(stigmer: StigmerServer) -> None:
    stigmer.behaviour = Behaviour("hang")
    client = CallbackClient(plain(stigmer), attempts=2, deadline_seconds=0.2, backoff=QUICK)
    began = asyncio.get_running_loop().time()
    with pytest.raises(DeliveryFailed) as failure:
        await client.report(event(1))
    assert failure.value.status == "DEADLINE_EXCEEDED"
    assert 0.4 <= asyncio.get_running_loop().time() - began < 5
    await client.close()


async def test_a_slow_server_within_the_deadline_is_waited_for(client: CallbackClient, stigmer: StigmerServer) -> None:
    stigmer.behaviour = Behaviour(seconds=0.3)
    await client.report(event(1))
    assert stigmer.calls == [("run-1", 1)]


async def test_a_dropped_connection_is_dialled_again_and_the_event_repeated(
    client: CallbackClient, stigmer: StigmerServer
) -> None:
    await client.report(event(1))
    stigmer.behaviour = Behaviour("drop", sequence=2)
    report = asyncio.create_task(client.report(event(2)))
    await stigmer.until(lambda: 2 in stigmer.numbers("run-1"))
    stigmer.behaviour = Behaviour()
    # What its three attempts leave open here is the relay's to finish.
    await asyncio.gather(report, return_exceptions=True)
    await _deliver(client, 3)
    assert set(stigmer.numbers("run-1")) == {1, 2, 3}


async def test_a_server_that_comes_back_is_reached_by_the_same_client(client: CallbackClient, stigmer: StigmerServer) -> None:
    await client.report(event(1))
    await stigmer.down()
    with pytest.raises(DeliveryFailed):
        await client.report(event(2))
    await stigmer.up()
    await _deliver(client, 2)
    assert stigmer.numbers("run-1") == [1, 2]


async def test_an_event_that_no_server_takes_is_not_sent(client: CallbackClient, stigmer: StigmerServer) -> None:
    large = event(1)
    large.message = "x" * LARGEST_EVENT_BYTES
    with pytest.raises(DeliveryRefused) as refusal:
        await client.report(large)
    assert refusal.value.code == "stigmer.event-too-large"
    assert stigmer.calls == []


async def test_a_state_arrives_whole_under_the_id_of_its_event_and_names_it_when_it_is_refused(stigmer: StigmerServer) -> None:
    client = CallbackClient(plain(stigmer, api="status"), deadline_seconds=5, backoff=QUICK)
    state = WorkflowExecutionStatus(error="it broke", temporal_workflow_id="w")
    await client.report(event(7), state)
    assert stigmer.states == [("run-1", state)]
    stigmer.behaviour = Behaviour("refuse")
    with pytest.raises(DeliveryRefused, match=r"the state as of event 7 \(task_completed\) for .* was refused"):
        await client.report(event(7), state)
    state.error = "x" * LARGEST_EVENT_BYTES
    with pytest.raises(DeliveryRefused) as refusal:
        await client.report(event(8), state)
    assert refusal.value.code == "stigmer.event-too-large"
    await client.close()


async def test_without_a_key_no_authorization_is_sent(stigmer: StigmerServer) -> None:
    client = CallbackClient(plain(stigmer, key=""), backoff=QUICK)
    with pytest.raises(DestinationRefused, match="bad credentials: None"):
        await client.report(event(1))
    await client.close()


async def test_tls_with_an_own_ca_delivers() -> None:
    authority = new_authority()
    async with StigmerServer(api_key=KEY, tls=serving_certificate(authority, ["localhost"])) as stigmer:
        client = CallbackClient(
            Destination(f"localhost:{stigmer.port}", SecretStr(KEY), ca_pem=authority.certificate), backoff=QUICK
        )
        await client.report(event(1))
        assert stigmer.numbers("run-1") == [1]
        await client.close()


@pytest.mark.parametrize("trusted", ["another CA", "the system's roots", "another name"])
async def test_a_certificate_that_does_not_verify_is_never_accepted(trusted: str) -> None:
    authority = new_authority()
    names = ["elsewhere.example"] if trusted == "another name" else ["localhost"]
    ca = {"another CA": new_authority().certificate, "the system's roots": None, "another name": authority.certificate}
    async with StigmerServer(api_key=KEY, tls=serving_certificate(authority, names)) as stigmer:
        destination = Destination(f"localhost:{stigmer.port}", SecretStr(KEY), ca_pem=ca[trusted])
        client = CallbackClient(destination, deadline_seconds=5, backoff=QUICK)
        with pytest.raises(DeliveryFailed, match="certificate was not accepted") as failure:
            await client.report(event(1))
        assert failure.value.status == "UNAVAILABLE"
        assert stigmer.calls == []
        await client.close()


async def test_tls_is_the_default_and_never_falls_back_to_plaintext(stigmer: StigmerServer) -> None:
    client = CallbackClient(Destination(stigmer.listen, SecretStr(KEY)), deadline_seconds=5, backoff=QUICK)
    with pytest.raises(DeliveryFailed):
        await client.report(event(1))
    assert stigmer.calls == []
    await client.close()


async def test_plaintext_is_not_spoken_to_a_tls_server() -> None:
    authority = new_authority()
    async with StigmerServer(api_key=KEY, tls=serving_certificate(authority, ["localhost"])) as stigmer:
        destination = Destination(f"localhost:{stigmer.port}", SecretStr(KEY), use_tls=False)
        client = CallbackClient(destination, deadline_seconds=5, backoff=QUICK)
        with pytest.raises(DeliveryFailed):
            await client.report(event(1))
        await client.close()


@pytest.fixture
def everything_logged() -> Iterator[list[str]]:
    """Every record of every logger at every level, rendered the unkind way: without telemetry's redaction."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.getMessage()} {vars(record)} {record.exc_info}")

    handler, root = Keep(level=0), logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(0)
    yield lines
    root.setLevel(level)
    root.removeHandler(handler)


@pytest.mark.parametrize(
    "behaviour",
    [
        Behaviour("status"),
        Behaviour("status", code="UNAUTHENTICATED"),
        Behaviour("status", code="INVALID_ARGUMENT"),
        Behaviour("refuse"),
        Behaviour("hang"),
        Behaviour("down"),
    ],
    ids=lambda behaviour: f"{behaviour.mode}-{behaviour.code}",
)
@pytest.mark.parametrize("api", ["progress", "status"])
async def test_the_key_is_in_no_error_and_no_log_even_if_the_server_quotes_it(
    stigmer: StigmerServer, behaviour: Behaviour, everything_logged: list[str], api: Api
) -> None:
    stigmer.behaviour = behaviour
    if behaviour.mode == "down":
        await stigmer.down()
    destination = plain(stigmer, api=api)
    client = CallbackClient(destination, deadline_seconds=0.3, backoff=QUICK)
    with pytest.raises((DeliveryFailed, DeliveryRefused)) as caught:
        await client.report(event(1), WorkflowExecutionStatus(error="it broke"))
    logging.getLogger("test").error("it failed", exc_info=caught.value)
    seen = [*everything_logged, repr(destination), str(destination), repr(client)]
    error: BaseException | None = caught.value
    while error is not None:
        seen += [str(error), repr(error), repr(error.args), repr(vars(error))]
        seen += traceback.TracebackException.from_exception(error, capture_locals=True).format()
        error = error.__cause__ or error.__context__
    assert len(everything_logged) > 0
    assert not [line for line in seen if KEY in line]
    await client.close()


async def _deliver(client: CallbackClient, number: int) -> None:
    """Report an event until it is taken, as the relay does."""
    async with asyncio.timeout(20):
        while True:
            try:
                await client.report(event(number))
            except DeliveryFailed:
                continue
            return
