"""Recorded runs: a file each in the folder `histories`, written by record, read by replaying and test_replay.

A file is JSON, a line each, in gzip: first what is to be known of the run, with its events as they were told; then one of
Temporal's own histories (`WorkflowHistory.to_json`) for each of the runs that were continued as new one after the other.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.converter import DataConverter

from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.payloads import data_converter
from workflow_runner.settings.temporal import PayloadSettings

FOLDER = Path(__file__).parent / "histories"
_SUFFIX = ".jsonl.gz"
_KEY = hashlib.sha256(b"the key of the recorded runs, which have no secrets").digest()

Object = dict[str, Any]


@dataclass
class Recording:
    """One run. `events` are as `snapshots.event_to_json` writes them, `counts` how many tasks it had in the end. An invocation
    tells nothing, and has no tasks."""

    name: str
    execution_id: str
    encrypted: bool
    events: list[Object]
    counts: list[int]
    histories: list[Object]

    @property
    def workflow_id(self) -> str:
        """Its id in Temporal."""
        is_invocation = self.name.startswith("invocations/")
        return names.invoke_id(self.execution_id) if is_invocation else names.run_id(self.execution_id)

    @property
    def path(self) -> Path:
        """Where it is."""
        return path_of(self.name)

    def compressed(self) -> bytes:
        """The content of its file: the same each time."""
        about = {"executionId": self.execution_id, "encrypted": self.encrypted, "counts": self.counts, "events": self.events}
        lines = [json.dumps(each, sort_keys=True, separators=(",", ":")) + "\n" for each in (about, *self.histories)]
        return gzip.compress("".join(lines).encode(), 9, mtime=0)

    def write(self) -> None:
        """Put it there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_bytes(self.compressed())


def path_of(name: str) -> Path:
    """Where the recording of that name is, or would be."""
    return FOLDER / f"{name}{_SUFFIX}"


def recorded() -> list[str]:
    """The names of all recordings."""
    return sorted(str(path.relative_to(FOLDER)).removesuffix(_SUFFIX) for path in FOLDER.rglob(f"*{_SUFFIX}"))


def read(name: str) -> Recording:
    """One of them."""
    about, *histories = (json.loads(line) for line in gzip.decompress(path_of(name).read_bytes()).splitlines())
    return Recording(name, about["executionId"], about["encrypted"], about["events"], about["counts"], histories)


def key_folder(folder: Path) -> Path:
    """A folder with the key of encrypted runs in it."""
    (folder / "recordings").write_text(base64.b64encode(_KEY).decode())
    return folder


def converter(*, encrypted: bool) -> DataConverter:
    """The data converter of a run's worker."""
    if not encrypted:
        return data_converter(PayloadSettings())
    with tempfile.TemporaryDirectory() as folder:
        return data_converter(PayloadSettings(key_folder(Path(folder))))


def plain(history: Any) -> Iterator[str]:
    """All texts of a history, those in payloads too."""
    match history:
        case {"metadata": {"encoding": _}, "data": str(data)}:
            yield base64.b64decode(data).decode(errors="replace")
        case dict():
            for name, value in history.items():
                yield name
                yield from plain(value)
        case list():
            for value in history:
                yield from plain(value)
        case _:
            yield str(history)
