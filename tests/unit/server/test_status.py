"""Errors as statuses: small enough for every client, and without what is nobody's business."""

from __future__ import annotations

import pytest
from google.rpc import code_pb2, error_details_pb2

from workflow_runner.dsl.diagnostics import Diagnostic, DocumentErrors
from workflow_runner.errors import (
    Internal,
    InvalidDocument,
    InvalidInput,
    PermissionDenied,
    Temporary,
    Unauthenticated,
    WorkflowRunnerError,
)
from workflow_runner.hosts.executions import OtherContent, OutOfTime, Stopping, TooMany, UnknownExecution, WrongState
from workflow_runner.server.status import status_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InvalidInput("x"), code_pb2.INVALID_ARGUMENT),
        (InvalidDocument("x"), code_pb2.INVALID_ARGUMENT),
        (UnknownExecution("x"), code_pb2.NOT_FOUND),
        (OtherContent("x"), code_pb2.ALREADY_EXISTS),
        (WrongState("x"), code_pb2.FAILED_PRECONDITION),
        (OutOfTime("x"), code_pb2.DEADLINE_EXCEEDED),
        (TooMany("x", seconds=2), code_pb2.RESOURCE_EXHAUSTED),
        (Unauthenticated("x"), code_pb2.UNAUTHENTICATED),
        (PermissionDenied("x"), code_pb2.PERMISSION_DENIED),
        (Stopping("x"), code_pb2.UNAVAILABLE),
        (Temporary("x"), code_pb2.UNAVAILABLE),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_each_error_has_a_status_and_its_code_as_reason(error: WorkflowRunnerError, code: int) -> None:
    status = status_of(error)
    assert (status.code, status.message) == (code, "x")
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == error.code


@pytest.mark.parametrize("error", [KeyError("password"), Internal("password")], ids=["unforeseen", "internal"])
def test_of_a_bug_nothing_is_told(error: Exception) -> None:
    status = status_of(error)
    assert (status.code, "password" in str(status)) == (code_pb2.INTERNAL, False)


def test_the_largest_status_fits_into_the_trailers_of_careful_clients() -> None:
    """8 KiB: the message as text, three characters for each byte beyond ASCII, and the whole status as base64."""
    complaints = [
        Diagnostic("error", "property.unknown", "設" * 5000, "f" * 300, number, 1, "h" * 500) for number in range(500)
    ]
    for error in (DocumentErrors(complaints), InvalidInput("設" * 5000), InvalidInput("x" * 5000, hint="設" * 5000)):
        status = status_of(error)
        assert 3 * len(status.message.encode()) + status.ByteSize() * 4 / 3 < 7000
        assert status.message.endswith("…")
