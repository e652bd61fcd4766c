"""What a cluster shows of the cases, kept before it goes, and looked through for secrets when the session ends.

Whoever removes something calls `keep` or one of its likes first: a case's namespace, an operator that is killed.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any

from tests import canaries
from tests.e2e.cluster import Cluster, CommandFailed

Json = dict[str, Any]

LAUNCHED = "app.kubernetes.io/managed-by=workflow-runner"

_seen: set[str] = set()
_leaks: set[str] = set()


def keep(where: str, text: str) -> None:
    """Looks through a text, and remembers where a secret was, by name and never by value."""
    if text.strip():
        _seen.add(where.partition(":")[0])
    _leaks.update(f"{where}: {what}" for what in canaries.found_in(text))


def keep_namespace(cluster: Cluster, namespace: str) -> None:
    """Statuses (termination messages are in them), pods and Jobs as they are, events and pods' logs of a namespace."""

    def kubectl(*arguments: str) -> str:
        return cluster.kubectl("--namespace", namespace, *arguments, timeout=120)

    # A case may have taken the namespace, or the pods, away itself.
    with contextlib.suppress(CommandFailed):
        items: list[Json] = json.loads(kubectl("get", "wfe,wfr,jobs,pods", "-o", "json"))["items"]
        for item in items:
            kind, name = item["kind"], item["metadata"]["name"]
            # Specs of executions may hold whatever an author writes; what is made of them may not.
            shown = item.get("status", {}) if kind.startswith("Workflow") else item
            keep(f"{kind}: {namespace}/{name}", json.dumps(shown))
    with contextlib.suppress(CommandFailed):
        keep(f"Event: {namespace}", kubectl("get", "events", "-o", "json"))
    with contextlib.suppress(CommandFailed):
        logs = ("logs", "--selector", LAUNCHED, "--all-containers", "--prefix", "--tail=-1", "--ignore-errors")
        keep(f"log of a pod: {namespace}", kubectl(*logs))


def keep_operator(cluster: Cluster, namespace: str, name: str) -> None:
    """The operator's log, that of the container before it, its metrics, and the events of its namespace."""
    for more in ((), ("--previous",)):
        with contextlib.suppress(CommandFailed):
            logs = cluster.kubectl("-n", namespace, "logs", f"deployment/{name}", "--tail=-1", *more, timeout=120)
            keep("log of the operator: " + " ".join(more), logs)
    with contextlib.suppress(CommandFailed):
        keep("metrics: of the operator", scrape(cluster, namespace, name))


def scrape(cluster: Cluster, namespace: str, name: str) -> str:
    """The operator's metrics, by the way of its Service."""
    path = f"/api/v1/namespaces/{namespace}/services/{name}-metrics:9090/proxy/metrics"
    return cluster.kubectl("get", "--raw", path)


def verdict() -> tuple[set[str], list[str]]:
    """The kinds of things that were looked through, and where secrets were."""
    return set(_seen), sorted(_leaks)
