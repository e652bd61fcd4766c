"""Say at once which commands are missing and how to install them. Called before anything is built."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable

from tests.e2e.cluster.shell import ClusterError

# Debian puts some of these into /usr/sbin, which an ordinary user's PATH lacks.
PODMAN = ("podman", "conmon", "runc", "iptables")
BUILD = ("debootstrap", "containerd", "ctr", "busybox", "chroot", "tar")
INSTALL = "apt-get install --yes --no-install-recommends $(sed 's/#.*//' tools/debian-packages.txt)"


def require(commands: Iterable[str], *, root: bool = False, find: Callable[[str], str | None] = shutil.which) -> None:
    missing = [command for command in commands if not find(command)]
    if missing:
        raise ClusterError(f"missing: {', '.join(missing)}. On Debian 12, from the repository's root:\n  {INSTALL}")
    if root and os.geteuid() != 0:
        raise ClusterError(
            "no image registry can be reached, and building images without one needs root (debootstrap, chroot). "
            "Run as root, start a Docker daemon that can pull images, or name a cluster with E2E_KUBECONFIG."
        )
