"""`try`: tasks whose errors are caught, with retries and a handler.

A fault of the block is decided on once: not caught, tried again after a delay, handled by `catch.do`,
or swallowed. Where the run is in this is in the frame (Attempts), so that it continues in the middle.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from workflow_runner.dsl.durations import LONGEST
from workflow_runner.dsl.model import Backoff, Catch, ErrorFilter, RetryPolicy, TryTask
from workflow_runner.dsl.problems import TIMEOUT, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import DeadlinePassed
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import Attempts, ListFrame, TaskFrame
from workflow_runner.interpreter.moments import later
from workflow_runner.interpreter.open_tasks import open_tasks


async def run_try(engine: Engine, task: TryTask, frame: TaskFrame, scope: Scope) -> Json:
    """The output of the attempt that succeeded, or of the handler; of a swallowed error, the try's input."""
    attempts = frame.state
    if not isinstance(attempts, Attempts):
        frame.state = attempts = Attempts(first_at=engine.run.effects.clock())
    while attempts.handler is None:
        if attempts.retry_at is not None:
            await engine.run.effects.sleep(attempts.retry_at)
            attempts.retry_at = attempts.error = None
            attempts.attempt += 1
        if attempts.error is None:
            problem = await _attempt(engine, task, frame, attempts, scope)
            if problem is None:
                return None if attempts.body is None else attempts.body.data
            attempts.body, attempts.error = None, problem.to_dict()
        if await _swallowed(engine, task, frame, attempts, scope):
            return frame.input
    if task.catch.do is not None:
        await engine.run_list(task.catch.do, attempts.handler, scope.place({task.catch.as_: attempts.error}))
    return attempts.handler.data


async def _attempt(engine: Engine, task: TryTask, frame: TaskFrame, attempts: Attempts, scope: Scope) -> Problem | None:
    """Run the block once, or the rest of it; what went wrong, if something did."""
    effects = engine.run.effects
    if attempts.body is None:
        attempts.deadline = None
        if task.catch.retry is not None and task.catch.retry.attempt_duration is not None:
            longest = await scope.duration(task.catch.retry.attempt_duration, frame.input)
            attempts.deadline = later(effects.clock(), longest)
        attempts.body = ListFrame(frame.input)
    work = engine.run_list(task.try_, attempts.body, scope.place())
    try:
        if attempts.deadline is None:
            await work
        else:
            await effects.within(attempts.deadline, work)
    except WorkflowFault as fault:
        return fault.problem
    except DeadlinePassed:
        problem = Problem.standard(
            TIMEOUT, f"attempt {attempts.attempt} took longer than limit.attempt.duration", instance=scope.instance
        )
        for inner, inner_frame in open_tasks(engine.run, task.try_, attempts.body):
            engine.run.failed(inner, inner_frame, problem)
        return problem
    return None


async def _swallowed(engine: Engine, task: TryTask, frame: TaskFrame, attempts: Attempts, scope: Scope) -> bool:
    """Decide what to do about the error at hand: note a retry or the handler in the frame, or let it go on.

    True when it is caught and there is nothing more to do about it. Raises it when it is not caught.
    """
    catch, error = task.catch, attempts.error or {}
    problem = Problem.from_dict(error)
    handling = scope.with_names({catch.as_: error})
    if not await _catches(catch, problem, handling, frame.input):
        raise WorkflowFault(problem)
    if catch.retry is not None:
        retry_at = await _next_attempt(engine, catch.retry, frame, attempts, handling)
        if retry_at is not None:
            attempts.retry_at = retry_at
            effects = engine.run.effects
            moment = effects.now() + (retry_at - effects.clock())
            message = f"attempt {attempts.attempt + 1} follows at {moment.isoformat(timespec='milliseconds')}: {problem}"
            engine.run.retried(task, frame, problem, message)
            return False
    if catch.do is not None:
        attempts.handler = ListFrame(frame.input)
        return False
    if catch.retry is not None:
        raise WorkflowFault(problem)
    return True


async def _catches(catch: Catch, problem: Problem, scope: Scope, data: Json) -> bool:
    if catch.errors is not None and not _matches(catch.errors, problem):
        return False
    if catch.when is not None and not await scope.condition(catch.when, data):
        return False
    return catch.except_when is None or not await scope.condition(catch.except_when, data)


def _matches(wanted: ErrorFilter, problem: Problem) -> bool:
    return all(
        expected is None or expected == actual
        for expected, actual in (
            (wanted.type, problem.type),
            (wanted.status, problem.status),
            (wanted.instance, problem.instance),
            (wanted.title, problem.title),
            (wanted.detail, problem.detail),
        )
    )


async def _next_attempt(
    engine: Engine, policy: RetryPolicy, frame: TaskFrame, attempts: Attempts, scope: Scope
) -> datetime | None:
    """When the next attempt begins; None when the policy gives no more."""
    data = frame.input
    if policy.attempt_count is not None and attempts.attempt >= policy.attempt_count:
        return None
    if policy.when is not None and not await scope.condition(policy.when, data):
        return None
    if policy.except_when is not None and await scope.condition(policy.except_when, data):
        return None
    delay = timedelta(0)
    if policy.delay is not None:
        delay = _backoff(policy.backoff, await scope.duration(policy.delay, data), attempts.attempt)
    if policy.jitter is not None:
        low, high = [await scope.duration(bound, data) for bound in policy.jitter]
        delay += low + (high - low) * engine.run.effects.random()
    retry_at = later(engine.run.effects.clock(), delay)
    if policy.duration is not None and retry_at > later(attempts.first_at, await scope.duration(policy.duration, data)):
        return None
    return retry_at


def _backoff(strategy: Backoff, delay: timedelta, failed: int) -> timedelta:
    """The delay after that many failed attempts (rulings: constant d, linear d·n, exponential d·2^(n-1))."""
    factor = 1
    if strategy == "linear":
        factor = failed
    elif strategy == "exponential":
        factor = 1 << min(failed - 1, 62)
    if delay <= timedelta(0) or factor <= LONGEST / delay:
        return delay * factor
    return LONGEST
