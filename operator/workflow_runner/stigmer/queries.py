"""What Stigmer has: executions, instances, workflows, environments; and what one run of them needs. Called by the operator.

    QueryFailed (Temporary)   no answer for now: unreachable, overloaded, out of time
    QueryRefused              answered, and not with what was asked for: a wrong key, a wrong address
    └── NotThere              there is no such thing (`stigmer.not-found`), and the message says what was looked for

The environment of a run is merged in this order, later ones over earlier ones:

    1. the workflow's env_spec      defaults; an entry without a value only declares a name
    2. the instance's env_refs      in their order
    3. the execution's runtime_env

A name that one of them marks as secret is a secret, whoever gives its value. Secrets are kept as such (`SecretStr`) and are
concealed in logs from the moment when they are read (as passing ones: there may be many, and they must not crowd out a
key). Errors and logs never hold the key, nor a value.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Literal, Protocol, Self, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import Message
from msgspec import Struct, field
from pydantic import SecretStr

from workflow_runner import telemetry
from workflow_runner.errors import Temporary, WorkflowRunnerError
from workflow_runner.proto.ai.stigmer.agentic.environment.v1.api_pb2 import Environment
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.api_pb2 import Workflow
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.io_pb2 import WorkflowId
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.spec_pb2 import WorkflowSpec
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecution
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.io_pb2 import WorkflowExecutionId
from workflow_runner.proto.ai.stigmer.agentic.workflowinstance.v1.api_pb2 import WorkflowInstance
from workflow_runner.proto.ai.stigmer.agentic.workflowinstance.v1.io_pb2 import WorkflowInstanceId
from workflow_runner.proto.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceId, ApiResourceReference
from workflow_runner.stigmer.client import (
    BETWEEN_ATTEMPTS,
    MOST_DETAIL,
    REFUSES_ALL,
    RETRYABLE,
    Backoff,
    Destination,
    cannot_be_made,
    metadata_of,
    open_channel,
    without_key,
)

log = logging.getLogger(__name__)

MOST_ENVIRONMENTS = 50
MOST_VALUES = 500
LARGEST_ENVIRONMENT = 512 * 1024
"""Bytes of all names and values together."""

Asked = Literal["execution", "instance", "workflow"]
M = TypeVar("M", bound=Message)
_PACKAGE = "/ai.stigmer.agentic"
_SERVICES: dict[type[Message], tuple[str, str]] = {
    WorkflowExecution: ("workflow execution", f"{_PACKAGE}.workflowexecution.v1.WorkflowExecutionQueryController"),
    WorkflowInstance: ("workflow instance", f"{_PACKAGE}.workflowinstance.v1.WorkflowInstanceQueryController"),
    Workflow: ("workflow", f"{_PACKAGE}.workflow.v1.WorkflowQueryController"),
    Environment: ("environment", f"{_PACKAGE}.environment.v1.EnvironmentQueryController"),
}
_QUERY_HINTS = {
    grpc.StatusCode.UNAUTHENTICATED: "check the API key: STIGMER_SERVICE_API_KEY, or the Secret that spec.stigmer names",
    grpc.StatusCode.PERMISSION_DENIED: "check what the API key may read",
    grpc.StatusCode.UNIMPLEMENTED: "check the endpoint: it answers no queries",
}


class QueryFailed(Temporary):
    """No attempt was answered; a later one may be."""

    code = "stigmer.unavailable"


class QueryRefused(WorkflowRunnerError):
    """Stigmer answered, and not with what was asked for."""

    code = "stigmer.refused"


class NotThere(QueryRefused):
    """Stigmer has no such thing."""

    code = "stigmer.not-found"


class Wanted(Struct, frozen=True):
    """What a run shall be made from: the id of one of Stigmer's things."""

    kind: Asked
    id: str


class Value(Protocol):
    """What env_spec, environments and runtime_env have in common."""

    value: str
    is_secret: bool


class Values(Struct, frozen=True):
    """An environment, merged. `values` are the plain ones."""

    values: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, SecretStr] = field(default_factory=dict)


class Resolved(Struct, frozen=True):
    """Everything a run needs of Stigmer. The trigger is empty where no execution was asked for."""

    spec: WorkflowSpec
    environment: Values
    trigger_message: str = ""
    trigger_metadata: dict[str, str] = field(default_factory=dict)


class Queries:
    """Reads of one Stigmer over one connection; use it from one event loop, and close it."""

    def __init__(
        self,
        destination: Destination,
        *,
        attempts: int = 3,
        deadline_seconds: float = 10.0,
        backoff: Backoff = BETWEEN_ATTEMPTS,
    ) -> None:
        """`deadline_seconds` is for one attempt; connecting counts."""
        self.destination = destination
        self._attempts = attempts
        self._deadline = deadline_seconds
        self._backoff = backoff
        telemetry.conceal(destination.api_key.get_secret_value())
        self._channel = open_channel(destination)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls under way are cancelled."""
        await self._channel.close()

    async def execution(self, id_: str) -> WorkflowExecution:
        """A workflow execution. Like its siblings it raises QueryFailed, QueryRefused or NotThere."""
        found = await self._get(WorkflowExecution, WorkflowExecutionId(value=id_), id_)
        _conceal(found.spec.runtime_env)
        return found

    async def instance(self, which: str | ApiResourceReference) -> WorkflowInstance:
        """A workflow instance, by its id or by a reference."""
        return await self._get(WorkflowInstance, *_either(which, WorkflowInstanceId))

    async def workflow(self, which: str | ApiResourceReference) -> Workflow:
        """A workflow, by its id or by a reference."""
        found = await self._get(Workflow, *_either(which, WorkflowId))
        _conceal(found.spec.env_spec.data)
        return found

    async def environment(self, which: str | ApiResourceReference) -> Environment:
        """An environment, by its id or by a reference."""
        found = await self._get(Environment, *_either(which, ApiResourceId))
        _conceal(found.spec.data)
        return found

    async def resolve(self, wanted: Wanted) -> Resolved:
        """What a run of an execution, an instance or a workflow needs. A workflow, or an execution of one, runs as its
        default instance where it has one."""
        execution = await self.execution(wanted.id) if wanted.kind == "execution" else WorkflowExecution()
        instance_id, workflow_id = execution.spec.workflow_instance_id, execution.spec.workflow_id
        if wanted.kind == "instance":
            instance_id = wanted.id
        elif wanted.kind == "workflow":
            workflow_id = wanted.id
        workflow: Workflow | None = None
        if not instance_id:
            if not workflow_id:
                raise NotThere(f"the workflow execution {wanted.id!r} names neither an instance nor a workflow")
            workflow = await self.workflow(workflow_id)
            instance_id = workflow.status.default_instance_id
        instance = await self.instance(instance_id) if instance_id else WorkflowInstance()
        if workflow is None:
            if not instance.spec.workflow_id:
                raise NotThere(f"the workflow instance {instance_id!r} names no workflow")
            workflow = await self.workflow(instance.spec.workflow_id)
        if len(instance.spec.env_refs) > MOST_ENVIRONMENTS:
            message = f"the workflow instance {instance_id!r} has more than {MOST_ENVIRONMENTS} environments"
            raise QueryRefused(message, code="stigmer.environment-too-large")
        environments = await asyncio.gather(*(self.environment(ref) for ref in instance.spec.env_refs))
        layers: list[Mapping[str, Value]] = [workflow.spec.env_spec.data, *(each.spec.data for each in environments)]
        layers.append(execution.spec.runtime_env)
        return Resolved(workflow.spec, merged(layers), execution.spec.trigger_message, dict(execution.spec.trigger_metadata))

    async def _get(self, kind: type[M], request: Message, asked: str) -> M:
        what, service = _SERVICES[kind]
        method = "getByReference" if isinstance(request, ApiResourceReference) else "get"
        call: grpc.aio.UnaryUnaryMultiCallable[Message, M] = self._channel.unary_unary(
            f"{service}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=kind.FromString,
        )
        attempt = 1
        while True:
            answer = await self._attempt(call, request)
            if isinstance(answer, kind):
                return answer
            assert isinstance(answer, grpc.aio.AioRpcError)  # noqa: S101 - the other one of two
            if attempt == self._attempts or answer.code() not in RETRYABLE:
                raise self._translated(what, asked, answer, attempt) from answer
            log.debug("attempt %d of %d to read from Stigmer failed: %s", attempt, self._attempts, answer.code().name)
            await asyncio.sleep(self._backoff.seconds(attempt))
            attempt += 1

    async def _attempt(self, call: grpc.aio.UnaryUnaryMultiCallable[Message, M], request: Message) -> M | grpc.aio.AioRpcError:
        """One call; an error is returned and not raised, as in client.py."""
        try:
            return await call(request, timeout=self._deadline, metadata=metadata_of(self.destination))
        except grpc.aio.AioRpcError as error:
            return without_key(error, self.destination)
        except Exception as error:  # noqa: BLE001 - such as a key that no header can hold: this destination's trouble only
            return cannot_be_made(error)

    def _translated(self, what: str, asked: str, error: grpc.aio.AioRpcError, attempts: int) -> WorkflowRunnerError:
        status, where = error.code(), self.destination.endpoint
        said = f"{status.name}: {(error.details() or 'no details')[:MOST_DETAIL]}"
        if status is grpc.StatusCode.NOT_FOUND:
            return NotThere(f"there is no {what} {asked!r} at {where}")
        if status in RETRYABLE:
            return QueryFailed(f"the {what} {asked!r} could not be read from {where} in {attempts} attempts: {said}")
        code = REFUSES_ALL.get(status)
        return QueryRefused(f"the {what} {asked!r} was not given by {where}: {said}", code=code, hint=_QUERY_HINTS.get(status))


def merged(layers: Iterable[Mapping[str, Value]]) -> Values:
    """The environment that the layers make, the first of them the declarations. Raises QueryRefused
    (`stigmer.environment-too-large`)."""
    values: dict[str, str] = {}
    secret: set[str] = set()
    for number, layer in enumerate(layers):
        for name, entry in layer.items():
            if entry.is_secret:
                secret.add(name)
            if entry.value or number > 0:
                values[name] = entry.value
    size = sum(len(name.encode()) + len(value.encode()) for name, value in values.items())
    if len(values) > MOST_VALUES or size > LARGEST_ENVIRONMENT:
        message = (
            f"the environment has {len(values)} values of {size:,} bytes; at most {MOST_VALUES} of {LARGEST_ENVIRONMENT:,}"
        )
        raise QueryRefused(message, code="stigmer.environment-too-large")
    secrets = {name: SecretStr(value) for name, value in values.items() if name in secret}
    for value in secrets.values():
        telemetry.conceal(value.get_secret_value(), passing=True)
    return Values({name: value for name, value in values.items() if name not in secret}, secrets)


def _conceal(values: Mapping[str, Value]) -> None:
    for entry in values.values():
        if entry.is_secret:
            telemetry.conceal(entry.value, passing=True)


def _either(which: str | ApiResourceReference, id_: type[Message]) -> tuple[Message, str]:
    if isinstance(which, str):
        return id_(value=which), which
    return which, f"{which.org}/{which.slug}" if which.org else which.slug
