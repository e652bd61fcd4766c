"""`workflow-runner run`: runs a document in this process, for developing and for scripts.

Standard output gets the workflow's output as JSON and nothing else. A fault's last line on standard error is
the RFC 7807 problem as one line of JSON. Exit codes: main.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TextIO

from cyclopts import Parameter
from google.protobuf import json_format
from msgspec.structs import replace

from workflow_runner import telemetry
from workflow_runner.cli.addresses import address_rules
from workflow_runner.cli.collection import collect_seldom
from workflow_runner.cli.display import LineDisplay, display_for
from workflow_runner.cli.documents import read_file, read_input, read_secrets
from workflow_runner.cli.eventing import EventOptions, event_options, open_events
from workflow_runner.cli.host import host_options
from workflow_runner.cli.options import AllowAddress, DenyAddress
from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.model import DocumentInfo, Workflow
from workflow_runner.dsl.problems import Problem
from workflow_runner.errors import InvalidInput
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.events import to_proto
from workflow_runner.hosts.local import LocalRun, Source
from workflow_runner.interpreter.events import Event
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted, Outcome
from workflow_runner.settings import log_level, stigmer_settings
from workflow_runner.settings.temporal import TemporalSettings, required_temporal_settings

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules
    from workflow_runner.hosts.elsewhere import HostOptions
    from workflow_runner.hosts.temporal.run import TemporalRun

COMPLETED, FAULTED, INVALID, CANCELLED = 0, 1, 2, 3

_HALVES = re.compile("[\ud800-\udfff]")


def run(
    file: Annotated[Path, Parameter(help="The document, YAML or JSON; - is standard input.")],
    /,
    *,
    input: Annotated[str | None, Parameter(help="The workflow's input as JSON text.")] = None,  # noqa: A002 - the option's name
    input_file: Annotated[Path | None, Parameter(help="A file with the input as JSON; - is standard input.")] = None,
    events: Annotated[Path | None, Parameter(help="Where to write events, one a line as JSON; - is standard output.")] = None,
    secret: Annotated[
        tuple[str, ...], Parameter(help="NAME=@FILE: the file's text is the secret NAME.", negative="", show_default=False)
    ] = (),
    allow_address: AllowAddress = (),
    deny_address: DenyAddress = (),
    workflows: Annotated[
        tuple[Path, ...],
        Parameter(help="A folder with documents that `run: workflow` may name.", negative="", show_default=False),
    ] = (),
    listen: Annotated[str | None, Parameter(help="HOST:PORT where CloudEvents are taken by HTTP for the run.")] = None,
    event_sink: Annotated[str | None, Parameter(help="URL that gets, by HTTP, the events that the workflow emits.")] = None,
    lifecycle_sink: Annotated[str | None, Parameter(help="URL that gets lifecycle events of workflow and tasks.")] = None,
    engine: Annotated[
        Literal["embedded", "temporal"],
        Parameter(help="Where the run's state is: in this process, or in Temporal (TEMPORAL_SERVICE_ADDRESS)."),
    ] = "embedded",
    scheduled: Annotated[
        bool, Parameter(help="Run at each occurrence of the document's schedule, until stopped.", negative="")
    ] = False,
) -> int:
    """Run a workflow document here, with no cluster.

    Secrets also come from environment variables WORKFLOW_SECRET_NAME. Ctrl-C cancels the run.
    """
    # Also what libraries log goes through here: without secrets.
    telemetry.configure_logging(log_level(), json=False)
    source, name = read_file(file)
    value, secrets = read_input(input, input_file), read_secrets(secret)
    addresses = address_rules(allow_address, deny_address)
    host = host_options(file, workflows, stigmer=stigmer_settings(os.environ))
    options = event_options(listen, event_sink, lifecycle_sink)
    temporal = _temporal(scheduled=scheduled) if engine == "temporal" else None
    telemetry.conceal_all(secrets)
    try:
        workflow, warnings = read_document(source, name)
    except DocumentErrors as error:
        for diagnostic in error.diagnostics:
            print(diagnostic, file=sys.stderr)
        return INVALID
    for diagnostic in warnings:
        print(diagnostic, file=sys.stderr)
    display = LineDisplay(sys.stderr) if scheduled else display_for(sys.stderr, workflow.document.name)
    with _events_file(events) as stream:

        def report_for(execution_id: str) -> Callable[[Event], None]:
            tell = _teller(stream, execution_id, workflow.document.name)

            def report(event: Event) -> None:
                if event.error is not None:
                    event = replace(event, message=telemetry.redact(event.message), error=_redacted(event.error))
                tell(event)
                display.show(event)

            return report

        collect_seldom()
        try:
            if scheduled:
                given = None if input is None and input_file is None else value
                return asyncio.run(_run_scheduled(workflow, given, secrets, report_for, options, addresses, host))
            read = Source(source, name, check=False)
            outcome = asyncio.run(_run(workflow.document, read, value, secrets, report_for, options, addresses, host, temporal))
        finally:
            display.close()
    return _conclude(outcome)


async def _run(
    document: DocumentInfo,
    source: Source,
    value: Any,
    secrets: dict[str, Any],
    report_for: Callable[[str], Callable[[Event], None]],
    options: EventOptions,
    addresses: AddressRules | None,
    host: HostOptions,
    temporal: TemporalSettings | None,
) -> Outcome:
    execution_id = str(uuid.uuid4())
    async with (
        open_events(options) as eventing,
        eventing.telling(lambda: document, execution_id, report_for(execution_id)) as report,
    ):
        if temporal is not None:
            from workflow_runner.cli.temporal import open_temporal  # an embedded run does not wait for it

            async with open_temporal(temporal, execution_id, eventing.bus, addresses, host) as there:
                return await _steered(
                    there.run(source, value, run_id="", secrets=secrets, report=lambda _, event: report(event))
                )
        local = LocalRun(
            source,
            value,
            execution_id=execution_id,
            run_id="",
            secrets=secrets,
            report=report,
            addresses=addresses,
            bus=eventing.bus,
            options=host,
        )
        return await _steered(local)


async def _steered(run: LocalRun | TemporalRun) -> Outcome:
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, run.cancel, f"{signal.Signals(number).name} was received")
    return await run.run()


def _temporal(*, scheduled: bool) -> TemporalSettings:
    if scheduled:
        raise InvalidInput("--scheduled is for --engine embedded", code="input.bad-option", hint="run one of the two")
    return required_temporal_settings(os.environ)


async def _run_scheduled(
    workflow: Workflow,
    value: Any,
    secrets: dict[str, Any],
    report_for: Callable[[str], Callable[[Event], None]],
    options: EventOptions,
    addresses: AddressRules | None,
    host: HostOptions,
) -> int:
    from workflow_runner.cli.scheduled import run_scheduled  # a single run does not wait for it

    async with open_events(options) as eventing:
        work = run_scheduled(workflow, value, secrets, eventing, report_for, _conclude, addresses, host)
        task = asyncio.create_task(work, name="schedule")
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel, f"{signal.Signals(number).name} was received")
        try:
            await task
        except asyncio.CancelledError as error:
            print(f"workflow-runner: cancelled: {error}", file=sys.stderr)
            return CANCELLED
    return COMPLETED


def _conclude(outcome: Outcome) -> int:
    match outcome:
        case Completed(output):
            print(_written(output))
            return COMPLETED
        case Faulted(problem):
            print(json.dumps(_redacted(problem).to_dict(), ensure_ascii=False), file=sys.stderr)
            return FAULTED
        case Cancelled(reason):
            print(f"workflow-runner: cancelled: {reason}", file=sys.stderr)
            return CANCELLED


def _written(output: Any) -> str:
    """The output as JSON; halves of characters, which no text can have, make it ASCII."""
    text = json.dumps(output, ensure_ascii=False)
    return text if text.isascii() or not _HALVES.search(text) else json.dumps(output)


def _redacted(problem: Problem) -> Problem:
    """What a task said of its failure may quote what it was given."""
    redacted = {key: telemetry.redact(value) if isinstance(value, str) else value for key, value in problem.to_dict().items()}
    return Problem.from_dict(redacted)


def _tellable(event: Event) -> Event:
    """An event without its output, and without halves of characters."""

    def whole(value: Any) -> Any:
        return value.encode(errors="replace").decode() if isinstance(value, str) else value

    error = event.error
    if error is not None:
        error = Problem.from_dict({key: whole(value) for key, value in error.to_dict().items()})
    return replace(event, output=None, message=whole(event.message), error=error)


def _teller(stream: TextIO | None, execution_id: str, name: str) -> Callable[[Event], None]:
    """Writes events as proto3 JSON, numbered from 1."""
    sequence = 0

    def tell(event: Event) -> None:
        nonlocal sequence
        if stream is None:
            return
        sequence += 1
        told = partial(to_proto, execution_id=execution_id, workflow_name=name, attempt=1, sequence=sequence)
        try:
            message = told(event)
        except (ValueError, ArithmeticError):
            # Data that no message can hold: half of a character, or a number that is none.
            message = told(_tellable(event))
            message.ClearField("output")
        print(json_format.MessageToJson(message, indent=None), file=stream, flush=True)

    return tell


@contextlib.contextmanager
def _events_file(path: Path | None) -> Iterator[TextIO | None]:
    if path is None:
        yield None
    elif str(path) == "-":
        yield sys.stdout
    else:
        try:
            stream = path.open("w", encoding="utf-8")
        except OSError as error:
            raise InvalidInput(
                f"--events {path} cannot be written: {error.strerror or error}", code="input.unwritable"
            ) from error
        with stream:
            yield stream
