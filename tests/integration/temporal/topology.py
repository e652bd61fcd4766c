"""The topology with Stigmer's server for tests: a real Temporal server, Stigmer's stand-in, and workers as real processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError
from tests import canaries
from tests.integration.cli.program import PROGRAM, environment
from tests.servers.stigmer import StigmerServer
from tests.unit.stigmer.specs import spec, task
from tests.until import until

from workflow_runner.hosts.temporal import names
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.creator import InvokeWorkflowCreator
from workflow_runner.proto.ai.stigmer.agentic.environment.v1.api_pb2 import Environment
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.api_pb2 import Workflow
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.spec_pb2 import WorkflowSpec
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1 import enum_pb2
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecution, WorkflowExecutionStatus
from workflow_runner.proto.ai.stigmer.agentic.workflowinstance.v1.api_pb2 import WorkflowInstance
from workflow_runner.settings.temporal import TemporalSettings

Json = dict[str, Any]

KEY = canaries.STIGMER_KEY
SECONDS = 60.0
COMPLETED, FAILED, CANCELLED = enum_pb2.EXECUTION_COMPLETED, enum_pb2.EXECUTION_FAILED, enum_pb2.EXECUTION_CANCELLED
LISTEN = task("wait", "LISTEN", {"to": {"mode": "one", "signals": [{"id": "go", "type": "signal"}]}})
"""A task that lasts until the event `go` comes."""
GREET = task("greet", "SET", {"variables": {"said": "${ .trigger_message }", "zone": "${ZONE}"}})
HEARTBEAT = {"TEMPORAL_HEARTBEAT_TIMEOUT_SECONDS": "2"}


class WorkerProcess:
    """`workflow-runner worker` as a process; its log is kept from process to process."""

    def __init__(self, roles: str, variables: dict[str, str], arguments: tuple[str, ...] = ()) -> None:
        self.roles, self.variables, self.arguments = roles, variables, arguments
        self._logged: list[str] = []
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._working = False
        self.misplaced = False
        """It polls a queue that is another role's, and fails there as the SDK has it."""
        self.code = 0
        """How it ended when it was told to."""

    @property
    def log(self) -> str:
        return "".join(self._logged)

    @property
    def lives(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Begin, and return when it works."""
        await self.begin()
        await until(lambda: self._working or not self.lives, SECONDS)
        assert self._working, self.log

    async def begin(self) -> None:
        self._working = False
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *("worker", "--roles", self.roles, *self.arguments),
            stderr=asyncio.subprocess.PIPE,
            env=environment(HEALTH_PORT="0", METRICS_PORT="0", **self.variables),
            limit=2**20,
        )
        self._reading = asyncio.create_task(self._read(self._process))

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        async for line in process.stderr:
            text = line.decode()
            self._logged.append(text)
            if '"event":"working"' in text:
                self._working = True
        await process.wait()

    async def ended(self) -> int:
        """Its exit code, when it has ended."""
        assert self._process is not None
        assert self._reading is not None
        await asyncio.wait_for(asyncio.shield(self._reading), SECONDS)
        assert self._process.returncode is not None
        return self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    async def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        await self.ended()

    async def stop(self) -> int:
        """SIGTERM, and its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return await self.ended()

    def lines(self, event: str) -> list[Json]:
        """The log's lines of one kind."""
        found = (json.loads(line) for line in self.log.splitlines() if line.startswith("{"))
        return [line for line in found if line["event"] == event]

    async def end(self) -> None:
        """End it, whatever it takes."""
        if self.lives:
            self.code = await self.stop()
        elif self._process is not None:
            await self.ended()

    def check(self) -> None:
        """Look at how it ended, and through what it logged."""
        print(self.log)  # for whoever reads of a failed test
        assert self.code == 0
        assert canaries.found_in(self.log) == []
        for bad in ("a bug of the workflow runner", "never retrieved", *(() if self.misplaced else ('"exception"',))):
            assert bad not in self.log


@dataclass
class Topology:
    """One Temporal server, one Stigmer, and what runs there."""

    address: str
    stigmer: StigmerServer
    client: Client
    variables: dict[str, str] = field(default_factory=dict)
    workers: list[WorkerProcess] = field(default_factory=list)

    @property
    def settings(self) -> TemporalSettings:
        return TemporalSettings(self.address)

    def _environment(self, variables: dict[str, str]) -> dict[str, str]:
        return {
            "TEMPORAL_SERVICE_ADDRESS": self.address,
            "STIGMER_SERVICE_ENDPOINT": self.stigmer.listen,
            "STIGMER_SERVICE_API_KEY": KEY,
            "STIGMER_SERVICE_USE_TLS": "false",
            **HEARTBEAT,
            **self.variables,
            **variables,
        }

    async def worker(self, roles: str, *arguments: str, **variables: str) -> WorkerProcess:
        """One that works."""
        worker = WorkerProcess(roles, self._environment(variables), arguments)
        self.workers.append(worker)
        await worker.start()
        return worker

    def record(
        self,
        execution_id: str,
        *tasks: Json,
        message: str = "hello",
        token: bytes = b"",
        values: dict[str, str] | None = None,
        secrets: dict[str, str] | None = None,
        made: WorkflowSpec | None = None,
    ) -> None:
        """What Stigmer has of an execution: a workflow with a default value, an instance with an environment, the execution."""
        declared = {"ZONE": {"value": "nowhere"}} | {name: {"is_secret": True} for name in secrets or {}}
        workflow = Workflow(metadata={"id": f"wf-{execution_id}"})
        workflow.spec.CopyFrom(made or spec(*tasks, env_spec={"data": declared}))
        place = Environment(metadata={"id": f"env-{execution_id}", "slug": f"env-{execution_id}"})
        for name, value in {"ZONE": "eu", **(values or {}), **(secrets or {})}.items():
            place.spec.data[name].value = value
        instance = WorkflowInstance(metadata={"id": f"wfi-{execution_id}"}, spec={"workflow_id": f"wf-{execution_id}"})
        instance.spec.env_refs.add(slug=f"env-{execution_id}")
        execution = WorkflowExecution(metadata={"id": execution_id})
        execution.spec.workflow_instance_id = f"wfi-{execution_id}"
        execution.spec.trigger_message = message
        execution.spec.callback_token = token
        self.stigmer.resources.add(workflow, place, instance, execution)

    async def invoke(self, execution_id: str) -> WorkflowHandle[Any, WorkflowExecutionStatus]:
        """Start an execution as whoever creates them does."""
        await InvokeWorkflowCreator(self.client, self.settings).create(execution_id)
        return self.invocation(execution_id)

    def invocation(self, execution_id: str) -> WorkflowHandle[Any, WorkflowExecutionStatus]:
        return self.client.get_workflow_handle(names.invoke_id(execution_id), result_type=WorkflowExecutionStatus)

    def run(self, execution_id: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(names.run_id(execution_id))

    def told(self, execution_id: str) -> list[str]:
        """The types of the events that Stigmer has, each number once."""
        return [event.event_type for event in {e.sequence_number: e for e in self.stigmer.events(execution_id)}.values()]

    async def listens(self, execution_id: str) -> None:
        """Until the run stands at its task LISTEN, by what Stigmer was told."""
        await self.stigmer.until(lambda: "workflow_correlation_started" in self.told(execution_id), SECONDS)

    async def run_exists(self, execution_id: str) -> None:
        """Until the run has been started."""

        async def exists() -> bool:
            try:
                await self.run(execution_id).describe()
            except RPCError:
                return False
            return True

        await until(exists, SECONDS)

    async def go(self, execution_id: str) -> None:
        """What LISTEN waits for."""
        event = {"specversion": "1.0", "id": "go", "type": "signal", "source": "/tests", "data": {"n": 1}}
        await self.run(execution_id).signal(names.EVENT, event)

    def final(self, execution_id: str) -> WorkflowExecutionStatus:
        """What updateStatus brought last."""
        return self.stigmer.states_of(execution_id)[-1]


@contextlib.asynccontextmanager
async def topology(address: str) -> AsyncIterator[Topology]:
    """With no worker yet; those that a test starts end with it."""
    async with StigmerServer(api_key=KEY) as stigmer:
        found = Topology(address, stigmer, await connect(TemporalSettings(address)))
        try:
            yield found
        finally:
            for worker in reversed(found.workers):
                await worker.end()
            for worker in found.workers:
                worker.check()


async def result(handle: WorkflowHandle[Any, WorkflowExecutionStatus]) -> WorkflowExecutionStatus:
    """The final status, in a bounded time."""
    async with asyncio.timeout(SECONDS):
        return await handle.result()
