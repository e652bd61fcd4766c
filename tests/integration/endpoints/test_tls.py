"""Endpoints with TLS: whom the operator believes, what it shows, and what becomes of a runner without room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import SecretStr
from tests.integration.endpoints.operators import operator
from tests.integration.serve.conftest import Serve
from tests.integration.serve.served import Served
from tests.servers.tls import Authority
from tests.unit.interpreter.virtual import whole

from workflow_runner.controller.endpoint_client import EndpointClient, EndpointError, Target
from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2

Json = dict[str, Any]

HELLO = "do: [{step: {set: {message: hello}}}]"


class Guarded:
    """A runner with a certificate of `authority`, which wants to see another one of it."""

    def __init__(self, served: Served, authority: Authority) -> None:
        self.served, self.authority = served, authority

    def way(self, authority: Authority | None = None, **tls: Any) -> Json:
        """What a WorkflowRunner says, believing in this authority."""
        believed = (authority or self.authority).certificate
        return {"endpoint": f"grpcs://{self.served.address}", "tls": {"caBundle": believed, **tls}}


@pytest.fixture
async def guarded(serve: Serve, tmp_path: Path) -> Guarded:
    authority, folder = Authority(), tmp_path / "tls"
    folder.mkdir()
    pair = authority.server()
    for name, text in (("tls.crt", pair.certificate), ("tls.key", pair.key), ("ca.crt", authority.certificate)):
        (folder / name).write_text(text)
    served = await serve(
        WORKFLOW_RUNNER_TLS_CERTIFICATE=str(folder / "tls.crt"),
        WORKFLOW_RUNNER_TLS_KEY=str(folder / "tls.key"),
        WORKFLOW_RUNNER_TLS_CLIENT_CA=str(folder / "ca.crt"),
    )
    return Guarded(served, authority)


async def test_the_operator_shows_its_certificate_and_believes_the_authority_of_a_secret(guarded: Guarded) -> None:
    tls = {"caSecretRef": {"name": "ca", "key": "ca.crt"}, "clientCertificateSecretRef": {"name": "own"}}
    runner = {"endpoint": f"grpcs://{guarded.served.address}", "tls": tls}
    async with operator(HELLO, "", runner=runner) as made:
        assert "ns/ca" in (await made.says("SecretNotUsable"))["message"]
        pair = guarded.authority.client("operator")
        made.server.secrets["own"] = {"tls.crt": pair.certificate.encode(), "tls.key": pair.key.encode()}
        made.server.secrets["ca"] = {"ca.crt": guarded.authority.certificate.encode()}
        assert (await made.reaches("Completed"))["output"] == {"message": "hello"}


async def test_without_a_certificate_it_does_not_get_in(guarded: Guarded) -> None:
    async with operator(HELLO, "", runner=guarded.way()) as made:
        await made.says("EndpointUnreachable")


async def test_it_does_not_believe_another_authority(guarded: Guarded) -> None:
    async with operator(HELLO, "", runner=guarded.way(Authority())) as made:
        condition = await made.says("EndpointUnreachable")
        assert "SSL" in condition["message"]


async def test_a_runner_without_room_names_the_time_to_ask_again(serve: Serve) -> None:
    served = await serve(WORKFLOW_RUNNER_MOST_EXECUTIONS="1")
    client = EndpointClient(Target(served.address, use_tls=False, api_key=SecretStr("")))
    try:
        text = whole("do: [{nap: {wait: PT10M}}]")
        await client.start(io_pb2.WorkflowExecuteInput(workflow_execution_id="one", workflow_yaml=text))
        with pytest.raises(EndpointError) as refused:
            await client.start(io_pb2.WorkflowExecuteInput(workflow_execution_id="two", workflow_yaml=text))
        assert (refused.value.status, refused.value.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "EndpointBusy")
        assert refused.value.retry_after == 5
        await client.cancel("one", "", force=True)
    finally:
        await client.close()


async def test_an_error_does_not_hold_the_key(serve: Serve, tmp_path: Path) -> None:
    (keys := tmp_path / "keys").mkdir()
    (keys / "operator").write_text("the-right-key-0001\n")
    served = await serve(WORKFLOW_RUNNER_API_KEYS=str(keys))
    client = EndpointClient(Target(served.address, use_tls=False, api_key=SecretStr("the-wrong-key-0002")))
    try:
        with pytest.raises(EndpointError) as refused:
            await client.state("x")
        assert refused.value.reason == "EndpointRefusesKey"
        assert "the-wrong-key-0002" not in f"{refused.value!r} {refused.value}"
        assert refused.value.__cause__ is None
    finally:
        await client.close()
