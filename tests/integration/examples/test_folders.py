"""Every example is whole: documents without a warning, an input, what comes out, and commands that name what is there."""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from tests.integration.cli.program import PROGRAM, call, environment
from tests.integration.examples.cases import DOCUMENT, EXAMPLES, PARTS, ROOT, cases, folders
from tests.unit.interpreter import virtual
from tests.until import until

from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.documents import read_document
from workflow_runner.graph.build import build
from workflow_runner.graph.dot import to_dot
from workflow_runner.graph.mermaid import to_mermaid
from workflow_runner.graph.svg import to_svg
from workflow_runner.hosts.scheduler import Scheduler, next_occurrence
from workflow_runner.interpreter.effects import Call
from workflow_runner.interpreter.outcome import Completed

ALONE = ("hello.yaml", "steps.yaml")
"""Documents without a folder, which README.md and the program's own tests name."""
OPTIONS = {"--input-file", "--listen", "--scheduled"}
DOCUMENTS = sorted([*EXAMPLES.glob("*.yaml"), *(path for folder in folders() for path in folder.glob("*.yaml"))])


def read(path: Path) -> Workflow:
    return read_document(path.read_text(), str(path))[0]


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_folder_has_all_that_an_example_needs(folder: Path) -> None:
    there = {path.name for path in folder.iterdir()}
    assert {DOCUMENT, "input.json"} <= there
    assert there & {"output.json", "error.json"}, "what the example is about has no expected output"
    assert ("README.md" in there) == (folder.parent.name == "scenarios")
    suffixes = {case.suffix for case in cases() if case.folder == folder}
    known = {f"{part}{suffix}.json" for part in PARTS for suffix in suffixes}
    assert {name for name in there if name.endswith(".json")} <= known, "a file that no case uses"
    workflow = read(folder / DOCUMENT)
    assert (workflow.document.namespace, workflow.document.name) == ("examples", folder.name)


def test_only_documents_that_have_tests_lie_outside_of_folders() -> None:
    assert sorted(path.name for path in EXAMPLES.glob("*.yaml")) == sorted(ALONE)
    assert {path.name for path in EXAMPLES.iterdir() if path.is_dir()} == {
        "kubernetes",
        "runners",
        "scenarios",
        "tasks",
        "temporal",
    }


def test_all_documents_are_valid_without_warnings() -> None:
    ended = call("validate", *DOCUMENTS)
    assert ended.code == 0, ended.err
    assert f"{len(DOCUMENTS)} documents: 0 errors, 0 warnings" in ended.out + ended.err


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(EXAMPLES)))
def test_every_document_can_be_drawn(path: Path) -> None:
    drawn = build(read(path))
    assert to_mermaid(drawn, None).startswith("---\ntitle: ")
    assert to_dot(drawn, None).startswith('digraph "')
    assert to_svg(drawn, None).startswith("<svg ")


def commands(folder: Path) -> list[str]:
    """The lines to type that a document's head or a README has."""
    text = (folder / ("README.md" if folder.parent.name == "scenarios" else DOCUMENT)).read_text()
    return [line[4:].strip() for line in text.splitlines() if re.match(r"(#   |    )(workflow-runner|curl) ", line)]


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_the_commands_name_what_is_there(folder: Path) -> None:
    lines = commands(folder)
    assert lines, "an example says how it is run"
    for line in lines:
        words = shlex.split(line)
        paths = [word.lstrip("@") for word in words if "examples/" in word]
        assert paths
        for path in paths:
            assert path.startswith(f"{folder.relative_to(ROOT)}/")
            assert (ROOT / path).is_file(), path
        assert {word for word in words if word.startswith("--")} <= OPTIONS
    needs_events = (folder / "events.json").exists()
    assert any("--listen" in line for line in lines) == (needs_events or folder.name == "event-driven")


def test_the_index_names_every_example() -> None:
    index = (EXAMPLES / "README.md").read_text()
    linked = set(re.findall(r"\]\(([^)#]+)\)", index))
    expected = {f"{folder.relative_to(EXAMPLES)}/workflow.yaml" for folder in folders() if folder.parent.name == "tasks"}
    expected |= {f"{folder.relative_to(EXAMPLES)}/README.md" for folder in folders() if folder.parent.name == "scenarios"}
    expected |= set(ALONE)
    assert {link for link in linked if not link.startswith(("../", "kubernetes/", "runners/", "temporal/"))} == expected
    assert all((EXAMPLES / link).exists() for link in linked)


def test_the_smallest_one_greets() -> None:
    assert call("run", EXAMPLES / "hello.yaml").output == {"greeting": "Hello, world!"}
    assert call("run", EXAMPLES / "hello.yaml", "--input", '{"name": "Ada"}').output == {"greeting": "Hello, Ada!"}


def test_the_one_with_steps_counts_them() -> None:
    assert call("run", EXAMPLES / "steps.yaml", "--input", '{"passes": 3, "pause": "PT0.01S"}').output == {"done": 3}


async def test_the_schedule_begins_at_once_and_goes_on_until_it_is_stopped() -> None:
    folder = EXAMPLES / "tasks" / "schedule"
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "run", folder / DOCUMENT, "--input-file", folder / "input.json", "--scheduled",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    try:
        first = await asyncio.wait_for(process.stdout.readline(), 60)
        assert json.loads(first) == json.loads((folder / "output.json").read_text())
        assert process.returncode is None
    finally:
        process.terminate()
        code = await asyncio.wait_for(process.wait(), 60)
    assert code == 3


async def test_each_event_starts_a_run_of_the_event_driven_one() -> None:
    folder = EXAMPLES / "scenarios" / "event-driven"
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "run", folder / DOCUMENT, "--scheduled", "--listen", "127.0.0.1:0",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        said = await asyncio.wait_for(process.stderr.readline(), 60)
        found = re.search(rb"(http://\S+)", said)
        assert found is not None, said
        for suffix in ("", "-large"):
            await _post(found[1].decode(), (folder / f"input{suffix}.json").read_bytes())
            line = await asyncio.wait_for(process.stdout.readline(), 60)
            assert json.loads(line) == json.loads((folder / f"output{suffix}.json").read_text())
    finally:
        process.terminate()
        await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 3


async def _post(address: str, events: bytes) -> None:
    """Send events until they are taken: the program may not listen yet."""
    async with aiohttp.ClientSession(headers={"Content-Type": "application/cloudevents-batch+json"}) as session:

        async def taken() -> bool:
            async with session.post(address, data=events) as answer:
                return bool((await answer.json())["taken"])

        await until(taken, 60)


NIGHTLY = EXAMPLES / "scenarios" / "nightly-batch" / DOCUMENT
ROME = ZoneInfo("Europe/Rome")


@pytest.mark.parametrize(
    ("after", "starts"),
    [
        (datetime(2026, 11, 21, 1, 29, 59, tzinfo=UTC), datetime(2026, 11, 21, 1, 30, tzinfo=UTC)),
        (datetime(2026, 11, 21, 1, 30, tzinfo=UTC), datetime(2026, 11, 22, 1, 30, tzinfo=UTC)),
        (datetime(2026, 7, 1, 12, 0, tzinfo=UTC), datetime(2026, 7, 2, 0, 30, tzinfo=UTC)),
        (datetime(2026, 3, 28, 12, 0, tzinfo=UTC), datetime(2026, 3, 29, 1, 0, tzinfo=UTC)),
    ],
    ids=["just before", "just then", "in summer", "in the night without half past two"],
)
def test_the_nightly_batch_comes_at_half_past_two_of_the_local_time(after: datetime, starts: datetime) -> None:
    schedule = read(NIGHTLY).schedule
    assert schedule is not None
    assert schedule.cron is not None
    assert next_occurrence(schedule.cron, after, ROME) == starts


async def test_the_nightly_batch_is_started_night_after_night() -> None:
    schedule, time = read(NIGHTLY).schedule, datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    assert schedule is not None
    begun: list[datetime] = []
    enough = asyncio.Event()

    async def sleep(seconds: float) -> None:
        nonlocal time
        await asyncio.sleep(0)  # runs that are due begin before time goes on
        time += timedelta(seconds=seconds)

    async def start(_: Json) -> None:
        begun.append(time)
        if len(begun) == 3:
            enough.set()
            await asyncio.Event().wait()

    running = asyncio.create_task(Scheduler(start, now=lambda: time, sleep=sleep).by_time(schedule, None, ROME))
    async with asyncio.timeout(60):
        await enough.wait()
    running.cancel()
    await asyncio.wait([running])
    assert begun[:3] == [datetime(2026, 11, day, 1, 30, tzinfo=UTC) for day in (21, 22, 23)]


def test_the_nightly_batch_is_about_the_day_before_where_none_is_given() -> None:
    def answer(call: Call) -> Json:
        body: Any = call.arguments.get("body")
        return {"stored": body["day"]} if body else []

    story = virtual.run(read(NIGHTLY), {"books": "http://books.example"}, answer=answer)
    assert virtual.START.date().isoformat() == "2026-01-01"
    assert story.outcome == Completed({"stored": "2025-12-31", "totals": {}, "left-out": 0})
