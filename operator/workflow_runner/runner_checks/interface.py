"""The services and methods of the runner API, as the checks call them. Messages are read as those of the older package
throughout: they have the same numbers under each name."""

from __future__ import annotations

from google.protobuf import empty_pb2
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from msgspec import Struct

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2 as current
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older

EXECUTION = "ai.stigmer.agentic.workflowrunner.v1.WorkflowExecutionService"
QUERY = "ai.stigmer.workflow.runner.v1.WorkflowRunnerQueryController"
OLDER = "ai.stigmer.workflow.runner.v1.WorkflowRunnerCommandController"
NEWER = "ai.stigmer.agentic.workflowrunner.v1.WorkflowRunnerServiceController"
FACES = (EXECUTION, OLDER, NEWER)
"""The names under which a runner may have its service, the first first."""

HEALTH = "grpc.health.v1.Health"

TERMINAL = {"workflow_completed": "completed", "workflow_failed": "failed", "workflow_cancelled": "cancelled"}
"""The events that end a run, and the status that it then has."""

STATUS_OF = {
    "workflow_started": "running",
    "workflow_validating": "running",
    "workflow_validated": "running",
    "workflow_paused": "paused",
    "workflow_resumed": "running",
    "task_started": "running",
    "task_completed": "completed",
    "task_failed": "failed",
} | TERMINAL
"""The `status` of an event by its type; types that are not here may have any."""

STATUSES = {"pending", "running", "paused", "completed", "failed", "cancelled"}
"""What `GetStatus` may say."""


class Method(Struct, frozen=True):
    """A method with one request; `streams` if it answers with a stream."""

    service: str
    name: str
    answer: type[Message]
    streams: bool = False

    @property
    def path(self) -> str:
        """As HTTP/2 has it."""
        return f"/{self.service}/{self.name}"

    def under(self, service: str) -> Method:
        """The same method of another face; the newer one has names in lower camel case."""
        name = self.name[0].lower() + self.name[1:] if service == NEWER else self.name
        return Method(service, name, self.answer, self.streams)


EXECUTE = Method(EXECUTION, "Execute", older.WorkflowProgressEvent, streams=True)
EXECUTE_ASYNC = Method(EXECUTION, "ExecuteAsync", current.WorkflowExecuteResponse)
CANCEL = Method(EXECUTION, "CancelExecution", empty_pb2.Empty)
PAUSE = Method(EXECUTION, "PauseExecution", empty_pb2.Empty)
RESUME = Method(EXECUTION, "ResumeExecution", empty_pb2.Empty)
GET_STATUS = Method(QUERY, "GetStatus", older.ExecutionStatus)
GET_EVENTS = Method(QUERY, "GetEvents", older.ExecutionEvents)
SUBSCRIBE = Method(QUERY, "Subscribe", older.WorkflowProgressEvent, streams=True)
CHECK_HEALTH = Method(HEALTH, "Check", health_pb2.HealthCheckResponse)
REFLECTION = tuple(
    Method(f"grpc.reflection.{version}.ServerReflection", "ServerReflectionInfo", reflection_pb2.ServerReflectionResponse, True)
    for version in ("v1", "v1alpha")
)
"""Both versions have the same messages."""
