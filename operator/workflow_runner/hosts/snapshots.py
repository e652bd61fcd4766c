"""A run's state on a volume: what another pod of the run goes on from. Written by checkpoints.py, read by cli.execute.

The folder belongs to one execution. Each run of it has two files, written in turn: what is read is the newer one,
or, where that is damaged, the one before. A file is three lines:

    {"format": 1, "serial": 7, "digest": "sha256:…", "executionId": "…", "runId": "…"}
    {"last": 12, "events": […], "ended": null, "frame": {…}}
    the SHA-256 of the two lines above

A file is made beside its place, synced and renamed: a kill at any moment leaves what was there before. The state holds
the data of the workflow, secrets that went into it among them: files are 0600, the folder is 0700, and nothing
of the content is logged.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import logging
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec import Struct

from workflow_runner.dsl.problems import Problem
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import InvalidInput, Temporary
from workflow_runner.hosts.buffer import Kept
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.frames import WorkflowFrame

FORMAT = 1
MAX_BYTES = 32 * 1024 * 1024
_SLOTS = ("a", "b")

log = logging.getLogger(__name__)


class Ended(Struct, frozen=True):
    """How the pod of a run that has ended is to end: its exit code, and its termination message."""

    exit_code: int
    message: dict[str, Json]


class State(Struct, frozen=True):
    """One moment of a run, to be written down: `frame` is encoded (frame_codec)."""

    frame: dict[str, Json]
    kept: Kept
    ended: Ended | None = None

    def __repr__(self) -> str:
        """Without the run's data, which may have secrets among them."""
        return "State()"


class Snapshot(Struct, frozen=True):
    """What was read back. With `ended` there is nothing left to run, only to tell."""

    frame: WorkflowFrame
    kept: Kept
    ended: Ended | None

    def __repr__(self) -> str:
        """Without the run's data, as State."""
        return "Snapshot()"


class _Damaged(Exception):
    """A file is not what was written."""


class Snapshots:
    """The snapshots of one run. All methods block; `write` and `remove` may be called from any thread, one at a time."""

    def __init__(self, folder: Path, *, digest: str, execution_id: str, run_id: str, most: int = MAX_BYTES) -> None:
        """`digest` is what the run is pinned to; a file of more than `most` bytes is not written."""
        self._folder = folder
        self._identity = {"digest": digest, "executionId": execution_id, "runId": run_id}
        name = f"run-{hashlib.sha256(run_id.encode('utf-8', 'surrogatepass')).hexdigest()[:16]}"
        self._files = [folder / f"{name}.{slot}.snapshot" for slot in _SLOTS]
        self._unfinished = folder / f"{name}.unfinished"
        self._most = most
        self._serial = 0
        self._next = 0

    def read(self) -> Snapshot | None:
        """The newest state that is whole, or None where there is none.

        Raises InvalidInput when what is there must not be passed over: `snapshot.damaged`, `snapshot.foreign`,
        `snapshot.version`, `snapshot.unreadable`.
        """
        whole: list[tuple[int, int, Snapshot]] = []
        damaged: list[str] = []
        for slot, file in enumerate(self._files):
            try:
                data = self._data(file)
                if data is not None:
                    serial, content = self._checked(file, data)
                    whole.append((serial, slot, _snapshot(content)))
            except _Damaged as reason:
                damaged.append(f"{file}: {reason}")
        if not whole:
            if not damaged:
                return None
            raise InvalidInput(
                f"the run's saved state is damaged ({'; '.join(damaged)})",
                code="snapshot.damaged",
                hint="how far the run had come cannot be known; run it again by a new spec.runId",
            )
        for trouble in damaged:
            log.warning(
                "a saved state is damaged; the run goes on from the other one, and may make calls again",
                extra={"code": "snapshot.damaged", "reason": trouble},
            )
        self._serial, slot, snapshot = max(whole, key=lambda item: item[0])
        self._next = 1 - slot
        return snapshot

    def write(self, state: State) -> None:
        """Put a state in place of the older of the two. Raises Temporary (`snapshot.unwritable`, `snapshot.too-large`);
        what was there before is then still there."""
        try:
            self._prepare()
            self._write(state)
            os.replace(self._unfinished, self._files[self._next])
            self._sync_folder()
        except OSError as error:
            self._clear()
            raise Temporary(
                f"the run's state cannot be written to {self._folder}: {error.strerror or error}", code="snapshot.unwritable"
            ) from error
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            self._clear()
            raise Temporary("the run's state holds data that cannot be written as JSON", code="snapshot.unwritable") from error
        except Temporary:
            self._clear()
            raise
        self._serial += 1
        self._next = 1 - self._next

    def remove(self) -> None:
        """The run has ended and that is known: its state is not needed any more. Raises OSError."""
        for file in (*self._files, self._unfinished):
            file.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            self._sync_folder()

    def _data(self, file: Path) -> bytes | None:
        try:
            with file.open("rb") as stream:
                return stream.read(2 * self._most + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InvalidInput(
                f"the run's saved state in {file} cannot be read: {error.strerror or error}",
                code="snapshot.unreadable",
                hint="check the volume and who may read it",
            ) from error

    def _checked(self, file: Path, data: bytes) -> tuple[int, bytes]:
        """The serial number and the second line of a file that is whole, of a known format and this run's."""
        first, *rest = data.split(b"\n")
        try:
            header = json.loads(first)
            format_, serial = int(header["format"]), int(header["serial"])
        except (ValueError, TypeError, KeyError) as error:
            raise _Damaged("its first line is not a header") from error
        if format_ > FORMAT:
            raise InvalidInput(
                f"the run's saved state in {file} has format {format_}; this release reads up to {FORMAT}",
                code="snapshot.version",
                hint="run the release that wrote it, or a newer one",
            )
        if len(rest) != 3 or rest[2]:
            raise _Damaged("it is cut off, or something was added")
        if hashlib.sha256(first + b"\n" + rest[0]).hexdigest().encode() != rest[1]:
            raise _Damaged("its checksum does not fit")
        other = [name for name, value in self._identity.items() if header.get(name) != value]
        if other:
            raise InvalidInput(
                f"the saved state in {file} is another run's: it differs in {', '.join(other)}",
                code="snapshot.foreign",
                hint="give each WorkflowExecution a volume, or a folder of one, to itself",
            )
        return serial, rest[0]

    def _prepare(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._folder.stat().st_mode & 0o077:
            # The root of a volume may belong to somebody else; the files are our own in any case.
            with contextlib.suppress(PermissionError):
                self._folder.chmod(0o700)
        self._unfinished.unlink(missing_ok=True)

    def _write(self, state: State) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        header: dict[str, Json] = {"format": FORMAT, "serial": self._serial + 1, **self._identity}
        checksum, size = hashlib.sha256(), 0
        with os.fdopen(os.open(self._unfinished, flags, 0o600), "wb") as file:
            for part in _parts(header, state):
                data = part.encode()
                size += len(data)
                if size > self._most:
                    raise Temporary(
                        f"the run's state is larger than {self._most:,} bytes, the most that is written down",
                        code="snapshot.too-large",
                        hint="keep large data elsewhere and pass its address through the workflow",
                    )
                checksum.update(data)
                file.write(data)
            file.write(f"\n{checksum.hexdigest()}\n".encode())
            file.flush()
            os.fsync(file.fileno())

    def _sync_folder(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        except OSError as error:
            if error.errno != errno.EINVAL:  # a file system that has nothing to sync in a folder
                raise
        finally:
            os.close(folder)

    def _clear(self) -> None:
        with contextlib.suppress(OSError):
            self._unfinished.unlink(missing_ok=True)


def _parts(header: dict[str, Json], state: State) -> Iterator[str]:
    """The first two lines in pieces: a state is never in memory as one text, and its size is known as it goes."""
    yield _json(header)
    events = [event_to_json(number, event) for number, event in state.kept.events]
    ended = None if state.ended is None else {"exitCode": state.ended.exit_code, "message": state.ended.message}
    yield f'\n{{"last":{state.kept.last},"ended":{_json(ended)},"events":{_json(events)},"frame":{{'
    for name, value in state.frame.items():
        if name != "values":
            yield f"{_json(name)}:{_json(value)},"
    yield '"values":['
    values = state.frame["values"]
    assert isinstance(values, list)  # noqa: S101 - frame_codec.encode says so
    for index, value in enumerate(values):
        yield f",{_json(value)}" if index else _json(value)
    yield "]}}"


def _snapshot(content: bytes) -> Snapshot:
    """Raises _Damaged, or InvalidInput for a frame of a newer release."""
    try:
        body = json.loads(content)
        frame = frame_codec.decode(body["frame"])
        ended = None if body["ended"] is None else Ended(int(body["ended"]["exitCode"]), dict(body["ended"]["message"]))
        kept = Kept(int(body["last"]), tuple(event_from_json(event) for event in body["events"]))
    except InvalidInput as error:
        if error.code == "frame.version":
            raise
        raise _Damaged(error.message) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _Damaged("its content is not a state") from error
    return Snapshot(frame, kept, ended)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def event_to_json(number: int, event: Event) -> dict[str, Json]:
    """A numbered event as JSON."""
    written: dict[str, Json] = {
        "number": number,
        "type": event.type.value,
        "timestamp": event.timestamp.isoformat(),
        "progress": event.progress,
    }
    if event.reference:
        written |= {"name": event.task_name, "reference": event.reference, "iteration": event.iteration, "kind": event.kind}
    if event.message:
        written["message"] = event.message
    if event.error is not None:
        written |= {"error": event.error.to_dict(), "code": event.code}
    if event.type is EventType.WORKFLOW_COMPLETED:
        written["output"] = event.output
    return written


def event_from_json(written: Any) -> tuple[int, Event]:
    """What `event_to_json` wrote. Raises ValueError, TypeError or KeyError for anything else."""
    return int(written["number"]), Event(
        EventType(written["type"]),
        datetime.fromisoformat(written["timestamp"]),
        int(written["progress"]),
        task_name=written.get("name", ""),
        reference=written.get("reference", ""),
        iteration=written.get("iteration", ""),
        kind=written.get("kind", ""),
        message=written.get("message", ""),
        error=Problem.from_dict(written["error"]) if "error" in written else None,
        code=written.get("code", ""),
        output=written.get("output"),
    )
