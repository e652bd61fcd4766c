"""Which events a listener consumes: filters, correlations, strategies (docs/language.md, "Events").

`tasks/listen` uses it, and the command line for workflows that events start. What an expression says of an
event that it was not made for (it fails) is that the event is not meant: whoever can send events cannot fail a run.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from workflow_runner.dsl.model import Correlation, EventFilter, EventStrategy
from workflow_runner.dsl.problems import EXPRESSION, WorkflowFault
from workflow_runner.dsl.templates import Expression, Json, Literal, Template
from workflow_runner.expressions.patterns import fits
from workflow_runner.interpreter.dataflow import Scope
from workflow_runner.interpreter.subscriptions import text_of


class Consumed(NamedTuple):
    """What an event did: the numbers of the filters that have had theirs by now, and the values of the correlations."""

    matched: list[int]
    keys: dict[str, Json]


async def consume(
    strategy: EventStrategy, matched: list[int], keys: dict[str, Json], event: Json, scope: Scope, data: Json
) -> Consumed | None:
    """What an event does for a strategy that has come so far; None when it is not meant.

    `data` is the input of the task, for templates. Nothing that is given is changed.
    """
    if not isinstance(event, dict):
        return None
    if strategy.mode == "any" and not strategy.filters:
        return Consumed([0], keys)
    for number, filter_ in enumerate(strategy.filters):
        if strategy.mode == "all" and number in matched:
            continue
        found = await _matches(filter_, keys, event, scope, data)
        if found is not None:
            return Consumed([*matched, number] if strategy.mode == "all" else [number], found)
    return None


def is_complete(strategy: EventStrategy, matched: list[int]) -> bool:
    """Whether a strategy has had its events, as far as it ends by them (one with `until` does not)."""
    return len(matched) == len(strategy.filters) if strategy.mode == "all" else bool(matched)


def read_event(event: Json, mode: str) -> Json:
    """An event as `listen.read` wants it."""
    if mode == "envelope" or not isinstance(event, dict):
        return event
    data = payload(event)
    if mode == "raw" and "data" in event and not _is_text(event):
        return json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return data


def payload(event: dict[str, Json]) -> Json:
    """The data of an event; what is no text is in base64."""
    return event["data"] if "data" in event else event.get("data_base64")


def _is_text(event: dict[str, Json]) -> bool:
    """Whether the data are a string that is no JSON: of another content type."""
    kind = event.get("datacontenttype")
    if not isinstance(kind, str) or not isinstance(event.get("data"), str):
        return False
    kind = kind.split(";")[0].strip().lower()
    return kind != "application/json" and not kind.endswith("+json")


async def _matches(
    filter_: EventFilter, keys: dict[str, Json], event: dict[str, Json], scope: Scope, data: Json
) -> dict[str, Json] | None:
    """The values of the correlations after the event; None when it does not fit."""
    expressions: list[tuple[Template, Json]] = []
    for name, template in filter_.attributes.items():
        value = payload(event) if name == "data" else event.get(name)
        if value is None:
            return None
        if isinstance(template, Literal):
            if not _same_or_fits(template.value, value):
                return None
        else:
            expressions.append((template, value))
    for template, value in expressions:
        if not await _holds(template, value, scope, data):
            return None
    found = dict(keys)
    for name, correlation in filter_.correlate.items():
        if not await _correlates(name, correlation, found, event, scope, data):
            return None
    return found


async def _holds(template: Template, value: Json, scope: Scope, data: Json) -> bool:
    """Whether an attribute is as its template wants it. An expression sees the attribute; an object or array with
    expressions in it is filled in over the task's input."""
    if not isinstance(template, Expression):
        return _same(await scope.template(template, data), value)
    wanted = await _evaluated(template, value, scope)
    if isinstance(wanted, bool):
        return wanted
    return wanted is not None and _same(wanted, value)


async def _correlates(
    name: str, correlation: Correlation, keys: dict[str, Json], event: dict[str, Json], scope: Scope, data: Json
) -> bool:
    value = await _evaluated(correlation.from_, event, scope)
    if value is None:
        return False
    if correlation.expect is not None:
        if not _same(await scope.template(correlation.expect, data), value):
            return False
    elif name in keys and not _same(keys[name], value):
        return False
    keys.setdefault(name, value)
    return True


async def _evaluated(expression: Expression, data: Json, scope: Scope) -> Json:
    """What an expression gives over an event or its part; null when it fails over it."""
    try:
        return await scope.template(expression, data)
    except WorkflowFault as fault:
        if fault.problem.type != EXPRESSION:
            raise
        return None


def _same_or_fits(wanted: Json, value: Json) -> bool:
    if isinstance(wanted, str):
        text = text_of(value)
        return text is not None and fits(wanted, text)
    return _same(wanted, value)


def _same(wanted: Json, value: Json) -> bool:
    """Whether two values are equal; a number or boolean also equals the text that transports make of it."""
    if isinstance(wanted, dict | list) or isinstance(value, dict | list):
        return _equal(wanted, value)
    text = text_of(wanted)
    return text == text_of(value) if text is not None else _equal(wanted, value)


def _equal(one: Json, other: Json) -> bool:
    try:
        return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    except RecursionError:
        return False
