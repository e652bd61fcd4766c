"""Asks a gRPC server what it has, by its reflection service; `calls.grpc` does for calls without a proto."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf import any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

from workflow_runner.calls.grpc_services import Services
from workflow_runner.calls.messages import fault
from workflow_runner.calls.protos import LARGEST_DESCRIPTORS
from workflow_runner.dsl.problems import CONFIGURATION

_PATHS = (
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
)
"""Both versions have the same messages."""

_MOST_FILES = 300
_MOST_IMPORTS = 10_000
"""Of all files together."""
_WELL_KNOWN: dict[str, Any] = {
    module.DESCRIPTOR.name: module
    for module in (any_pb2, duration_pb2, empty_pb2, field_mask_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)
}

Metadata = Sequence[tuple[str, "str | bytes"]]


async def reflected(channel: grpc.aio.Channel, service: str, metadata: Metadata, seconds: float) -> Services:
    """The services of the file that a service stands in. Raises AioRpcError, and WorkflowFault (`configuration`).

    `service` may be only the last part of a name.
    """
    for path in _PATHS:
        try:
            return await _ask(channel, path, service, metadata, seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.UNIMPLEMENTED:
                raise
    detail = "the server does not tell what it has (no reflection): name a proto under /with/proto"
    raise fault(CONFIGURATION, detail)


async def _ask(channel: grpc.aio.Channel, path: str, service: str, metadata: Metadata, seconds: float) -> Services:
    server = _Server(channel, path, metadata, asyncio.get_running_loop().time() + seconds)
    known = await server.services()
    names = [name for name in known if name == service] or [name for name in known if name.endswith(f".{service}")]
    if len(names) != 1:
        shown = ", ".join(name for name in known if not name.startswith("grpc.reflection.")) or "none"
        detail = f"/with/service/name: there is no service {service!r:.100}; there are: {shown:.500}"
        raise fault(CONFIGURATION, detail)
    files = await server.files(names[0])
    return await asyncio.to_thread(Services, files)


class _Server:
    """Asks one question a call: the service takes a stream of them, but a stream that is refused while something is
    written to it fails with whatever the library makes of that."""

    def __init__(self, channel: grpc.aio.Channel, path: str, metadata: Metadata, deadline: float) -> None:
        self._ask: Any = channel.unary_stream(
            path,
            request_serializer=ServerReflectionRequest.SerializeToString,
            response_deserializer=ServerReflectionResponse.FromString,
        )
        self._metadata = metadata
        self._deadline = deadline
        self._files: dict[str, FileDescriptorProto] = {}
        self._missing: dict[str, None] = {}
        self._imports = self._size = 0

    async def services(self) -> list[str]:
        answer = await self._answer(ServerReflectionRequest(list_services=""))
        return [service.name for service in answer.list_services_response.service][:1000]

    async def files(self, service: str) -> list[FileDescriptorProto]:
        """The file of a service with all that it imports, which goes before."""
        self._take(await self._answer(ServerReflectionRequest(file_containing_symbol=service)))
        while self._missing:
            name = next(iter(self._missing))
            answer = await self._answer(ServerReflectionRequest(file_by_filename=name))
            self._take(answer)
            if name not in self._files:
                self._take_well_known(name)
        return _sorted(self._files)

    async def _answer(self, request: ServerReflectionRequest) -> ServerReflectionResponse:
        seconds = self._deadline - asyncio.get_running_loop().time()
        call = self._ask(request, metadata=self._metadata, timeout=seconds)
        try:
            async for answer in call:
                return cast("ServerReflectionResponse", answer)
        finally:
            call.cancel()
        raise fault(CONFIGURATION, "the server's reflection ended without an answer")

    def _take(self, answer: ServerReflectionResponse) -> None:
        for content in answer.file_descriptor_response.file_descriptor_proto:
            try:
                file = FileDescriptorProto.FromString(content)
            except DecodeError as error:
                raise fault(CONFIGURATION, "what the server's reflection tells cannot be read") from error
            if file.name not in self._files:
                self._size += len(content)
                self._imports += len(file.dependency)
                self._keep(file)
            if len(self._files) > _MOST_FILES or self._imports > _MOST_IMPORTS or self._size > LARGEST_DESCRIPTORS:
                limit = f"{_MOST_FILES} files, {_MOST_IMPORTS} imports or {LARGEST_DESCRIPTORS} bytes"
                raise fault(CONFIGURATION, f"the server's reflection tells more than {limit} for this service")

    def _take_well_known(self, name: str) -> None:
        """Google's own types, which servers may leave out."""
        module = _WELL_KNOWN.get(name)
        if module is None:
            raise fault(CONFIGURATION, f"the server's reflection does not tell {name!r:.100}, which its services need")
        file = FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        self._keep(file)

    def _keep(self, file: FileDescriptorProto) -> None:
        self._files[file.name] = file
        self._missing.pop(file.name, None)
        self._missing.update((name, None) for name in file.dependency if name not in self._files)


def _sorted(files: dict[str, FileDescriptorProto]) -> list[FileDescriptorProto]:
    """Files after those that they import."""
    done: dict[str, FileDescriptorProto] = {}
    waiting = list(files)
    while waiting:
        ready = [name for name in waiting if all(needed in done for needed in files[name].dependency)]
        if not ready:
            raise fault(CONFIGURATION, "the files of the server's reflection import each other in a circle")
        done.update((name, files[name]) for name in ready)
        waiting = [name for name in waiting if name not in done]
    return list(done.values())
