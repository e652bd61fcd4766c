"""`workflow-runner serve` as a real process, and its four services for a caller. Fixtures are in conftest.py."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import re
import signal
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf import json_format
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from tests import canaries
from tests.integration.cli.program import PROGRAM, environment
from tests.unit.interpreter.virtual import whole
from tests.until import until

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import interface_pb2_grpc, io_pb2, service_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2_grpc, query_pb2_grpc
from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2 as older

Json = dict[str, Any]

ENDS = {"completed", "failed", "cancelled"}
ON_LOOPBACK = {"GRPC_PORT": "0", "HEALTH_PORT": "0", "METRICS_PORT": "0"}
SECONDS = 60.0
"""Within which whatever is waited for has happened, on a slow machine too."""


class Services:
    """The four services over one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.execution = service_pb2_grpc.WorkflowExecutionServiceStub(channel)
        self.controller = interface_pb2_grpc.WorkflowRunnerServiceControllerStub(channel)
        self.command = command_pb2_grpc.WorkflowRunnerCommandControllerStub(channel)
        self.query = query_pb2_grpc.WorkflowRunnerQueryControllerStub(channel)


class Served:
    """The program, started as often as a test likes: one process at a time, on one port, with one state folder if any."""

    def __init__(self, variables: dict[str, str], arguments: tuple[str, ...] = ()) -> None:
        self.variables = ON_LOOPBACK | variables
        self.arguments = arguments
        self._logged: list[str] = []
        self.ports: Json = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._channels: list[grpc.aio.Channel] = []
        self._services: Services | None = None

    @property
    def log(self) -> str:
        """Of all its processes."""
        return "".join(self._logged)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.ports['port']}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def lives(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Begin, and return when it serves. Another start keeps the port."""
        if self.ports:
            self.variables["GRPC_PORT"] = str(self.ports["port"])
        self.ports = {}
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM, "serve", *self.arguments, stderr=asyncio.subprocess.PIPE, env=environment(**self.variables), limit=2**20
        )
        self._reading = asyncio.create_task(self._read(self._process))
        await until(lambda: bool(self.ports) or not self.lives, SECONDS)
        assert self.ports, self.log

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            text = line.decode()
            self._logged.append(text)
            if '"event":"serving"' in text:
                self.ports = json.loads(text)
        await process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit code, when it has ended by itself or by a signal."""
        assert self._process is not None
        assert self._reading is not None
        await asyncio.wait_for(asyncio.shield(self._reading), SECONDS)
        assert self._process.returncode is not None
        return self._process.returncode

    async def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    async def kill(self) -> None:
        self.signal(signal.SIGKILL)
        await self.ended()

    async def close(self) -> None:
        """End it, and look through what it logged."""
        for channel in self._channels:
            await channel.close()
        if self._process is not None:
            if self.lives:
                assert await self.stop() == 0, self.log
            else:
                await self.ended()
        print(self.log)  # for whoever reads of a failed test
        assert canaries.found_in(self.log) == []
        assert "a bug of the workflow runner" not in self.log
        assert '"exception"' not in self.log
        assert "never retrieved" not in self.log

    def lines(self, event: str) -> list[Json]:
        """The log's lines of one kind."""
        found = (json.loads(line) for line in self.log.splitlines() if line.startswith("{"))
        return [line for line in found if line["event"] == event]

    def open(self, channel: grpc.aio.Channel | None = None) -> Services:
        """The services over a channel of its own."""
        channel = channel or grpc.aio.insecure_channel(self.address, options=[("grpc.use_local_subchannel_pool", 1)])
        self._channels.append(channel)
        return Services(channel)

    @property
    def services(self) -> Services:
        """Over a channel that is opened once; it connects again by itself."""
        if self._services is None:
            self._services = self.open()
        return self._services

    async def start_run(self, text: str, execution_id: str = "run-1", **fields: Any) -> io_pb2.WorkflowExecuteResponse:
        """ExecuteAsync, by the face of today."""
        answer: io_pb2.WorkflowExecuteResponse = await self.services.execution.ExecuteAsync(
            request(text, execution_id, **fields)
        )
        return answer

    async def status(self, execution_id: str = "run-1") -> older.ExecutionStatus:
        status: older.ExecutionStatus = await self.services.query.GetStatus(
            older.GetExecutionStatusRequest(execution_id=execution_id)
        )
        return status

    async def reaches(self, *wanted: str, execution_id: str = "run-1") -> older.ExecutionStatus:
        """Wait until a run has one of these statuses."""

        async def holds() -> bool:
            return (await self.status(execution_id)).status in wanted

        await until(holds, SECONDS)
        return await self.status(execution_id)

    async def end(self, execution_id: str = "run-1") -> older.ExecutionStatus:
        """Wait until a run has ended."""
        return await self.reaches(*ENDS, execution_id=execution_id)

    async def story(self, execution_id: str = "run-1", after: int = 0) -> list[older.WorkflowProgressEvent]:
        """Subscribe, until the end."""
        call = self.services.query.Subscribe(older.SubscribeRequest(execution_id=execution_id, after_sequence_number=after))
        async with asyncio.timeout(SECONDS):
            return [event async for event in call]

    async def cancel(self, execution_id: str = "run-1", reason: str = "", *, force: bool = False) -> None:
        await self.services.execution.CancelExecution(
            io_pb2.CancelExecutionRequest(execution_id=execution_id, reason=reason, force=force)
        )

    async def pause(self, execution_id: str = "run-1", reason: str = "") -> None:
        await self.services.execution.PauseExecution(io_pb2.PauseExecutionRequest(execution_id=execution_id, reason=reason))

    async def resume(self, execution_id: str = "run-1") -> None:
        await self.services.execution.ResumeExecution(io_pb2.ResumeExecutionRequest(execution_id=execution_id))


def request(text: str, execution_id: str = "run-1", **fields: Any) -> io_pb2.WorkflowExecuteInput:
    """To run a document by its text; the `document` part is added where there is none."""
    return io_pb2.WorkflowExecuteInput(workflow_execution_id=execution_id, workflow_yaml=whole(text), **fields)


def output(status: older.ExecutionStatus) -> Any:
    """What a run gave, as JSON."""
    return json_format.MessageToDict(status.output)


class Refused:
    """What a call was refused with."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        self.code = error.code()
        self.text = error.details() or ""
        self.request_id = next((value for key, value in error.trailing_metadata() if key == "x-request-id"), None)
        self.reason = ""
        self.violations: list[Any] = []
        self.retry_seconds: float | None = None
        status = rpc_status.from_call(error)
        for detail in () if status is None else status.details:
            info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                self.reason, self.domain = info.reason, info.domain
            elif detail.Unpack(bad):
                self.violations = list(bad.field_violations)
            elif detail.Unpack(retry):
                self.retry_seconds = retry.retry_delay.ToTimedelta().total_seconds()


async def refused(call: Any) -> Refused:
    """How a call fails."""
    try:
        async with asyncio.timeout(SECONDS):
            if hasattr(call, "__aiter__"):
                async for _ in call:
                    pass
            else:
                await call
    except grpc.aio.AioRpcError as error:
        return Refused(error)
    raise AssertionError("the call was not refused")


def resident(pid: int) -> int:
    """A process's memory in bytes."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def ascending(numbers: list[int]) -> bool:
    return all(before < after for before, after in itertools.pairwise(numbers))


def descendants(pid: int) -> list[str]:
    """The command lines of the processes that have this one among their ancestors."""
    parents: dict[int, int] = {}
    commands: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                stat = (folder / "stat").read_text().rsplit(")", 1)[1].split()
                commands[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                parents[int(folder.name)] = int(stat[1])

    def below(each: int) -> bool:
        return each == pid or (each in parents and below(parents[each]))

    return [command for each, command in commands.items() if each != pid and below(each)]
