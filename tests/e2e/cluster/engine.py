"""Docker or Podman: which of them there is, and the environment in which it and kind work.

Called by node_image.py (which chooses), cluster.py and operator_image.py.
"""

from __future__ import annotations

import functools
import os
import resource
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tests.e2e.cluster.cache as cache
from tests.e2e.cluster.shell import CommandFailed, progress, run, succeeds

Name = Literal["docker", "podman"]
MANIFEST_SECONDS = 15  # longer than a slow registry needs, shorter than a person's patience
PULL_SECONDS = 1200


@dataclass(frozen=True)
class Engine:
    name: Name
    environment: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)

    def run(self, *arguments: str | Path, timeout: float = 60, stdin: str | Path | None = None, show: bool = False) -> str:
        return run([self.name, *arguments], env=self.environment, timeout=timeout, stdin=stdin, show=show)

    def succeeds(self, *arguments: str | Path, timeout: float = 60) -> bool:
        return succeeds([self.name, *arguments], env=self.environment, timeout=timeout)

    def has_image(self, image: str) -> bool:
        return self.succeeds("image", "inspect", image)

    @functools.cache  # noqa: B019 - an engine lives as long as the process
    def pull(self, image: str) -> bool:
        """Have the image from its registry. Asks for the small manifest first, to learn within
        seconds that the registry is out of reach; the answer holds for this run."""
        if not self.succeeds("manifest", "inspect", image, timeout=MANIFEST_SECONDS):
            return False
        progress(f"pulling {image}")
        try:
            self.run("pull", "--quiet", image, timeout=PULL_SECONDS)
        except CommandFailed as error:
            progress(str(error))
            return False
        return True

    def gateway(self, network: str) -> str:
        """The host's IPv4 address on this network."""
        subnets = ".Subnets" if self.name == "podman" else ".IPAM.Config"
        template = "{{range " + subnets + "}}{{.Gateway}} {{end}}"
        addresses = self.run("network", "inspect", network, "--format", template).split()
        return next(address for address in addresses if ":" not in address)


def available() -> list[Engine]:
    """The engines of this machine, Docker first."""
    found: list[Engine] = []
    if shutil.which("docker") and _docker_answers():
        found.append(Engine("docker"))
    if shutil.which("podman"):
        found.append(podman())
    return found


def _docker_answers() -> bool:
    try:
        # Podman's stand-in for the docker command is not Docker: kind must know which it is.
        return "podman" not in run(["docker", "--version"]).lower() and bool(
            run(["docker", "info", "--format", "{{.ServerVersion}}"], timeout=10).strip()
        )
    except CommandFailed:
        return False


def podman() -> Engine:
    if "CONTAINERS_CONF" in os.environ:  # the user's own settings; ours would hide them
        return Engine("podman")
    settings = containers_conf(
        nofile=resource.getrlimit(resource.RLIMIT_NOFILE)[1],
        nproc=resource.getrlimit(resource.RLIMIT_NPROC)[1],
        unified_cgroups=Path("/sys/fs/cgroup/cgroup.controllers").exists(),
        systemd=Path("/run/systemd/system").exists(),
    )
    path = cache.root() / "containers.conf"
    if not path.exists() or path.read_text() != settings:
        cache.replace(path, settings)
    return Engine("podman", {"CONTAINERS_CONF": str(path)})


def containers_conf(*, nofile: int, nproc: int, unified_cgroups: bool, systemd: bool) -> str:
    """Settings with which Podman can start a node on this host."""
    # Podman's own ulimits may be above what a root without CAP_SYS_RESOURCE may set. It lowers its
    # nproc limit to that of nofile, so nproc may not be higher.
    if nofile < 0:
        nofile = 1048576
    if not 0 <= nproc <= nofile:
        nproc = nofile
    # A node is a container here, and a hundred pods with their shims have more than Podman's 2,048 threads.
    limits = [f'default_ulimits = ["nofile={nofile}:{nofile}", "nproc={nproc}:{nproc}"]', "pids_limit = 0"]
    lines = ["[containers]", *limits, "[engine]"]
    if not unified_cgroups:
        lines.append('runtime = "runc"')  # crun refuses a hybrid cgroup tree
    if not systemd:
        lines += ['cgroup_manager = "cgroupfs"', 'events_logger = "file"']
    return "\n".join(lines) + "\n"
