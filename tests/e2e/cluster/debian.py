"""Debian root file systems from the package mirror, for when images cannot be pulled. Called by
node_image.py and operator_image.py."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import tests.e2e.cluster.cache as cache
from tests.e2e.cluster.shell import progress, run

SUITE = "bookworm"


def root_file_system(name: str, packages: Sequence[str]) -> Path:
    """A folder with a minimal Debian and these packages; not to be written to. The environment's
    DEBIAN_MIRROR names a mirror other than debootstrap's default."""
    target = cache.root() / "debian" / f"{name}-{cache.key(SUITE, *packages)}"
    with cache.locked(target.name):
        if target.exists():
            return target
        progress(f"debootstrap {SUITE} for {name}")
        unfinished = target.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        target.parent.mkdir(exist_ok=True)
        mirror = [os.environ["DEBIAN_MIRROR"]] if os.environ.get("DEBIAN_MIRROR") else []
        run(["debootstrap", "--variant=minbase", f"--include={','.join(packages)}", SUITE, unfinished, *mirror], timeout=1800)
        unfinished.rename(target)
    return target
