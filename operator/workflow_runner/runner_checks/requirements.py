"""What is asked of a runner, one sentence each; docs/runner-conformance.md has the same table, and a test compares them.

Ids never change their meaning. `must` is asked of every runner; the others of runners that offer what they speak of.
"""

from __future__ import annotations

from msgspec import Struct


class Requirement(Struct, frozen=True):
    """One sentence of the interface."""

    id: str
    must: bool
    text: str


def _table(*rows: tuple[str, str, str]) -> dict[str, Requirement]:
    return {name: Requirement(name, level == "must", text) for name, level, text in rows}


REQUIREMENTS = _table(
    (
        "OFFER-1",
        "must",
        "Under one of its names there are `ExecuteAsync`, `CancelExecution` and, but for the newest name, `Execute`.",
    ),
    ("OFFER-2", "offered", "`PauseExecution` and `ResumeExecution` are both there, or both answer UNIMPLEMENTED."),
    ("OFFER-3", "offered", "Server reflection, v1 or v1alpha, names the services that there are."),
    ("OFFER-4", "offered", "`grpc.health.v1` answers SERVING for the server as a whole."),
    ("OFFER-5", "offered", "Where calls need a token, one without a token or with a wrong one is UNAUTHENTICATED."),
    ("OFFER-6", "must", "A request that cannot be read is refused, and the server goes on."),
    ("OFFER-7", "offered", "A run that was started by `ExecuteAsync` can be followed: there is `Subscribe` or `GetStatus`."),
    ("EXECUTE-1", "must", "`Execute` streams the events of a run, and ends with OK after the terminal event."),
    ("EXECUTE-2", "must", "A run that fails ends with `workflow_failed`; the call itself ends with OK."),
    ("EXECUTE-3", "must", "Without an id the runner chooses one."),
    ("EXECUTE-4", "must", "A document that cannot be run is INVALID_ARGUMENT, and no event is sent."),
    ("EXECUTE-5", "must", "Another request under a known id is ALREADY_EXISTS."),
    ("EXECUTE-6", "must", "Runs at the same time do not mix: each stream has the events of its own run only."),
    ("EXECUTE-7", "offered", "A caller that goes away cancels the run."),
    ("EXECUTE-8", "offered", "A deadline that passes cancels the run."),
    ("EXECUTE-9", "offered", "A document with a time limit above ten minutes is refused, with a pointer to `ExecuteAsync`."),
    ("EVENT-1", "must", "Every event has the run's id."),
    ("EVENT-2", "must", "Sequence numbers begin above 0 and ascend."),
    ("EVENT-3", "must", "`workflow_started` comes first, and once."),
    ("EVENT-4", "must", "There is one terminal event, and it is the last."),
    ("EVENT-5", "must", "The `status` of an event is the one of its type."),
    ("EVENT-6", "must", "`timestamp_ms` counts milliseconds since 1970."),
    ("EVENT-7", "must", "`task_progress` is 0 to 100."),
    ("EVENT-8", "must", "`workflow_failed` says in `error` what went wrong."),
    ("EVENT-9", "offered", "Events of tasks name their task."),
    ("EVENT-10", "offered", "The run has the input that came with it, and `workflow_completed` its output."),
    ("START-1", "must", "`ExecuteAsync` answers with the run's id and `running` as soon as the run is accepted."),
    ("START-2", "must", "Without an id the runner chooses one, another one each time."),
    ("START-3", "must", "A document that cannot be run is INVALID_ARGUMENT."),
    ("START-4", "offered", "INVALID_ARGUMENT has `google.rpc.BadRequest` with the field and what is wrong with it."),
    ("START-5", "must", "The same request under a known id gets the same answer, while the run goes on and after its end."),
    ("START-6", "offered", "The same request under a known id starts nothing."),
    ("START-7", "must", "Another request under a known id is ALREADY_EXISTS."),
    ("START-8", "must", "The same request many times at once gets the same answer, and is one run."),
    ("START-9", "offered", "`subscribe_url` and `status_url` are `grpc://HOST:PORT/SERVICE/METHOD` of a method that is there."),
    ("CANCEL-1", "must", "A run that is cancelled ends with `workflow_cancelled`."),
    ("CANCEL-2", "must", "Cancelling again is OK and changes nothing."),
    ("CANCEL-3", "must", "Cancelling an unknown run is NOT_FOUND."),
    ("CANCEL-4", "must", "Cancelling a run that has completed changes nothing; the answer is OK or FAILED_PRECONDITION."),
    ("CANCEL-5", "must", "With `force` the run ends without waiting for what is under way."),
    ("CANCEL-6", "offered", "A paused run can be cancelled."),
    ("CANCEL-7", "offered", "Cancel wins over pause, whichever comes first."),
    ("PAUSE-1", "offered", "A paused run says so, and starts no task until it is resumed."),
    ("PAUSE-2", "offered", "Pausing again is OK and changes nothing."),
    ("PAUSE-3", "offered", "A resumed run goes on."),
    ("PAUSE-4", "offered", "Resuming a run that is not paused is OK and changes nothing."),
    ("PAUSE-5", "offered", "Pausing or resuming an unknown run is NOT_FOUND."),
    ("PAUSE-6", "offered", "Pausing a run that has ended is FAILED_PRECONDITION."),
    ("QUERY-1", "offered", "Queries about an unknown run are NOT_FOUND."),
    ("QUERY-2", "offered", "`GetStatus` says `running` while the run goes on, and `completed`, with both times, when it has."),
    ("QUERY-3", "offered", "`GetStatus` of a run that failed says `failed` and why; of a cancelled one, `cancelled`."),
    ("QUERY-4", "offered", "`GetStatus` of a paused run says `paused`."),
    ("QUERY-5", "offered", "`GetEvents` gives pages of at most `page_size` events, and `more` until the last page."),
    ("QUERY-6", "offered", "`GetEvents` after the last event is an empty page without `more`."),
    ("QUERY-7", "offered", "`Subscribe` gives events as they come, and ends with OK after the terminal event."),
    ("QUERY-8", "offered", "`Subscribe` gives only events above `after_sequence_number`, of runs that have ended, too."),
    (
        "QUERY-9",
        "offered",
        "The queries agree with each other: the same events, the last number, the status of the last event.",
    ),
    ("QUERY-10", "offered", "A subscriber that goes away changes nothing about the run."),
    ("QUERY-11", "offered", "A run of `Execute` can be queried like any other, and tells the same events."),
    ("CALLBACK-1", "offered", "The runner reports a run by `ReportProgress`, from `workflow_started` to the terminal event."),
    ("CALLBACK-2", "offered", "What is reported are the events that queries tell, under the same numbers."),
    ("CALLBACK-3", "offered", "A report that is not taken (UNAVAILABLE) is sent again."),
    ("CALLBACK-4", "offered", "A run goes on whatever becomes of its reports."),
    ("FACE-1", "offered", "The older `WorkflowRunnerCommandController` starts and steers the same runs."),
    ("FACE-2", "offered", "The newer `WorkflowRunnerServiceController` starts and steers the same runs."),
)
"""In the order of the checks."""
