"""The hosts that scenarios run on: this process, the command line, and one where time is virtual.

A host more is a class more here, in HOSTS (case.Host).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import re
import signal
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from temporalio.client import Client
from tests.conformance.case import GREETER_PORT, Answer, Arrival, Case, Finding, Host, Observed, with_header
from tests.conformance.server import EMITTED, LIFECYCLE, Service, serve
from tests.servers.greeter import PROTO, Greeter, greeter_server
from tests.servers.temporal import SHORT_HISTORIES, shared_temporal_server
from tests.servers.tls import Authority
from tests.unit.interpreter import virtual
from tests.until import until

from workflow_runner.dsl.diagnostics import Diagnostic, DocumentErrors
from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.event_bus import EventBus
from workflow_runner.hosts.event_sink import EventSink
from workflow_runner.hosts.library import Library
from workflow_runner.hosts.lifecycle import LifecycleReporter
from workflow_runner.hosts.local import LocalRun
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.run import TemporalRun
from workflow_runner.hosts.temporal.worker import RunWorker
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted, Outcome
from workflow_runner.settings.temporal import PayloadSettings, TemporalSettings

FILE = "workflow.yaml"
SECONDS = 30.0
"""No scenario runs this long."""
_PROGRAM = Path(sys.executable).parent / "workflow-runner"


class LocalHost:
    """The local host in this process, with sockets on loopback."""

    name = "local"
    what = "the local host in one process"

    def runs(self, case: Case) -> bool:
        """All but what looks at time, which is real here, and schedules, which are the command line's."""
        return "time" not in case.wants and not case.scheduled

    async def observe(self, case: Case) -> Observed:
        """Run or validate it."""
        async with _world(case) as world:
            try:
                workflow, warnings = await asyncio.to_thread(read_document, world.text, FILE)
            except DocumentErrors as error:
                return Observed("invalid", findings=_findings(error.diagnostics))
            if case.validated:
                return Observed("valid", findings=_findings(warnings))
            async with asyncio.timeout(SECONDS):
                return await self._run(case, workflow, world)

    async def _run(self, case: Case, workflow: Workflow, world: _World) -> Observed:
        events: list[Event] = []
        emitted = EventSink(world.service.url + EMITTED)
        lifecycle = EventSink(world.service.url + LIFECYCLE)
        bus = EventBus(emitted.send if "emitted" in case.wants else None)
        reporter = LifecycleReporter(lifecycle, lambda: workflow.document, "e-1")
        steering = _Steering(case)

        def report(event: Event) -> None:
            events.append(event)
            steering.hear(event, run)
            if "lifecycle" in case.wants:
                reporter.report(event)

        run = LocalRun(
            workflow,
            world.input,
            execution_id="e-1",
            run_id="r-1",
            secrets=case.secrets,
            report=report,
            bus=bus,
            options=HostOptions(
                library=Library([world.folder]),
                default_catalog=world.service.url + case.default_catalog if case.default_catalog else None,
            ),
        )
        feeding = asyncio.create_task(_feed(case, bus, events))
        try:
            outcome = await run.run()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await reporter.finish()
            await emitted.close()
            await lifecycle.close()
        observed = _observed(outcome, events)
        world.add_to(observed)
        return observed


async def _feed(case: Case, bus: EventBus, events: list[Event]) -> None:
    for arrival in case.arrivals:

        def ready(arrival: Arrival = arrival) -> bool:
            return bool(bus.subscriptions) and _has_started(arrival, events)

        await until(ready, SECONDS)
        bus.offer(dict(arrival.event))


def _has_started(arrival: Arrival, events: list[Event]) -> bool:
    return not arrival.after or any(
        event.type is EventType.TASK_STARTED and event.task_name == arrival.after for event in events
    )


class _Steering:
    """Pauses and resumes, or cancels, at the very moment at which the scenario's task has started."""

    def __init__(self, case: Case) -> None:
        self._steering = case.steering

    def hear(self, event: Event, run: LocalRun | TemporalRun) -> None:
        """Every event of the run."""
        if self._steering is not None and event.type is EventType.TASK_STARTED and event.task_name == self._steering[1]:
            (run.cancel if self._steering[0] == "cancel" else run.pause)("the scenario says so")
        elif event.type is EventType.WORKFLOW_PAUSED:
            asyncio.get_running_loop().call_soon(run.resume)


class TemporalHost:
    """The Temporal host, with a worker in this process and a real server that has runs continued as new all the time."""

    name = "temporal"
    what = "the Temporal host with a real server and a worker in one process"

    def runs(self, case: Case) -> bool:
        """All that is run but what looks at time."""
        return "time" not in case.wants and not case.scheduled and not case.validated

    async def observe(self, case: Case) -> Observed:
        """Run it."""
        address = await shared_temporal_server(*SHORT_HISTORIES)
        async with _world(case) as world:
            try:
                workflow, _ = await asyncio.to_thread(read_document, world.text, FILE)
            except DocumentErrors as error:
                return Observed("invalid", findings=_findings(error.diagnostics))
            keys = world.folder / "keys"
            keys.mkdir()
            (keys / "first").write_text(base64.b64encode(os.urandom(32)).decode())
            client = await connect(TemporalSettings(address, payloads=PayloadSettings(keys)))
            async with asyncio.timeout(SECONDS):
                return await self._run(case, workflow, world, client)

    async def _run(self, case: Case, workflow: Workflow, world: _World, client: Client) -> Observed:
        events: list[Event] = []
        emitted = EventSink(world.service.url + EMITTED)
        lifecycle = EventSink(world.service.url + LIFECYCLE)
        reporter = LifecycleReporter(lifecycle, lambda: workflow.document, "e-1")
        steering = _Steering(case)
        bus = EventBus()
        execution_id = str(uuid.uuid4())

        def report(_: int, event: Event) -> None:
            events.append(event)
            steering.hear(event, run)
            if "lifecycle" in case.wants:
                reporter.report(event)

        run = TemporalRun(
            client,
            workflow,
            world.input,
            task_queue=execution_id,
            execution_id=execution_id,
            run_id="r-1",
            secrets=case.secrets,
            report=report,
            bus=bus,
            encrypted=True,
        )
        worker = RunWorker(
            client,
            execution_id,
            options=HostOptions(
                library=Library([world.folder]),
                default_catalog=world.service.url + case.default_catalog if case.default_catalog else None,
            ),
            publish=emitted.send if "emitted" in case.wants else None,
        )
        feeding = asyncio.create_task(_feed(case, bus, events))
        try:
            async with worker:
                outcome = await run.run()
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await reporter.finish()
            await emitted.close()
            await lifecycle.close()
        observed = _observed(outcome, events)
        world.add_to(observed)
        return observed


class VirtualHost:
    """The interpreter alone: no world, and time that passes at once."""

    name = "virtual"
    what = "the interpreter with virtual time and without connections"

    def runs(self, case: Case) -> bool:
        """What needs no connection and is not steered."""
        return not (case.validated or case.steering or case.scheduled or "lifecycle" in case.wants or case.does_io)

    async def observe(self, case: Case) -> Observed:
        """Run it."""
        try:
            workflow, _ = await asyncio.to_thread(read_document, case.text, FILE)
        except DocumentErrors as error:
            return Observed("invalid", findings=_findings(error.diagnostics))
        arrivals = [(float(number), dict(arrival.event)) for number, arrival in enumerate(case.arrivals, 1)]
        story = await asyncio.to_thread(virtual.run, workflow, case.input, secrets=case.secrets, arrivals=arrivals)
        observed = _observed(story.outcome, story.events)
        observed.emitted = [call.arguments["event"] for call in story.calls if call.protocol == "emit"]
        observed.seconds, observed.sleeps = story.elapsed, story.sleeps
        return observed


class CommandHost:
    """The installed program, as a process."""

    name = "command"
    what = "`workflow-runner run` and `validate` as processes"

    def runs(self, case: Case) -> bool:
        """What is tagged for it: a process takes its time."""
        return case.command and "time" not in case.wants

    async def observe(self, case: Case) -> Observed:
        """Run or validate it."""
        async with _world(case) as world:
            if case.validated:
                _, out, _ = await _ended(await _start("validate", world.file, "--format", "json"))
                file = json.loads(out)["files"][0]
                findings = [Finding(one["severity"], one["code"], one["line"], one["column"]) for one in file["diagnostics"]]
                return Observed("valid" if file["valid"] else "invalid", findings=findings)
            return await self._run(case, world)

    async def _run(self, case: Case, world: _World) -> Observed:
        told = world.folder / "events.jsonl"
        arguments: list[str | Path] = ["run", world.file, "--events", told]
        arguments += ["--input", json.dumps(world.input)]
        if "emitted" in case.wants:
            arguments += ["--event-sink", world.service.url + EMITTED]
        if "lifecycle" in case.wants:
            arguments += ["--lifecycle-sink", world.service.url + LIFECYCLE]
        if case.scheduled:
            arguments += ["--scheduled"]
        if case.arrivals:
            arguments += ["--listen", "127.0.0.1:0"]
        for number, (name, value) in enumerate(case.secrets.items()):
            file = world.folder / f"secret-{number}.txt"
            file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
            arguments += ["--secret", f"{name}=@{file}"]
        program = await _start(*arguments)
        if case.arrivals:
            await _post(case, program, told)
        if case.scheduled:
            return await _scheduled(case, program)
        if case.steering is not None:
            await until(lambda: ("started", case.steering[1]) in _tasks(told) if case.steering else True, SECONDS)
            program.send_signal(signal.SIGINT)
        code, out, err = await _ended(program)
        if code == 2:
            found = re.findall(r"^\S+?:(\d+):(\d+): ([a-z.-]+): (warning: )?", err, re.MULTILINE)
            return Observed(
                "invalid",
                findings=[Finding("warning" if mild else "error", name, int(row), int(at)) for row, at, name, mild in found],
            )
        assert code in (0, 1, 3), (code, err)
        observed = Observed({0: "completed", 1: "faulted", 3: "cancelled"}[code], tasks=_tasks(told))  # type: ignore[arg-type]
        if code == 0:
            observed.output = json.loads(out)
        elif code == 1:
            observed.error = json.loads(err.splitlines()[-1])
        world.add_to(observed)
        return observed


async def _scheduled(case: Case, program: asyncio.subprocess.Process) -> Observed:
    assert program.stdout is not None
    outputs: list[Json] = []
    while len(outputs) < case.scheduled:
        line = await asyncio.wait_for(program.stdout.readline(), SECONDS)
        assert line, "the program ended before its schedule had run so often"
        outputs.append(json.loads(line))
    program.send_signal(signal.SIGINT)
    code, _, err = await _ended(program)
    assert code == 3, (code, err)
    return Observed("completed", output=outputs)


async def _start(*arguments: str | Path) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(_PROGRAM, *arguments, stdout=pipe, stderr=pipe)


async def _ended(program: asyncio.subprocess.Process) -> tuple[int, str, str]:
    try:
        async with asyncio.timeout(SECONDS):
            out, err = await program.communicate()
    except TimeoutError:
        program.kill()
        await program.wait()
        raise
    assert program.returncode is not None
    return program.returncode, out.decode(), err.decode()


async def _post(case: Case, program: asyncio.subprocess.Process, told: Path) -> None:
    """Send the events, each when the run listens and its task has started; for a schedule as soon as it takes them."""
    assert program.stderr is not None
    found = None
    while found is None:
        line = await asyncio.wait_for(program.stderr.readline(), SECONDS)
        assert line, "the program ended before it took events"
        found = re.search(r"takes CloudEvents at (\S+)", line.decode())
    async with aiohttp.ClientSession() as session:
        for arrival in case.arrivals:

            def ready(after: str = arrival.after) -> bool:
                lines = _told(told)
                listens = any(line["eventType"] == EventType.CORRELATION_STARTED for line in lines)
                return bool(case.scheduled) or (listens and (not after or ("started", after) in _tasks(told)))

            async def taken(event: Mapping[str, Json] = arrival.event) -> bool:
                headers = {"Content-Type": "application/cloudevents+json"}
                async with session.post(found[1], data=json.dumps(event), headers=headers) as response:
                    assert response.status < 300, await response.text()
                    return bool((await response.json())["taken"]) or not case.scheduled

            await until(ready, SECONDS)
            await until(taken, SECONDS)


def _told(file: Path) -> list[dict[str, Any]]:
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _tasks(file: Path) -> list[tuple[str, str]]:
    """The program's events in the form of Observed.tasks; they name no passes of loops."""
    told = [line for line in _told(file) if line["eventType"].startswith("task_")]
    return [(line["eventType"].removeprefix("task_"), line["taskName"]) for line in told]


@dataclass
class _World:
    """What is around a run: the document with real addresses, on disk with those beside it, and the server."""

    text: str
    input: Json
    folder: Path
    file: Path
    service: Service
    greeter: Greeter | None

    def add_to(self, observed: Observed) -> None:
        """What the server was asked and told."""
        observed.requests = self.service.requests
        observed.emitted = self.service.told[EMITTED]
        observed.lifecycle = self.service.told[LIFECYCLE]
        observed.sink_types = self.service.sink_types
        observed.url = self.service.url
        if self.greeter is not None:
            observed.authorizations = [str(metadata.get("authorization")) for metadata in self.greeter.metadata]


@contextlib.asynccontextmanager
async def _world(case: Case) -> AsyncIterator[_World]:
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port, greeter = GREETER_PORT, None
        if case.greeter:
            greeter = await stack.enter_async_context(greeter_server())
            port = str(greeter.port)
            case.answers[("GET", "/greeter.proto")] = [Answer(200, PROTO, "text/plain")]
        authority = _vouch(case, folder, stack) if case.client is not None else None
        service = await stack.enter_async_context(serve(case, folder, authority))

        def placed(text: str) -> str:
            return service.placed(text).replace(GREETER_PORT, port)

        file = folder / FILE
        file.write_text(placed(case.text), encoding="utf-8")
        for number, text in enumerate(case.beside):
            (folder / f"beside-{number}.yaml").write_text(placed(with_header(text)), encoding="utf-8")
        given = json.loads(placed(json.dumps(case.input)))
        case.secrets = json.loads(placed(json.dumps(case.secrets)))
        yield _World(file.read_text(encoding="utf-8"), given, folder, file, service, greeter)


def _vouch(case: Case, folder: Path, stack: contextlib.AsyncExitStack) -> Authority:
    """An authority that this process, and those that it starts, trust; the client's certificate is put into the secret."""
    assert case.client is not None
    authority, (client, secret) = Authority(), case.client
    pair, file = authority.client(client), folder / "ca.pem"
    file.write_text(authority.certificate)
    case.secrets[secret] = {"certificate": pair.certificate, "key": pair.key}
    before = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = str(file)
    stack.callback(lambda: os.environ.pop("SSL_CERT_FILE") if before is None else os.environ.update(SSL_CERT_FILE=before))
    return authority


def _findings(diagnostics: list[Diagnostic]) -> list[Finding]:
    return [Finding(one.severity, one.code, one.line, one.column) for one in diagnostics]


def _observed(outcome: Outcome, events: list[Event]) -> Observed:
    tasks = [
        (
            event.type.removeprefix("task_"),
            f"{event.task_name}[{event.iteration}]" if event.iteration else event.task_name,
        )
        for event in events
        if event.reference
    ]
    match outcome:
        case Completed(output):
            return Observed("completed", output=output, tasks=tasks)
        case Faulted(problem):
            return Observed("faulted", error=problem.to_dict(), tasks=tasks)
        case Cancelled():
            return Observed("cancelled", tasks=tasks)


HOSTS: tuple[Host, ...] = (LocalHost(), CommandHost(), VirtualHost(), TemporalHost())
