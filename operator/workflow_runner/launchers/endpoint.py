"""What is handed to a runner at an endpoint: one attempt of a run as WorkflowExecuteInput. Pure.

Filled in by controller.endpoint_runs from what reconcile says of the attempt, as `job.py` and `pod.py` do for those that
are launched. Of the execution only document, input, the plain variables of spec.env and the time-out go there: Secrets do
not leave the cluster (reconcile.allowed refuses such executions).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format

from workflow_runner.errors import InvalidInput
from workflow_runner.launchers.payload import unpack
from workflow_runner.launchers.run import LaunchedRun
from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2

LARGEST_REQUEST = 4 * 1024 * 1024 - 64 * 1024
"""Bytes: servers take messages of 4 MiB unless told otherwise; the rest is for headers."""
MOST_EXACT = 2**53
"""Above this a double, which is all that a Struct has, does not hold every whole number."""


def build_request(run: LaunchedRun, workflow: str, environment: Mapping[str, str]) -> io_pb2.WorkflowExecuteInput:
    """The request that starts the attempt. `workflow` is `namespace/name:version`, `environment` spec.env with its values.

    Raises InvalidInput (`endpoint.unsendable`): the input is no object, holds a number that a double cannot keep, or all
    of it is too large.
    """
    if run.stigmer_secrets:
        names = ", ".join(run.stigmer_secrets[:10])
        raise _unsendable(f"the workflow needs secret values of Stigmer's ({names}), which go to no runner at an endpoint")
    payload = unpack(run.packed, run.digest)
    given = {} if payload.input is None else payload.input
    if not isinstance(given, dict):
        raise _unsendable(f"the input is no object but {type(given).__name__}, and a runner at an endpoint takes objects only")
    _check_numbers(given, "")
    request = io_pb2.WorkflowExecuteInput(
        workflow_execution_id=run.execution_id,
        # JSON is YAML: a definition keeps every value that it has.
        workflow_yaml=payload.document if isinstance(payload.document, str) else json.dumps(payload.document, indent=1),
        env_vars={**run.stigmer_values, **environment},
    )
    try:
        json_format.ParseDict(given, request.workflow_input)
    except (json_format.Error, ValueError, ArithmeticError, RecursionError) as error:
        raise _unsendable(f"the input cannot be put into a message: {error}") from error
    namespace, _, rest = workflow.rpartition("/")
    request.metadata.name, _, request.metadata.version = rest.rpartition(":")
    request.metadata.namespace = namespace
    if run.timeout_seconds is not None:
        request.config["timeout"] = f"PT{run.timeout_seconds:.3f}".rstrip("0").rstrip(".") + "S"
    if request.ByteSize() > LARGEST_REQUEST:
        size = f"{request.ByteSize():,} bytes; at most {LARGEST_REQUEST:,} can be sent"
        raise _unsendable(f"document, input and variables have {size}")
    return request


def _check_numbers(value: Any, pointer: str) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > MOST_EXACT:
        raise _unsendable(f"the input's {pointer or '/'} is a whole number above 2^53, which would not arrive as it is")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_numbers(item, f"{pointer}/{key}")
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_numbers(item, f"{pointer}/{number}")


def _unsendable(message: str) -> InvalidInput:
    return InvalidInput(message, code="endpoint.unsendable")
