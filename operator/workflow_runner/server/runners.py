"""The services by which registered runners are managed: WorkflowRunnerCommandController and WorkflowRunnerQueryController of
ai.stigmer.agentic.workflowrunner.v1, over WorkflowRunner resources. Built by cli.operator.

A runner's `metadata.org` is its namespace, `metadata.id` NAMESPACE/NAME and `metadata.version.id` its resourceVersion.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import grpc.aio
from google.protobuf import json_format

from workflow_runner.crd import group
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.executions import Caller
from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import (
    api_pb2,
    command_pb2,
    command_pb2_grpc,
    query_pb2,
    query_pb2_grpc,
    spec_pb2,
)
from workflow_runner.proto.ai.stigmer.commons.apiresource import io_pb2 as apiresource
from workflow_runner.server.calls import caller
from workflow_runner.server.executions import object_of

Json = dict[str, Any]
Context = grpc.aio.ServicerContext[Any, Any]

PAGE, MOST_A_PAGE = 100, 500
MOST_LOOKED_AT = 5000
"""Runners that one search goes through."""

COMMAND = command_pb2.DESCRIPTOR.services_by_name["WorkflowRunnerCommandController"].full_name
QUERY = query_pb2.DESCRIPTOR.services_by_name["WorkflowRunnerQueryController"].full_name


class Runners(Protocol):
    """What is asked of controller.runner_resources; see there."""

    namespace: str

    async def create(self, manifest: Json, caller: Caller) -> Json: ...

    async def update(self, manifest: Json, caller: Caller) -> Json: ...

    async def apply(self, manifest: Json, caller: Caller) -> Json: ...

    async def delete(self, namespace: str, name: str, caller: Caller) -> Json: ...

    async def get(self, namespace: str, name: str, caller: Caller) -> Json: ...

    async def page(self, namespace: str, limit: int, token: str, selector: str, caller: Caller) -> tuple[list[Json], str]: ...


class RunnerCommands(command_pb2_grpc.WorkflowRunnerCommandControllerServicer):
    """Changes."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners

    async def create(self, request: api_pb2.WorkflowRunner, context: Context) -> api_pb2.WorkflowRunner:
        """Register one."""
        return to_message(await self._runners.create(self._manifest(request), caller()))

    async def update(self, request: api_pb2.WorkflowRunner, context: Context) -> api_pb2.WorkflowRunner:
        """Change one."""
        return to_message(await self._runners.update(self._manifest(request, versioned=True), caller()))

    async def apply(self, request: api_pb2.WorkflowRunner, context: Context) -> api_pb2.WorkflowRunner:
        """Either."""
        return to_message(await self._runners.apply(self._manifest(request), caller()))

    async def delete(self, request: apiresource.ApiResourceDeleteInput, context: Context) -> api_pb2.WorkflowRunner:
        """Remove one."""
        namespace, name = place_of(request.resource_id, self._runners.namespace)
        return to_message(await self._runners.delete(namespace, name, caller()))

    def _manifest(self, request: api_pb2.WorkflowRunner, *, versioned: bool = False) -> Json:
        return to_manifest(request, self._runners.namespace, versioned=versioned)


class RunnerQueries(query_pb2_grpc.WorkflowRunnerQueryControllerServicer):
    """Questions."""

    def __init__(self, runners: Runners) -> None:
        self._runners = runners

    async def get(self, request: apiresource.ApiResourceId, context: Context) -> api_pb2.WorkflowRunner:
        """One."""
        return to_message(await self._runners.get(*place_of(request.value, self._runners.namespace), caller()))

    async def list(self, request: query_pb2.ListWorkflowRunnersRequest, context: Context) -> query_pb2.WorkflowRunnerList:
        """A page of them."""
        namespace = request.org or self._runners.namespace
        items, token = await self._runners.page(namespace, _size(request.page_size), request.page_token, "", caller())
        return query_pb2.WorkflowRunnerList(entries=[to_message(item) for item in items], next_page_token=token)

    async def search(self, request: query_pb2.SearchWorkflowRunnersRequest, context: Context) -> query_pb2.WorkflowRunnerList:
        """A page of those that fit. A page may hold fewer than were asked for while there are more."""
        namespace = request.org or self._runners.namespace
        selector = ",".join(f"{name}={value}" for name, value in sorted(request.labels.items()))
        found: list[Json] = []
        token, looked = request.page_token, 0
        while True:
            items, token = await self._runners.page(namespace, _size(request.page_size), token, selector, caller())
            looked += len(items)
            found += [item for item in items if _fits(item, request)]
            if not token or found or looked >= MOST_LOOKED_AT:
                return query_pb2.WorkflowRunnerList(entries=[to_message(item) for item in found], next_page_token=token)


def runner_services(runners: Runners) -> list[tuple[str, Callable[[Any], None]]]:
    """Both services by their full names, and what adds each to a server."""
    return [
        (COMMAND, partial(command_pb2_grpc.add_WorkflowRunnerCommandControllerServicer_to_server, RunnerCommands(runners))),
        (QUERY, partial(query_pb2_grpc.add_WorkflowRunnerQueryControllerServicer_to_server, RunnerQueries(runners))),
    ]


def place_of(resource_id: str, namespace: str) -> tuple[str, str]:
    """Namespace and name of NAMESPACE/NAME, or of NAME in the given namespace. Raises InvalidInput."""
    before, slash, after = resource_id.rpartition("/")
    if not after or (slash and not before) or "/" in before:
        raise InvalidInput(f"{resource_id!r:.300} is no runner's id", hint="write NAMESPACE/NAME, or NAME")
    return before or namespace, after


def to_manifest(runner: api_pb2.WorkflowRunner, namespace: str, *, versioned: bool) -> Json:
    """The resource that a message describes. Raises InvalidInput."""
    metadata = runner.metadata
    name = metadata.name or metadata.slug
    if not name:
        raise InvalidInput("metadata.name is empty: a runner has a name", code="input.missing")
    for given, expected in ((runner.api_version, group.API_VERSION), (runner.kind, group.RUNNER_KIND)):
        if given and given != expected:
            raise InvalidInput(f"this is {given!r:.100}, and a runner is {expected}", code="input.invalid")
    described: Json = {"name": name, "namespace": metadata.org or namespace}
    if metadata.labels:
        described["labels"] = dict(metadata.labels)
    if metadata.annotations:
        described["annotations"] = dict(metadata.annotations)
    if versioned and metadata.version.id:
        described["resourceVersion"] = metadata.version.id
    return {
        "apiVersion": group.API_VERSION,
        "kind": group.RUNNER_KIND,
        "metadata": described,
        "spec": _spec(runner.spec),
    }


def to_message(resource: Json) -> api_pb2.WorkflowRunner:
    """A resource as a message."""
    metadata, status = resource["metadata"], resource.get("status") or {}
    message = api_pb2.WorkflowRunner(api_version=group.API_VERSION, kind=group.RUNNER_KIND)
    message.metadata.name = message.metadata.slug = metadata["name"]
    message.metadata.org = metadata["namespace"]
    message.metadata.id = f"{metadata['namespace']}/{metadata['name']}"
    message.metadata.labels.update(metadata.get("labels") or {})
    message.metadata.annotations.update(metadata.get("annotations") or {})
    message.metadata.version.id = str(metadata.get("resourceVersion") or "")
    # A member of the spec that the message has no name for is left out.
    json_format.ParseDict(resource.get("spec") or {}, message.spec, ignore_unknown_fields=True)
    for condition in status.get("conditions") or []:
        message.status.conditions.add(
            type=condition.get("type", ""),
            status=condition.get("status", ""),
            reason=condition.get("reason", ""),
            message=condition.get("message", ""),
            last_transition_time=condition.get("lastTransitionTime", ""),
        )
    message.status.active = status.get("active") or 0
    message.status.queued = status.get("queued") or 0
    return message


def _spec(spec: spec_pb2.WorkflowRunnerSpec) -> Json:
    found: Json = {}
    for field, value in spec.ListFields():
        found[field.json_name] = object_of(value) if field.message_type is not None else value
    return found


def _fits(resource: Json, request: query_pb2.SearchWorkflowRunnersRequest) -> bool:
    metadata, spec = resource["metadata"], resource.get("spec") or {}
    if request.type and spec.get("type") != request.type:
        return False
    if request.ready:
        conditions = (resource.get("status") or {}).get("conditions") or []
        if not any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions):
            return False
    text = request.text.lower()
    texts = [metadata["name"], spec.get("type") or "", spec.get("endpoint") or "", *(metadata.get("labels") or {}).values()]
    return not text or any(text in str(each).lower() for each in texts)


def _size(asked: int) -> int:
    return min(asked, MOST_A_PAGE) if asked > 0 else PAGE
