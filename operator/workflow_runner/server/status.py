"""Errors as gRPC tells them: a status code, and google.rpc details a client can act on. Used by calls.py.

    INVALID_ARGUMENT     a document or an argument cannot be taken: BadRequest, one violation for each complaint
    NOT_FOUND            there is no such execution or resource
    ALREADY_EXISTS       the id belongs to something else
    FAILED_PRECONDITION  it has gone too far for what is asked
    DEADLINE_EXCEEDED    a caller waited as long as it may
    RESOURCE_EXHAUSTED   no room now: RetryInfo
    UNAUTHENTICATED, PERMISSION_DENIED, UNAVAILABLE, INTERNAL

Every status has an ErrorInfo: `reason` is the error's stable code (docs/codes.md), `domain` is DOMAIN.
"""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from workflow_runner import telemetry
from workflow_runner.cluster import ClusterError, Conflict, NotFound
from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.errors import (
    Internal,
    InvalidDocument,
    InvalidInput,
    PermissionDenied,
    Temporary,
    Unauthenticated,
    WorkflowRunnerError,
)
from workflow_runner.hosts.executions import OtherContent, OutOfTime, TooMany, UnknownExecution, WrongState

DOMAIN = "workflowrunner.stigmer.ai"
MOST_VIOLATIONS = 50
MOST_MESSAGE = 400
MOST_TOGETHER = 2800
"""Bytes of a message, and of all violations together. Statuses travel in trailers, of which some clients take 8 KiB: there
the message stands twice, once with three characters for each byte beyond ASCII."""

_CODES: list[tuple[type[WorkflowRunnerError], int]] = [
    (InvalidDocument, code_pb2.INVALID_ARGUMENT),
    (InvalidInput, code_pb2.INVALID_ARGUMENT),
    (UnknownExecution, code_pb2.NOT_FOUND),
    (NotFound, code_pb2.NOT_FOUND),
    (OtherContent, code_pb2.ALREADY_EXISTS),
    (Conflict, code_pb2.ABORTED),
    (WrongState, code_pb2.FAILED_PRECONDITION),
    (OutOfTime, code_pb2.DEADLINE_EXCEEDED),
    (TooMany, code_pb2.RESOURCE_EXHAUSTED),
    (Unauthenticated, code_pb2.UNAUTHENTICATED),
    (PermissionDenied, code_pb2.PERMISSION_DENIED),
    (ClusterError, code_pb2.UNAVAILABLE),
    (Temporary, code_pb2.UNAVAILABLE),
]


def status_of(error: Exception) -> status_pb2.Status:
    """What a caller hears of an error. What is no error of ours is a bug, and nothing of it is told."""
    if not isinstance(error, WorkflowRunnerError) or isinstance(error, Internal):
        status = status_pb2.Status(code=code_pb2.INTERNAL, message="a bug of the workflow runner; its log says more")
        _detail(status, error_details_pb2.ErrorInfo(reason=Internal.code, domain=DOMAIN))
        return status
    code = next((code for kind, code in _CODES if isinstance(error, kind)), code_pb2.UNKNOWN)
    status = status_pb2.Status(code=code, message=_sendable(str(error), MOST_MESSAGE))
    _detail(status, error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN))
    if isinstance(error, DocumentErrors):
        _detail(status, _violations(error))
    elif isinstance(error, InvalidInput | InvalidDocument):
        violation = error_details_pb2.BadRequest.FieldViolation(
            description=_sendable(str(error), MOST_MESSAGE), reason=error.code
        )
        _detail(status, error_details_pb2.BadRequest(field_violations=[violation]))
    elif isinstance(error, TooMany):
        _detail(status, error_details_pb2.RetryInfo(retry_delay=Duration(seconds=round(error.seconds))))
    return status


async def abort(
    context: grpc.aio.ServicerContext[Any, Any], status: status_pb2.Status, metadata: tuple[tuple[str, str], ...] = ()
) -> None:
    """End a call with a status. Raises, always."""
    told = rpc_status.to_status(status)
    await context.abort(told.code, told.details or "", (*(told.trailing_metadata or ()), *metadata))


def _violations(error: DocumentErrors) -> Any:
    """One for each complaint: `field` is workflow_yaml:LINE:COLUMN, `reason` its code, as many as headers hold."""
    request, left = error_details_pb2.BadRequest(), MOST_TOGETHER
    complaints = [each for each in error.diagnostics if each.severity == "error"]
    for diagnostic in complaints[:MOST_VIOLATIONS]:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_sendable(diagnostic.place, 300), description=_sendable(diagnostic.text, MOST_MESSAGE), reason=diagnostic.code
        )
        left -= violation.ByteSize()
        if left < 0:
            break
        request.field_violations.append(violation)
    return request


def _detail(status: status_pb2.Status, detail: Any) -> None:
    status.details.add().Pack(detail)


def _sendable(text: str, most: int) -> str:
    encoded = telemetry.redact(text).encode(errors="replace")
    return encoded.decode() if len(encoded) <= most else f"{encoded[: most - 3].decode(errors='ignore')}…"
