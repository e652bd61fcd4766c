"""`call: grpc` over grpc.aio, with services that are described at run time.

`calls.Calls` makes one GrpcCalls for a host. Arguments, from interpreter/tasks/call_grpc.py: `proto` (its URI, or null: the
server is asked by reflection), `service`, `host`, `port`, `tls` (null where the document leaves them out), `method`,
`arguments`, `metadata`, and `seconds` where the task has a time limit.

Names are resolved here and not by the library, so that the rules for addresses see the very addresses that are
connected to; proxies of the environment are not used.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import re
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import AsyncIterable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import grpc
import grpc.aio
from msgspec import Struct

from workflow_runner import telemetry
from workflow_runner.calls.addresses import DEFAULT_RULES, AddressRules, refused
from workflow_runner.calls.authentication import Authenticator, Certificate, Policy
from workflow_runner.calls.grpc_services import Method, Services
from workflow_runner.calls.messages import fault
from workflow_runner.calls.protos import LARGEST_PROTO, Compiler
from workflow_runner.calls.resources import FRESH_SECONDS, Resources
from workflow_runner.dsl.nodes import escape
from workflow_runner.dsl.problems import (
    AUTHENTICATION,
    AUTHORIZATION,
    COMMUNICATION,
    CONFIGURATION,
    TIMEOUT,
    VALIDATION,
    WorkflowFault,
)
from workflow_runner.dsl.templates import Json

TOTAL_SECONDS = 60.0
"""For a call of a task that has no time limit."""

MOST_SECONDS = 24 * 3600.0
LARGEST_MESSAGE = 8 * 1024 * 1024
"""The most bytes of a message, and of all messages of a stream together."""

MOST_MESSAGES = 10_000
"""The most messages of a stream."""

LARGEST_METADATA = 64 * 1024

STATUS: Mapping[grpc.StatusCode, tuple[str, int]] = {
    grpc.StatusCode.CANCELLED: (COMMUNICATION, 499),
    grpc.StatusCode.UNKNOWN: (COMMUNICATION, 500),
    grpc.StatusCode.INVALID_ARGUMENT: (COMMUNICATION, 400),
    grpc.StatusCode.DEADLINE_EXCEEDED: (TIMEOUT, 408),
    grpc.StatusCode.NOT_FOUND: (COMMUNICATION, 404),
    grpc.StatusCode.ALREADY_EXISTS: (COMMUNICATION, 409),
    grpc.StatusCode.PERMISSION_DENIED: (AUTHORIZATION, 403),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (COMMUNICATION, 429),
    grpc.StatusCode.FAILED_PRECONDITION: (COMMUNICATION, 400),
    grpc.StatusCode.ABORTED: (COMMUNICATION, 409),
    grpc.StatusCode.OUT_OF_RANGE: (COMMUNICATION, 400),
    grpc.StatusCode.UNIMPLEMENTED: (COMMUNICATION, 501),
    grpc.StatusCode.INTERNAL: (COMMUNICATION, 500),
    grpc.StatusCode.UNAVAILABLE: (COMMUNICATION, 503),
    grpc.StatusCode.DATA_LOSS: (COMMUNICATION, 500),
    grpc.StatusCode.UNAUTHENTICATED: (AUTHENTICATION, 401),
}
"""What a server's status is to the workflow: the usual HTTP statuses of these codes."""

_T = TypeVar("_T")
_KEPT_CHANNELS = 50
_KEPT_SERVICES = 50
_LARGE = 64 * 1024
"""Messages of more bytes are turned from and to JSON in a thread."""

_MOST_SAID = 300
_NAME = re.compile(r"[0-9a-z_.-]+")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")

Metadata = tuple[tuple[str, "str | bytes"], ...]


class _Target(Struct):
    """Where a call goes; `str` of it is for messages."""

    host: str
    port: int
    tls: bool
    certificate: Certificate | None = None
    policy: str = ""
    path: str = ""

    @property
    def key(self) -> str:
        """What calls that may share a channel have in common."""
        return f"{self.tls} {self.host} {self.port} {self.policy}"

    def __str__(self) -> str:
        return f"{'grpcs' if self.tls else 'grpc'}://{self.host}:{self.port}{self.path}"

    def __repr__(self) -> str:
        return f"_Target({str(self)!r})"


class _Asked(Struct):
    """One call: what came from the interpreter, and what came of it. `deadline` is by the event loop's clock."""

    arguments: Mapping[str, Json]
    target: _Target
    idempotency_key: str
    authentication: Mapping[str, Json] | None
    resource_authentication: Mapping[str, Json] | None
    deadline: float = 0.0
    authorization: str = ""

    @property
    def remaining(self) -> float:
        """Seconds to the deadline."""
        return self.deadline - asyncio.get_running_loop().time()

    def __repr__(self) -> str:
        """Without the arguments (metadata are among them) and the policies."""
        return f"_Asked({self.target!r})"


class GrpcCalls:
    """A client for grpc calls: keeps channels, and what servers told about themselves."""

    def __init__(
        self,
        authenticator: Authenticator,
        resources: Resources,
        *,
        addresses: AddressRules | None = None,
        total_seconds: float = TOTAL_SECONDS,
        largest_message: int = LARGEST_MESSAGE,
        most_messages: int = MOST_MESSAGES,
    ) -> None:
        self._authenticator = authenticator
        self._resources = resources
        self._addresses = addresses or DEFAULT_RULES
        self._total, self._largest, self._most = total_seconds, largest_message, most_messages
        self._compiler = Compiler()
        self._channels: OrderedDict[str, grpc.aio.Channel] = OrderedDict()
        self._reflected: OrderedDict[tuple[str, str, str], tuple[float, Services]] = OrderedDict()

    async def close(self) -> None:
        """Close the channels."""
        channels, self._channels = self._channels, OrderedDict()
        self._reflected.clear()
        for channel in channels.values():
            await channel.close()

    async def call(
        self,
        arguments: Mapping[str, Json],
        *,
        idempotency_key: str,
        authentication: Mapping[str, Json] | None = None,
        resource_authentication: Mapping[str, Json] | None = None,
    ) -> Json:
        """Call the method: its answer as JSON, or the array of all of a stream's messages. Raises WorkflowFault.

        Faults: `configuration` for a proto, service or method that cannot be used; `validation` for arguments and metadata
        that do not fit; by STATUS for what the server answers; `timeout` when the time is over.
        """
        target = self._target(arguments, authentication)
        seconds = min(max(float(cast("float", arguments.get("seconds", self._total))), 0.0), MOST_SECONDS)
        asked = _Asked(arguments, target, idempotency_key, authentication, resource_authentication)
        asked.deadline = asyncio.get_running_loop().time() + seconds
        try:
            # The server hears of the deadline; what happens before it is asked has the same time.
            async with asyncio.timeout(seconds):
                kept = authentication is not None and self._authenticator.keeps_token(authentication)
                try:
                    return await self._exchange(asked)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.UNAUTHENTICATED or not kept or authentication is None:
                        raise
                    self._authenticator.forget_token(authentication, asked.authorization)
                    return await self._exchange(asked)
        except TimeoutError as error:
            raise fault(TIMEOUT, f"{target}: no whole answer within {seconds:g} s") from error
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAVAILABLE:
                await self._forget(target)
            raise _failed(asked, error.code(), error.details() or "") from error

    async def _exchange(self, asked: _Asked) -> Json:
        """Ask once. Raises AioRpcError for what the server answers."""
        target, arguments = asked.target, asked.arguments
        metadata = await self._metadata(asked)
        channel = await self._channel(target)
        services = await self._services(asked, channel, metadata)
        method = services.method(cast("str", arguments["service"]), cast("str", arguments["method"]))
        target.path = method.path
        given = cast("Mapping[str, Json]", arguments["arguments"])
        request = await _aside(_is_large(given), lambda: services.request(method, given))
        if len(request) > self._largest:
            size = f"{len(request)} bytes; at most {self._largest} are sent"
            raise fault(VALIDATION, f"/with/arguments: the message to {target} has {size}")
        if method.streams:
            stream: Any = channel.unary_stream(method.path)
            call = stream(request, metadata=metadata, timeout=asked.remaining)
            try:
                return await self._collect(call, services, method, target)
            finally:
                call.cancel()
        unary: Any = channel.unary_unary(method.path)
        answer: bytes = await unary(request, metadata=metadata, timeout=asked.remaining)
        return await _aside(len(answer) > _LARGE, lambda: services.answer(method, answer))

    async def _collect(self, call: AsyncIterable[bytes], services: Services, method: Method, target: _Target) -> Json:
        """All messages of a stream."""
        found: list[Json] = []
        size = 0
        async for message in call:
            size += len(message)
            if len(found) >= self._most or size > self._largest:
                limit = f"{self._most} messages or {self._largest} bytes"
                raise fault(COMMUNICATION, f"{target} streams more than {limit}")
            found.append(await _aside(len(message) > _LARGE, partial(services.answer, method, message)))
        return found

    def _target(self, arguments: Mapping[str, Json], authentication: Mapping[str, Json] | None) -> _Target:
        """TLS is what the document says; where it says nothing: with port 443 or none, and with a client certificate."""
        certificate = None if authentication is None else self._authenticator.certificate(authentication)
        port, tls = arguments["port"], arguments["tls"]
        if tls is None:
            tls = certificate is not None or port in (None, 443)
        if certificate is not None and not tls:
            raise fault(CONFIGURATION, "/with/service/tls: a client certificate needs TLS")
        if port is None:
            port = 443 if tls else 80
        key = Policy(authentication).key if certificate is not None and authentication is not None else ""
        return _Target(_host(cast("str", arguments["host"])), cast("int", port), bool(tls), certificate, key)

    async def _metadata(self, asked: _Asked) -> Metadata:
        authentication = asked.authentication
        found: dict[str, str | bytes] = {}
        for given, value in cast("Mapping[str, Json]", asked.arguments["metadata"]).items():
            name = given.lower()
            where = f"/with/metadata/{escape(given):.200}"
            if _NAME.fullmatch(name) is None or name.startswith("grpc-"):
                raise fault(VALIDATION, f"{where}: this is no name of metadata")
            text = value if isinstance(value, str) else json.dumps(value)
            if name.endswith("-bin"):
                try:
                    found[name] = base64.b64decode(text, validate=True)
                except binascii.Error as error:
                    raise fault(VALIDATION, f"{where}: metadata of this name must be base64") from error
            elif isinstance(value, dict | list) or value is None or _PRINTABLE.fullmatch(text) is None:
                raise fault(VALIDATION, f"{where}: metadata must be strings of ASCII characters")
            else:
                found[name] = text
        if authentication is not None and "authorization" not in found:
            authorization = await self._authenticator.authorization(authentication)
            if authorization is not None:
                if authorization.parameter is None:
                    detail = f"{authorization.scheme} authentication is for http only"
                    raise fault(CONFIGURATION, f"/with/service/authentication: {detail}")
                found["authorization"] = asked.authorization = authorization.header
        found.setdefault("idempotency-key", asked.idempotency_key)
        if sum(len(name) + len(text) for name, text in found.items()) > LARGEST_METADATA:
            raise fault(VALIDATION, f"/with/metadata: it has more than {LARGEST_METADATA} bytes")
        return tuple(found.items())

    async def _services(self, asked: _Asked, channel: grpc.aio.Channel, metadata: Metadata) -> Services:
        proto = asked.arguments["proto"]
        if isinstance(proto, str):

            async def read(text: bytes) -> Services:
                compiled = await self._compiler.compile(text)
                return await asyncio.to_thread(Services.compiled, compiled)

            return await self._resources.get(
                "proto", proto, read, largest=LARGEST_PROTO, authentication=asked.resource_authentication
            )
        from workflow_runner.calls.server_reflection import reflected

        service = cast("str", asked.arguments["service"])
        key = (asked.target.key, service, asked.authorization)
        kept = self._reflected.get(key)
        if kept is None or time.monotonic() - kept[0] >= FRESH_SECONDS:
            asking = tuple(pair for pair in metadata if pair[0] != "idempotency-key")
            kept = (time.monotonic(), await reflected(channel, service, asking, asked.remaining))
            self._reflected[key] = kept
            while len(self._reflected) > _KEPT_SERVICES:
                self._reflected.popitem(last=False)
        return kept[1]

    async def _channel(self, target: _Target) -> grpc.aio.Channel:
        key = target.key
        channel = self._channels.get(key)
        if channel is None:
            addresses = await self._resolve(target)
            credentials = await asyncio.to_thread(_credentials, target) if target.tls else None
            channel = self._channels.get(key) or self._open(target, addresses, credentials)
            self._channels[key] = channel
        self._channels.move_to_end(key)
        while len(self._channels) > _KEPT_CHANNELS:
            _, oldest = self._channels.popitem(last=False)
            await oldest.close(grace=self._total)
        return channel

    def _open(self, target: _Target, addresses: str, credentials: grpc.ChannelCredentials | None) -> grpc.aio.Channel:
        shown = f"[{target.host}]" if ":" in target.host else target.host
        default = 443 if target.tls else 80
        options: list[tuple[str, Any]] = [
            ("grpc.default_authority", shown if target.port == default else f"{shown}:{target.port}"),
            ("grpc.max_receive_message_length", self._largest),
            ("grpc.max_send_message_length", self._largest),
            ("grpc.max_metadata_size", LARGEST_METADATA),
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.primary_user_agent", "workflow-runner"),
        ]
        if credentials is None:
            return grpc.aio.insecure_channel(addresses, options)
        options.append(("grpc.ssl_target_name_override", target.host))
        return grpc.aio.secure_channel(addresses, credentials, options)

    async def _resolve(self, target: _Target) -> str:
        """The addresses that may be called, as the library takes them; of one family, IPv4 before IPv6."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise fault(COMMUNICATION, f"{target}: the host's name is not known", 503) from error
        refusal = "it has no address"
        allowed: dict[str, list[str]] = {"ipv4": [], "ipv6": []}
        for family, _, _, _, place in found:
            address = str(place[0])
            why = self._addresses.refusal(target.host, address)
            if why is not None:
                refusal = why
            elif family == socket.AF_INET:
                allowed["ipv4"].append(f"{address}:{target.port}")
            elif family == socket.AF_INET6:
                allowed["ipv6"].append(f"[{address}]:{target.port}")
        for family_name, addresses in allowed.items():
            if addresses:
                return f"{family_name}:{','.join(dict.fromkeys(addresses))}"
        raise refused(target, target.host, refusal)

    async def _forget(self, target: _Target) -> None:
        """Resolve the name anew at the next call. Calls that are on their way may end."""
        channel = self._channels.pop(target.key, None)
        if channel is not None:
            await channel.close(grace=self._total)


def _host(text: str) -> str:
    """The name as it is resolved, so that it is judged as the same: without brackets, in ASCII, in lower case."""
    try:
        return text.strip("[]").encode("idna").decode().lower()
    except UnicodeError as error:
        raise fault(CONFIGURATION, "/with/service/host: this is no host name and no address") from error


def _credentials(target: _Target) -> grpc.ChannelCredentials:
    """TLS that trusts whom http calls trust. Blocks. Raises WorkflowFault."""
    key = chain = None
    if target.certificate is not None:
        key, chain = _readable(target.certificate), target.certificate.chain.encode()
    return grpc.ssl_channel_credentials(trusted_roots(), key, chain)


def trusted_roots() -> bytes | None:
    """The system's certificates; None where there are none, for the library's own."""
    paths = ssl.get_default_verify_paths()
    path = os.environ.get(paths.openssl_cafile_env) or paths.cafile
    return Path(path).read_bytes() if path and Path(path).is_file() else None


def _readable(certificate: Certificate) -> bytes:
    """The key without its passphrase, for the library takes none."""
    from cryptography.hazmat.primitives import serialization

    passphrase = certificate.passphrase
    try:
        key = serialization.load_pem_private_key(
            certificate.key.encode(), passphrase.encode() if passphrase is not None else None
        )
    except (ValueError, TypeError) as error:
        detail = "the client certificate cannot be used: its key must be PEM, and the passphrase that of the key"
        raise fault(CONFIGURATION, detail) from error
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _failed(asked: _Asked, code: grpc.StatusCode, details: str) -> WorkflowFault:
    type_, status = STATUS.get(code, (COMMUNICATION, 500))
    said = telemetry.redact(details.replace("\n", " "))
    for value in cast("Mapping[str, Json]", asked.arguments["metadata"]).values():
        if isinstance(value, str) and len(value) >= telemetry.SHORTEST_SECRET:
            said = said.replace(value, telemetry.REDACTED)  # it may be a key
    said = said[:_MOST_SAID]
    return fault(type_, f"{asked.target} answered {code.name}" + (f": {said}" if said else ""), status)


def _is_large(value: Json | Mapping[str, Json]) -> bool:
    """Whether a value is too large to be looked at on the event loop."""
    waiting: list[Any] = [value]
    size = 0
    while waiting and size <= _LARGE:
        one = waiting.pop()
        if isinstance(one, Mapping):
            waiting += one.values()
            size += 8 * len(one)
        elif isinstance(one, list):
            waiting += one
            size += 8 * len(one)
        elif isinstance(one, str):
            size += len(one)
    return size > _LARGE


async def _aside(large: bool, work: Callable[[], _T]) -> _T:
    return await asyncio.to_thread(work) if large else work()
