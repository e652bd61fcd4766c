"""`workflow-runner execute`: what a launched pod runs. Nobody types it.

Unpacks its input, dials the operator's sink, runs the document and tells how it ended twice: by the last
event, and by termination message and exit code (docs/sink-protocol.md). With a folder for snapshots it goes on where
an earlier pod of the run stopped, and leaves behind what another one needs to do the same.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from workflow_runner import telemetry
from workflow_runner.cli.addresses import address_rules
from workflow_runner.cli.documents import read_secrets_folder
from workflow_runner.cli.eventing import Eventing, EventOptions, event_options, open_events
from workflow_runner.cli.host import host_options
from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.problems import RUNTIME, Problem
from workflow_runner.errors import InvalidInput, PermissionDenied, Temporary, Unauthenticated, WorkflowRunnerError
from workflow_runner.hosts.buffer import NOTHING_KEPT, Kept
from workflow_runner.hosts.events import fits
from workflow_runner.hosts.local import LocalRun, Source
from workflow_runner.hosts.reporter import DesiredState, Reporter
from workflow_runner.hosts.story import log_event
from workflow_runner.interpreter.events import ENDS, Event, EventType
from workflow_runner.interpreter.frames import WorkflowFrame
from workflow_runner.interpreter.outcome import Cancelled, Completed, Faulted
from workflow_runner.launchers.payload import Payload, unpack
from workflow_runner.reconcile.bounds import bounded_error
from workflow_runner.settings import PodSettings, pod_settings

if TYPE_CHECKING:  # the pod of a run that keeps none does not wait for them
    from workflow_runner.calls.addresses import AddressRules
    from workflow_runner.cli.temporal import Temporal
    from workflow_runner.hosts.checkpoints import Checkpoints
    from workflow_runner.hosts.elsewhere import HostOptions
    from workflow_runner.hosts.snapshots import Snapshot, Snapshots
    from workflow_runner.hosts.temporal.run import TemporalRun

Json = dict[str, Any]
_T = TypeVar("_T")

COMPLETED, FAULTED, INVALID, CANCELLED, TRY_LATER, INTERRUPTED = 0, 1, 2, 3, 75, 143
FIRST_ANSWER_SECONDS = 10.0
LAST_ACKNOWLEDGEMENT_SECONDS = 30.0
PROMPT_ACKNOWLEDGEMENT_SECONDS = 0.25
"""So long the end may wait for the operator before it is written down, too."""
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
    except InvalidInput as error:
        return _refused(error)
    telemetry.configure_logging(settings.log_level, json=True)
    try:
        payload = unpack(input_file.read_text(), digest)
        secrets = {} if settings.secrets_folder is None else read_secrets_folder(settings.secrets_folder)
        telemetry.conceal_all(secrets)
        addresses = address_rules(settings.allow_addresses, settings.deny_addresses, {})
        options = host_options()
        events = event_options()
        snapshots = _snapshots(settings, digest)
        snapshot = None if snapshots is None else snapshots.read()
    except InvalidInput as error:
        _leave_message(settings, {"phase": "Failed", "error": _problem(error)})
        return _refused(error)
    return asyncio.run(_run(settings, payload, secrets, snapshots, snapshot, addresses, options, events))


def _snapshots(settings: PodSettings, digest: str) -> Snapshots | None:
    if settings.snapshot_folder is None:
        return None
    from workflow_runner.hosts.snapshots import Snapshots

    # A folder of our own: the root of a volume belongs to others, and may be open to them.
    folder = settings.snapshot_folder / "snapshots"
    return Snapshots(folder, digest=digest, execution_id=settings.execution_id, run_id=settings.run_id)


def _refused(error: InvalidInput) -> int:
    print(f"workflow-runner: {error.code}: {error}", file=sys.stderr)
    return INVALID


def _problem(error: InvalidInput) -> Json:
    return Problem.standard(RUNTIME, str(error)).to_dict() | {"code": error.code}


def main(arguments: Sequence[str]) -> int:
    """`execute` without the command line's machinery; its arguments are written by a program."""
    parser = argparse.ArgumentParser(prog="workflow-runner execute", description=execute.__doc__)
    parser.add_argument("--input-file", type=Path, required=True)
    parser.add_argument("--digest", required=True)
    options = parser.parse_args(list(arguments))
    return execute(input_file=options.input_file, digest=options.digest)


async def _run(
    settings: PodSettings,
    payload: Payload,
    secrets: Json,
    snapshots: Snapshots | None,
    snapshot: Snapshot | None,
    addresses: AddressRules | None,
    options: HostOptions,
    events: EventOptions,
) -> int:
    if settings.stigmer_values or settings.stigmer_secrets:
        try:
            secrets = {**await _stigmer_environment(settings), **secrets}
        except InvalidInput as error:
            _leave_message(settings, {"phase": "Failed", "error": _problem(error)})
            return _refused(error)
    async with open_events(events) as eventing, contextlib.AsyncExitStack() as stack:
        temporal = None
        if settings.temporal is not None:
            from workflow_runner.cli.temporal import open_temporal  # an embedded run's pod does not wait for it

            opened = open_temporal(settings.temporal, settings.execution_id, eventing.bus, addresses, options)
            try:
                temporal = await _unless_told_to_stop(stack.enter_async_context(opened))
            except WorkflowRunnerError as error:
                _leave_message(settings, _not_begun(error))
                return TRY_LATER
            if temporal is None:
                return INTERRUPTED
        pod = _Pod(settings, payload, secrets, snapshots, snapshot, addresses, options, eventing, temporal)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, pod.stop)
        return await pod.run()


async def _unless_told_to_stop(work: Coroutine[Any, Any, _T]) -> _T | None:
    """What `work` gives; None when the kubelet ends the pod before that."""
    task, loop = asyncio.create_task(work), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return None


async def _stigmer_environment(settings: PodSettings) -> Json:
    """What a workflow that comes from Stigmer finds in $secrets: all of its environment there. Only the secret values are
    asked for. Raises InvalidInput."""
    if not settings.stigmer_secrets:
        return dict(settings.stigmer_values)
    from workflow_runner.hosts.stigmer_secrets import secrets_of

    return {**settings.stigmer_values, **await secrets_of(settings)}


class _Pod:
    """One run and its reporter, joined: desired state steers the run, its events go to the reporter."""

    def __init__(
        self,
        settings: PodSettings,
        payload: Payload,
        secrets: Json,
        snapshots: Snapshots | None,
        snapshot: Snapshot | None,
        addresses: AddressRules | None,
        options: HostOptions,
        eventing: Eventing,
        temporal: Temporal | None,
    ) -> None:
        self._settings = settings
        self._temporal = temporal
        self._snapshot = snapshot
        self._desired = DesiredState("Run", "", 0)
        self._interrupted = False
        self._suspendable = False
        """The state of the pause that holds is on disk."""
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
            goes_on_from=_kept(snapshot, temporal),
            bus=eventing.bus,
        )
        self._lifecycle = eventing.reporter(lambda: self._local.document, settings.execution_id)
        self._local: LocalRun | TemporalRun
        self._checkpoints: Checkpoints | None = None
        if temporal is None:
            self._local = local = self._local_run(payload, secrets, snapshots, addresses, options, eventing)
            self._checkpoints = None if snapshots is None else self._keeping(snapshots, local)
        else:
            self._local = self._remote = temporal.run(
                Source(payload.document, payload.file),
                payload.input,
                run_id=settings.run_id,
                secrets=secrets,
                report=self._report_numbered,
                timeout=settings.timeout,
            )
            self._remote.caught_up = self._answer

    def _local_run(
        self,
        payload: Payload,
        secrets: Json,
        snapshots: Snapshots | None,
        addresses: AddressRules | None,
        options: HostOptions,
        eventing: Eventing,
    ) -> LocalRun:
        settings, snapshot = self._settings, self._snapshot
        return LocalRun(
            Source(payload.document, payload.file),
            payload.input,
            execution_id=settings.execution_id,
            run_id=settings.run_id,
            secrets=secrets,
            report=self._report,
            start_from=None if snapshot is None else snapshot.frame,
            timeout=settings.timeout,
            addresses=addresses,
            options=options,
            bus=eventing.bus,
            checkpointed=None if snapshots is None else self._checkpointed,
            before_effect=None if snapshots is None else self._before_effect,
        )

    def _keeping(self, snapshots: Snapshots, local: LocalRun) -> Checkpoints:
        from workflow_runner.hosts.checkpoints import Checkpoints

        return Checkpoints(snapshots, lambda: local.frame, lambda: self._reporter.kept)

    async def run(self) -> int:
        """The exit code."""
        await self._reporter.start()
        try:
            answer = await self._unless_stopped(self._reporter.first_desired_state(FIRST_ANSWER_SECONDS))
            if answer is None and self._snapshot is not None and self._snapshot.frame.paused_since is not None:
                # Nobody said that it may go on: what was asked of the former pod holds until somebody does.
                self._steer(DesiredState("Pause", "the run was paused, and the operator has not answered yet", 0))
            if self._temporal is not None:
                self._remote.skip_to(self._reporter.delivered_sequence)
            code, message = await self._outcome()
            if code == TRY_LATER:
                _leave_message(self._settings, message)
                return code
            if self._interrupted and code == CANCELLED:
                if self._checkpoints is not None:
                    await self._checkpoints.save()
                return INTERRUPTED
            message |= {"lastSequence": self._reporter.last_sequence}
            _leave_message(self._settings, message)
            await self._told(code, message)
            return code
        finally:
            if self._lifecycle is not None:
                await self._lifecycle.finish()
            await self._reporter.close()

    def stop(self) -> None:
        """The kubelet ends the pod. Where nobody asked for a cancel that is an interruption (a drained node,
        a deleted pod, a suspended Job): the run has not ended, and its state as of now is what another pod goes on
        from. Without snapshots the Job controller decides what becomes of it."""
        self._stopped.set()
        self._interrupted = self._desired.state != "Cancel"
        if self._interrupted and self._checkpoints is not None:
            self._checkpoints.freeze()
        self._local.cancel("the pod was told to stop", goes_on=self._interrupted)

    async def _told(self, code: int, message: Json) -> None:
        """Waits until the operator has the end, for a bounded time. Until then the end is part of the run's state:
        another pod only tells it again. After that there is no state to be kept."""
        known = await self._acknowledged(PROMPT_ACKNOWLEDGEMENT_SECONDS)
        if not known and self._checkpoints is not None:
            from workflow_runner.hosts.snapshots import Ended

            self._checkpoints.ended(Ended(code, message))
            await self._checkpoints.save()
        known = known or await self._acknowledged(LAST_ACKNOWLEDGEMENT_SECONDS)
        if known and self._checkpoints is not None:
            await self._checkpoints.remove()

    async def _acknowledged(self, seconds: float) -> bool:
        """Whether the operator has everything, within so many seconds and not against the kubelet's wish: the
        termination message tells the end, too."""
        return bool(await self._unless_stopped(self._reporter.finish(seconds)))

    async def _unless_stopped(self, work: Coroutine[Any, Any, _T]) -> _T | None:
        task, stopped = asyncio.create_task(work), asyncio.create_task(self._stopped.wait())
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        result = task.result() if task.done() else None
        for either in (task, stopped):
            either.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)
        return result

    async def _outcome(self) -> tuple[int, Json]:
        if self._snapshot is not None:
            if (ended := self._snapshot.ended) is not None:
                return ended.exit_code, ended.message
            self._reporter.skip_used_numbers()
            if self._checkpoints is not None:
                # Before a number is used: yet another pod must not use it again.
                await self._checkpoints.save()
        try:
            outcome = await self._local.run()
        except InvalidInput as error:
            return INVALID, {"phase": "Failed", "error": _problem(error)}
        except DocumentErrors as error:
            text = "; ".join(str(diagnostic) for diagnostic in error.diagnostics[:5])
            return INVALID, {"phase": "Failed", "message": text[:1000]}
        except (Temporary, Unauthenticated, PermissionDenied) as error:
            return TRY_LATER, _not_begun(error)
        match outcome:
            case Completed(output):
                small = fits(output, TERMINATION_MESSAGE_BYTES)
                shown = small and not telemetry.conceals(json.dumps(output, ensure_ascii=False))
                return COMPLETED, {"phase": "Completed"} | ({"output": output} if shown else {})
            case Faulted(problem):
                return FAULTED, {"phase": "Failed", "error": _redacted(problem)}
            case Cancelled(reason):
                return CANCELLED, {"phase": "Cancelled", "message": reason[:1000]}

    async def _checkpointed(self, frame: WorkflowFrame) -> None:
        assert self._checkpoints is not None  # noqa: S101 - else it is not called
        if frame.paused_since is not None:
            self._suspendable = await self._checkpoints.save()
        elif self._suspendable:
            # The pause is over, and what is on disk says that it lasts.
            self._suspendable = False
            await self._checkpoints.save()
        else:
            await self._checkpoints.passed()

    async def _before_effect(self) -> None:
        assert self._checkpoints is not None  # noqa: S101 - else it is not called
        await self._checkpoints.save()

    def _report_numbered(self, number: int, event: Event) -> None:
        """Events of a run in Temporal have the numbers that it gave them."""
        self._report(event, number)

    def _report(self, event: Event, number: int = 0) -> None:
        if self._interrupted and event.type is EventType.WORKFLOW_CANCELLED:
            return
        log_event(event)
        self._reporter.report(event, number)
        if self._lifecycle is not None:
            self._lifecycle.report(event)
        if event.type in ENDS and self._checkpoints is not None:
            self._checkpoints.told_its_end()
        elif event.type is EventType.WORKFLOW_PAUSED:
            self._answer()
        elif event.type is EventType.WORKFLOW_RESUMED:
            self._suspendable = False

    def _steer(self, desired: DesiredState) -> None:
        self._desired = desired
        if desired.state == "Cancel":
            self._local.cancel(desired.reason)
        elif desired.state == "Pause":
            self._local.pause(desired.reason)
        elif desired.state == "Run":
            self._local.resume()
        self._answer()

    def _answer(self) -> None:
        """Tells the operator how the newest desired state stands."""
        desired = self._desired
        if desired.state == "Unknown":
            self._reporter.control_result(desired.generation, "refused", "this runner does not know that state")
        elif desired.state == "Pause" and self._local.paused:
            suspendable = self._suspendable or self._temporal is not None
            self._reporter.control_result(desired.generation, "applied", suspendable=suspendable)
        else:
            self._reporter.control_result(desired.generation, "accepted")


def _kept(snapshot: Snapshot | None, temporal: Temporal | None) -> Kept | None:
    """What an earlier pod of the run left; of a run in Temporal nothing but the run, which any pod goes on with."""
    if snapshot is not None:
        return snapshot.kept
    return None if temporal is None else NOTHING_KEPT


def _not_begun(error: WorkflowRunnerError) -> Json:
    """This pod has done nothing to the run: the operator says why, and tries again with another one."""
    print(f"workflow-runner: {error.code}: {error}", file=sys.stderr)
    return {"code": error.code, "message": telemetry.redact(str(error))[:1000]}


def _redacted(problem: Problem) -> Json:
    return {name: telemetry.redact(value) if isinstance(value, str) else value for name, value in problem.to_dict().items()}


def _leave_message(settings: PodSettings, message: Json) -> None:
    message = dict(message)
    text = json.dumps(message, separators=(",", ":"))
    if len(text.encode()) > TERMINATION_MESSAGE_BYTES:
        message.pop("output", None)
        if "error" in message:
            message["error"] = bounded_error(message["error"], detail=300) | {
                "instance": message["error"].get("instance", "")[:1000]
            }
        text = json.dumps(message, separators=(",", ":"))
    try:
        settings.termination_log.write_text(text)
    except OSError as error:
        print(f"workflow-runner: the termination message could not be written: {error}", file=sys.stderr)
