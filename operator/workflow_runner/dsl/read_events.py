"""Reading what has to do with events: `emit`, `listen` and `schedule`, for `read_tasks` and the loader."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, cast

from workflow_runner.dsl.fields import TASK_BODY, TASK_EXPORT, WORKFLOW_INPUT, Fields, Found, Place, Scope, child, type_name
from workflow_runner.dsl.model import (
    Correlation,
    EmitTask,
    EventFilter,
    EventIterator,
    EventStrategy,
    ListenTask,
    Schedule,
    TaskList,
)
from workflow_runner.dsl.nodes import Node, items
from workflow_runner.dsl.read_schemas import read_schema
from workflow_runner.dsl.templates import Expression, Json, Literal, Template

ReadList = Callable[[Fields, Node, str, Scope], TaskList]

MOST_FILTERS = 100
"""At most so many filters of one listener: each event is compared with all of them."""
LARGEST_CRON = 200

_ATTRIBUTE = re.compile(r"[a-z0-9]{1,64}")
_TEXTS = ("id", "source", "type", "time", "subject", "datacontenttype", "dataschema")
_READS = ("data", "envelope", "raw")
_MODES = ("one", "any", "all")
_KINDS = ("every", "cron", "after", "on")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,12})?([Zz]|[+-]\d\d:\d\d)")


def is_attribute(name: str) -> bool:
    """Whether CloudEvents allows an attribute of this name."""
    return _ATTRIBUTE.fullmatch(name) is not None


def is_timestamp(text: str) -> bool:
    """Whether a text is a moment after RFC 3339, as an event's `time` has to be."""
    if _TIMESTAMP.fullmatch(text) is None:
        return False
    try:
        datetime.fromisoformat(f"{text[:10]}T{text[11:19]}")
    except ValueError:
        return text[17:19] == "60"  # a leap second
    return True


def read_emit(fields: Fields, place: Place, found: Found) -> EmitTask | None:
    """`emit`."""
    pointer, node = found["emit"]
    parts = fields.members(node, pointer, ("event",), required=("event",), what="emit")
    if "event" not in parts:
        return None
    where, event = parts["event"]
    parts = fields.members(event, where, ("with",), required=("with",), what="event")
    if "with" not in parts:
        return None
    where, node = parts["with"]
    attributes = _attributes(fields, node, where, place.body)
    if attributes is None:
        return None
    for name in ("source", "type"):
        if name not in attributes:
            fields.findings.error("property.missing", f"an event that is emitted needs {name!r}", where, node.position)
    for name, template in attributes.items():
        _check_literal(fields, name, template, child(where, name), node.members[name][1])
    return EmitTask(**place.common, attributes=attributes)


def read_listen(fields: Fields, place: Place, found: Found, read_list: ReadList) -> ListenTask | None:
    """`listen`, and the `foreach` beside it; `read_list` reads the latter's tasks."""
    pointer, node = found["listen"]
    parts = fields.members(node, pointer, ("to", "read"), required=("to",), what="listen")
    strategy = None if "to" not in parts else read_strategy(fields, parts["to"], "listen.to", place.body)
    read = fields.one_of(parts.get("read"), "read", _READS) or "data"
    foreach = _iterator(fields, place, found["foreach"], read_list) if "foreach" in found else None
    if strategy is None:
        return None
    return ListenTask(**place.common, to=strategy, read=cast("Any", read), foreach=foreach)


def read_strategy(
    fields: Fields, found: tuple[str, Node], what: str, scope: Scope, *, ends_another: bool = False
) -> EventStrategy | None:
    """Which events to consume. One that `ends_another` has no `until` itself."""
    pointer, node = found
    parts = fields.members(node, pointer, (*_MODES, "until"), what=what)
    if not isinstance(node.json, dict):
        return None
    modes = [mode for mode in _MODES if mode in parts]
    if len(modes) != 1:
        message = f"{what} needs exactly one of {', '.join(_MODES)}, and has {' and '.join(modes) or 'none'}"
        fields.findings.error("property.bad-value" if modes else "property.missing", message, pointer, node.position)
        return None
    mode = modes[0]
    where, inner = parts[mode]
    if mode == "one":
        filters = [_filter(fields, inner, where, scope)]
    else:
        if not fields.expect(inner, where, list, mode):
            return None
        filters = [_filter(fields, each, f"{where}/{number}", scope) for number, each in enumerate(inner.elements)]
        if mode == "all" and not filters:
            fields.findings.error("property.bad-value", "`all` needs a filter", where, inner.position)
        if len(filters) > MOST_FILTERS:
            message = f"{mode} has {len(filters)} filters, and at most {MOST_FILTERS} are compared with each event"
            fields.findings.error("property.bad-value", message, where, inner.position)
    until = None
    if "until" in parts:
        if mode != "any" or ends_another:
            reason = f"{what} ends another one already" if ends_another else f"`{mode}` ends by itself"
            message = f"{what} has an `until`, which only goes with `any`: {reason}"
            fields.findings.error("property.bad-value", message, parts["until"][0], parts["until"][1].position)
        else:
            until = _until(fields, parts["until"], what, scope)
    return EventStrategy(mode=cast("Any", mode), filters=tuple(each for each in filters if each is not None), until=until)


def read_schedule(fields: Fields, found: tuple[str, Node] | None) -> Schedule | None:
    """`schedule` of a workflow."""
    if found is None:
        return None
    pointer, node = found
    parts = fields.members(node, pointer, _KINDS, what="schedule")
    kinds = [kind for kind in _KINDS if kind in parts]
    if len(kinds) != 1:
        if isinstance(node.json, dict):
            message = f"schedule needs exactly one of {', '.join(_KINDS)}, and has {' and '.join(kinds) or 'none'}"
            fields.findings.error("property.bad-value" if kinds else "property.missing", message, pointer, node.position)
        return None
    kind = kinds[0]
    if kind == "on":
        return Schedule(on=read_strategy(fields, parts["on"], "schedule.on", WORKFLOW_INPUT))
    if kind == "cron":
        return Schedule(cron=_cron(fields, parts["cron"]))
    duration = fields.duration(parts[kind], kind, WORKFLOW_INPUT)
    where, value = parts[kind]
    if isinstance(duration, Expression):
        message = f"{kind} is known before any run: it cannot be an expression"
        fields.findings.error("property.bad-value", message, where, value.position)
        return None
    if kind == "every" and duration is not None and duration <= timedelta(0):
        fields.findings.error("property.bad-value", "every must be more than nothing", where, value.position)
        return None
    return Schedule(every=duration) if kind == "every" else Schedule(after=duration)


def _cron(fields: Fields, found: tuple[str, Node]) -> str | None:
    text = fields.string(found, "cron")
    if text is None:
        return None
    from cronsim import CronSim, CronSimError  # whoever has no such schedule does not wait for it

    try:
        if len(text) > LARGEST_CRON:
            raise ValueError(f"more than {LARGEST_CRON} characters")
        next(CronSim(text, datetime(2024, 1, 1)))  # noqa: DTZ001 - only whether there is an occurrence is asked
    except (CronSimError, ValueError, AssertionError, OverflowError) as error:
        message = f"{text[:80]!r} is no cron expression: {error}"
        hint = "write minute, hour, day of month, month and day of week, such as '30 2 * * *'"
        fields.findings.error("schedule.bad-cron", message, found[0], found[1].position, hint=hint)
        return None
    except StopIteration:
        fields.findings.error("schedule.bad-cron", f"{text[:80]!r} never comes", found[0], found[1].position)
        return None
    return text


def _attributes(fields: Fields, node: Node, pointer: str, scope: Scope) -> dict[str, Template] | None:
    if not fields.expect(node, pointer, dict, "with"):
        return None
    attributes: dict[str, Template] = {}
    for name, where, key, value in items(node, pointer):
        if not is_attribute(name):
            message = f"{name!r} cannot be an attribute of an event"
            hint = "names are lower-case letters and digits; what is larger goes into `data`"
            fields.findings.error("event.bad-attribute", message, where, key, hint=hint)
        elif name in _TEXTS and not isinstance(value.json, str):
            fields.expect(value, where, str, name)
        elif name != "data" and isinstance(value.json, dict | list | float):
            message = f"the attribute {name!r} must be a string, a whole number or a boolean, not {type_name(value.json)}"
            fields.findings.error("property.wrong-type", message, where, value.position, hint="larger values go into `data`")
        else:
            attributes[name] = fields.template(value, where, scope)
    return attributes


def _check_literal(fields: Fields, name: str, template: Template, pointer: str, node: Node) -> None:
    if not isinstance(template, Literal) or not isinstance(template.value, str):
        return
    value = template.value
    if name == "time" and not is_timestamp(value):
        message = f"time cannot be {value[:60]!r}: it is a moment such as 2024-07-26T16:59:57Z"
    elif name == "specversion" and value != "1.0":
        message = f"specversion cannot be {value[:60]!r}: events are of CloudEvents 1.0"
    elif name in _TEXTS and not value:
        message = f"{name} of an event cannot be empty"
    elif name in ("source", "dataschema") and re.search(r"[\s<>\"\\^`]", value):
        message = f"{name} cannot be {value[:60]!r}: it is a URI, a URI template or one expression ${{ … }}"
    else:
        return
    fields.findings.error("property.bad-value", message, pointer, node.position)


def _filter(fields: Fields, node: Node, pointer: str, scope: Scope) -> EventFilter | None:
    parts = fields.members(node, pointer, ("with", "correlate"), required=("with",), what="an event filter")
    if "with" not in parts:
        return None
    where, inner = parts["with"]
    attributes = _attributes(fields, inner, where, scope)
    if attributes == {} and inner.json == {}:
        fields.findings.error("property.bad-value", "a filter needs at least one attribute", where, inner.position)
    correlate: dict[str, Correlation] = {}
    if "correlate" in parts and fields.expect(parts["correlate"][1], parts["correlate"][0], dict, "correlate"):
        for name, place, _, value in items(parts["correlate"][1], parts["correlate"][0]):
            found = fields.members(value, place, ("from", "expect"), required=("from",), what="a correlation")
            from_ = fields.condition(found.get("from"), "from", scope)
            expect = _expectation(fields, found.get("expect"), scope)
            if from_ is not None:
                correlate[name] = Correlation(from_=from_, expect=expect)
    return EventFilter(attributes=attributes or {}, correlate=correlate)


def _expectation(fields: Fields, found: tuple[str, Node] | None, scope: Scope) -> Template | None:
    if found is None:
        return None
    value: Json = found[1].json
    if isinstance(value, int | float):
        return Literal(value)
    return fields.text(found, "expect", scope)


def _until(fields: Fields, found: tuple[str, Node], what: str, scope: Scope) -> Expression | EventStrategy | None:
    if isinstance(found[1].json, str):
        return fields.condition(found, "until", scope)
    return read_strategy(fields, found, f"{what}.until", scope, ends_another=True)


def _iterator(fields: Fields, place: Place, found: tuple[str, Node], read_list: ReadList) -> EventIterator:
    pointer, node = found
    parts = fields.members(node, pointer, ("item", "at", "do", "output", "export"), what="foreach")
    item = fields.name(parts.get("item"), "item", "item")
    at = fields.name(parts.get("at"), "at", "index")
    if item == at:
        fields.findings.error("variable.bad-name", f"`item` and `at` are both {item!r}", pointer, node.position)
    inner = place.variables | {item, at}
    common: dict[str, Any] = {}
    for name, scope in (("output", TASK_BODY), ("export", TASK_EXPORT)):
        if name in parts:
            where, value = parts[name]
            members = fields.members(value, where, ("as", "schema"), what=name)
            common[f"{name}_as"] = fields.filter(members.get("as"), f"{name}.as", scope | inner)
            common[f"{name}_schema"] = read_schema(fields, members, name, scope | inner)
    do = read_list(fields, parts["do"][1], parts["do"][0], inner) if "do" in parts else None
    return EventIterator(item=item, at=at, do=do, **common)
