"""A small gRPC server for tests of calls: real gRPC on loopback, with or without TLS and reflection."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_reflection.v1alpha import reflection

PROTO = """
syntax = "proto3";
package demo.v1;
import "google/protobuf/struct.proto";
import "google/protobuf/timestamp.proto";

enum Mood { MOOD_UNSPECIFIED = 0; MOOD_GOOD = 1; }
message Address { string street_name = 1; repeated int32 numbers = 2; }
message HelloRequest {
  string name = 1;
  int64 large = 2;
  google.protobuf.Timestamp at = 3;
  google.protobuf.Struct extra = 4;
  Mood mood = 5;
  bytes content = 6;
  Address address = 7;
  repeated Address more = 8;
  map<string, int32> counts = 9;
  oneof either { string left = 10; string right = 11; }
}
message HelloReply { string message = 1; HelloRequest request = 2; bool ok = 3; }
message Number { int32 number = 1; bytes filling = 2; }

service Greeter {
  rpc SayHello(HelloRequest) returns (HelloReply);
  rpc Count(Number) returns (stream Number);
  rpc Upload(stream Number) returns (Number);
  rpc Wait(Number) returns (Number);
  rpc Large(Number) returns (Number);
}
"""

SERVICE = "demo.v1.Greeter"


@cache
def _compiled() -> FileDescriptorSet:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "greeter.proto").write_text(PROTO)
        out = Path(folder, "out")
        command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", "--include_imports"]
        subprocess.run([*command, f"--descriptor_set_out={out}", "greeter.proto"], check=True, timeout=60)
        return FileDescriptorSet.FromString(out.read_bytes())


def compiled_proto() -> bytes:
    """PROTO as a serialized FileDescriptorSet."""
    return _compiled().SerializeToString()


@dataclass
class Greeter:
    """What the server has heard. SayHello answers `fail` with the status in `name` ("fail NOT_FOUND") and its details."""

    port: int = 0
    metadata: list[dict[str, Any]] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)
    takes: Callable[[str], bool] | None = None
    """Which `authorization` SayHello takes; the others are unauthenticated."""
    sent: int = 0
    """Messages that Count has streamed."""
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    broken_off: asyncio.Event = field(default_factory=asyncio.Event)
    """Wait's caller went away."""


def _handlers(greeter: Greeter, messages: dict[str, Any]) -> grpc.GenericRpcHandler:
    reply, number = messages["demo.v1.HelloReply"], messages["demo.v1.Number"]

    def note(request: Any, context: Any) -> None:
        greeter.metadata.append(dict(context.invocation_metadata()))
        greeter.requests.append(request)
        greeter.deadlines.append(context.time_remaining())

    async def say_hello(request: Any, context: Any) -> Any:
        note(request, context)
        if greeter.takes is not None and not greeter.takes(greeter.metadata[-1].get("authorization", "")):
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "not with this token")
        if request.name.startswith("fail "):
            await context.abort(grpc.StatusCode[request.name.removeprefix("fail ")], f"no, {request.left}")
        return reply(message=f"Hello {request.name}", request=request)

    async def count(request: Any, context: Any) -> AsyncIterator[Any]:
        note(request, context)
        for value in range(request.number):
            greeter.sent += 1
            yield number(number=value, filling=request.filling)
        if request.number < 0:
            await context.abort(grpc.StatusCode.NOT_FOUND, "nothing below zero")

    async def upload(requests: Any, _context: Any) -> Any:
        return number(number=sum([one.number async for one in requests]))

    async def wait(request: Any, context: Any) -> Any:
        note(request, context)
        greeter.waiting.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            greeter.broken_off.set()
            raise

    async def large(request: Any, _context: Any) -> Any:
        return number(filling=bytes(request.number))

    def codec(kind: Any) -> dict[str, Any]:
        return {"request_deserializer": kind.FromString, "response_serializer": lambda message: message.SerializeToString()}

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            "SayHello": grpc.unary_unary_rpc_method_handler(say_hello, **codec(messages["demo.v1.HelloRequest"])),
            "Count": grpc.unary_stream_rpc_method_handler(count, **codec(number)),
            "Upload": grpc.stream_unary_rpc_method_handler(upload, **codec(number)),
            "Wait": grpc.unary_unary_rpc_method_handler(wait, **codec(number)),
            "Large": grpc.unary_unary_rpc_method_handler(large, **codec(number)),
        },
    )


@contextlib.asynccontextmanager
async def greeter_server(
    *, reflected: bool = True, credentials: grpc.ServerCredentials | None = None, port: int = 0
) -> AsyncIterator[Greeter]:
    """The server on 127.0.0.1, where port 0 takes a free one; TLS with `credentials`."""
    pool = descriptor_pool.DescriptorPool()
    for file in _compiled().file:
        pool.Add(file)
    messages = message_factory.GetMessageClassesForFiles(["greeter.proto"], pool)
    greeter = Greeter()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 * 1024 * 1024)])
    server.add_generic_rpc_handlers((_handlers(greeter, messages),))
    if reflected:
        reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server, pool=pool)
    if credentials is None:
        greeter.port = server.add_insecure_port(f"127.0.0.1:{port}")
    else:
        greeter.port = server.add_secure_port(f"127.0.0.1:{port}", credentials)
    await server.start()
    try:
        yield greeter
    finally:
        await server.stop(0)
