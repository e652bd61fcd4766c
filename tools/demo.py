"""`make demo`: from nothing to a finished WorkflowExecution on a cluster, with its story on the screen.

Starts (or reuses) the same cluster as the end-to-end tests, installs the chart, applies an example and
follows its status. The cluster is kept, so that one can look around; the last lines say how.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from tests.e2e.cluster import ClusterError, ensure
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.harness.kube import TERMINAL, Namespace
from tests.e2e.harness.operator import install

Json = dict[str, Any]

EXAMPLE = REPOSITORY / "examples" / "kubernetes" / "order.yaml"
NAME = "order"
LIMIT_SECONDS = 120
POLL_SECONDS = 0.2
MARKS = {"Completed": "✓", "Failed": "✗", "Running": "…", "Skipped": "-"}


def main() -> int:
    try:
        cluster = ensure(keep=True)
        install(cluster)
    except ClusterError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    namespace = Namespace(cluster, "default")
    namespace.kubectl("delete", "wfe", NAME, "--ignore-not-found", timeout=90)
    print(f"\n$ kubectl apply -f {EXAMPLE.relative_to(REPOSITORY)}")
    namespace.apply(EXAMPLE)
    status = _follow(namespace)
    print(f"\n$ kubectl get wfe {NAME}\n{namespace.kubectl('get', 'wfe', NAME)}")
    print(f"output: {json.dumps(status.get('output'), indent=2)}")
    print(
        f"\nLook around:  export KUBECONFIG={cluster.kubeconfig}\n"
        f"              kubectl describe wfe {NAME}\n"
        "              kubectl explain wfe.spec\n"
        "Take it away: python3 -m tests.e2e.cluster down"
    )
    return 0 if status.get("phase") == "Completed" else 1


def _follow(namespace: Namespace) -> Json:
    """Prints each phase and each task as it comes; the last status."""
    shown: set[tuple[str, ...]] = set()
    deadline = time.monotonic() + LIMIT_SECONDS
    start = time.monotonic()
    while True:
        status = namespace.execution(NAME).status
        lines = [("phase", status["phase"])] if status.get("phase") else []
        tasks = [
            (MARKS[task["status"]], f"{task['name']} {task.get('iteration', '')}".strip(), task["status"])
            for task in status.get("tasks", [])
            if task["status"] != "Running"
        ]
        ended = status.get("phase") in TERMINAL
        for line in [*tasks, *lines] if ended else [*lines, *tasks]:
            if line not in shown:
                shown.add(line)
                progress = f"{status.get('progress') or 0:>3} %"
                text = f"{line[1]}" if line[0] == "phase" else f"  {line[0]} {line[1]}"
                print(f"{time.monotonic() - start:5.1f} s  {progress}  {text}", flush=True)
        if ended or time.monotonic() > deadline:
            return status
        time.sleep(POLL_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
