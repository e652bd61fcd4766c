"""Bounds of calls that need a server or processes to go beyond them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse
from tests.integration.calls.server import answering, http_server
from tests.until import until

from workflow_runner.calls import Calls
from workflow_runner.calls.process import MOST_AT_ONCE, ProcessRules
from workflow_runner.calls.protos import LARGEST_DESCRIPTORS
from workflow_runner.dsl import problems
from workflow_runner.dsl.problems import Problem, WorkflowFault
from workflow_runner.hosts.elsewhere import LARGEST_FUNCTION, Elsewhere, HostOptions


def file(name: str, *imports: str, filling: int = 0) -> FileDescriptorProto:
    found = FileDescriptorProto(name=name, package="demo", syntax="proto3", dependency=imports)
    if filling:
        found.message_type.add(name=f"M{'x' * filling}")
    if name == "root":
        found.service.add(name="Big")
    return found


@contextlib.asynccontextmanager
async def reflecting(files: Mapping[str, FileDescriptorProto]) -> AsyncIterator[int]:
    """A server that tells these files; its port."""

    async def answer(requests: Any, _context: Any) -> AsyncIterator[ServerReflectionResponse]:
        async for request in requests:
            response = ServerReflectionResponse()
            if request.HasField("list_services"):
                response.list_services_response.service.add(name="demo.Big")
            else:
                found = files[request.file_by_filename or "root"]
                response.file_descriptor_response.file_descriptor_proto.append(found.SerializeToString())
            yield response

    handler = grpc.stream_stream_rpc_method_handler(
        answer,
        request_deserializer=ServerReflectionRequest.FromString,
        response_serializer=ServerReflectionResponse.SerializeToString,
    )
    server = grpc.aio.server()
    service = grpc.method_handlers_generic_handler("grpc.reflection.v1.ServerReflection", {"ServerReflectionInfo": handler})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


CHAIN = {f"f{number}": file(f"f{number}", f"f{number + 1}") for number in range(400)}
TOLD = {
    "files": ({"root": file("root", "f0"), **CHAIN}, "300 files"),
    "imports": ({"root": file("root", *(f"f{number}" for number in range(10_001)))}, "10000 imports"),
    "bytes": ({"root": file("root", filling=LARGEST_DESCRIPTORS)}, f"{LARGEST_DESCRIPTORS} bytes"),
    "circle": ({"root": file("root", "a"), "a": file("a", "b"), "b": file("b", "a")}, "import each other in a circle"),
}


@pytest.mark.parametrize(("files", "said"), TOLD.values(), ids=TOLD)
async def test_reflection_tells_so_much(files: Mapping[str, FileDescriptorProto], said: str) -> None:
    calls = Calls()
    async with reflecting(files) as port:
        arguments: Any = {"proto": None, "service": "demo.Big", "host": "127.0.0.1", "port": port, "tls": False}
        problem = await refusal(calls, "grpc", {**arguments, "method": "x", "arguments": {}, "metadata": {}})
    assert problem.type == problems.CONFIGURATION
    assert said in str(problem.detail)


async def refusal(calls: Calls, protocol: str, arguments: Any) -> Problem:
    try:
        with pytest.raises(WorkflowFault) as caught:
            await calls.call(protocol, arguments, idempotency_key="k")
    finally:
        await calls.close()
    return caught.value.problem


def shell(command: str) -> Any:
    return {"process": "shell", "command": command, "arguments": [], "environment": {}, "await": True}


async def test_so_many_processes_run_at_the_same_time(tmp_path: Path) -> None:
    assert ProcessRules().at_once == MOST_AT_ONCE
    calls = Calls(processes=ProcessRules(at_once=2))
    command = f"echo > {tmp_path}/began-$$; while [ ! -e {tmp_path}/go ]; do sleep 0.01; done; ls {tmp_path} | grep -c began"
    running = [asyncio.create_task(calls.call("process", shell(command), idempotency_key="k")) for _ in range(3)]
    await until(lambda: len(list(tmp_path.glob("began-*"))) == 2)
    (tmp_path / "go").touch()
    seen = [int(str(one["stdout"])) for one in await asyncio.gather(*running)]  # type: ignore[index,call-overload]
    assert min(seen) == 2, "the third began when one of the two had ended"
    await until(lambda: len(list(tmp_path.glob("began-*"))) == 3)
    await calls.close()


async def test_a_process_that_is_cancelled_while_it_waits_for_its_turn_takes_no_place(tmp_path: Path) -> None:
    calls = Calls(processes=ProcessRules(at_once=1))
    first = asyncio.create_task(calls.call("process", shell(f"echo > {tmp_path}/a; sleep 60"), idempotency_key="k"))
    await until((tmp_path / "a").exists)
    second = asyncio.create_task(calls.call("process", shell(f"echo > {tmp_path}/b"), idempotency_key="k"))
    await asyncio.sleep(0)
    for task in (second, first):
        task.cancel()
    await asyncio.gather(first, second, return_exceptions=True)
    assert await calls.call("process", shell("echo free"), idempotency_key="k")
    assert not (tmp_path / "b").exists()
    await calls.close()


async def test_a_function_has_so_many_bytes() -> None:
    calls = Calls()
    async with http_server(answering(body=b"#" * (LARGEST_FUNCTION + 1))) as server:
        with pytest.raises(WorkflowFault, match=f"more than {LARGEST_FUNCTION}"):
            await Elsewhere(calls, HostOptions()).function({"uri": f"{server.url}/f.yaml", "name": "f"}, None)
    await calls.close()
