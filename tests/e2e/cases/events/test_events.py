"""Events from outside reach executions by the operator, and those that executions emit reach others; as docs/operations.md
says it: its commands and its manifest are what is run here."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e.cluster import Cluster, CommandFailed, tool
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.cluster.shell import run
from tests.e2e.harness import http_server
from tests.e2e.harness.evidence import scrape
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import NAMESPACE, RELEASE, Operator, restored
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

SECRET = "workflow-runner-events"


class Page:
    """What docs/operations.md shows under Events, for this case's namespace."""

    def __init__(self, namespace: Namespace) -> None:
        page = (REPOSITORY / "docs" / "operations.md").read_text()
        part = page.partition("### Events for executions")[2].partition("\n## ")[0]
        shown = re.findall(r"(?:^    .*\n)+", part, re.MULTILINE)
        blocks = [re.sub("^    ", "", block, flags=re.MULTILINE).replace("team-a", namespace.name) for block in shown]
        self.install, self.post, self.runner = blocks
        self._namespace = namespace

    def run(self, script: str, timeout: float = 120) -> str:
        """What a shell says that runs these lines from the repository's root."""
        programs = {tool(name).parent for name in ("kubectl", "helm")}
        path = ":".join([*map(str, programs), "/usr/local/bin:/usr/bin:/bin"])
        variables = {"PATH": path, "KUBECONFIG": str(self._namespace.cluster.kubeconfig)}
        script = f"set -eo pipefail; trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}"
        return run(["bash", "-c", script], cwd=REPOSITORY, env=variables, timeout=timeout)

    def send(self) -> Json:
        """What the endpoint answers to the event that the page posts."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        answer: Json = json.loads(self.run(self.post.replace("8080", str(port))).splitlines()[-1])
        return answer


@pytest.fixture
def page(cluster: Cluster, operator: Operator, namespace: Namespace) -> Iterator[Page]:
    """The operator takes events, as the page tells how to make it do that; then it is again as it was."""
    page = Page(namespace)
    with restored(operator):
        try:
            page.run(page.install)
            yield page
        finally:
            operator.namespace.kubectl("delete", "secret", SECRET, "--ignore-not-found")


def listening(cluster: Cluster, count: int) -> None:
    """Until so many pods have opened a stream for events."""

    def streams() -> int:
        try:
            found = re.search(
                r'^workflow_runner_sink_streams\{method="Listen"\} (\d+)', scrape(cluster, NAMESPACE, RELEASE), re.MULTILINE
            )
        except CommandFailed:
            return 0
        return int(found[1]) if found else 0

    wait_for(streams, lambda found: found == count, what=f"{count} pods listen")


def test_an_execution_hears_and_wakes_another(cluster: Cluster, page: Page, namespace: Namespace, case: Path) -> None:
    secret = json.loads(cluster.kubectl("-n", NAMESPACE, "get", "secret", SECRET, "-o", "json"))
    own = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "event-token"}}
    namespace.apply({**own, "data": {"token": secret["data"][namespace.name]}})
    namespace.apply(yaml.safe_load(page.runner))
    executions = [namespace.start(case / "execution.yaml"), namespace.start(case / "second.yaml")]
    listening(cluster, 2)
    assert page.send() == {"events": 1, "taken": 1}
    for execution in executions:
        status = execution.wait_phase("Completed")
    assert status["output"] == [{"number": 7}]
    assert page.send() == {"events": 1, "taken": 0}


def test_an_operator_killed_while_a_run_waits_delivers_what_it_takes(
    cluster: Cluster, operator: Operator, page: Page, namespace: Namespace, case: Path
) -> None:
    with http_server.running(cluster) as sink:
        runner = yaml.safe_load(page.runner)
        [container] = runner["spec"]["launch"]["template"]["spec"]["containers"]
        container["env"] = [{"name": "WORKFLOW_RUNNER_EVENT_SINK", "value": sink.address}]
        namespace.apply(runner)
        execution = namespace.start(case / "execution.yaml")
        listening(cluster, 1)
        before = operator.identity()
        operator.kill()
        # The killed one may hand an event on and have no time to say so.
        wait_for(operator.identity, lambda pods: pods and pods[0] not in before, what="another operator begins")
        operator.wait_ready()
        assert page.send() == {"events": 1, "taken": 1}, "the first event that the new operator takes is delivered"
        status = execution.wait_phase("Completed")
        assert status["launches"] == 1, "by the pod that has listened all the time"
        [(headers, body)] = sink.posted
    assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    event = json.loads(body)
    assert (event["type"], event["source"], event["data"]) == ("order.heard", "/e2e", {"number": 7})
