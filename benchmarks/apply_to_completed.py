"""From `kubectl apply` to Completed, against a bare Job that runs `true` in the same image on the same cluster.

Pairs in turn, so that a machine whose speed drifts drifts for both. The API server's audit log tells where
the time of an execution goes, and how many writes it cost the operator.
"""

from __future__ import annotations

import json
import secrets
import statistics
import time
from collections import Counter
from datetime import datetime
from typing import Any

from tests.e2e.cluster import Cluster, ensure, release
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import NAMESPACE, RELEASE, install

Json = dict[str, Any]

PAIRS = 12
WARM_UP = 2
BENCH_NAMESPACE = f"bench-{secrets.token_hex(3)}"
OPERATOR = f"system:serviceaccount:{NAMESPACE}:{RELEASE}"
WRITES = {"create", "update", "patch", "delete", "deletecollection"}


def main() -> None:
    cluster = ensure()
    try:
        operator = install(cluster)
        _measure(cluster, operator.image)
    finally:
        release(cluster)


def _measure(cluster: Cluster, image: str) -> None:
    cluster.kubectl("create", "namespace", BENCH_NAMESPACE)
    namespace = Namespace(cluster, BENCH_NAMESPACE)
    jobs, runs = [], []
    try:
        for number in range(WARM_UP + PAIRS):
            job = _timed(namespace, _bare_job(f"bare-{number}", image), f"job/bare-{number}", "Complete")
            run = _timed(namespace, _execution(f"hello-{number}"), f"wfe/hello-{number}", "Completed")
            if number >= WARM_UP:
                jobs.append(job)
                runs.append(run)
        _print(jobs, runs)
        _stages(cluster, [f"hello-{number}" for number in range(WARM_UP, WARM_UP + PAIRS)])
    finally:
        cluster.kubectl("delete", "namespace", BENCH_NAMESPACE, timeout=120)


def _timed(namespace: Namespace, manifest: Json, what: str, condition: str) -> float:
    start = time.perf_counter()
    namespace.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
    namespace.kubectl("wait", what, f"--for=condition={condition}", "--timeout=60s", timeout=70)
    return time.perf_counter() - start


def _print(jobs: list[float], runs: list[float]) -> None:
    ratios = [run / job for job, run in zip(jobs, runs, strict=True)]
    job, run = statistics.median(jobs), statistics.median(runs)
    print(f"bare Job   p50 {job:.2f} s   min {min(jobs):.2f}   max {max(jobs):.2f}   n {len(jobs)}")
    print(f"execution  p50 {run:.2f} s   min {min(runs):.2f}   max {max(runs):.2f}")
    print(f"ratio of the medians {run / job:.2f}, of the pairs {statistics.median(ratios):.2f}; difference {run - job:+.2f} s")


def _stages(cluster: Cluster, names: list[str]) -> None:
    """Where the time goes, and the operator's writes, by the audit log."""
    written = [event for event in cluster.audit_log() if event["verb"] in WRITES and event["responseStatus"]["code"] < 400]
    stages: dict[str, list[float]] = {}
    writes: list[Counter[str]] = []
    for name in names:
        events = [event for event in written if _concerns(event, name)]
        start = _done(next(event for event in events if _label(event).endswith("create workflowexecutions")))
        for label, seconds in _in_order(events, start):
            stages.setdefault(label, []).append(seconds)
        writes.append(Counter(_label(event) for event in events if event["user"]["username"] == OPERATOR))
    print("seconds after the execution was created (medians):")
    for label, values in sorted(stages.items(), key=lambda item: statistics.median(item[1])):
        if len(values) > len(names) // 2:
            print(f"  {statistics.median(values):6.3f}  {label}")
    totals = [sum(count.values()) for count in writes]
    print(f"the operator's API writes for one execution: median {statistics.median(totals):.0f}, most {max(totals)}")
    for label, count in writes[totals.index(max(totals))].items():
        print(f"  {count}  {label}")
    print(f"  and token reviews, which name no object: {_token_reviews(cluster, len(names)):.2f}")


def _in_order(events: list[Json], start: float) -> list[tuple[str, float]]:
    """(label, seconds after `start`), the labels of repeats numbered."""
    seen: Counter[str] = Counter()
    result = []
    for event in sorted(events, key=_done):
        label = _label(event)
        seen[label] += 1
        result.append((label if seen[label] == 1 else f"{label} ({seen[label]})", _done(event) - start))
    return result


def _concerns(event: Json, name: str) -> bool:
    reference = event.get("objectRef") or {}
    found = str(reference.get("name", ""))
    return reference.get("namespace") == BENCH_NAMESPACE and (found == name or found.startswith((f"{name}-", f"{name}.")))


def _label(event: Json) -> str:
    reference = event["objectRef"]
    resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
    return f"{event['user']['username'].rsplit(':', 1)[-1]}: {event['verb']} {resource}"


def _done(event: Json) -> float:
    return datetime.fromisoformat(event["stageTimestamp"]).timestamp()


def _token_reviews(cluster: Cluster, executions: int) -> float:
    """Token reviews an execution, of this run's executions (warm-up included)."""
    asked = [event for event in cluster.audit_log() if event["user"]["username"] == OPERATOR]
    reviews = [_done(event) for event in asked if (event.get("objectRef") or {}).get("resource") == "tokenreviews"]
    since = min(
        _done(event) for event in cluster.audit_log() if (event.get("objectRef") or {}).get("namespace") == BENCH_NAMESPACE
    )
    return sum(1 for moment in reviews if moment >= since) / (executions + WARM_UP)


def _bare_job(name: str, image: str) -> Json:
    """`true` in the same image, with the same hardening, and nothing of ours."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [
                        {
                            "name": "main",
                            "image": image,
                            "command": ["true"],
                            "securityContext": {
                                "allowPrivilegeEscalation": False,
                                "readOnlyRootFilesystem": True,
                                "capabilities": {"drop": ["ALL"]},
                            },
                        }
                    ],
                }
            },
        },
    }


def _execution(name: str) -> Json:
    return {
        "apiVersion": "workflowrunner.stigmer.ai/v1",
        "kind": "WorkflowExecution",
        "metadata": {"name": name},
        "spec": {
            "workflow": {
                "definition": {
                    "document": {"dsl": "1.0.0", "namespace": "bench", "name": "hello", "version": "0.1.0"},
                    "do": [{"greet": {"set": {"message": "Hello"}}}],
                }
            }
        },
    }


if __name__ == "__main__":
    main()
