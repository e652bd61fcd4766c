"""The snapshots of one run: what is written is read back, and what cannot be trusted is not."""

from __future__ import annotations

import json
import logging
import resource
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from workflow_runner.dsl.problems import Problem
from workflow_runner.errors import InvalidInput, Temporary
from workflow_runner.hosts.buffer import Kept
from workflow_runner.hosts.snapshots import FORMAT, Ended, Snapshots, State
from workflow_runner.interpreter import frame_codec
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.frames import ListFrame, WorkflowFrame

NOW = datetime(2026, 11, 21, 12, 0, 0, 123456, tzinfo=UTC)
EVENTS = (
    (7, Event(EventType.TASK_STARTED, NOW, 30, task_name="a", reference="/do/0/a", iteration="4.0")),
    (
        9,
        Event(
            EventType.TASK_FAILED,
            NOW,
            30,
            task_name="a",
            reference="/do/0/a",
            message="no \ud800",
            error=Problem("https://e.test/", 501, "Title", "detail", "/do/0/a"),
            code="c",
        ),
    ),
    (12, Event(EventType.WORKFLOW_COMPLETED, NOW, 100, output={"exact": 9007199254740993, "none": None})),
)


def snapshots(folder: Path, **identity: Any) -> Snapshots:
    return Snapshots(folder, **({"digest": "sha256:1", "execution_id": "e", "run_id": ""} | identity))


def state(step: int = 1, data: Any = None, *, kept: Kept = Kept(), ended: Ended | None = None) -> State:  # noqa: B008
    frame = WorkflowFrame(raw_input=data, started_at=NOW, tasks=ListFrame(data, position=step))
    return State(frame_codec.encode(frame), kept, ended)


def step(folder: Path) -> int:
    """Where the run would go on."""
    snapshot = snapshots(folder).read()
    assert snapshot is not None
    assert snapshot.frame.tasks is not None
    return snapshot.frame.tasks.position


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def newest(folder: Path) -> Path:
    return max(files(folder), key=lambda file: json.loads(file.read_bytes().split(b"\n")[0])["serial"])


def test_there_is_nothing_at_first_and_a_missing_folder_is_made_at_the_first_write(tmp_path: Path) -> None:
    folder = tmp_path / "not" / "there"
    store = snapshots(folder)
    assert store.read() is None
    store.write(state())
    assert step(folder) == 1


def test_a_state_comes_back_whole(tmp_path: Path) -> None:
    data = {"text": "\ud800 é\n", "number": 10**30, "nested": [[{}]], "float": 0.1}
    written = state(3, data, kept=Kept(12, EVENTS), ended=Ended(1, {"phase": "Failed", "error": {"status": 500}}))
    snapshots(tmp_path).write(written)
    read = snapshots(tmp_path).read()
    assert read is not None
    assert frame_codec.encode(read.frame) == written.frame
    assert (read.kept, read.ended) == (written.kept, written.ended)


def test_the_newest_of_many_is_read_and_only_two_files_are_kept(tmp_path: Path) -> None:
    for number in range(1, 8):
        # Every second one by another process.
        store = snapshots(tmp_path)
        store.read()
        store.write(state(number))
        store.write(state(number + 100))
        assert step(tmp_path) == number + 100
    assert len(files(tmp_path)) == 2


def test_runs_of_one_execution_keep_their_states_apart(tmp_path: Path) -> None:
    snapshots(tmp_path, run_id="one").write(state(1))
    assert snapshots(tmp_path, run_id="two").read() is None
    snapshots(tmp_path, run_id="two").write(state(2))
    first = snapshots(tmp_path, run_id="one").read()
    assert first is not None
    assert first.frame.tasks is not None
    assert first.frame.tasks.position == 1


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)
    snapshots(folder).write(state())
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in files(folder)] == [0o600]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: data.replace(b'"progress":0', b'"progress":1'),
        lambda data: b"\x00" * len(data),
        lambda data: b"[]\n[]\n" + data.split(b"\n")[2] + b"\n",
    ],
    ids=["empty", "half", "without-its-end", "longer", "changed", "zeroes", "something-else"],
)
def test_a_damaged_newest_one_falls_back_to_the_one_before_and_two_are_refused(
    tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store = snapshots(tmp_path)
    store.write(state(1))
    store.write(state(2, "confidential"))
    damaged = newest(tmp_path)
    damaged.write_bytes(damage(damaged.read_bytes()))
    with caplog.at_level(logging.WARNING):
        assert step(tmp_path) == 1
    assert [record.__dict__["code"] for record in caplog.records] == ["snapshot.damaged"]
    assert "confidential" not in str([vars(record) for record in caplog.records])
    other = next(file for file in files(tmp_path) if file != damaged)
    other.write_bytes(damage(other.read_bytes()))
    with pytest.raises(InvalidInput) as refusal:
        snapshots(tmp_path).read()
    assert refusal.value.code == "snapshot.damaged"
    assert refusal.value.hint


def test_after_a_fall_back_the_damaged_one_is_written_over(tmp_path: Path) -> None:
    store = snapshots(tmp_path)
    store.write(state(1))
    store.write(state(2))
    newest(tmp_path).write_bytes(b"")
    again = snapshots(tmp_path)
    again.read()
    again.write(state(3))
    assert step(tmp_path) == 3
    assert all(file.stat().st_size for file in files(tmp_path))


@pytest.mark.parametrize("other", [{"digest": "sha256:2"}, {"execution_id": "f"}], ids=["digest", "execution"])
def test_another_runs_state_is_refused_and_left_alone(tmp_path: Path, other: dict[str, str]) -> None:
    snapshots(tmp_path).write(state(1))
    with pytest.raises(InvalidInput) as refusal:
        snapshots(tmp_path, **other).read()
    assert refusal.value.code == "snapshot.foreign"
    assert step(tmp_path) == 1


def test_a_file_under_another_runs_name_is_refused(tmp_path: Path) -> None:
    snapshots(tmp_path, run_id="one").write(state(1))
    snapshots(tmp_path, run_id="two").write(state(1))
    one, two = files(tmp_path)
    one.rename(two)
    with pytest.raises(InvalidInput) as refusal:
        [snapshots(tmp_path, run_id=name).read() for name in ("one", "two")]
    assert refusal.value.code == "snapshot.foreign"


def test_a_state_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    snapshots(tmp_path).write(state(1))
    (file,) = files(tmp_path)
    header = json.loads(file.read_bytes().split(b"\n")[0])
    # A format to come need not have lines like ours.
    file.write_bytes(json.dumps(header | {"format": FORMAT + 1}).encode() + b"\nanything")
    with pytest.raises(InvalidInput) as refusal:
        snapshots(tmp_path).read()
    assert refusal.value.code == "snapshot.version"


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    snapshots(tmp_path).write(state(1))
    (file,) = files(tmp_path)
    file.unlink()
    file.mkdir()
    with pytest.raises(InvalidInput) as refusal:
        snapshots(tmp_path).read()
    assert refusal.value.code == "snapshot.unreadable"


def test_a_state_that_is_too_large_leaves_the_one_before(tmp_path: Path) -> None:
    store = snapshots(tmp_path, most=10_000)
    store.write(state(1))
    with pytest.raises(Temporary) as failure:
        store.write(state(2, "x" * 10_000))
    assert failure.value.code == "snapshot.too-large"
    assert step(tmp_path) == 1
    store.write(state(3))
    assert step(tmp_path) == 3


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Files of this process may have 2,000 bytes: the same error as of a full disk, in the middle of a write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_leaves_the_one_before_and_nothing_half_written(tmp_path: Path, full_disk: None) -> None:
    store = snapshots(tmp_path)
    store.write(state(1))
    with pytest.raises(Temporary) as failure:
        store.write(state(2, "x" * 5_000))
    assert failure.value.code == "snapshot.unwritable"
    assert len(files(tmp_path)) == 1
    assert step(tmp_path) == 1


@pytest.mark.parametrize("data", [10**5000, object()], ids=["huge-number", "no-json"])
def test_data_that_json_cannot_hold_is_told_without_showing_it(tmp_path: Path, data: Any) -> None:
    with pytest.raises(Temporary) as failure:
        snapshots(tmp_path).write(state(1, data))
    assert failure.value.code == "snapshot.unwritable"
    assert files(tmp_path) == []


def test_what_a_kill_in_the_middle_of_a_write_left_is_no_hindrance(tmp_path: Path) -> None:
    store = snapshots(tmp_path)
    store.write(state(1))
    (file,) = files(tmp_path)
    (tmp_path / file.name.replace("a.snapshot", "unfinished")).write_bytes(b"half of something")
    assert step(tmp_path) == 1
    again = snapshots(tmp_path)
    again.read()
    again.write(state(2))
    assert step(tmp_path) == 2
    assert len(files(tmp_path)) == 2


def test_nothing_is_left_once_the_run_has_ended(tmp_path: Path) -> None:
    store = snapshots(tmp_path)
    store.write(state(1))
    store.write(state(2))
    snapshots(tmp_path, run_id="another").write(state(1))
    store.remove()
    assert store.read() is None
    assert len(files(tmp_path)) == 1
