"""The life of the end-to-end cluster: bring it up or reuse it, and take it away.

Called by the pytest fixtures, by `make demo` and by the command line (__main__.py). `ensure` and
`release` belong together; several runs may use one cluster at a time, and the last to release it
deletes it, unless one of them wanted it kept.

    E2E_KUBECONFIG      use this cluster; it is never changed beyond what the tests do, nor deleted
    E2E_HOST_GATEWAY    the address under which its pods reach this host
    E2E_KEEP_CLUSTER=1  keep our own cluster for a later run
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tests.e2e.cluster.cache as cache
import tests.e2e.cluster.kind_config as kind_config
import tests.e2e.cluster.node_image as node_image
from tests.e2e.cluster.cluster import KUBECONFIG_ENV, Cluster, existing
from tests.e2e.cluster.engine import Engine, available
from tests.e2e.cluster.interrupts import interrupt_on_sigterm, undisturbed
from tests.e2e.cluster.shell import ClusterError, CommandFailed, progress

NAME = "workflow-runner-e2e"
KEEP_ENV = "E2E_KEEP_CLUSTER"

# What this process uses, with its share of the cluster's lock.
_uses: dict[str, tuple[Cluster, cache.Shared]] = {}


def folder(name: str) -> Path:
    return cache.root() / "clusters" / name


def ensure(
    name: str = NAME,
    *,
    workers: int | None = None,
    keep: bool | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Cluster:
    """The cluster of E2E_KUBECONFIG, or one of ours, started when it is not up and healthy.

    Without `workers` any number of them will do; a new cluster then has none.
    """
    if named := environment.get(KUBECONFIG_ENV):
        return existing(Path(named), environment)
    if name in _uses:
        return _uses[name][0]
    interrupt_on_sigterm()
    atexit.unregister(_release_all)
    atexit.register(_release_all)
    keep = environment.get(KEEP_ENV, "") not in ("", "0") if keep is None else keep
    choice = node_image.choose()
    cluster_folder = folder(name)
    policy = json.dumps(kind_config.audit_policy(), indent=1)
    policy_file = cluster_folder / "audit-policy.json"
    with cache.locked(f"{name}.setup"):
        users = cache.Shared(f"{name}.users")
        state = _state(name)
        count = (state or {}).get("workers", 0) if workers is None else workers
        config = json.dumps(kind_config.cluster(name, workers=count, policy_file=policy_file), indent=1)
        wanted = {"engine": choice.engine.name, "image": choice.image, "workers": count, "config": cache.key(config, policy)}
        cluster = Cluster(cluster_folder / "kubeconfig", name, "", choice.engine)
        if state and {key: state.get(key) for key in wanted} == wanted and _healthy(cluster):
            progress(f"reusing cluster {name}")
        else:
            if not users.alone():
                raise ClusterError(f"cluster {name} is of another kind or ill, and another run uses it: wait for it to end")
            if state or cluster.nodes():
                progress(f"cluster {name} is of another kind or ill: starting anew")
                _remove(name, choice.engine)
            state = {**wanted, "keep": bool(state and state.get("keep"))}
            cache.replace(policy_file, policy)
            cache.replace(cluster_folder / "kind.json", config)
            cache.replace(cluster_folder / "state.json", json.dumps(state))
            _start(cluster, choice.image)
        state["keep"] = bool(state.get("keep")) or keep
        cache.replace(cluster_folder / "state.json", json.dumps(state))
        users.join()
    cluster = Cluster(cluster.kubeconfig, name, choice.engine.gateway(name), choice.engine)
    _uses[name] = (cluster, users)
    return cluster


def release(cluster: Cluster) -> None:
    """End this process's use. The cluster goes when nobody else uses it and nobody wanted it kept."""
    use = _uses.pop(cluster.name, None)
    if use is None:
        return
    _, users = use
    with undisturbed(), cache.locked(f"{cluster.name}.setup"):
        state = _state(cluster.name)
        if state and not state.get("keep") and users.alone():
            _remove(cluster.name, cluster.engine)
        users.leave()


def delete(name: str = NAME) -> bool:
    """Delete a cluster of ours whoever wanted it kept; whether there was one."""
    state = _state(name)
    if state is None:
        return False
    engine = next((engine for engine in available() if engine.name == state["engine"]), None)
    with undisturbed(), cache.locked(f"{name}.setup"):
        _remove(name, engine)
    return True


@contextmanager
def running(name: str = NAME, *, workers: int | None = None, keep: bool | None = None) -> Generator[Cluster]:
    cluster = ensure(name, workers=workers, keep=keep)
    try:
        yield cluster
    finally:
        release(cluster)


def _state(name: str) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((folder(name) / "state.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    return state


def _healthy(cluster: Cluster) -> bool:
    try:
        cluster.kubectl("get", "--raw", "/readyz", timeout=10)
        cluster.kubectl("wait", "node", "--all", "--for=condition=Ready", "--timeout=10s", timeout=20)
    except CommandFailed:
        return False
    return True


def _start(cluster: Cluster, image: str) -> None:
    progress(f"starting cluster {cluster.name} ({image})")
    # kind mounts it into the nodes, and Podman refuses a source that is not there.
    if os.geteuid() == 0:
        Path("/lib/modules").mkdir(exist_ok=True)
    try:
        cluster.kind(
            *("create", "cluster", "--name", cluster.name, "--image", image, "--config", folder(cluster.name) / "kind.json"),
            *("--kubeconfig", cluster.kubeconfig, "--wait", "120s", "--quiet", "--retain"),
            timeout=300,
        )
        progress("waiting for cluster DNS")
        cluster.kubectl("-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=90s", timeout=100)
    except BaseException as error:
        with undisturbed():
            if isinstance(error, Exception):
                _keep_logs(cluster)
            _remove(cluster.name, cluster.engine)
        raise
    progress(f"cluster {cluster.name} is up")


def _keep_logs(cluster: Cluster) -> None:
    logs = cache.root() / "failed" / cluster.name
    shutil.rmtree(logs, ignore_errors=True)
    try:
        cluster.kind("export", "logs", logs, "--name", cluster.name, timeout=60)
    except CommandFailed:
        return
    progress(f"the nodes' logs are in {logs}")


def _remove(name: str, engine: Engine | None) -> None:
    """Nodes, network and files of one cluster; what is not there is no error."""
    progress(f"deleting cluster {name}")
    if engine is not None:
        cluster = Cluster(folder(name) / "kubeconfig", name, "", engine)
        for node in cluster.nodes():
            engine.succeeds("kill", node)  # its systemd would take ten seconds to end by itself
        cluster.kind("delete", "cluster", "--name", name, "--kubeconfig", cluster.kubeconfig, timeout=120)
        if engine.succeeds("network", "inspect", name):
            engine.run("network", "rm", name)
    shutil.rmtree(folder(name), ignore_errors=True)


def _release_all() -> None:
    for cluster, _ in list(_uses.values()):
        release(cluster)
