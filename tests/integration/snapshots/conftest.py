"""A launched pod as a real process with a folder for its snapshots, and the sink that it reports to."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.integration.cli.program import PROGRAM, environment
from tests.servers.sink import Sink
from tests.unit.interpreter.virtual import whole

from workflow_runner.launchers.payload import Payload, pack, spec_digest
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.server.tls import Authority, new_authority, serving_certificate

Json = dict[str, Any]


@pytest.fixture(scope="session")
def authority() -> Authority:
    return new_authority()


@pytest.fixture
async def sink(authority: Authority) -> AsyncIterator[Sink]:
    sink = Sink(serving_certificate(authority, ["localhost"]))
    await sink.up()
    yield sink
    await sink.down()


class Pod:
    """One run, started as often as a test likes: one process at a time, all with the same folder."""

    def __init__(self, folder: Path, sink: Sink, ca: bytes) -> None:
        self.folder = folder
        self.snapshots = folder / "volume" / "snapshots"
        self.sink = sink
        self.variables = {
            "WORKFLOW_RUNNER_EXECUTION_UID": "uid-1",
            "WORKFLOW_RUNNER_EXECUTION_ID": "uid-1-first",
            "WORKFLOW_RUNNER_RUN_ID": "first",
            "WORKFLOW_RUNNER_ATTEMPT": "1",
            "WORKFLOW_RUNNER_SINK_ENDPOINT": f"localhost:{sink.port}",
            "WORKFLOW_RUNNER_SINK_CA": ca.decode(),
            "WORKFLOW_RUNNER_SINK_TOKEN_FILE": str(folder / "token"),
            "WORKFLOW_RUNNER_TERMINATION_LOG": str(folder / "termination"),
            "WORKFLOW_RUNNER_SNAPSHOT_FOLDER": str(folder / "volume"),
        }
        (folder / "token").write_text("token")
        self.arguments: tuple[str, ...] = ()
        self.starts = 0
        self.said = ""
        """Standard error of all processes."""
        self._process: asyncio.subprocess.Process | None = None
        self._ended: asyncio.Task[int] | None = None

    def runs(self, text: str, input_: Any = None) -> None:
        """What is run from the next start on; the `document` part is added."""
        payload = Payload(whole(text), input_, "test.yaml")
        (self.folder / "input").write_text(pack(payload))
        self.arguments = ("execute", "--input-file", str(self.folder / "input"), "--digest", spec_digest(payload))

    async def start(self, *, largest_file: int | None = None) -> None:
        """Another process; `largest_file` bounds what it can write, as a full disk would."""

        self.starts += 1
        (self.folder / "termination").unlink(missing_ok=True)
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *self.arguments,
            stderr=asyncio.subprocess.PIPE,
            # A bounded process must not write half compiled modules that somebody finds later.
            env=environment(**self.variables, **({} if largest_file is None else {"PYTHONDONTWRITEBYTECODE": "1"})),
        )
        if largest_file is not None:
            resource.prlimit(self._process.pid, resource.RLIMIT_FSIZE, (largest_file, largest_file))
        self._ended = asyncio.create_task(self._until_its_end(self._process))

    async def _until_its_end(self, process: asyncio.subprocess.Process) -> int:
        _, said = await process.communicate()
        self.said += said.decode()
        assert process.returncode is not None
        return process.returncode

    @property
    def lives(self) -> bool:
        return self._ended is not None and not self._ended.done()

    async def ends(self) -> int:
        """Its exit code; minus a signal's number when it was killed."""
        assert self._ended is not None
        return await asyncio.wait_for(asyncio.shield(self._ended), 60)

    def signal(self, number: signal.Signals) -> None:
        if self.lives and self._process is not None:
            self._process.send_signal(number)

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.ends()

    async def reaches(self, holds: Callable[[], bool]) -> bool:
        """Wait for something that this process sees of the pod; False when the pod ends before."""
        async with asyncio.timeout(60):
            while not holds():
                if not self.lives:
                    return holds()
                await asyncio.sleep(0.002)
        return True

    @property
    def message(self) -> Json:
        message: Json = json.loads((self.folder / "termination").read_text())
        return message

    def happened(self, event_type: str, task: str = "") -> int:
        """How many different events of this kind have come."""
        return len({e.sequence_number for e in self.sink.events if e.event_type == event_type and e.task_name in ("", task)})


@pytest.fixture
async def pod(tmp_path: Path, sink: Sink, authority: Authority) -> AsyncIterator[Pod]:
    pod = Pod(tmp_path, sink, authority.certificate)
    yield pod
    if pod.lives:
        await pod.kill()


def story(sink: Sink) -> list[WorkflowProgressEvent]:
    """Every event once, by its number. Fails when one number came for two events."""
    events: dict[int, WorkflowProgressEvent] = {}
    for event in sink.events:
        known = events.setdefault(event.sequence_number, event)
        assert known == event, f"number {event.sequence_number} was used for two events"
    return [events[number] for number in sorted(events)]


def last_of_each_task(events: list[WorkflowProgressEvent]) -> dict[str, str]:
    """How each pass of each task ended, as the events tell it."""
    return {
        f"{event.task_name}[{event.task_iteration}]": event.event_type.removeprefix("task_")
        for event in events
        if event.task_reference
    }
