"""Executions are started and runners managed by gRPC, as docs/control.md says it: its commands are what is run here."""

from __future__ import annotations

import json
import re
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.cluster import Cluster, CommandFailed, tool
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.cluster.shell import run
from tests.e2e.harness import evidence
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import Operator, restored
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

EXECUTION = "ai.stigmer.agentic.workflowrunner.v1.WorkflowExecutionService"
QUERY = "ai.stigmer.workflow.runner.v1.WorkflowRunnerQueryController"
EXECUTIONS = "ai.stigmer.agentic.workflowexecution.v1.WorkflowExecutionQueryController"
COMMANDS = "ai.stigmer.agentic.workflowrunner.v1.WorkflowRunnerCommandController"
QUERIES = "ai.stigmer.agentic.workflowrunner.v1.WorkflowRunnerQueryController"
DOCUMENT = "document: {dsl: 1.0.0, namespace: test, name: test, version: 1.0.0}\ndo:\n"


class Page:
    """What docs/control.md shows, for this case's namespace."""

    def __init__(self, namespace: Namespace, folder: Path) -> None:
        shown = re.findall(r"(?:^    .*\n)+", (REPOSITORY / "docs" / "control.md").read_text(), re.MULTILINE)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = str(probe.getsockname()[1])
        blocks = [re.sub("^    ", "", block, flags=re.MULTILINE).replace("team-a", namespace.name) for block in shown]
        self.install, whole = blocks
        whole = whole.replace("9090:9090", f"{self._port}:9090").replace("localhost:9090", f"localhost:{self._port}")
        self.start = whole.replace("localhost/9090", f"localhost/{self._port}")
        self._prepare = self.start.partition("grpcurl")[0]
        self.namespace, self._folder = namespace, folder

    def run(self, script: str, timeout: float = 120) -> str:
        """What a shell says that runs these lines."""
        programs = {tool(name).parent for name in ("kubectl", "helm", "grpcurl")}
        path = ":".join([*map(str, programs), "/usr/local/bin:/usr/bin:/bin"])
        variables = {"PATH": path, "KUBECONFIG": str(self.namespace.cluster.kubeconfig)}
        script = f"set -eo pipefail; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}"
        return run(["bash", "-c", script], cwd=self._folder, env=variables, timeout=timeout)

    def call(self, method: str, request: Json, account: str = "stigmer", *, last: bool = False) -> Json:
        """One call as a service account, its answer, or the last one of a stream; CommandFailed with what grpcurl said."""
        token = f'"authorization: Bearer $(kubectl -n {self.namespace.name} create token {account})"'
        body = "'" + json.dumps(request).replace("'", "'\\''") + "'"
        out = self.run(f"{self._prepare}grpcurl -cacert ca.crt -H {token} -d {body} localhost:{self._port} {method} 2>&1")
        answers = out[out.index("{") :].split("\n}\n")
        answer: Json = json.loads(answers[-2] + "\n}") if last else json.loads(out[out.index("{") :])
        return answer


@pytest.fixture(scope="module")
def page(cluster: Cluster, operator: Operator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The operator serves a namespace, as the page tells how to make it do that; then it is again as it was."""
    folder = tmp_path_factory.mktemp("control")
    (folder / "charts").symlink_to(REPOSITORY / "charts")
    name = f"e2e-control-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    page = Page(Namespace(cluster, name), folder)
    with restored(operator):
        page.run(page.install)
        yield page
    evidence.keep_namespace(cluster, name)
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="module")
def namespace(page: Page) -> Namespace:
    return page.namespace


def executions(namespace: Namespace, execution_id: str) -> list[Json]:
    """The resources of this id."""
    items: list[Json] = json.loads(namespace.kubectl("get", "wfe", "-o", "json"))["items"]
    return [item for item in items if item["spec"]["executionId"] == execution_id]


def test_what_is_started_by_grpc_is_an_execution(page: Page, namespace: Namespace) -> None:
    answer = page.run(page.start)
    started = json.loads(answer[answer.index("{") :])
    assert started["workflowExecutionId"] == "test-123"
    assert started["status"] == "running"
    [resource] = executions(namespace, "test-123")
    assert resource["metadata"]["name"].startswith("test-123-")

    def stands() -> Json:
        return page.call(f"{QUERY}/GetStatus", {"execution_id": "test-123"})

    assert wait_for(stands, lambda found: found.get("status") == "completed", what="it completes")["output"] == {
        "message": "Hello"
    }
    events = page.call(f"{QUERY}/GetEvents", {"execution_id": "test-123"})["events"]
    assert events[-1]["eventType"] == "workflow_completed"
    assert {event["workflowExecutionId"] for event in events} == {"test-123"}
    again = page.run(page.start)
    assert json.loads(again[again.index("{") :])["workflowExecutionId"] == "test-123"
    assert len(executions(namespace, "test-123")) == 1, "the same request is the same run"
    with pytest.raises(CommandFailed, match="AlreadyExists"):
        page.call(
            f"{EXECUTION}/ExecuteAsync",
            {"workflow_execution_id": "test-123", "workflow_yaml": f"{DOCUMENT}  - a: {{set: {{x: 1}}}}"},
        )
    with pytest.raises(CommandFailed, match=r"workflow_yaml:3:\d+"):
        page.call(f"{EXECUTION}/ExecuteAsync", {"workflow_yaml": f"{DOCUMENT}  - a: {{sett: 1}}"})
    with pytest.raises(CommandFailed, match="NotFound"):
        page.call(f"{QUERY}/GetStatus", {"execution_id": "another"})


def test_executions_are_told_as_stigmer_tells_its_own(page: Page, namespace: Namespace) -> None:
    namespace.kubectl("create", "role", "lister", "--verb=list", "--resource=workflowexecutions.workflowrunner.stigmer.ai")
    namespace.kubectl("create", "rolebinding", "lister", "--role=lister", f"--serviceaccount={namespace.name}:stigmer")
    request = {"workflow_execution_id": "told", "workflow_yaml": f"{DOCUMENT}  - a: {{set: {{x: 1}}}}"}
    page.call(f"{EXECUTION}/ExecuteAsync", request)
    last = page.call(f"{EXECUTIONS}/subscribe", {"execution_id": "told"}, last=True)
    assert last["status"]["phase"] == "EXECUTION_COMPLETED"
    [task] = last["status"]["tasks"]
    assert (task["taskName"], task["taskType"], task["status"]) == ("a", "WORKFLOW_TASK_TRANSFORM", "WORKFLOW_TASK_COMPLETED")
    assert page.call(f"{EXECUTIONS}/get", {"value": "told"})["metadata"]["id"] == "told"
    listed = page.call(f"{EXECUTIONS}/list", {"phase": "EXECUTION_COMPLETED"})
    assert "told" in [each["metadata"]["id"] for each in listed["entries"]]
    assert page.call(f"{EXECUTIONS}/list", {"phase": "EXECUTION_FAILED"}) == {}


def test_what_a_document_names_as_secrets_is_kept_as_one(page: Page, namespace: Namespace) -> None:
    namespace.apply(
        {
            "apiVersion": "workflowrunner.stigmer.ai/v1",
            "kind": "WorkflowRunner",
            "metadata": {"name": "with-secrets"},
            "spec": {"type": "embedded", "allow": {"secrets": ["*-env"]}},
        }
    )
    head = DOCUMENT.replace("do:", "use: {secrets: [TOKEN]}\ndo:")
    document = head + "  - a: {set: {long: '${ $secrets.TOKEN | length }'}}"
    request = {
        "workflow_execution_id": "secret",
        "workflow_yaml": document,
        "env_vars": {"TOKEN": "canary-of-control"},
        "config": {"runner": "with-secrets"},
    }
    page.call(f"{EXECUTION}/ExecuteAsync", request)
    status = wait_for(
        lambda: page.call(f"{QUERY}/GetStatus", {"execution_id": "secret"}),
        lambda found: found.get("status") in ("completed", "failed"),
        what="it ends",
    )
    assert status.get("output") == {"long": 17}, status
    [resource] = executions(namespace, "secret")
    assert "canary-of-control" not in json.dumps(resource)


def test_a_run_is_steered_by_its_id(page: Page, namespace: Namespace) -> None:
    request = {"workflow_execution_id": "long", "workflow_yaml": f"{DOCUMENT}  - a: {{wait: PT10M}}"}
    page.call(f"{EXECUTION}/ExecuteAsync", request)
    steered = {"execution_id": "long", "reason": "because"}

    def stands(status: str) -> None:
        wait_for(
            lambda: page.call(f"{QUERY}/GetStatus", {"execution_id": "long"}),
            lambda found: found.get("status") == status,
            what=f"it is {status}",
        )

    stands("running")
    for _ in range(2):
        page.call(f"{EXECUTION}/PauseExecution", steered)
    stands("paused")
    page.call(f"{EXECUTION}/ResumeExecution", steered)
    stands("running")
    for _ in range(2):
        page.call(f"{EXECUTION}/CancelExecution", steered)
    stands("cancelled")
    page.call(f"{EXECUTION}/CancelExecution", steered)
    with pytest.raises(CommandFailed, match="FailedPrecondition"):
        page.call(f"{EXECUTION}/PauseExecution", steered)
    [resource] = executions(namespace, "long")
    assert resource["spec"]["cancellation"]["reason"] == "because"


def test_a_caller_does_what_it_may_by_hand_and_nothing_else(page: Page, namespace: Namespace) -> None:
    namespace.kubectl("create", "serviceaccount", "nobody")
    request = {"workflow_execution_id": "e", "workflow_yaml": f"{DOCUMENT}  - a: {{set: {{x: 1}}}}"}
    for method, what in (
        (f"{EXECUTION}/ExecuteAsync", request),
        (f"{EXECUTION}/CancelExecution", {"execution_id": "e"}),
        (f"{QUERY}/GetStatus", {"execution_id": "e"}),
    ):
        with pytest.raises(CommandFailed, match="PermissionDenied"):
            page.call(method, what, account="nobody")
    with pytest.raises(CommandFailed, match="PermissionDenied"):
        page.call(f"{QUERIES}/list", {})  # stigmer has no right on runners
    assert executions(namespace, "e") == []


def test_runners_are_managed(page: Page, namespace: Namespace) -> None:
    rights = ("--verb=get,list,create,update,delete", "--resource=workflowrunners.workflowrunner.stigmer.ai")
    namespace.kubectl("create", "role", "runners", *rights)
    namespace.kubectl("create", "rolebinding", "runners", "--role=runners", f"--serviceaccount={namespace.name}:stigmer")
    runner: Json = {"metadata": {"name": "mine"}, "spec": {"type": "embedded", "limits": {"maxConcurrentExecutions": 3}}}
    made = page.call(f"{COMMANDS}/create", runner)
    assert made["metadata"]["id"] == f"{namespace.name}/mine"
    with pytest.raises(CommandFailed, match="AlreadyExists"):
        page.call(f"{COMMANDS}/create", runner)
    runner["spec"]["limits"] = {"maxConcurrentExecutions": 5}
    assert page.call(f"{COMMANDS}/apply", runner)["spec"]["limits"] == {"maxConcurrentExecutions": 5}
    stale = {**runner, "metadata": {"name": "mine", "version": made["metadata"]["version"]}}
    with pytest.raises(CommandFailed, match="Aborted"):
        page.call(f"{COMMANDS}/update", stale)
    with pytest.raises(CommandFailed, match="InvalidArgument"):
        page.call(f"{COMMANDS}/update", {**runner, "spec": {"type": "embedded", "limits": {"maxConcurrentExecutions": -1}}})
    ready = wait_for(
        lambda: page.call(f"{QUERIES}/search", {"text": "MIN", "ready": True}),
        lambda found: "entries" in found,
        what="it is ready",
    )
    assert [each["metadata"]["name"] for each in ready["entries"]] == ["mine"]
    assert page.call(f"{QUERIES}/search", {"type": "temporal"}) == {}
    listed = {each["metadata"]["name"]: each["spec"] for each in page.call(f"{QUERIES}/list", {})["entries"]}
    assert listed["mine"]["type"] == "embedded"
    page.call(f"{COMMANDS}/delete", {"resource_id": "mine"})
    with pytest.raises(CommandFailed, match="NotFound"):
        page.call(f"{QUERIES}/get", {"value": f"{namespace.name}/mine"})
