"""A gRPC server as ours all are: limits, keep-alive, health, reflection, certificates from files. Built by cli.serve.

Health (`grpc.health.v1`) says SERVING for the whole and for each service, and NOT_SERVING as soon as the server begins to stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from workflow_runner.errors import InvalidInput
from workflow_runner.server.calls import CallInterceptor
from workflow_runner.server.listening import port_taken
from workflow_runner.server.reflection import add_reflection
from workflow_runner.server.tls import changing_credentials
from workflow_runner.settings import TlsFiles

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
MOST_STREAMS = 5000
"""At once on one connection; the next ones wait."""

log = structlog.get_logger(__name__)

OPTIONS: list[tuple[str, int]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_concurrent_streams", MOST_STREAMS),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # Clients keep streams open without data, and may ask whether we are there.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # Two servers must not share a port by accident.
    ("grpc.so_reuseport", 0),
]

Add = Callable[[Any], None]
"""Adds a service to the server it is given."""


def file_credentials(files: TlsFiles) -> grpc.ServerCredentials:
    """Read now, and again whenever a file has changed. Raises InvalidInput where they cannot be used now."""
    first, version = _configuration(files), _version(files)

    def newer() -> grpc.ServerCertificateConfiguration | None:
        nonlocal version
        try:
            newest = _version(files)
            if newest == version:
                return None
            found, version = _configuration(files), newest
        except (InvalidInput, OSError) as error:
            log.error("the server's certificate cannot be read again; the one before stays", error=str(error))
            return None
        log.info("the server's certificate was read again")
        return found

    return changing_credentials(first, newer, require_client_authentication=files.client_ca is not None)


def _paths(files: TlsFiles) -> list[Path]:
    return [file for file in (files.certificate, files.key, files.client_ca) if file is not None]


def _version(files: TlsFiles) -> tuple[tuple[int, int], ...]:
    return tuple((stat.st_ino, stat.st_mtime_ns) for stat in (file.stat() for file in _paths(files)))


def _configuration(files: TlsFiles) -> grpc.ServerCertificateConfiguration:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    try:
        texts = [file.read_bytes() for file in _paths(files)]
        # gRPC says nothing when it cannot use them: it refuses every handshake.
        leaf = x509.load_pem_x509_certificates(texts[0])[0]
        key = serialization.load_pem_private_key(texts[1], None)
        if leaf.public_key() != key.public_key():
            raise InvalidInput(f"{files.key} is not the key of {files.certificate}", code="settings.invalid")
        if len(texts) > 2:
            x509.load_pem_x509_certificates(texts[2])
    except (OSError, ValueError, TypeError) as error:
        said = getattr(error, "strerror", None) or error
        names = ", ".join(str(file) for file in _paths(files))
        raise InvalidInput(f"the certificates in {names} cannot be used: {said}", code="settings.invalid") from error
    return grpc.ssl_server_certificate_configuration([(texts[1], texts[0])], texts[2] if len(texts) > 2 else None)


class GrpcServer:
    """One server at work."""

    def __init__(
        self, services: Sequence[tuple[str, Add]], interceptor: CallInterceptor, *, credentials: grpc.ServerCredentials | None
    ) -> None:
        """`services` are their full names, and what adds each."""
        self._server = grpc.aio.server(interceptors=[interceptor], options=OPTIONS)
        self._health = HealthServicer()
        self._names = [name for name, _ in services]
        self._credentials = credentials
        self.port = 0
        self.serving = False
        for _, add in services:
            add(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        health_name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        add_reflection([*self._names, health_name], self._server)

    async def start(self, address: str) -> None:
        """Listen on HOST:PORT; port 0 takes a free one. Raises InvalidInput."""
        try:
            if self._credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise port_taken(address, str(error)) from error
        await self._server.start()
        await self._set(health_pb2.HealthCheckResponse.SERVING)
        self.serving = True

    async def drain(self) -> None:
        """Tell whoever asks for health that nothing new should come."""
        self.serving = False
        await self._health.enter_graceful_shutdown()

    async def stop(self, seconds: float) -> None:
        """End: what is under way has so many seconds."""
        if self.serving:
            await self.drain()
        await self._server.stop(seconds)

    async def _set(self, status: Any) -> None:
        await asyncio.gather(*(self._health.set(name, status) for name in ("", *self._names)))
