"""How much is kept of executions that have ended; documents that are kept; children that are shared."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.unit.interpreter.virtual import whole
from tests.until import until

from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.errors import InvalidInput
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.programs import EvaluationFailed, program_text
from workflow_runner.hosts.documents import Documents
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.execution_store import ExecutionStore
from workflow_runner.hosts.executions import Caller, StartRequest, UnknownExecution
from workflow_runner.hosts.jq_pool import JqPool
from workflow_runner.hosts.kept_executions import Bounds
from workflow_runner.hosts.local_execution import Environment, LocalExecution
from workflow_runner.hosts.local_executions import LocalExecutions
from workflow_runner.interpreter.events import ENDS, Event

NOBODY = Caller()
QUICK = whole("do: [{step: {set: {n: 1}}}]")
LONG = whole("do: [{loop: {for: {in: '[range(200)]'}, do: [{pass: {set: {n: 1}}}]}}]")


def executions(bounds: Bounds, store: ExecutionStore | None = None) -> LocalExecutions:
    return LocalExecutions(Documents(), Environment(EventBus(), HostOptions()), store=store, bounds=bounds)


async def ended(all_: LocalExecutions, execution_id: str, document: str = QUICK) -> None:
    """One more that has ended."""
    await all_.start(StartRequest(execution_id, document), NOBODY)
    await until(lambda: all_.live == 0)


async def test_the_oldest_that_have_ended_are_forgotten(tmp_path: Path) -> None:
    forgotten: list[str] = []
    all_ = executions(Bounds(ended=3), ExecutionStore(tmp_path))
    all_.forgotten = forgotten.append
    for number in range(5):
        await ended(all_, f"run-{number}")
    assert forgotten == ["run-0", "run-1"]
    with pytest.raises(UnknownExecution):
        await all_.status("run-1", NOBODY)
    assert (await all_.status("run-2", NOBODY)).status == "completed"
    await until(lambda: len(list((tmp_path / "executions").iterdir())) == 3)
    await ended(all_, "run-1")  # it is a new one
    await all_.close(1)
    assert len(list((tmp_path / "executions").iterdir())) == 3


async def test_those_that_somebody_has_not_heard_of_are_kept_longer() -> None:
    all_ = executions(Bounds(ended=3))
    all_.owes = lambda execution_id: execution_id in ("run-0", "run-1")
    for number in range(8):
        await ended(all_, f"run-{number}")
    assert sorted(each for each in (f"run-{n}" for n in range(8)) if each in all_._executions) == [
        "run-0",
        "run-1",
        "run-7",
    ]
    all_.owes = lambda execution_id: True
    for number in range(8, 14):
        await ended(all_, f"run-{number}")
    assert len(all_._executions) == 6, "twice as many at most"
    await all_.close(1)


async def test_beyond_a_size_the_older_ones_keep_only_how_they_ended() -> None:
    all_ = executions(Bounds(bytes=2 * 402 * 700 + 1000))
    for number in range(4):
        await ended(all_, f"run-{number}", LONG)
    kept = [len((await all_.events(f"run-{number}", 0, 1000, NOBODY))[0]) for number in range(4)]
    assert kept[0] == kept[1] == 1
    assert kept[3] > 400
    assert [(await all_.status(f"run-{number}", NOBODY)).status for number in range(4)] == ["completed"] * 4
    await all_.close(1)


async def test_nobody_hears_of_an_end_that_is_not_written_down(tmp_path: Path) -> None:
    all_ = executions(Bounds(), ExecutionStore(tmp_path))
    written: list[bool] = []

    def told(execution: LocalExecution, number: int, event: Event) -> None:
        if event.type in ENDS:
            written.append(bool(list(tmp_path.rglob("ended.json"))))

    all_.told = told
    await ended(all_, "run-1")
    assert written == [True]
    await all_.close(1)


@pytest.fixture
async def documents() -> AsyncIterator[Documents]:
    documents = Documents(most=2)
    yield documents
    await documents.close()


async def test_documents_are_kept_by_their_text_the_newest_ones(documents: Documents) -> None:
    first = await documents.read(QUICK)
    assert await documents.read(QUICK) is first
    assert documents.known(QUICK) is first
    both = await asyncio.gather(documents.read(LONG), documents.read(LONG))
    assert both[0] is both[1], "read once for all who ask at once"
    documents.known(QUICK)
    await documents.read(whole("do: [{other: {set: {n: 2}}}]"))
    assert (documents.known(QUICK), documents.known(LONG), len(documents)) == (first, None, 2)


async def test_a_document_that_is_refused_is_not_kept(documents: Documents) -> None:
    for _ in range(2):
        with pytest.raises(DocumentErrors) as caught:
            await documents.read("document: 1")
        assert caught.value.diagnostics[0].place.startswith("workflow_yaml:")
    assert len(documents) == 0


async def test_children_are_shared_within_a_bound() -> None:
    pool = JqPool(most=2)
    runs = [pool.turns() for _ in range(6)]
    program = JqRequest(program_text("[limit(3; repeat(.))] | add", ()), "2")
    answers = await asyncio.gather(*(run.evaluate(program) for run in runs for _ in range(3)))
    assert answers == [6] * 18
    assert len(pool._idle) == 2
    failing = JqRequest(program_text('error("no")', ()), "2")
    with pytest.raises(EvaluationFailed):
        await runs[0].evaluate(failing)
    assert await runs[1].evaluate(program) == 6
    await pool.aclose()


async def test_one_run_has_one_child_at_a_time() -> None:
    pool = JqPool(most=2)
    greedy, modest = pool.turns(), pool.turns()
    endless = JqRequest(program_text("[repeat(.)]", ()), "2")
    hogs = [asyncio.create_task(greedy.evaluate(endless)) for _ in range(10)]
    program = JqRequest(program_text("[limit(3; repeat(.))] | add", ()), "2")
    async with asyncio.timeout(30):
        assert await modest.evaluate(program) == 6
    assert not any(hog.done() and not hog.exception() for hog in hogs)
    for hog in hogs:
        hog.cancel()
    await asyncio.gather(*hogs, return_exceptions=True)
    await pool.aclose()


def test_a_folder_is_one_process_s(tmp_path: Path) -> None:
    store = ExecutionStore(tmp_path)
    with pytest.raises(InvalidInput, match="in use by another process"):
        ExecutionStore(tmp_path)
    store.close()
    ExecutionStore(tmp_path).close()


CALLING = whole("do: [{slow: {run: {shell: {command: 'sleep 60'}}}}]")


async def reached(all_: LocalExecutions, execution_id: str, status: str) -> None:
    """Wait until it stands so."""
    for _ in range(1000):
        if (await all_.status(execution_id, NOBODY)).status == status:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{execution_id} is not {status}")


async def told(all_: LocalExecutions, execution_id: str) -> list[str]:
    """The kinds of its events."""
    return [event.event_type for event in (await all_.events(execution_id, 0, 1000, NOBODY))[0]]


async def stubborn(all_: LocalExecutions, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of a process that does not end when it is told to, and is killed late."""
    monkeypatch.setattr("workflow_runner.calls.process.TERM_SECONDS", 6.0)
    there = folder / "there"
    command = f"trap '' TERM; touch {there}; sleep 60 & wait; sleep 60"
    await all_.start(StartRequest("run-1", whole(f'do: [{{stuck: {{run: {{shell: {{command: "{command}"}}}}}}}}]')), NOBODY)
    await until(there.exists)


async def test_what_a_graceful_cancel_does_not_end_is_ended_when_its_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflow_runner.hosts.local_execution.GRACE_SECONDS", 0.1)
    all_ = executions(Bounds())
    await stubborn(all_, tmp_path, monkeypatch)
    begun = asyncio.get_running_loop().time()
    await all_.cancel("run-1", "enough", NOBODY, force=False)
    await reached(all_, "run-1", "cancelled")
    assert asyncio.get_running_loop().time() - begun < 4
    await all_.close(1)


async def test_a_cancel_that_comes_while_it_stops_is_told_and_kept(tmp_path: Path) -> None:
    all_ = executions(Bounds(), ExecutionStore(tmp_path))
    await all_.start(StartRequest("run-1", CALLING), NOBODY)
    await reached(all_, "run-1", "running")
    stopping = asyncio.create_task(all_.close(60))
    await until(lambda: all_._executions["run-1"]._interrupted)
    await all_.cancel("run-1", "enough", NOBODY, force=False)
    await stopping
    assert (await told(all_, "run-1"))[-1] == "workflow_cancelled"
    after = executions(Bounds(), ExecutionStore(tmp_path))
    assert await after.go_on() == 0
    assert (await after.status("run-1", NOBODY)).status == "cancelled"
    await after.close(1)


async def test_the_first_reason_for_a_cancel_is_the_one_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    all_ = executions(Bounds(), ExecutionStore(tmp_path / "state"))
    await stubborn(all_, tmp_path, monkeypatch)
    await all_.cancel("run-1", "first", NOBODY, force=False)
    await all_.cancel("run-1", "second", NOBODY, force=False)
    assert all_._store is not None
    [stored] = all_._store.all()
    assert (stored.accepted.wanted, stored.accepted.reason) == ("Cancel", "first")
    await all_.cancel("run-1", "third", NOBODY, force=True)
    await reached(all_, "run-1", "cancelled")
    assert (await all_.events("run-1", 0, 1000, NOBODY))[0][-1].message.endswith("first")
    await all_.close(1)
