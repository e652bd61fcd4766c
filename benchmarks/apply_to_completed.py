"""From `kubectl apply` to Completed, against a bare Job that runs `true` in the same image on the same cluster.

Pairs in turn, so that a machine whose speed drifts drifts for both. The API server's audit log tells where
the time of an execution goes, and how many writes it cost the operator.
"""

from __future__ import annotations

import json
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
BENCH_NAMESPACE = "bench"
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
    print(f"ratio of the medians {run / job:.2f}   median of the pairs' ratios {statistics.median(ratios):.2f}   difference {run - job:+.2f} s")


def _stages(cluster: Cluster, names: list[str]) -> None:
    """Where the time goes, and the operator's writes, by the audit log."""
    by_name: dict[str, list[Json]] = {name: [] for name in names}
    for event in cluster.audit_log():
        reference = event.get("objectRef") or {}
        if reference.get("namespace") == BENCH_NAMESPACE and event["verb"] in WRITES:
            for name in names:
                if str(reference.get("name", "")) == name or str(reference.get("name", "")).startswith(f"{name}-") or _created(event, name):
                    by_name[name].append(event)
    stages: dict[str, list[float]] = {}
    writes = []
    for name, events in by_name.items():
        ours = [event for event in events if event["user"]["username"] == OPERATOR]
        writes.append(Counter(f"{event['verb']} {event['objectRef']['resource']}{_sub(event)}" for event in ours))
        for stage, seconds in _story(events).items():
            stages.setdefault(stage, []).append(seconds)
    print("seconds after the execution was created (medians):")
    for stage, values in stages.items():
        print(f"  {statistics.median(values):6.3f}  {stage}")
    totals = [sum(count.values()) for count in writes]
    reviews = _token_reviews(cluster, names)
    print(f"operator's API writes an execution, token reviews left out: median {statistics.median(totals):.0f}, max {max(totals)}; {dict(writes[0])}")
    print(f"token reviews an execution: {reviews:.2f}")


def _story(events: list[Json]) -> dict[str, float]:
    created = next((event for event in events if event["objectRef"]["resource"] == "workflowexecutions" and event["verb"] == "create"), None)
    created = created or min((event for event in events if event["user"]["username"] != OPERATOR), key=_done)
    start = _done(created)
    story = {}
    for event in sorted(events, key=_done):
        label = f"{event['user']['username'].rsplit(':', 1)[-1]}: {event['verb']} {event['objectRef']['resource']}{_sub(event)}"
        while label in story:
            label += " again"
        story[label] = _done(event) - start
    return story


def _created(event: Json, name: str) -> bool:
    """The creation of something whose name the log does not tell: it is in no URL."""
    return False


def _sub(event: Json) -> str:
    sub = event["objectRef"].get("subresource")
    return f"/{sub}" if sub else ""


def _done(event: Json) -> float:
    return datetime.fromisoformat(event["stageTimestamp"]).timestamp()


def _token_reviews(cluster: Cluster, names: list[str]) -> float:
    reviews = [
        event
        for event in cluster.audit_log()
        if event["user"]["username"] == OPERATOR and (event.get("objectRef") or {}).get("resource") == "tokenreviews"
    ]
    return len(reviews) / max(1, len(names))


if __name__ == "__main__":
    main()
