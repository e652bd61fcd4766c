"""`workflow-runner execute`: what a launched pod runs. Nobody types it.

Unpacks its input, dials the operator's sink, runs the document and tells how it ended twice: by the last
event, and by termination message and exit code (docs/sink-protocol.md).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from workflow_runner import telemetry
from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.events import fits
from workflow_runner.hosts.local import LocalRun, Source
from workflow_runner.hosts.reporter import DesiredState, Reporter
from workflow_runner.interpreter.events import Event, EventType
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted
from workflow_runner.launchers.payload import Payload, unpack
from workflow_runner.reconcile.bounds import bounded_error
from workflow_runner.settings import PodSettings, pod_settings

Json = dict[str, Any]

COMPLETED, FAULTED, INVALID, CANCELLED, INTERRUPTED = 0, 1, 2, 3, 143
FIRST_ANSWER_SECONDS = 10.0
LAST_ACKNOWLEDGEMENT_SECONDS = 30.0
TERMINATION_MESSAGE_BYTES = 4096


def execute(*, input_file: Path, digest: str) -> int:
    """Run the workflow that the operator handed to this pod.

    Parameters
    ----------
    input_file
        The packed document and input.
    digest
        What the run was pinned to; anything else is refused.
    """
    try:
        settings = pod_settings(os.environ)
        telemetry.configure_logging(settings.log_level, json=True)
        payload = unpack(input_file.read_text(), digest)
    except InvalidInput as error:
        print(f"workflow-runner: {error.code}: {error}", file=sys.stderr)
        return INVALID
    return asyncio.run(_run(settings, payload))


def main(arguments: Sequence[str]) -> int:
    """`execute` without the command line's machinery; its arguments are written by a program."""
    parser = argparse.ArgumentParser(prog="workflow-runner execute", description=execute.__doc__)
    parser.add_argument("--input-file", type=Path, required=True)
    parser.add_argument("--digest", required=True)
    options = parser.parse_args(list(arguments))
    return execute(input_file=options.input_file, digest=options.digest)


async def _run(settings: PodSettings, payload: Payload) -> int:
    pod = _Pod(settings, payload)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, pod.stop)
    return await pod.run()


class _Pod:
    """One run and its reporter, joined: desired state steers the run, its events go to the reporter."""

    def __init__(self, settings: PodSettings, payload: Payload) -> None:
        self._settings = settings
        self._desired = "Run"
        self._interrupted = False
        self._stopped = asyncio.Event()
        self._reporter = Reporter(
            settings.sink_endpoint,
            ca_pem=settings.sink_ca,
            token_file=settings.sink_token_file,
            execution_uid=settings.execution_uid,
            execution_id=settings.execution_id,
            attempt=settings.attempt,
            workflow_name=settings.workflow_name,
            on_desired_state=self._steer,
            counts=lambda: self._local.counts,
        )
        self._local: LocalRun = LocalRun(
            Source(payload.document, payload.file),
            payload.input,
            execution_id=settings.execution_id,
            run_id="",
            secrets={},
            report=self._report,
        )

    async def run(self) -> int:
        """The exit code."""
        await self._reporter.start()
        try:
            await self._reporter.first_desired_state(FIRST_ANSWER_SECONDS)
            code, message = await self._outcome()
            if self._interrupted and code == CANCELLED:
                return INTERRUPTED
            self._leave_message(message | {"lastSequence": self._reporter.last_sequence})
            await self._acknowledged()
            return code
        finally:
            await self._reporter.close()

    def stop(self) -> None:
        """The kubelet ends the pod. Where nobody asked for a cancel that is an interruption (a drained node,
        a deleted pod): the run has not ended, and the Job controller decides what becomes of it."""
        self._stopped.set()
        self._interrupted = self._desired != "Cancel"
        self._local.cancel("the pod was told to stop")

    async def _acknowledged(self) -> None:
        """Waits until the operator has the end, for a bounded time, and not against the kubelet's wish: the
        termination message tells the end, too."""
        finish = asyncio.create_task(self._reporter.finish(LAST_ACKNOWLEDGEMENT_SECONDS))
        stopped = asyncio.create_task(self._stopped.wait())
        await asyncio.wait([finish, stopped], return_when=asyncio.FIRST_COMPLETED)
        for task in (finish, stopped):
            task.cancel()
        await asyncio.gather(finish, stopped, return_exceptions=True)

    async def _outcome(self) -> tuple[int, Json]:
        try:
            outcome = await self._local.run()
        except DocumentErrors as error:
            text = "; ".join(str(diagnostic) for diagnostic in error.diagnostics[:5])
            return INVALID, {"phase": "Failed", "message": text[:1000]}
        match outcome:
            case Completed(output):
                small = fits(output, TERMINATION_MESSAGE_BYTES)
                return COMPLETED, {"phase": "Completed"} | ({"output": output} if small else {})
            case Faulted(problem):
                return FAULTED, {"phase": "Failed", "error": problem.to_dict()}
            case Cancelled(reason):
                return CANCELLED, {"phase": "Cancelled", "message": reason[:1000]}

    def _report(self, event: Event) -> None:
        if not (self._interrupted and event.type is EventType.WORKFLOW_CANCELLED):
            self._reporter.report(event)

    def _steer(self, desired: DesiredState) -> None:
        result = "accepted"
        self._desired = desired.state
        if desired.state == "Cancel":
            self._local.cancel(desired.reason)
        elif desired.state == "Pause":
            self._local.pause(desired.reason)
        elif desired.state == "Run":
            self._local.resume()
        else:
            result = "refused"
        self._reporter.control_result(
            desired.generation, result, "" if result == "accepted" else "this runner does not know that state"
        )

    def _leave_message(self, message: Json) -> None:
        text = json.dumps(message, separators=(",", ":"))
        if len(text.encode()) > TERMINATION_MESSAGE_BYTES:
            message.pop("output", None)
            if "error" in message:
                message["error"] = bounded_error(message["error"], detail=300) | {
                    "instance": message["error"].get("instance", "")[:1000]
                }
            text = json.dumps(message, separators=(",", ":"))
        try:
            self._settings.termination_log.write_text(text)
        except OSError as error:
            print(f"workflow-runner: the termination message could not be written: {error}", file=sys.stderr)
