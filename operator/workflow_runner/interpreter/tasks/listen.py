"""`listen`: waits for events.

The host puts events that arrive into the frame's queue, from the task's beginning to its end, whatever the task is
doing; here they are taken out one after the other. An event leaves the queue in the same step in which what it did is
noted, so that a run that goes on from its frame has lost none and counts none twice.
"""

from __future__ import annotations

import json

from workflow_runner.dsl.model import EventIterator, EventStrategy, ListenTask
from workflow_runner.dsl.problems import RUNTIME, Problem, WorkflowFault
from workflow_runner.dsl.templates import Expression, Json
from workflow_runner.interpreter import schemas
from workflow_runner.interpreter.consumption import consume, is_complete, read_event
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.effects import Effects
from workflow_runner.interpreter.engine import Engine
from workflow_runner.interpreter.frames import Listen, ListFrame, Pass, TaskFrame
from workflow_runner.interpreter.subscriptions import Subscription, wanted_by

LARGEST_OUTPUT = 16 * 1024 * 1024
"""Characters of all that a listener consumes, as JSON."""


async def run_listen(engine: Engine, task: ListenTask, frame: TaskFrame, scope: Scope) -> Json:
    """The events that were consumed, in their order, as `read` wants them, or as `foreach.output.as` makes them."""
    listen, run = frame.state, engine.run
    begins = not isinstance(listen, Listen)
    if not isinstance(listen, Listen):
        frame.state = listen = Listen()
    subscription = Subscription(wanted_by(task.to), listen.waiting)
    if _is_open(listen):
        run.effects.subscribe(subscription)
        try:
            if begins:
                run.listening(task, frame)
            while _is_open(listen):
                if listen.turn is not None and task.foreach is not None:
                    await _take_turn(engine, task, task.foreach, frame, listen, listen.turn, scope)
                else:
                    await hear(run.effects, task, frame.input, listen, subscription, scope)
            listen.waiting.clear()
            run.heard(task, frame, listen.keys)
        finally:
            run.effects.unsubscribe(subscription)
    return listen.consumed


def _is_open(listen: Listen) -> bool:
    return not listen.over


async def hear(
    effects: Effects, task: ListenTask, data: Json, listen: Listen, subscription: Subscription, scope: Scope
) -> None:
    """Go one step on, where no event has its turn. `data` is the task's input.

    Who starts workflows by events does this, too, with a task that has no `foreach`.
    """
    if listen.asked:
        await _ask(task, listen, scope)
    elif listen.waiting:
        await _look(task, data, listen, scope)
    else:
        await effects.arrival(subscription)


async def _look(task: ListenTask, data: Json, listen: Listen, scope: Scope) -> None:
    """Look at the oldest event that waits: it ends the listening, is consumed, or is not meant."""
    event, strategy = listen.waiting[0], task.to
    if isinstance(strategy.until, EventStrategy):
        ending = await consume(strategy.until, listen.ended, listen.keys, event, scope, data)
        if ending is not None:
            del listen.waiting[0]
            listen.ended, listen.keys = ending
            listen.over = is_complete(strategy.until, listen.ended)
            return
    consumed = await consume(strategy, listen.matched, listen.keys, event, scope, data)
    item = None if consumed is None else read_event(event, task.read)
    del listen.waiting[0]
    if consumed is None:
        return
    listen.matched, listen.keys = consumed
    listen.count += 1
    if task.foreach is None:
        _keep(task, listen, item)
    else:
        body = None if task.foreach.do is None else ListFrame(data)
        listen.turn = Pass(item, body, item)


async def _take_turn(
    engine: Engine, task: ListenTask, foreach: EventIterator, frame: TaskFrame, listen: Listen, turn: Pass, scope: Scope
) -> None:
    """Do with an event, or go on doing with it, what `foreach` says."""
    index = listen.count - 1
    names = {foreach.item: turn.item, foreach.at: index}
    if turn.body is not None and foreach.do is not None:
        turn.left = await engine.run_list(foreach.do, turn.body, scope.place(names, index))
        turn.output, turn.body = turn.body.data, None
    inner = scope.with_names(names)
    output = turn.output
    if foreach.output_as is not None:
        output = await inner.template(foreach.output_as, output)
    if foreach.output_schema is not None:
        await schemas.check(engine.run, foreach.output_schema, output, inner)
    if foreach.export_as is not None or foreach.export_schema is not None:
        await engine.export(foreach, output, inner)
    listen.turn = None
    _keep(task, listen, turn.item if foreach.output_as is None else output)
    if turn.left:
        listen.over, listen.asked = True, False


def _keep(task: ListenTask, listen: Listen, item: Json) -> None:
    """An event is done with: keep what the output has of it, and note whether it was the last."""
    until = task.to.until
    if not _is_endless(task.to):
        listen.size += _size(item)
        if listen.size > LARGEST_OUTPUT:
            detail = f"the events that were consumed have more than {LARGEST_OUTPUT:,} characters as JSON"
            raise WorkflowFault(Problem.standard(RUNTIME, f"{detail}; keep less of each by foreach.output.as"))
        listen.consumed.append(item)
    if isinstance(until, Expression):
        listen.asked = True
    elif until is None:
        listen.over = is_complete(task.to, listen.matched)


async def _ask(task: ListenTask, listen: Listen, scope: Scope) -> None:
    """Ask the condition under `until`, over the output so far, whether the event just consumed was the last one."""
    assert isinstance(task.to.until, Expression)  # noqa: S101 - nothing else asks
    listen.over = await scope.condition(task.to.until, listen.consumed)
    listen.asked = False


def _is_endless(strategy: EventStrategy) -> bool:
    """True where only something from outside ends the listening: nobody will ever see its output, so none is kept."""
    return isinstance(strategy.until, Expression) and strategy.until.source.strip() == "false"


def _size(item: Json) -> int:
    try:
        return len(json.dumps(item))
    except RecursionError as error:
        raise WorkflowFault(Problem.standard(RUNTIME, "an event is nested too deeply")) from error
