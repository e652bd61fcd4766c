"""What happens to a machine: processes stopped and killed, folders made, the API server restarted.

Works on nodes that are containers of this host; a cluster of somebody else's gives ClusterError.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from typing import Any

from tests.e2e.cluster import Cluster, CommandFailed
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

_CTR = ("ctr", "--namespace", "k8s.io")


def signal_pod(cluster: Cluster, pod: Json, signal: str) -> None:
    """Sends a signal such as STOP or KILL to the first process of a pod's container, which cannot refuse it: it comes
    from outside."""
    container = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    _kill(cluster, container, signal, node=pod["spec"]["nodeName"])


@contextlib.contextmanager
def folder(cluster: Cluster) -> Iterator[str]:
    """The path of an empty folder on the node; it goes with what is in it."""
    path = f"/var/tmp/e2e-{secrets.token_hex(4)}"
    cluster.node_exec("mkdir", path)
    try:
        yield path
    finally:
        cluster.node_exec("rm", "-rf", path)


def restart_api_server(cluster: Cluster) -> None:
    """Kills the API server; returns when another one answers."""
    first = _api_server(cluster)
    _kill(cluster, first, "KILL")
    wait_for(lambda: _api_server(cluster), lambda found: found not in ("", first), what="another API server", seconds=90)
    wait_for(lambda: _is_ready(cluster), bool, what="the API server answers", seconds=90)


def _api_server(cluster: Cluster) -> str:
    label = 'labels."io.kubernetes.container.name"==kube-apiserver'
    containers = cluster.node_exec(*_CTR, "containers", "ls", "--quiet", label).split()
    at_work = [line.split()[0] for line in cluster.node_exec(*_CTR, "tasks", "ls").splitlines() if line.endswith("RUNNING")]
    return next((container for container in containers if container in at_work), "")


def _is_ready(cluster: Cluster) -> bool:
    try:
        cluster.kubectl("get", "--raw", "/readyz", timeout=10)
    except CommandFailed:
        return False
    return True


def _kill(cluster: Cluster, container: str, signal: str, *, node: str | None = None) -> None:
    tasks = cluster.node_exec(*_CTR, "tasks", "ls", node=node)
    process = next(line.split()[1] for line in tasks.splitlines() if line.startswith(container))
    cluster.node_exec("kill", f"-{signal}", process, node=node)
