"""Who may talk to the sink: the pod of a run, about that run, and nobody else."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from tests.e2e.cluster import tool
from tests.e2e.harness.kube import Execution, Namespace
from tests.e2e.harness.operator import Operator

from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2_grpc, io_pb2
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2, sink_pb2_grpc

AUDIENCE = "workflow-runner-sink"


class Caller:
    """A channel to the sink, and calls with a token."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._stub = sink_pb2_grpc.SinkServiceStub(channel)
        self._commands = command_pb2_grpc.WorkflowRunnerCommandControllerStub(channel)

    def code(self, run: sink_pb2.Run, token: str | None) -> tuple[grpc.StatusCode, grpc.StatusCode]:
        """How Progress and Watch end for a caller with this token that speaks of this run."""
        metadata = [("authorization", f"Bearer {token}")] if token else []
        event = io_pb2.WorkflowProgressEvent(sequence_number=1_000_000, event_type="workflow_completed")
        batch = sink_pb2.ProgressBatch(run=run, events=[event])
        return (
            _code(lambda: self._stub.Progress(iter([batch]), metadata=metadata, timeout=20)),
            _code(lambda: next(iter(self._stub.Watch(sink_pb2.WatchRequest(run=run), metadata=metadata, timeout=20)))),
        )

    def report_code(self, token: str | None) -> grpc.StatusCode:
        """How the older ReportProgress ends."""
        metadata = [("authorization", f"Bearer {token}")] if token else []
        event = io_pb2.WorkflowProgressEvent(sequence_number=1_000_000, event_type="workflow_completed")
        return _code(lambda: self._commands.ReportProgress(event, metadata=metadata, timeout=20))


def _code(call: Any) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK


@pytest.fixture
def caller(operator: Operator) -> Iterator[Caller]:
    namespace = operator.namespace
    secret = namespace.get("secret", "workflow-runner-sink")
    ca = base64.b64decode(secret["data"]["ca.crt"])
    command = [str(tool("kubectl")), "--kubeconfig", str(namespace.cluster.kubeconfig), "-n", namespace.name]
    command += ["port-forward", "service/workflow-runner-sink", ":9090"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found, "port-forward started"
            name = f"workflow-runner-sink.{namespace.name}.svc"
            options = [("grpc.ssl_target_name_override", name)]
            with grpc.secure_channel(f"127.0.0.1:{found[1]}", grpc.ssl_channel_credentials(ca), options) as channel:
                yield Caller(channel)
        finally:
            process.terminate()


def _token(namespace: Namespace, *, pod: str | None, audience: str = AUDIENCE) -> str:
    bound = ["--bound-object-kind=Pod", f"--bound-object-name={pod}"] if pod else []
    return namespace.kubectl("create", "token", "default", f"--audience={audience}", *bound).strip()


def _run(execution: Execution) -> sink_pb2.Run:
    resource = execution.resource
    return sink_pb2.Run(execution_uid=resource["metadata"]["uid"], execution_id=resource["status"]["executionId"], attempt=1)


REFUSED = grpc.StatusCode.UNAUTHENTICATED
DENIED = grpc.StatusCode.PERMISSION_DENIED


def test_strangers_are_refused_and_change_nothing(caller: Caller, applied: Execution, case: Any) -> None:
    namespace = applied.namespace
    namespace.apply((case / "execution.yaml").read_text().replace("{name: sink-callers}", "{name: other}", 1))
    other = namespace.execution("other")
    for execution in (applied, other):
        execution.wait_phase("Running")
    [pod], [other_pod] = applied.pods(), other.pods()
    run, name, other_name = _run(applied), pod["metadata"]["name"], other_pod["metadata"]["name"]

    assert caller.code(run, None) == (REFUSED, REFUSED)
    assert caller.code(run, "not.a.token") == (REFUSED, REFUSED)
    assert caller.code(run, _token(namespace, pod=name, audience="somebody-else")) == (REFUSED, REFUSED)
    assert caller.code(run, _token(namespace, pod=None)) == (DENIED, DENIED)
    assert caller.code(run, _token(namespace, pod=other_name)) == (DENIED, DENIED)
    assert caller.report_code(None) == REFUSED
    assert caller.report_code(_token(namespace, pod=None)) == DENIED
    assert applied.status["phase"] == "Running"

    assert caller.code(run, _token(namespace, pod=name)) == (grpc.StatusCode.OK, grpc.StatusCode.OK), "its own pod may"
    for execution in (applied, other):
        namespace.kubectl("delete", "wfe", execution.name, "--wait=false")
