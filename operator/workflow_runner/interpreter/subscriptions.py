"""What a listener may want to hear, in a form that hosts can hand on, and the queue that they put it into.

The interpreter makes one for each running `listen` and gives it to `Effects.subscribe`; a host compares events with it
to leave out what cannot be meant. Whether an event is consumed is decided by `consumption`.

An event is a JSON object as CloudEvents 1.0 writes it (`specversion`, `id`, `source`, `type`, …, with its payload
in `data`, or in `data_base64` where that is no text).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from workflow_runner.dsl.model import EventFilter, EventStrategy
from workflow_runner.dsl.templates import Json, Literal
from workflow_runner.expressions.patterns import is_expression

Wanted = Mapping[str, str]
"""Attributes with the text that each must have. Without any: every event."""

EVERYTHING: tuple[Wanted, ...] = ({},)
MOST_WANTED = 200
"""Entries that are told one by one; who listens for more hears everything."""


class Subscription:
    """One listener. `wanted` has an entry for each kind of event; `waiting` is the queue, which the frame holds, too."""

    __slots__ = ("__weakref__", "waiting", "wanted")

    def __init__(self, wanted: Sequence[Wanted], waiting: list[Json]) -> None:
        self.wanted = tuple(wanted)
        self.waiting = waiting

    def wants(self, event: Mapping[str, Json]) -> bool:
        """Whether an event may be one that is listened for. Quick."""
        return wants(self.wanted, event)


def wants(wanted: Sequence[Wanted], event: Mapping[str, Json]) -> bool:
    """Whether an event has all attributes of one of the entries."""
    return any(all(text_of(event.get(name)) == value for name, value in each.items()) for each in wanted)


def all_wanted(subscriptions: Iterable[Subscription]) -> tuple[Wanted, ...]:
    """What listeners may want together, each entry once, in an order that depends on nothing else. Nothing without any."""
    entries = {tuple(sorted(each.items())) for subscription in subscriptions for each in subscription.wanted}
    return EVERYTHING if len(entries) > MOST_WANTED or () in entries else tuple(dict(each) for each in sorted(entries))


def wanted_by(strategy: EventStrategy) -> list[Wanted]:
    """What a strategy, with the one that ends it, may want: the attributes that have to be literally so."""
    if strategy.mode == "any" and not strategy.filters:
        return list(EVERYTHING)
    wanted: list[Wanted] = [_literals(each) for each in strategy.filters]
    if isinstance(strategy.until, EventStrategy):
        wanted += wanted_by(strategy.until)
    return wanted


def text_of(value: Json) -> str | None:
    """An attribute as the text that transports make of it; None for what is none."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case _:
            return None


def _literals(filter_: EventFilter) -> dict[str, str]:
    found = {}
    for name, template in filter_.attributes.items():
        if name != "data" and isinstance(template, Literal):
            text = text_of(template.value)
            if text is not None and not is_expression(text):
                found[name] = text
    return found
