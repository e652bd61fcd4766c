"""What a request for a run has to be, whoever carries it out: this process (local_executions.py) or the cluster."""

from __future__ import annotations

from datetime import timedelta

from workflow_runner.dsl.durations import parse_duration
from workflow_runner.dsl.model import Workflow
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.executions import AWAITED, StartRequest

LONGEST_ID = 256
MOST_VARIABLES = 1000
LARGEST_ENVIRONMENT = 1024 * 1024
LARGEST_VARIABLE = 120 * 1024
"""Characters; an operating system hands no longer ones to a process."""


def check(request: StartRequest) -> None:
    """Raise InvalidInput for what can be told before the document is read."""
    if len(request.execution_id) > LONGEST_ID or not request.execution_id.isprintable():
        raise InvalidInput(
            f"workflow_execution_id is longer than {LONGEST_ID} characters, or has some that cannot be printed",
            code="execution.bad-id",
        )
    if not request.document:
        raise InvalidInput("workflow_yaml is empty: there is nothing to run", code="input.missing")
    sizes = [len(name) + len(value) for name, value in request.environment.items()]
    if len(sizes) > MOST_VARIABLES or sum(sizes) > LARGEST_ENVIRONMENT or max(sizes, default=0) > LARGEST_VARIABLE:
        raise InvalidInput(
            f"env_vars has more than {MOST_VARIABLES:,} entries, {LARGEST_ENVIRONMENT:,} characters together, or"
            f" {LARGEST_VARIABLE:,} in one entry"
        )
    for name, value in request.environment.items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            raise InvalidInput(f"env_vars: {name!r:.80} cannot be an environment variable")


def check_awaited(request: StartRequest, workflow: Workflow) -> None:
    """Raise InvalidInput where the caller waits for a run that says that it may take longer than anybody may wait."""
    limit = time_limit(request)
    if isinstance(workflow.timeout, timedelta):
        limit = workflow.timeout
    if request.awaited and limit is not None and limit > AWAITED:
        raise InvalidInput(
            f"the time limit of the run is {limit}, and a caller may wait for {AWAITED}",
            code="execution.too-long",
            hint="start it with ExecuteAsync, and follow it with Subscribe or GetStatus",
        )


def time_limit(request: StartRequest) -> timedelta | None:
    """What `config.timeout` says. Raises InvalidInput."""
    text = request.config.get("timeout")
    if text is None:
        return None
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InvalidInput(f"config.timeout is {text!r:.100}: {error}", code="input.invalid", hint="write PT5M") from error


def secrets_of(request: StartRequest, workflow: Workflow) -> dict[str, str]:
    """The part of the environment that the document reads as `$secrets`."""
    environment = request.environment
    return {name: environment[name] for name in workflow.use.secrets if name in environment}
