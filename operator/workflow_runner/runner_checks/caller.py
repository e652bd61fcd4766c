"""Makes calls as a caller would, each with a deadline, and reads whatever comes back. `session.Session` has one.

Nothing that a server does raises here: a status, an answer that cannot be read, a connection that breaks are all an Answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import grpc
import grpc.aio
from google.protobuf import json_format, text_format
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from workflow_runner import telemetry
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.runner_checks.interface import CHECK_HEALTH, Method

LARGEST_ANSWER = 4 * 1024 * 1024
MOST_EVENTS = 20_000
"""Of one stream."""
LARGEST_STREAM = 32 * 1024 * 1024
LARGEST_TOLD = 64 * 1024
MOST_SAID = 300
MOST_TOLD = 30
_OPTIONS: list[tuple[str, int]] = [
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),  # every answer is judged, the first one, too
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", LARGEST_ANSWER),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]
_DETAILS = "grpc-status-details-bin"

Metadata = Sequence[tuple[str, "str | bytes"]]


@dataclass
class Answer:
    """How a call ended. `value` is the message of a call that was answered with one that can be read."""

    code: grpc.StatusCode
    message: str = ""
    value: Any = None
    unreadable: str = ""
    """Why what came back cannot be used, where the server is to blame."""
    details: bytes = b""

    @property
    def ok(self) -> bool:
        """Answered, with a message that can be read."""
        return self.code is grpc.StatusCode.OK and not self.unreadable

    def violations(self) -> list[str] | None:
        """The field violations of google.rpc.BadRequest, `field: description`; None without that detail.

        Raises ValueError where the details cannot be read.
        """
        if not self.details:
            return None
        try:
            status = status_pb2.Status.FromString(self.details)
            for detail in status.details:
                if detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                    request = error_details_pb2.BadRequest.FromString(detail.value)
                    return [f"{each.field}: {each.description}" for each in request.field_violations]
        except DecodeError as error:
            raise ValueError(f"{_DETAILS} is no google.rpc.Status") from error
        return None

    def __str__(self) -> str:
        if self.unreadable:
            return self.unreadable
        if self.code is not grpc.StatusCode.OK:
            return short(f"{self.code.name}: {self.message}" if self.message else self.code.name)
        text = "" if self.value is None else as_text(self.value)
        return short(f"OK {text}" if text not in ("", "{}") else "OK")


@dataclass
class Streamed:
    """What came down a stream, and how it ended."""

    events: list[Any] = field(default_factory=list)
    answer: Answer = field(default_factory=lambda: Answer(grpc.StatusCode.UNKNOWN, "the stream is open"))
    left: bool = False
    """The caller had heard enough and went away."""

    def __str__(self) -> str:
        heard = ", ".join(map(_told, self.events[:MOST_TOLD]))
        more = ", …" if len(self.events) > MOST_TOLD else ""
        return f"[{short(heard)}{more}] and then {'the caller went away' if self.left else self.answer}"


def _told(message: Message) -> str:
    """An event by its number and type; another message whole."""
    if isinstance(message, WorkflowProgressEvent):
        return f"{message.sequence_number} {message.event_type}"
    return as_text(message)


def as_text(message: Message) -> str:
    """A message as JSON, or, where JSON cannot say it (no number, no kind of value), in the text format; a large one by
    its size."""
    if (size := message.ByteSize()) > LARGEST_TOLD:
        return f"a message of {size} bytes"
    try:
        return json_format.MessageToJson(message, indent=None, ensure_ascii=False)
    except (json_format.Error, ValueError, TypeError, RecursionError):
        return text_format.MessageToString(message, as_one_line=True)


def short(text: str, most: int = MOST_SAID) -> str:
    """One line for a report: no secrets, nothing that a terminal would obey, not too long."""
    line = "".join(one if one.isprintable() else " " for one in telemetry.redact(text[: most * 4]))
    return line if len(line) <= most else f"{line[: most - 1]}…"


class Caller:
    """Calls one server over one connection. Every call is told to `tell`, as text with its answer."""

    def __init__(self, channel: grpc.aio.Channel, metadata: Metadata, seconds: float) -> None:
        self._channel = channel
        self.metadata = metadata
        self.seconds = seconds
        """How long an answer may take."""
        self.tell: Callable[[str, str], None] = lambda asked, came: None

    async def ask(
        self,
        method: Method,
        request: Message | bytes = b"",
        *,
        metadata: Metadata | None = None,
        telling: bool = True,
    ) -> Answer:
        """One question with one answer. `metadata` replaces the credentials."""
        call: Any = cast("Any", self._channel.unary_unary(method.path))(
            _bytes(request), timeout=self.seconds, metadata=self.metadata if metadata is None else metadata
        )
        began = time.monotonic()
        try:
            answer = _read(method, await call)
        except grpc.aio.AioRpcError as error:
            answer = _failed(error)
        finally:
            call.cancel()
        if telling:
            self.tell(in_words(method, request), f"{answer} ({_milliseconds(began)})")
        return answer

    async def listen(
        self,
        method: Method,
        request: Message | bytes,
        *,
        seconds: float,
        enough: Callable[[Any], bool] = lambda event: False,
        into: Streamed | None = None,
        metadata: Metadata | None = None,
    ) -> Streamed:
        """Reads a stream until it ends, `enough` holds for an event (the caller then goes away), or the deadline passes.

        `into` grows while it is read.
        """
        heard = into or Streamed()
        began, size = time.monotonic(), 0
        call: Any = cast("Any", self._channel.unary_stream(method.path))(
            _bytes(request), timeout=seconds, metadata=self.metadata if metadata is None else metadata
        )
        try:
            async for content in call:
                size += len(content)
                answer = _read(method, content)
                if not answer.ok:
                    heard.answer = answer
                    break
                heard.events.append(answer.value)
                if enough(answer.value):
                    heard.left = True
                    break
                if len(heard.events) >= MOST_EVENTS or size > LARGEST_STREAM:
                    reason = f"more than {MOST_EVENTS} events or {LARGEST_STREAM} bytes, with no end"
                    heard.answer = Answer(grpc.StatusCode.OK, unreadable=reason)
                    break
            else:
                heard.answer = Answer(await call.code(), await call.details() or "")
        except grpc.aio.AioRpcError as error:
            heard.answer = _failed(error)
        finally:
            call.cancel()
        self.tell(in_words(method, request), f"{heard} ({_milliseconds(began)})")
        return heard

    async def unreachable(self) -> str:
        """Why nobody speaks gRPC at the address, within the time that an answer may take; empty where somebody does."""
        try:
            async with asyncio.timeout(self.seconds):
                await self._channel.channel_ready()
        except TimeoutError:
            answer = await self.ask(CHECK_HEALTH, telling=False)
            return answer.message or "no answer"
        return ""


@contextlib.asynccontextmanager
async def connected(
    target: str, credentials: grpc.ChannelCredentials | None, metadata: Metadata, seconds: float
) -> AsyncIterator[Caller]:
    """A caller of HOST:PORT; without TLS where there are no credentials."""
    if credentials is None:
        channel = grpc.aio.insecure_channel(target, options=_OPTIONS)
    else:
        channel = grpc.aio.secure_channel(target, credentials, options=_OPTIONS)
    async with channel:
        yield Caller(channel, metadata, seconds)


def _bytes(request: Message | bytes) -> bytes:
    return request if isinstance(request, bytes) else request.SerializeToString(deterministic=True)


def _read(method: Method, content: Any) -> Answer:
    if not isinstance(content, bytes):
        return Answer(grpc.StatusCode.OK, unreadable="the call ended well, but without an answer")
    try:
        return Answer(grpc.StatusCode.OK, value=method.answer.FromString(content))
    except DecodeError:
        reason = f"{len(content)} bytes that are no {method.answer.DESCRIPTOR.name}"
        return Answer(grpc.StatusCode.OK, unreadable=reason)


def _failed(error: grpc.aio.AioRpcError) -> Answer:
    details = b"".join(value for key, value in error.trailing_metadata() or () if key == _DETAILS and isinstance(value, bytes))
    return Answer(error.code(), error.details() or "", details=details)


def in_words(method: Method, request: Message | bytes) -> str:
    """A call as a report has it: Service/Method(field=value, …)."""
    if isinstance(request, bytes):
        return f"{method.service.rpartition('.')[2]}/{method.name}({len(request)} bytes)"
    told = []
    for found, value in request.ListFields():
        text = as_text(value) if isinstance(value, Message) else f"{value!r}"
        told.append(f"{found.name}={text if len(text) <= 60 else f'{text[:57]}…'}")
    return short(f"{method.service.rpartition('.')[2]}/{method.name}({', '.join(told)})")


def _milliseconds(began: float) -> str:
    return f"{(time.monotonic() - began) * 1000:.0f} ms"
