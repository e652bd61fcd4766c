"""WorkflowExecutionQueryController of ai.stigmer.agentic.workflowexecution.v1 over WorkflowExecution resources: what Stigmer
asks of itself, asked of the operator. Built by cli.control.

An execution's id is its `spec.executionId`, or, where nobody gave one, its uid: that is told, and cannot be asked for.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Protocol

import grpc
import grpc.aio

from workflow_runner.crd import group
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.executions import Caller
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import api_pb2, enum_pb2, io_pb2, query_pb2, query_pb2_grpc
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.server.calls import caller
from workflow_runner.stigmer.status import status_of

Json = dict[str, Any]
Context = grpc.aio.ServicerContext[Any, Any]

QUERY = query_pb2.DESCRIPTOR.services_by_name["WorkflowExecutionQueryController"].full_name
PAGE, MOST_A_PAGE = 100, 500
MOST_PAGES_LOOKED_AT = 20
"""Of one list that asks for a phase: a page may hold fewer than were asked for, while there are more."""


class Resources(Protocol):
    """What is asked of controller.executions; see there."""

    async def resource(self, execution_id: str, caller: Caller) -> Json: ...

    async def page(self, limit: int, token: str, caller: Caller) -> tuple[list[Json], str]: ...

    def changes(self, execution_id: str, caller: Caller) -> AsyncIterator[Json]: ...


class ExecutionQueries(query_pb2_grpc.WorkflowExecutionQueryControllerServicer):
    """See the module's text."""

    def __init__(self, executions: Resources) -> None:
        self._executions = executions

    async def get(self, request: io_pb2.WorkflowExecutionId, context: Context) -> api_pb2.WorkflowExecution:
        """One."""
        return to_message(await self._executions.resource(_given(request.value), caller()))

    async def list(self, request: io_pb2.ListWorkflowExecutionsRequest, context: Context) -> io_pb2.WorkflowExecutionList:
        """A page of them. The next one's token is among the trailers, `next-page-token`: the message has no place for it."""
        size = min(request.page_size, MOST_A_PAGE) if request.page_size > 0 else PAGE
        token, found = request.page_token, []
        for _ in range(MOST_PAGES_LOOKED_AT):
            items, token = await self._executions.page(size, token, caller())
            messages = [to_message(item) for item in items]
            found = [each for each in messages if request.phase in (0, each.status.phase)]
            if found or not token:
                break
        if token:
            context.set_trailing_metadata((*context.trailing_metadata(), ("next-page-token", token)))
        return io_pb2.WorkflowExecutionList(entries=found)

    async def listByWorkflow(
        self, request: io_pb2.ListWorkflowExecutionsByWorkflowRequest, context: Context
    ) -> io_pb2.WorkflowExecutionList:
        """Not here: a WorkflowExecution has its document with it, and no workflow to be asked by."""
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "executions here are not kept by their workflows: use list")
        raise AssertionError("abort raises")

    async def subscribe(
        self, request: io_pb2.SubscribeWorkflowExecutionRequest, context: Context
    ) -> AsyncIterator[api_pb2.WorkflowExecution]:
        """One, now and after every change, until it has ended."""
        async with contextlib.aclosing(self._executions.changes(_given(request.execution_id), caller())) as changes:  # type: ignore[type-var]
            async for resource in changes:
                yield to_message(resource)


def execution_queries(executions: Resources) -> list[tuple[str, Callable[[Any], None]]]:
    """The service by its full name, and what adds it to a server."""
    add = query_pb2_grpc.add_WorkflowExecutionQueryControllerServicer_to_server
    return [(QUERY, partial(add, ExecutionQueries(executions)))]


def to_message(resource: Json) -> api_pb2.WorkflowExecution:
    """A resource as a message."""
    metadata, spec, status = resource["metadata"], resource["spec"], resource.get("status") or {}
    message = api_pb2.WorkflowExecution(api_version=group.API_VERSION, kind=group.EXECUTION_KIND)
    message.metadata.name = message.metadata.slug = metadata["name"]
    message.metadata.org = metadata["namespace"]
    message.metadata.id = spec.get("executionId") or metadata["uid"]
    message.metadata.labels.update(metadata.get("labels") or {})
    message.metadata.annotations.update(metadata.get("annotations") or {})
    source = (spec.get("workflow") or {}).get("stigmer") or {}
    message.spec.workflow_id = source.get("workflowId") or ""
    message.spec.workflow_instance_id = source.get("workflowInstanceId") or ""
    if status.get("phase"):
        run = LiveRun.from_status(status)
        message.status.CopyFrom(status_of(run, temporal_workflow_id=status.get("temporalWorkflowId") or ""))
    else:
        message.status.phase = enum_pb2.EXECUTION_PENDING
    return message


def _given(execution_id: str) -> str:
    if not execution_id:
        raise InvalidInput("the id is empty: name the execution", code="execution.bad-id")
    return execution_id
