"""A namespace of the cluster as a case uses it, through kubectl."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.cluster import Cluster, CommandFailed
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

TERMINAL = {"Completed", "Failed", "Cancelled"}


def manifest_of(file: Path, name: str | None = None, **spec: Any) -> Json:
    """The object in a file, under another name where one is given, and with further fields of its spec."""
    manifest: Json = yaml.safe_load(file.read_text())
    if name is not None:
        manifest["metadata"]["name"] = name
    manifest["spec"] = {**manifest["spec"], **spec}
    return manifest


class Namespace:
    """kubectl in one namespace."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, timeout: float = 60) -> str:
        return self.cluster.kubectl("--namespace", self.name, *arguments, stdin=stdin, timeout=timeout)

    def apply(self, manifest: Path | str | Json) -> None:
        """Applies a file, YAML text or an object, strictly checked."""
        if isinstance(manifest, Path):
            self.kubectl("apply", "--validate=strict", "-f", manifest)
        else:
            text = manifest if isinstance(manifest, str) else json.dumps(manifest)
            self.kubectl("apply", "--validate=strict", "-f", "-", stdin=text)

    def start(self, file: Path, name: str | None = None, **spec: Any) -> Execution:
        """Applies the WorkflowExecution in a file, changed as `manifest_of` says."""
        manifest = manifest_of(file, name, **spec)
        self.apply(manifest)
        return self.execution(manifest["metadata"]["name"])

    def refusal(self, manifest: Path | str | Json) -> str:
        """What the API server says to a manifest that it refuses."""
        try:
            self.apply(manifest)
        except CommandFailed as error:
            return str(error)
        raise AssertionError("the API server accepted it")

    def patch(self, kind: str, name: str, spec: Json) -> None:
        self.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def get(self, kind: str, name: str) -> Json:
        """The object, or {} when there is none."""
        text = self.kubectl("get", kind, name, "-o", "json", "--ignore-not-found")
        value: Json = json.loads(text) if text.strip() else {}
        return value

    def list(self, kind: str, *selector: str) -> list[Json]:
        value: list[Json] = json.loads(self.kubectl("get", kind, "-o", "json", *selector))["items"]
        return value

    def wait(self, kind: str, name: str, until: Callable[[Json], object], what: str, seconds: float = 60.0) -> Json:
        """The object, {} while there is none, once `until` likes it."""
        return wait_for(lambda: self.get(kind, name), until, what=f"{kind} {name}: {what}", seconds=seconds)

    def wait_gone(self, kind: str, name: str, seconds: float = 60.0) -> None:
        self.wait(kind, name, lambda found: not found, "it is gone", seconds)

    def execution(self, name: str) -> Execution:
        return Execution(self, name)


class Execution:
    """One WorkflowExecution."""

    def __init__(self, namespace: Namespace, name: str) -> None:
        self.namespace = namespace
        self.name = name

    @property
    def resource(self) -> Json:
        return self.namespace.get("wfe", self.name)

    @property
    def status(self) -> Json:
        value: Json = self.resource.get("status") or {}
        return value

    def patch(self, **spec: Any) -> None:
        self.namespace.patch("wfe", self.name, spec)

    def wait(self, until: Callable[[Json], object], what: str, seconds: float = 60.0) -> Json:
        """Status, once `until` likes it."""
        return wait_for(lambda: self.status, until, what=f"{self.name}: {what}", seconds=seconds)

    def wait_phase(self, *phases: str, seconds: float = 60.0) -> Json:
        """Status, once its phase is one of these; fails at once when the run ends in another way."""

        def until(status: Json) -> bool:
            phase = status.get("phase")
            assert phase in phases or phase not in TERMINAL, f"{self.name} ended as {phase}: {json.dumps(status, indent=1)}"
            return phase in phases

        return self.wait(until, f"phase {' or '.join(phases)}", seconds)

    def wait_tasks(self, completed: int) -> Json:
        """Status, once the run is at work and so many of its tasks have completed."""

        def until(status: Json) -> bool:
            assert status.get("phase") not in TERMINAL, f"{self.name} has ended: {json.dumps(status, indent=1)}"
            return bool((status.get("taskCounts") or {}).get("completed", 0) >= completed)

        return self.wait(until, f"{completed} tasks are done")

    def wait_condition(self, kind: str, status: str, reason: str | tuple[str, ...], seconds: float = 60.0) -> Json:
        """The condition, once it has this status and one of these reasons."""
        reasons = (reason,) if isinstance(reason, str) else reason

        def find(status_now: Json) -> Json:
            found = [item for item in status_now.get("conditions", []) if item["type"] == kind]
            return found[0] if found and found[0]["status"] == status and found[0]["reason"] in reasons else {}

        return find(self.wait(find, f"condition {kind} is {status}, {' or '.join(reasons)}", seconds))

    def condition(self, kind: str) -> Json:
        found: list[Json] = [item for item in self.status.get("conditions", []) if item["type"] == kind]
        assert len(found) == 1, f"{self.name} has {len(found)} conditions {kind}"
        return found[0]

    def delete(self) -> None:
        """Asks for its end; does not wait for it."""
        self.namespace.kubectl("delete", "wfe", self.name, "--wait=false")

    def running_pod(self, *, other_than: str = "") -> Json:
        """The pod of the run, once its container runs."""

        def running(pods: list[Json]) -> list[Json]:
            return [
                pod
                for pod in pods
                if pod["metadata"]["name"] != other_than
                and "deletionTimestamp" not in pod["metadata"]
                and any("running" in item["state"] for item in pod["status"].get("containerStatuses", []))
            ]

        return running(wait_for(self.pods, running, what=f"{self.name}: a pod runs"))[0]

    def pods(self) -> list[Json]:
        return self.namespace.list("pods", "-l", f"workflowrunner.stigmer.ai/execution={self.name}")

    def jobs(self) -> list[Json]:
        return self.namespace.list("jobs", "-l", f"workflowrunner.stigmer.ai/execution={self.name}")

    def events(self) -> list[str]:
        """Reasons of the Kubernetes events on the resource, oldest first."""
        items = self.namespace.list("events", "--field-selector", f"involvedObject.name={self.name}")
        return [
            item["reason"]
            for item in sorted(items, key=lambda item: (item["firstTimestamp"] or "", item["metadata"]["resourceVersion"]))
        ]
