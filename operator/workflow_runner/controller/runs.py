"""The live runs in memory, and the way their events go on to Stigmer.

The sink asks for a run and feeds it, the reconciler begins and ends runs. Bounded by the number of
executions that have not ended, or whose end Stigmer has not heard of.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import io_pb2
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2
from workflow_runner.reconcile.live import ControlAnswer, Desired, End, LiveRun
from workflow_runner.reconcile.observed import Delivery
from workflow_runner.reconcile.remote import output_json
from workflow_runner.stigmer.client import Destination
from workflow_runner.stigmer.relay import Relay
from workflow_runner.stigmer.status import status_of

Json = dict[str, Any]

_ANSWERS = {"accepted": "Accepted", "applied": "Applied", "refused": "Refused"}
_COUNTED = {
    "task_started": "started",
    "task_completed": "completed",
    "task_failed": "failed",
    "task_skipped": "skipped",
    "task_retried": "retried",
}


class Runs:
    """LiveRuns by execution uid. `changed(uid)` is called when a run needs its reconcile, `published(uid)`
    when its pod is to be told something;
    `ended(uid)` says whether the execution's status is a terminal one, `newest_pod(uid)` which pod the watches saw last."""

    def __init__(
        self,
        relay: Relay,
        changed: Callable[[str], None],
        ended: Callable[[str], bool],
        newest_pod: Callable[[str], Json | None] = lambda uid: None,
    ) -> None:
        self._runs: dict[str, LiveRun] = {}
        self._relay = relay
        self._relayed: set[str] = set()
        self._changed = changed
        self.has_ended = ended
        self._newest_pod = newest_pod
        self.published: Callable[[str], None] = lambda uid: None
        self.told: Callable[[str, io_pb2.WorkflowProgressEvent], None] = lambda uid, event: None
        """Told of every event, as it is numbered for the world outside; repeats among them."""

    def get(self, uid: str) -> LiveRun | None:
        """The run of an execution, once the reconciler knows it."""
        return self._runs.get(uid)

    def begin(self, uid: str, run: LiveRun, destination: Destination | None, *, delivered: int) -> None:
        """Keeps a run; with a destination its events go there. What is owed from before an operator's restart
        goes first where the run has ended; a live pod tells it again itself, and more."""
        self._runs[uid] = run
        if destination is not None:
            self._relay.track(uid, destination, delivered, lambda: status_of(run))
            self._relayed.add(uid)
            if run.end is not None:
                self._offer_owed(uid, run)
        self.published(uid)

    def redirect(self, uid: str, destination: Destination) -> None:
        """The callbacks of a run go there from now on; what waits goes along."""
        if uid in self._relayed:
            self._relay.track(uid, destination, 0)

    def take(self, uid: str, pod: str, created: str, batch: sink_pb2.ProgressBatch) -> int:
        """Takes in what a pod sent, made at `created`; the highest number known of this run now, 0 for a pod that has
        been replaced. Raises KeyError for an unknown run."""
        run = self._runs[uid]
        continued = batch.HasField("run") and batch.run.continued
        if (pod != run.pod_name and self._is_replaced(uid, created)) or not run.pod_is(pod, continued=continued):
            return 0
        for event in batch.events:
            taken = run.ingest(event, batch.output_json, too_large=batch.output_too_large)
            if taken or event.sequence_number <= run.source_sequence:
                self._offer(uid, run.outward(event))
        if batch.HasField("counts"):
            counts = batch.counts
            run.counts = {
                "started": counts.started,
                "completed": counts.completed,
                "failed": counts.failed,
                "skipped": counts.skipped,
                "retried": counts.retried,
            }
        if batch.HasField("control"):
            control = batch.control
            result = _ANSWERS.get(control.result, "Refused")
            run.answer = ControlAnswer(control.generation, result, control.reason[:1024], control.suspendable)
        self._changed(uid)
        return run.source_sequence

    def take_remote(self, uid: str, attempt: int, event: io_pb2.WorkflowProgressEvent) -> None:
        """Takes in an event that came from a runner's endpoint; one of another attempt, or of a run that is not known any
        more, is left out. What the runner leaves open (number, time) is what it is here and now."""
        run = self._runs.get(uid)
        if run is None or run.attempt != attempt:
            return
        event.sequence_number = event.sequence_number or run.source_sequence + 1
        if event.timestamp_ms <= 0:
            event.timestamp_ms = int(datetime.now(UTC).timestamp() * 1000)
        if not run.ingest(event, output_json(event)):
            return
        count = _COUNTED.get(event.event_type)
        if count is not None:
            run.counts = {**dict.fromkeys(_COUNTED.values(), 0), **run.counts}
            run.counts[count] += 1
        self._offer(uid, run.outward(event))
        self._changed(uid)

    def answer(self, uid: str, attempt: int, answer: ControlAnswer) -> None:
        """What a runner at an endpoint said of a desired state."""
        run = self._runs.get(uid)
        if run is not None and run.attempt == attempt:
            run.answer, run.urgent = answer, True
            self._changed(uid)

    def start_over(self, uid: str) -> None:
        """The run begins anew, with the next attempt."""
        self._runs[uid].start_over()

    def _is_replaced(self, uid: str, created: str) -> bool:
        """Whether the watches have shown a later pod of the run: after an operator's restart nothing else tells."""
        newest = self._newest_pod(uid)
        return newest is not None and created < newest["metadata"].get("creationTimestamp", "")

    def conclude(self, uid: str, end: End) -> None:
        """The operator itself found the run ended."""
        run = self._runs[uid]
        for event in run.untold_beginning(end):
            self._offer(uid, run.outward(event))
        self._offer_owed(uid, run)
        self._offer(uid, run.outward(run.conclude(end)))

    def _offer_owed(self, uid: str, run: LiveRun) -> None:
        """The relay knows what it has already."""
        for event in run.owed_events():
            self._offer(uid, event)

    def desire(self, uid: str, desired: Desired) -> None:
        """What the run shall do from now on."""
        run = self._runs[uid]
        if run.desired != desired:
            run.desired = desired
            self.published(uid)

    def recorded(self, uid: str, attempt: int, sequence: int) -> None:
        """Status contains this attempt of the run up to this source number."""
        run = self._runs.get(uid)
        if run is not None and run.attempt == attempt and sequence > run.recorded_sequence:
            run.recorded_sequence = sequence
            self.published(uid)

    def delivery(self, uid: str) -> Delivery | None:
        """How the callbacks of a run stand; None where there is no Stigmer."""
        if uid not in self._relayed:
            return None
        state = self._relay.delivery(uid)
        run = self._runs[uid]
        run.forget_delivered(state.delivered_sequence)
        return Delivery(state.delivered_sequence, state.last_error, state.pending)

    def watermarks(self, uid: str) -> tuple[int, int]:
        """(recorded, delivered) in the pod's own numbers."""
        run = self._runs[uid]
        if uid not in self._relayed:
            return run.recorded_sequence, run.recorded_sequence
        delivered = max(0, self._relay.delivery(uid).delivered_sequence - run.base_sequence)
        return run.recorded_sequence, min(run.recorded_sequence, delivered)

    def forget(self, uid: str) -> None:
        """The run needs no memory any more."""
        if self._runs.pop(uid, None) is not None and uid in self._relayed:
            self._relayed.discard(uid)
            self._relay.forget(uid)
        self.published(uid)

    def _offer(self, uid: str, event: io_pb2.WorkflowProgressEvent) -> None:
        self.told(uid, event)
        if uid in self._relayed:
            self._relay.offer(uid, event)

    def __len__(self) -> int:
        return len(self._runs)
