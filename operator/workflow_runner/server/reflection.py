"""Server reflection, for grpcurl and everybody else who has no stubs. Used by grpc_server.py.

The library hands out descriptors without the fields' JSON names; clients that print JSON then show `workflow_execution_id`
where Protocol Buffers' mapping says `workflowExecutionId`. Here they are filled in.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc.aio
from google.protobuf import descriptor_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

NAME = reflection.SERVICE_NAME


class Reflection(ReflectionServicer):  # type: ignore[misc]
    """The library's, with JSON names."""

    def __init__(self, services: Iterable[str]) -> None:
        super().__init__(services)
        self._whole: dict[bytes, bytes] = {}
        """Files by what the library makes of them: as many as this program has."""

    async def ServerReflectionInfo(self, request_iterator: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
        """Answers each question."""
        async for response in super().ServerReflectionInfo(request_iterator, context):
            files = response.file_descriptor_response.file_descriptor_proto
            for index, file in enumerate(files):
                if file not in self._whole:
                    self._whole[file] = _with_json_names(file)
                files[index] = self._whole[file]
            yield response


def add_reflection(services: Iterable[str], server: grpc.aio.Server) -> None:
    """Let clients ask for these services."""
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(Reflection([*services, NAME]), server)


def _with_json_names(file: bytes) -> bytes:
    descriptor = descriptor_pb2.FileDescriptorProto.FromString(file)
    messages = list(descriptor.message_type)
    while messages:
        message = messages.pop()
        messages.extend(message.nested_type)
        for field in message.field:
            field.json_name = field.json_name or _json_name(field.name)
    return descriptor.SerializeToString()


def _json_name(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part[:1].upper() + part[1:] for part in rest)
