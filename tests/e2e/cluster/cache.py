"""Where builds are kept between runs, how they are named, and the locks around them.

Called by every module that builds something. A build's name holds a hash of all that goes into it,
so that nothing is ever updated in place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.cluster.shell import progress

REPOSITORY = Path(__file__).resolve().parents[3]


def root() -> Path:
    folder = os.environ.get("WORKFLOW_RUNNER_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    path = Path(folder).absolute() / "workflow-runner"
    path.mkdir(parents=True, exist_ok=True)
    return path


def key(*parts: str | bytes | Path) -> str:
    """Twelve hexadecimal digits for these strings and file contents, in this order."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))  # the length keeps ("ab", "c") apart from ("a", "bc")
        digest.update(data)
    return digest.hexdigest()[:12]


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold this lock among all processes that share the cache. The kernel drops it when we die."""
    path = root() / "locks" / name
    path.parent.mkdir(exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress(f"waiting for another run that holds {name}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Shared:
    """A lock that any number of processes share while they use a cluster; the last one out may
    delete it."""

    def __init__(self, name: str) -> None:
        path = root() / "locks" / name
        path.parent.mkdir(exist_ok=True)
        self._file = path.open("w")

    def join(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_SH)

    def alone(self) -> bool:
        """Whether nobody else shares it; we then hold it for ourselves."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def leave(self) -> None:
        self._file.close()


def replace(path: Path, text: str) -> Path:
    """Write a small file so that readers see the old or the new text, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(path)
    return path
