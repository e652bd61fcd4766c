"""A connection to Temporal. Called by cli, for the worker and for whoever starts workflows."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client as Client
from temporalio.service import RPCError, RPCStatusCode, TLSConfig

from workflow_runner import telemetry
from workflow_runner.errors import InvalidInput, PermissionDenied, Unauthenticated, Unavailable, WorkflowRunnerError
from workflow_runner.hosts.temporal.payloads import data_converter
from workflow_runner.settings.temporal import TemporalSettings

DEADLINE_SECONDS = 15.0
"""Of the whole of it."""

_CONNECT, _CALL = timedelta(seconds=5), timedelta(seconds=10)


async def connect(settings: TemporalSettings) -> Client:
    """A client that has reached the server and found its namespace there, within DEADLINE_SECONDS.

    Raises Unavailable where the server may be reached later, else InvalidInput, Unauthenticated or PermissionDenied: settings
    or rights have to be changed, or the namespace made.
    """
    telemetry.conceal(settings.api_key)
    converter, tls = await asyncio.to_thread(lambda: (data_converter(settings.payloads), _tls(settings)))
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            client = await Client.connect(
                settings.address,
                namespace=settings.namespace,
                api_key=settings.api_key or None,
                data_converter=converter,
                tls=tls,
                connect_timeout=_CONNECT,
            )
            # The SDK itself asks only what the server can do.
            await client.workflow_service.describe_namespace(
                DescribeNamespaceRequest(namespace=settings.namespace), retry=True, timeout=_CALL
            )
    except TimeoutError as error:
        message = f"Temporal at {settings.address} did not answer within {DEADLINE_SECONDS:g} s"
        raise Unavailable(message, code="temporal.unavailable", hint=_UNAVAILABLE) from error
    except RPCError as error:
        raise _refused(settings, error.status, error.message) from error
    except RuntimeError as error:  # what the SDK raises for everything that goes wrong before the first answer
        raise _not_connected(settings, str(error)) from error
    return client


_UNAVAILABLE = "check TEMPORAL_SERVICE_ADDRESS, the network, and that the server runs"


def _tls(settings: TemporalSettings) -> TLSConfig | bool:
    """What TLS is done with. Raises InvalidInput for files that cannot be used."""
    if not settings.tls:
        return False
    ca = None if settings.ca is None else _read(settings.ca)
    if ca is not None:
        _check(settings.ca, ca)
    certificate = None if settings.certificate is None else _read(settings.certificate)
    if certificate is not None:
        _check(settings.certificate, certificate)
    return TLSConfig(
        server_root_ca_cert=ca,
        domain=settings.server_name,
        client_cert=certificate,
        client_private_key=None if settings.key is None else _read(settings.key),
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", code="input.unreadable") from error


def _check(path: Path | None, pem: bytes) -> None:
    """The SDK takes a file without a certificate for an authority that vouches for nobody."""
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise InvalidInput(f"{path} holds no certificate in PEM", code="input.bad-certificate") from error


def _refused(settings: TemporalSettings, status: RPCStatusCode, said: str) -> WorkflowRunnerError:
    said = telemetry.redact(said)[:500]
    match status:
        case RPCStatusCode.NOT_FOUND:
            return InvalidInput(
                f"Temporal at {settings.address} has no namespace {settings.namespace!r}",
                code="temporal.namespace-missing",
                hint=f"correct TEMPORAL_NAMESPACE, or make it: temporal operator namespace create -n {settings.namespace}",
            )
        case RPCStatusCode.UNAUTHENTICATED:
            return Unauthenticated(
                f"Temporal at {settings.address} does not know who calls: {said}",
                code="temporal.unauthenticated",
                hint="check TEMPORAL_API_KEY, or the certificate of TEMPORAL_TLS_CERTIFICATE",
            )
        case RPCStatusCode.PERMISSION_DENIED:
            return PermissionDenied(
                f"Temporal at {settings.address} does not let this caller use namespace {settings.namespace!r}: {said}",
                code="temporal.permission-denied",
                hint="check TEMPORAL_NAMESPACE and the rights of the key or certificate",
            )
        case RPCStatusCode.UNIMPLEMENTED:
            return InvalidInput(
                f"what listens at {settings.address} is not Temporal's frontend: {said}",
                code="temporal.other-server",
                hint="check TEMPORAL_SERVICE_ADDRESS: HOST:PORT of the gRPC frontend, not of the web interface",
            )
        case _:
            message = f"Temporal at {settings.address} does not answer: {status.name}: {said}"
            return Unavailable(message, code="temporal.unavailable", hint=_UNAVAILABLE)


def _not_connected(settings: TemporalSettings, said: str) -> WorkflowRunnerError:
    """The SDK gives no kinds of errors here: only the words of its layers, from which the reason is taken."""
    for status in (RPCStatusCode.UNAUTHENTICATED, RPCStatusCode.PERMISSION_DENIED):
        # `Status { code: PermissionDenied, message: … }`, also with quotes and other words around it.
        if f"code: {status.name.title().replace('_', '')}" in said or f"Status code: {status.name}" in said:
            return _refused(settings, status, said)
    certificate = next((reason for sign, reason in _CERTIFICATE if sign in said), None)
    if certificate is not None:
        return InvalidInput(
            f"the certificate of Temporal at {settings.address} is not trusted: {certificate}",
            code="temporal.tls-failed",
            hint="set TEMPORAL_TLS_CA to the authority that vouches for it, and TEMPORAL_TLS_SERVER_NAME to the name in it",
        )
    if "PrivateKey" in said:
        message = f"{settings.key} and {settings.certificate} cannot be used as key and certificate"
        return InvalidInput(message, code="input.bad-certificate", hint="both are PEM files, and belong together")
    if "InvalidContentType" in said or "InvalidMessage" in said:
        message = f"what listens at {settings.address} does not speak TLS"
        return InvalidInput(message, code="temporal.tls-failed", hint="set TEMPORAL_TLS=false, or give the address with TLS")
    if "AlertReceived" in said:
        return InvalidInput(
            f"Temporal at {settings.address} refuses the connection",
            code="temporal.tls-failed",
            hint="it probably wants another client certificate: TEMPORAL_TLS_CERTIFICATE and TEMPORAL_TLS_KEY",
        )
    if "get_system_info" in said and ("transport error" in said or "connection closed" in said):
        hint = "it probably wants another client certificate: TEMPORAL_TLS_CERTIFICATE and TEMPORAL_TLS_KEY"
        return Unavailable(
            f"what listens at {settings.address} ends the connection before it answers",
            code="temporal.connection-closed",
            hint=hint if settings.tls else "it probably wants TLS: TEMPORAL_TLS=true; or it is another server",
        )
    reason = next((reason for sign, reason in _UNREACHABLE if sign in said), telemetry.redact(said)[:500])
    message = f"Temporal at {settings.address} cannot be reached: {reason}"
    return Unavailable(message, code="temporal.unavailable", hint=_UNAVAILABLE)


_CERTIFICATE = (
    ("NotValidForName", "it is made out to another name"),
    ("Expired", "it has expired"),
    ("NotValidYet", "it is not valid yet"),
    ("UnknownIssuer", "nobody who is known vouches for it"),
    ("BadSignature", "the authority did not sign it"),
    ("InvalidCertificate", "it cannot be verified"),
)
_UNREACHABLE = (
    ("ConnectionRefused", "nobody listens there"),
    ("dns error", "the name is not known"),
    ("HostUnreachable", "there is no way to that host"),
    ("NetworkUnreachable", "there is no way to that network"),
    ("timed out", "connecting took too long"),
    ("TimedOut", "connecting took too long"),
    ("deadline has elapsed", "connecting took too long"),
)
