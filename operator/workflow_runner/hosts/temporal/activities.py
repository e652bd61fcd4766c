"""What a worker does for runs: their side effects, and expressions that may not end. Registered by worker."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import msgspec
from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from workflow_runner.calls import Calls
from workflow_runner.dsl.problems import CONFIGURATION, RUNTIME, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import Temporary, WorkflowRunnerError
from workflow_runner.expressions.programs import EvaluationFailed, InvalidProgram
from workflow_runner.hosts.elsewhere import Elsewhere, HostOptions
from workflow_runner.hosts.event_bus import Publish
from workflow_runner.hosts.jq_pool import JqPool
from workflow_runner.hosts.temporal import names, registry
from workflow_runner.hosts.temporal.limits import size_of, too_large
from workflow_runner.hosts.temporal.messages import CallRequest
from workflow_runner.interpreter.authentication import resolved

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules

BEAT_SECONDS = 1.0
"""A call hears by a heartbeat that it was cancelled."""

SecretsOf = Callable[[str], Awaitable[Mapping[str, Json]]]
"""The secrets of an execution, by its id. Raises Temporary, where the call is tried again, or another WorkflowRunnerError."""

log = logging.getLogger(__name__)


class Activities:
    """The connections of one worker. `publish` takes emitted events out of the process; `secrets` is asked for those of an
    execution that are not in Temporal, and that nobody in this process has entrusted to it. Close it when the worker has
    ended."""

    def __init__(
        self,
        addresses: AddressRules | None,
        options: HostOptions,
        publish: Publish | None = None,
        secrets: SecretsOf | None = None,
    ) -> None:
        self._secrets = secrets
        self._jq = options.jq or JqPool()
        self._own_jq = options.jq is None
        self._calls = Calls(addresses, options.processes, options.agents)
        self._elsewhere = Elsewhere(self._calls, options)
        self._publish = publish

    @activity.defn(name=names.CALL)
    async def call(self, argument: dict[str, Any]) -> Json:
        """Carry out a side effect: a messages.CallRequest. A fault of the document is a failure of the type WorkflowFault."""
        request = msgspec.convert(argument, CallRequest)
        beating = asyncio.create_task(_beat())
        try:
            answer = await self._call(request)
            size = size_of(answer)
            if size > request.largest_payload:
                raise _failure(too_large(f"the answer of {request.reference}", size, request.largest_payload))
            return answer
        except ApplicationError:
            raise
        except WorkflowFault as fault:
            raise _failure(fault.problem) from None
        except asyncio.CancelledError:
            raise
        except WorkflowRunnerError as error:
            raise _failure(Problem.standard(RUNTIME, str(error))) from None
        except Exception as error:
            log.exception("a call failed by a bug of the workflow runner", extra={"task_reference": request.reference})
            detail = f"{type(error).__name__} in the call: this is a bug of the workflow runner"
            raise _failure(Problem.standard(RUNTIME, detail)) from None
        finally:
            beating.cancel()
            await asyncio.gather(beating, return_exceptions=True)

    async def _call(self, request: CallRequest) -> Json:
        if request.protocol == "emit":
            if self._publish is not None:
                await self._publish(cast("dict[str, Json]", request.arguments["event"]))
            return None
        authentication = await self._resolved(request, request.authentication)
        if request.protocol == "function":
            return await self._elsewhere.function(request.arguments, authentication)
        if request.protocol == "workflow":
            return await self._elsewhere.workflow(request.arguments, request.idempotency_key)
        return await self._calls.call(
            request.protocol,
            request.arguments,
            idempotency_key=request.idempotency_key,
            authentication=authentication,
            resource_authentication=await self._resolved(request, request.resource_authentication),
        )

    async def _resolved(self, request: CallRequest, policy: Mapping[str, Json] | None) -> Mapping[str, Json] | None:
        if policy is None:
            return None
        found = registry.secrets_of(request.execution_id)
        if found is None and self._secrets is not None:
            try:
                found = await self._secrets(request.execution_id)
            except Temporary as error:
                raise ApplicationError(str(error), type=error.code) from error  # Temporal tries the call again
            except WorkflowRunnerError as error:
                raise WorkflowFault(Problem.standard(CONFIGURATION, f"{error.code}: {error}")) from error
        return await resolved(policy, {**(found or {}), **(request.secrets or {})}, self._jq.evaluate)

    @activity.defn(name=names.EVALUATE)
    async def evaluate(self, key: str, largest: int) -> dict[str, Any]:
        """Run an expression of a workflow of this process where it can be killed: `{"value"}` of so many bytes at most, or
        `{"error"}`."""
        request = registry.take_request(key)
        if request is None:
            raise ApplicationError("the expression is not there any more", type="Lost")
        try:
            value = await self._jq.evaluate(request)
            size = size_of(value)
            return {"value": value} if size <= largest else {"error": too_large("its result", size, largest).detail}
        except (EvaluationFailed, InvalidProgram) as error:
            return {"error": str(error)}

    @activity.defn(name=names.BREATHE)
    async def breathe(self) -> None:
        """Nothing: the workflow that asked has ended its task."""

    async def close(self) -> None:
        """Close connections and end children."""
        await self._elsewhere.close()
        await self._calls.close()
        if self._own_jq:
            await self._jq.aclose()


async def _beat() -> None:
    while True:
        await asyncio.sleep(BEAT_SECONDS)
        activity.heartbeat()


def _failure(problem: Problem) -> ApplicationError:
    return ApplicationError(
        str(problem)[:2000],
        problem.to_dict(),
        type=names.FAULT,
        non_retryable=True,
        # An author's errors are no news for this process's log.
        category=ApplicationErrorCategory.BENIGN,
    )
