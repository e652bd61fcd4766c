"""The Kubernetes cluster of the end-to-end tests: an existing one, or kind under Docker or Podman.

Used by the pytest fixtures of tests/e2e and by `make demo` through what is exported here, and by hand
as `python3 -m tests.e2e.cluster up|image|down`. Standard library only, so that it runs before
anything is installed. lifecycle.py has the life of a cluster; the other modules are what it needs.
"""

from tests.e2e.cluster.cluster import Cluster
from tests.e2e.cluster.lifecycle import NAME, delete, ensure, release, running
from tests.e2e.cluster.operator_image import DEV_SERVER, ImageRef, build_image, ensure_image
from tests.e2e.cluster.shell import ClusterError, CommandFailed, progress
from tests.e2e.cluster.tools import path as tool

__all__ = [
    "DEV_SERVER",
    "NAME",
    "Cluster",
    "ClusterError",
    "CommandFailed",
    "ImageRef",
    "build_image",
    "delete",
    "ensure",
    "ensure_image",
    "progress",
    "release",
    "running",
    "tool",
]
