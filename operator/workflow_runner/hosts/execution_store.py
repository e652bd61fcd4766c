"""What a runner's service has accepted, on a volume: a process that is restarted goes on with it. Used by local_executions.py.

Each execution has a folder in `executions`, named for its id's hash:

    accepted.json   what was asked for, what is wanted of it now, how often it was begun; there before the caller has an answer
    snapshots/      how far it has come (snapshots.py)
    ended.json      its last events; there before anybody hears of its end

Files are made beside their place, synced and renamed, 0600 in folders of 0700: they hold the data of workflows, and
secrets among them. A folder belongs to one process at a time: the file `lock` holds a lock. What cannot be read back is
left as it is, and so is whatever else is in the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from workflow_runner.errors import InvalidInput, Temporary
from workflow_runner.hosts.buffer import Kept
from workflow_runner.hosts.executions import StartRequest
from workflow_runner.hosts.snapshots import Snapshots, event_from_json, event_to_json

FORMAT = 1
ACCEPTED, ENDED, SNAPSHOTS, LOCK, EXECUTIONS = "accepted.json", "ended.json", "snapshots", "lock", "executions"
_NAME = re.compile(r"[0-9a-f]{32}")
_OURS = re.compile(rf"({ACCEPTED}|{ENDED})(\.unfinished)?|{SNAPSHOTS}")

log = logging.getLogger(__name__)


class Accepted(Struct):
    """One accepted execution. `wanted` is Run, Pause or Cancel; `begun` counts the processes that began or went on with it."""

    request: StartRequest
    digest: str
    accepted_at: float
    """Seconds since the epoch."""
    wanted: str = "Run"
    reason: str = ""
    begun: int = 1
    format: int = FORMAT

    def __repr__(self) -> str:
        """Without the request's data."""
        return f"Accepted({self.request!r}, wanted={self.wanted!r})"


class Stored(Struct, frozen=True):
    """What was found: with `ended` there is nothing left to run."""

    accepted: Accepted
    ended: Kept | None
    delivered: int = 0
    """Up to which of its events nothing is owed to anybody."""
    output_left_out: bool = False
    """Its output was too large to be kept."""


class ExecutionStore:
    """The folder. All methods block, and may be called from any thread, for one execution one at a time."""

    def __init__(self, folder: Path) -> None:
        """Raises InvalidInput when the folder cannot be used, or another process uses it."""
        self._folder = folder / EXECUTIONS
        self._left_alone: set[str] = set()
        """Names of folders with something that cannot be gone on with."""
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise InvalidInput(
                f"the state folder {folder} cannot be used: {error.strerror or error}", code="state.unusable"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise InvalidInput(
                f"the state folder {folder} is in use by another process", code="state.unusable", hint="give each its own"
            ) from error

    def close(self) -> None:
        """Let another process have the folder."""
        os.close(self._lock)

    def all(self) -> Iterator[Stored]:
        """What is there, the oldest first. What cannot be read is logged and left where it is."""
        folders = [folder for folder in self._folder.iterdir() if _NAME.fullmatch(folder.name) and folder.is_dir()]
        found = [stored for folder in folders if (stored := self._read(folder)) is not None]
        return iter(sorted(found, key=lambda stored: stored.accepted.accepted_at))

    def write(self, accepted: Accepted) -> None:
        """Put an execution down, or what is wanted of it now. Raises Temporary (`state.unwritable`)."""
        self._write(accepted.request.execution_id, ACCEPTED, msgspec.json.encode(accepted))

    def end(self, execution_id: str, kept: Kept, delivered: int, *, output_left_out: bool) -> None:
        """Put down how an execution has ended. Raises Temporary."""
        events = [event_to_json(number, event) for number, event in kept.events]
        body = {"format": FORMAT, "last": kept.last, "delivered": delivered, "events": events}
        body["outputLeftOut"] = output_left_out
        self._write(execution_id, ENDED, json.dumps(body, separators=(",", ":")).encode())

    def remove(self, execution_id: str) -> None:
        """Forget an execution. Raises Temporary."""
        try:
            shutil.rmtree(self._of(execution_id))
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._unwritable(error) from error

    def leave_alone(self, execution_id: str) -> None:
        """What is there of this execution cannot be gone on with, and is not to be written over."""
        self._left_alone.add(self._of(execution_id).name)

    def left_alone(self, execution_id: str) -> bool:
        """Whether something is there under this id that could not be read back."""
        return self._of(execution_id).name in self._left_alone

    def snapshots(self, accepted: Accepted) -> Snapshots:
        """Where its states go."""
        execution_id = accepted.request.execution_id
        folder = self._of(execution_id) / SNAPSHOTS
        return Snapshots(folder, digest=accepted.digest, execution_id=execution_id, run_id="")

    def _of(self, execution_id: str) -> Path:
        return self._folder / hashlib.sha256(execution_id.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _write(self, execution_id: str, name: str, data: bytes) -> None:
        folder = self._of(execution_id)
        unfinished = folder / f"{name}.unfinished"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            new = not folder.exists()
            folder.mkdir(mode=0o700, exist_ok=True)
            with os.fdopen(os.open(unfinished, flags, 0o600), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(unfinished, folder / name)
            _sync(folder)
            if new:
                _sync(self._folder)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> Temporary:
        text = f"the state folder {self._folder} cannot be written: {error.strerror or error}"
        return Temporary(text, code="state.unwritable")

    def _read(self, folder: Path) -> Stored | None:
        try:
            accepted = msgspec.json.decode((folder / ACCEPTED).read_bytes(), type=Accepted)
            if accepted.format > FORMAT:
                raise ValueError(f"it has format {accepted.format}, and this release reads up to {FORMAT}")
            ended, delivered, left_out = None, 0, False
            with contextlib.suppress(FileNotFoundError):
                body: dict[str, Any] = json.loads((folder / ENDED).read_bytes())
                ended = Kept(int(body["last"]), tuple(event_from_json(event) for event in body["events"]))
                delivered, left_out = int(body["delivered"]), bool(body["outputLeftOut"])
        except FileNotFoundError:
            # A process was killed before its caller had an answer, or while it forgot an execution.
            if all(_OURS.fullmatch(entry.name) for entry in folder.iterdir()) and not any((folder / SNAPSHOTS).glob("*")):
                shutil.rmtree(folder, ignore_errors=True)
                return None
            self._note_damaged(folder, f"there is no {ACCEPTED}")
            return None
        except (OSError, ValueError, TypeError, KeyError) as error:
            reason = type(error).__name__ if isinstance(error, msgspec.MsgspecError) else str(error)
            self._note_damaged(folder, reason)
            return None
        return Stored(accepted, ended, delivered, left_out)

    def _note_damaged(self, folder: Path, reason: str) -> None:
        self._left_alone.add(folder.name)
        log.error(
            "an execution cannot be read back; it is left alone",
            extra={"code": "state.damaged", "folder": str(folder), "reason": reason},
        )


def digest_of(request: StartRequest) -> str:
    """`sha256:…` of everything but the id: requests that have the same ask for the same."""
    content: list[Any] = [
        request.document,
        request.input,
        dict(request.environment),
        dict(request.labels),
        dict(request.config),
    ]
    return "sha256:" + hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
