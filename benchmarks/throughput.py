"""Executions a minute, against bare Jobs and bare Pods of the same image that start Python and end (`python -c pass`).

All of a kind are created at once and waited for; the kinds take turns, so that a machine whose speed drifts drifts for
all. An execution is done when it is Completed; what its Job or pod still does then counts for the second figure.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from tests.e2e.cluster import Cluster, ensure, release
from tests.e2e.harness.api import GROUP, Api, at_once
from tests.e2e.harness.fleet import execution, namespace_for, runner
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import install
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

COUNT = 60
ROUNDS = 3
WANTED = 0.75
SECONDS = 300.0
RESOURCES = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}
"""As the operator has it for its pods: about twenty fit on two cores at a time."""
HELLO = [{"greet": {"set": {"message": "Hello"}}}]


def main() -> None:
    cluster = ensure()
    try:
        image = install(cluster).image
        with namespace_for(cluster, "bench") as namespace:
            _measure(cluster, namespace, image)
    finally:
        release(cluster)


def _measure(cluster: Cluster, namespace: Namespace, image: str) -> None:
    api = Api(cluster.kubeconfig)
    namespace.apply(runner("job"))
    namespace.apply(runner("pod", mode="Pod"))
    kinds: dict[str, Callable[[str], tuple[float, float]]] = {
        "bare Job": lambda name: _bare(api, namespace, name, lambda name: _job(name, image)),
        "Job mode": lambda name: _executions(api, namespace, name, "job"),
        "bare Pod": lambda name: _bare(api, namespace, name, lambda name: _pod(name, image)),
        "Pod mode": lambda name: _executions(api, namespace, name, "pod"),
    }
    times: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    for number in range(ROUNDS + 1):
        for kind, measure in kinds.items():
            seconds = measure(f"{kind.lower().replace(' ', '-')}-{number}")
            if number:  # the first round warms up
                times[kind].append(seconds)
    rates = {
        kind: [60 * COUNT / statistics.median(column) for column in zip(*found, strict=True)] for kind, found in times.items()
    }
    print(f"{COUNT} at a time, {ROUNDS} rounds; a minute (medians):")
    for kind, (done, gone) in rates.items():
        spread = ", ".join(f"{first:.1f}" for first, _ in times[kind])
        print(f"  {kind}  {done:6.1f} done   {gone:6.1f} with all of their pods ended   ({spread} s)")
    for ours, bare in (("Job mode", "bare Job"), ("Pod mode", "bare Pod")):
        done, gone = (rates[ours][index] / rates[bare][index] for index in (0, 1))
        print(f"  {ours} against {bare}: {done:.2f} done, {gone:.2f} with all pods ended (wanted: at least {WANTED})")


def _executions(api: Api, namespace: Namespace, name: str, runner_name: str) -> tuple[float, float]:
    manifests = [execution(f"{name}-{number}", HELLO, runnerRef={"name": runner_name}) for number in range(COUNT)]
    begun = time.perf_counter()
    api.create_executions(namespace.name, manifests)
    path = f"{GROUP}/namespaces/{namespace.name}/workflowexecutions"
    _wait(api, path, name, lambda item: (item.get("status") or {}).get("phase") == "Completed")
    done = time.perf_counter() - begun
    kind, over = ("jobs", _is_complete) if runner_name == "job" else ("pods", _has_succeeded)
    _wait(api, _path(namespace, kind), name, over)
    gone = time.perf_counter() - begun
    api.call("DELETE", path)
    _wait_empty(api, _path(namespace, "pods"))
    return done, gone


def _bare(api: Api, namespace: Namespace, name: str, manifest: Callable[[str], Json]) -> tuple[float, float]:
    manifests = [manifest(f"{name}-{number}") for number in range(COUNT)]
    kind, over = ("jobs", _is_complete) if manifests[0]["kind"] == "Job" else ("pods", _has_succeeded)
    path = _path(namespace, kind)
    begun = time.perf_counter()
    at_once(lambda item: api.call("POST", path, item), manifests)
    _wait(api, path, name, over)
    seconds = time.perf_counter() - begun
    api.call("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"})
    _wait_empty(api, _path(namespace, "pods"))
    return seconds, seconds


def _wait(api: Api, path: str, name: str, over: Callable[[Json], bool]) -> None:
    """By a watch: listing hundreds of objects again and again would cost what is to be measured."""
    done: set[str] = set()
    for item in api.watch(path, seconds=SECONDS):
        found = item["metadata"]["name"]
        if found.startswith(f"{name}-") and over(item):
            done.add(found)
            if len(done) == COUNT:
                return
    raise AssertionError(f"{len(done)} of {COUNT} {name} within {SECONDS:.0f} s")


def _wait_empty(api: Api, path: str) -> None:
    wait_for(lambda: len(api.call("GET", path)["items"]), lambda left: not left, what="nothing is left", seconds=SECONDS)


def _path(namespace: Namespace, kind: str) -> str:
    return f"{'/apis/batch/v1' if kind == 'jobs' else '/api/v1'}/namespaces/{namespace.name}/{kind}"


def _is_complete(job: Json) -> bool:
    conditions = (job.get("status") or {}).get("conditions") or []
    return any(item["type"] == "Complete" and item["status"] == "True" for item in conditions)


def _has_succeeded(pod: Json) -> bool:
    return bool((pod.get("status") or {}).get("phase") == "Succeeded")


def _pod_spec(image: str) -> Json:
    """With the hardening of ours, and nothing else of it."""
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "main",
                "image": image,
                "command": ["/opt/venv/bin/python", "-c", "pass"],
                "resources": RESOURCES,
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
            }
        ],
    }


def _pod(name: str, image: str) -> Json:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": _pod_spec(image)}


def _job(name: str, image: str) -> Json:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": _pod_spec(image)}},
    }


if __name__ == "__main__":
    main()
