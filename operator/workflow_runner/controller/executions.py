"""Executions that are started and steered by gRPC, as WorkflowExecutions: what is asked for is visible in kubectl.

Implements hosts.executions.Executions for the operator; built by cli.operator. An execution's object is named for its id
(crd.group.name_of), and the id stands in its spec, so that whoever asks again finds the same one. Each call is checked as its
caller (access.py); what the operator itself may do is not lent.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from itertools import islice
from typing import Any

from google.protobuf import json_format

from workflow_runner.cluster import Cluster, Conflict, NotFound, Rejected
from workflow_runner.controller.access import Access
from workflow_runner.controller.event_logs import EventLogs
from workflow_runner.crd import group
from workflow_runner.crd.execution import TERMINAL_PHASES
from workflow_runner.dsl.model import Workflow
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts import start_requests
from workflow_runner.hosts.documents import Documents
from workflow_runner.hosts.executions import (
    MOST_EVENTS_A_PAGE,
    Caller,
    OtherContent,
    Started,
    StartRequest,
    UnknownExecution,
    WrongState,
)
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import ErrorDetails, ExecutionStatus, WorkflowProgressEvent
from workflow_runner.reconcile.timestamps import from_text

Json = dict[str, Any]

PLURAL = group.EXECUTION_PLURAL
LABELS = {"name": "workflow-name", "version": "workflow-version", "namespace": "workflow-namespace"}
"""The caller's own words for the workflow, and the annotations that keep them."""
LOOK_SECONDS = 30.0
"""How often somebody who waits looks at the resource, should no news have come."""
_ENDS = {"Completed": "workflow_completed", "Failed": "workflow_failed", "Cancelled": "workflow_cancelled"}


class ClusterExecutions:
    """Use it from one event loop."""

    def __init__(self, cluster: Cluster, documents: Documents, logs: EventLogs, *, namespace: str) -> None:
        """`namespace` is where what is started goes."""
        self._cluster = cluster
        self._documents = documents
        self._logs = logs
        self._access = Access(cluster)
        self._namespace = namespace

    async def start(self, request: StartRequest, caller: Caller) -> Started:
        """See Executions.start. Rejected is told as what it is: the caller's resource is not taken."""
        await self._access.check(caller, "create", PLURAL, self._namespace)
        start_requests.check(request)
        execution_id = request.execution_id or str(uuid.uuid4())
        workflow = await self._documents.read(request.document)
        start_requests.check_awaited(request, workflow)
        manifest, secrets = self._manifest(execution_id, request, workflow)
        try:
            created, begun = await self._cluster.create_resource(PLURAL, manifest), True
        except Conflict:
            created, begun = await self._existing(execution_id, manifest), False
        except Rejected as error:
            raise InvalidInput(f"the WorkflowExecution is not taken: {error.message}", code=error.code) from error
        self._logs.open(created["metadata"]["uid"])
        if secrets:
            await self._keep_secrets(created, secrets)
        return Started(execution_id, begun=begun)

    async def cancel(self, execution_id: str, reason: str, caller: Caller, *, force: bool) -> None:
        """See Executions.cancel."""
        resource = await self._find(execution_id, caller, "update")
        if _has_ended(resource):
            return
        mode = "Force" if force else "Graceful"
        cancellation = {"mode": mode} | ({"reason": reason[:1024]} if reason else {})
        await self._steer(resource, {"cancelled": True, "cancellation": cancellation})

    async def pause(self, execution_id: str, reason: str, caller: Caller) -> None:
        """See Executions.pause."""
        await self._hold(execution_id, caller, paused=True)

    async def resume(self, execution_id: str, reason: str, caller: Caller) -> None:
        """See Executions.resume."""
        await self._hold(execution_id, caller, paused=False)

    async def status(self, execution_id: str, caller: Caller) -> ExecutionStatus:
        """See Executions.status."""
        return _status(execution_id, await self._find(execution_id, caller, "get"))

    async def events(
        self, execution_id: str, after: int, most: int, caller: Caller
    ) -> tuple[list[WorkflowProgressEvent], bool]:
        """See Executions.events: those that this operator knows, and the end."""
        resource = await self._find(execution_id, caller, "get")
        most = min(most or MOST_EVENTS_A_PAGE, MOST_EVENTS_A_PAGE)
        found = list(islice(self._known(execution_id, resource, after), most + 1))
        return found[:most], len(found) > most

    async def subscribe(self, execution_id: str, after: int, caller: Caller) -> AsyncIterator[WorkflowProgressEvent]:
        """See Executions.subscribe. The caller's right is looked at again with the resource."""
        while True:
            resource = await self._find(execution_id, caller, "get")
            uid = resource["metadata"]["uid"]
            self._logs.open(uid)
            waiting = asyncio.ensure_future(self._logs.news(uid))
            try:
                for event in self._known(execution_id, resource, after):
                    after = max(after, event.sequence_number)
                    yield event
                    if event.event_type in _ENDS.values():
                        return
                if _has_ended(resource):
                    return
                await asyncio.wait([waiting], timeout=LOOK_SECONDS)
            finally:
                waiting.cancel()

    async def resource(self, execution_id: str, caller: Caller) -> Json:
        """The WorkflowExecution itself."""
        return await self._find(execution_id, caller, "get")

    async def page(self, limit: int, token: str, caller: Caller) -> tuple[list[Json], str]:
        """Some WorkflowExecutions, and the token of the next page: those that nobody gave an id, too."""
        await self._access.check(caller, "list", PLURAL, self._namespace)
        return await self._cluster.page(PLURAL, self._namespace, limit=limit, token=token)

    async def changes(self, execution_id: str, caller: Caller) -> AsyncIterator[Json]:
        """The WorkflowExecution as it is now, and whenever its status has changed, until it has ended."""
        before = None
        while True:
            found = await self._find(execution_id, caller, "get")
            uid = found["metadata"]["uid"]
            waiting = asyncio.ensure_future(self._logs.news(uid))
            try:
                if found.get("status") != before:
                    before = found.get("status")
                    yield found
                if _has_ended(found):
                    return
                await asyncio.wait([waiting], timeout=LOOK_SECONDS)
            finally:
                waiting.cancel()

    def _known(self, execution_id: str, resource: Json, after: int) -> Any:
        told = list(self._logs.after(resource["metadata"]["uid"], after))
        yield from told
        if _has_ended(resource) and not (told and told[-1].event_type in _ENDS.values()):
            end = _end(execution_id, resource)
            if end.sequence_number > after:
                yield end

    def _manifest(self, execution_id: str, request: StartRequest, workflow: Workflow) -> tuple[Json, dict[str, str]]:
        """The resource, and the values that the document reads as secrets."""
        name = group.name_of(execution_id)
        secrets = start_requests.secrets_of(request, workflow)
        plain = [{"name": key, "value": value} for key, value in sorted(request.environment.items()) if key not in secrets]
        spec: Json = {"executionId": execution_id, "workflow": {"yaml": request.document}, "input": request.input}
        if plain:
            spec["env"] = plain
        if secrets:
            spec["secrets"] = {key: {"secretKeyRef": {"name": f"{name}-env", "key": key}} for key in sorted(secrets)}
        if runner := request.config.get("runner"):
            spec["runnerRef"] = {"name": runner}
        if (limit := start_requests.time_limit(request)) is not None:
            spec["timeout"] = f"{max(1, round(limit.total_seconds() * 1000))}ms"
        annotations = {f"{group.GROUP}/{LABELS[key]}": value[:253] for key, value in request.labels.items()}
        metadata = {"name": name, "namespace": self._namespace, "annotations": annotations}
        return {"apiVersion": group.API_VERSION, "kind": group.EXECUTION_KIND, "metadata": metadata, "spec": spec}, secrets

    async def _existing(self, execution_id: str, manifest: Json) -> Json:
        """The execution of this id, if it is what is asked for again. Raises OtherContent."""
        found = await self._cluster.get_resource(PLURAL, self._namespace, manifest["metadata"]["name"])
        OtherContent.check(execution_id, _content(found["spec"]), _content(manifest["spec"]))
        return found

    async def _keep_secrets(self, execution: Json, secrets: dict[str, str]) -> None:
        """A Secret of the execution's own, which goes with it; its pod waits for it."""
        metadata = execution["metadata"]
        owner = {
            "apiVersion": group.API_VERSION,
            "kind": group.EXECUTION_KIND,
            "name": metadata["name"],
            "uid": metadata["uid"],
        }
        data = {key: value.encode() for key, value in secrets.items()}
        with contextlib.suppress(Conflict):  # an earlier call's, whose answer was lost
            await self._cluster.create_secret(metadata["namespace"], f"{metadata['name']}-env", data, owner=owner)

    async def _hold(self, execution_id: str, caller: Caller, *, paused: bool) -> None:
        resource = await self._find(execution_id, caller, "update")
        what = "paused" if paused else "resumed"
        if _has_ended(resource):
            phase = resource["status"]["phase"].lower()
            raise WrongState(f"execution {execution_id!r} has {phase}: it cannot be {what} any more")
        if resource["spec"].get("cancelled"):
            raise WrongState(f"execution {execution_id!r} is being cancelled: it cannot be {what} any more")
        if bool(resource["spec"].get("paused")) is not paused:
            await self._steer(resource, {"paused": paused})

    async def _steer(self, resource: Json, spec: Json) -> None:
        metadata = resource["metadata"]
        try:
            await self._cluster.patch_spec(PLURAL, metadata["namespace"], metadata["name"], spec)
        except Rejected as error:
            raise WrongState(f"the WorkflowExecution does not take that any more: {error.message}") from error

    async def _find(self, execution_id: str, caller: Caller, verb: str) -> Json:
        name = group.name_of(execution_id)
        await self._access.check(caller, verb, PLURAL, self._namespace, name)
        try:
            found = await self._cluster.get_resource(PLURAL, self._namespace, name)
        except NotFound:
            found = {}
        if (found.get("spec") or {}).get("executionId") != execution_id:
            raise UnknownExecution(f"there is no execution {execution_id!r:.300} in namespace {self._namespace}")
        return found


def _content(spec: Json) -> Json:
    """What is run, and where, of a spec."""
    runner = (spec.get("runnerRef") or {}).get("name", group.DEFAULT_RUNNER)
    members = ("executionId", "workflow", "input", "env", "secrets", "timeout")
    return {"runner": runner, **{name: spec.get(name) for name in members}}


def _has_ended(resource: Json) -> bool:
    status = resource.get("status") or {}
    # A status of another run says nothing about this one.
    return status.get("phase") in TERMINAL_PHASES and status.get("runId", "") == (resource["spec"].get("runId") or "")


def _status(execution_id: str, resource: Json) -> ExecutionStatus:
    status = resource.get("status") or {}
    phase = str(status.get("phase") or "Pending").lower()
    callback = status.get("callback") or {}
    answer = ExecutionStatus(
        workflow_execution_id=execution_id,
        status="pending" if phase == "queued" else phase,
        progress=status.get("progress") or 0,
        last_sequence_number=(callback.get("baseSequence") or 0) + (callback.get("sourceSequence") or 0),
        started_at_ms=_milliseconds(status.get("startTime")),
        completed_at_ms=_milliseconds(status.get("completionTime")),
    )
    if status.get("error"):
        answer.error.CopyFrom(_details(status["error"]))
    if "output" in status:
        json_format.ParseDict(status["output"], answer.output)
    return answer


def _end(execution_id: str, resource: Json) -> WorkflowProgressEvent:
    """The last event, as far as status tells it."""
    stands = _status(execution_id, resource)
    event = WorkflowProgressEvent(
        workflow_execution_id=execution_id,
        event_type=_ENDS[resource["status"]["phase"]],
        status=stands.status,
        message=f"the workflow has {stands.status}" if stands.status != "cancelled" else "the workflow was cancelled",
        timestamp_ms=stands.completed_at_ms,
        sequence_number=max(1, stands.last_sequence_number),
        task_progress=stands.progress,
        attempt=resource["status"].get("attempt") or 0,
    )
    if stands.HasField("error"):
        event.error.CopyFrom(stands.error)
    if stands.HasField("output"):
        event.output.CopyFrom(stands.output)
    return event


def _details(error: Json) -> ErrorDetails:
    title, detail = error.get("title") or error.get("type") or "", error.get("detail") or ""
    return ErrorDetails(
        code=error.get("code") or "",
        message=f"{title}: {detail}" if detail else title,
        type=error.get("type") or "",
        status=error.get("status") or 0,
        instance=error.get("instance") or "",
        detail=detail,
    )


def _milliseconds(text: str | None) -> int:
    return round(from_text(text).timestamp() * 1000) if text else 0
