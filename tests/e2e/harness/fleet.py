"""Many executions at a time: how cases and benchmarks make them, wait for them, and what they cost. Used with api.py."""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.e2e.cluster import Cluster
from tests.e2e.harness.api import Api
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import NAMESPACE, RELEASE, Operator
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
SMALL: Json = {"requests": {"cpu": "1m", "memory": "16Mi"}}
"""Of a pod of which a hundred shall fit on a machine with two cores."""


def execution(name: str, tasks: list[Json], **spec: Any) -> Json:
    """A WorkflowExecution of these tasks."""
    document = {"dsl": "1.0.0", "namespace": "e2e", "name": "fleet", "version": "0.1.0"}
    return {
        "apiVersion": "workflowrunner.stigmer.ai/v1",
        "kind": "WorkflowExecution",
        "metadata": {"name": name},
        "spec": {"workflow": {"definition": {"document": document, "do": tasks}}, **spec},
    }


def runner(name: str, *, mode: str = "Job", resources: Json | None = None, **spec: Any) -> Json:
    """A WorkflowRunner; its pods ask for the operator's defaults unless told otherwise."""
    launch: Json = {"mode": mode}
    if resources is not None:
        launch["template"] = {"spec": {"containers": [{"name": "workflow", "resources": resources}]}}
    return {
        "apiVersion": "workflowrunner.stigmer.ai/v1",
        "kind": "WorkflowRunner",
        "metadata": {"name": name},
        "spec": {"type": "embedded", "launch": launch, **spec},
    }


@contextmanager
def namespace_for(cluster: Cluster, what: str) -> Iterator[Namespace]:
    """A namespace that goes with all that is in it."""
    name = f"{what}-{secrets.token_hex(3)}"
    cluster.kubectl("create", "namespace", name)
    try:
        yield Namespace(cluster, name)
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false")


def phases(api: Api, namespace: str) -> Counter[str]:
    """How many executions of a namespace are in which phase."""
    return Counter((item.get("status") or {}).get("phase") or "Pending" for item in api.executions(namespace))


def wait_phases(api: Api, namespace: str, wanted: Json, *, seconds: float) -> None:
    """Waits until there are at least so many executions in these phases."""
    wait_for(
        lambda: phases(api, namespace),
        lambda found: all(found[phase] >= number for phase, number in wanted.items()),
        what=f"executions: {json.dumps(wanted)}",
        seconds=seconds,
    )


def finished(name: str, document: Json, output: Json, *, digest: str = "0" * 64) -> Json:
    """The status of a run that ended some time ago, as the operator leaves it."""
    moment = "2026-01-01T00:00:00.000Z"
    conditions = [
        {"type": kind, "status": status, "reason": "Completed", "message": "The workflow has completed."}
        for kind, status in (("Accepted", "True"), ("Completed", "True"), ("Reconciling", "False"), ("Stalled", "False"))
    ]
    tasks = [
        {
            "name": next(iter(task)),
            "reference": f"/do/{index}/{next(iter(task))}",
            "status": "Completed",
            "startTime": moment,
            "completionTime": moment,
        }
        for index, task in enumerate(document["do"])
    ]
    return {
        "phase": "Completed",
        "observedGeneration": 1,
        "executionId": name,
        "attempt": 1,
        "launches": 1,
        "specDigest": f"sha256:{digest}",
        "workflow": "e2e/fleet:0.1.0",
        "progress": 100,
        "taskCounts": {"started": len(tasks), "completed": len(tasks), "failed": 0, "skipped": 0, "retried": 0},
        "tasks": tasks,
        "output": output,
        "jobName": name,
        "startTime": moment,
        "completionTime": moment,
        "conditions": [item | {"lastTransitionTime": moment, "observedGeneration": 1} for item in conditions],
        "callback": {"sourceSequence": 2 * len(tasks) + 4, "baseSequence": 0},
    }


def writes(cluster: Cluster, namespace: str) -> Counter[str]:
    """The operator's successful writes that concern a namespace, by the audit log: verb and resource."""
    found: Counter[str] = Counter()
    for event in cluster.audit_log():
        reference = event.get("objectRef") or {}
        if event["user"].get("username") != ACCOUNT or reference.get("namespace") != namespace:
            continue
        if event["verb"] in WRITES and event["responseStatus"]["code"] < 400:
            resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
            found[f"{event['verb']} {resource}"] += 1
    return found


@dataclass(frozen=True)
class Usage:
    """What the operator's pod has used: memory in MiB, and seconds of CPU since its start."""

    memory: float
    peak: float
    """At its highest, files that the kernel keeps in memory for it counted, too."""
    cpu: float
    process: float
    """Memory of the operator's own process, without the child that looks at documents."""


def usage(operator: Operator) -> Usage:
    """By the pod's cgroup and the operator's own metrics."""
    script = (
        "cd /sys/fs/cgroup; cat memory.peak memory/memory.max_usage_in_bytes 2>/dev/null;"
        " grep -hE '^(anon|total_rss) ' memory.stat memory/memory.stat 2>/dev/null;"
        " grep -h usage_usec cpu.stat 2>/dev/null || cat cpuacct/cpuacct.usage"
    )
    peak, _, memory, *cpu = operator.namespace.kubectl("exec", f"deployment/{RELEASE}", "--", "sh", "-c", script).split()
    return Usage(
        memory=float(memory) / 1024**2,
        peak=float(peak) / 1024**2,
        cpu=float(cpu[1]) / 1e6 if len(cpu) > 1 else float(cpu[0]) / 1e9,
        process=metric(operator, "process_resident_memory_bytes") / 1024**2,
    )


def metric(operator: Operator, name: str) -> float:
    """The value of a metric without labels."""
    [pod] = operator.pods()
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:9464/proxy/metrics"
    text = operator.namespace.cluster.kubectl("get", "--raw", path)
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    assert found, f"there is no metric {name}"
    return float(found[1])


def story_of(events: Iterable[Json]) -> list[str]:
    """What befell the workflow itself, in order, repeats left out."""
    return [event["eventType"] for event in events if event["eventType"].startswith("workflow_")]
