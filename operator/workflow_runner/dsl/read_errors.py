"""Reading errors to raise, errors to catch, and retry policies, for `read_tasks` and the loader."""

from __future__ import annotations

import re
from datetime import timedelta

from workflow_runner.dsl.fields import Fields, Found, Scope, child
from workflow_runner.dsl.model import Backoff, Duration, ErrorDefinition, ErrorFilter, RetryPolicy
from workflow_runner.dsl.nodes import Node
from workflow_runner.dsl.templates import Literal

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*:[^\s]+")
_POINTER = re.compile(r"(/([^/~]|~[01])*)*")
"""RFC 6901; the empty one is the whole document."""
_FILTERS = ("type", "status", "instance", "title", "detail", "details")
_BACKOFFS: tuple[Backoff, ...] = ("constant", "linear", "exponential")
_MOST_ATTEMPTS = 1_000_000
_LARGEST_STATUS = 2**31 - 1  # what fits into events


def raised_error(fields: Fields, found: tuple[str, Node] | None, scope: Scope) -> ErrorDefinition | None:
    """The error of a `raise` task: an object, or the name of one under `use.errors`."""
    if found is None:
        return None
    pointer, node = found
    if not isinstance(node.json, str):
        return error_definition(fields, found, scope)
    name = node.json
    if name not in fields.errors:
        fields.findings.undefined(
            "reference.unknown-error",
            "error",
            name,
            fields.errors,
            pointer,
            node.position,
            remedy="define it under use.errors",
        )
        return None
    key = (name, scope)
    if key not in fields.read_errors:
        fields.read_errors[key] = error_definition(fields, fields.errors[name], scope, name)
    return fields.read_errors[key]


def error_definition(fields: Fields, found: tuple[str, Node], scope: Scope, name: str | None = None) -> ErrorDefinition | None:
    """An error as it is defined; None when it has no type or status."""
    pointer, node = found
    known = ("type", "status", "instance", "title", "detail")
    parts = fields.members(node, pointer, known, required=("type", "status"), what="an error")
    type_ = fields.text(parts.get("type"), "type", scope)
    if isinstance(type_, Literal) and _URI.fullmatch(str(type_.value)) is None:
        message = f"{type_.value!r} is no URI: an error's type is one, such as https://example.com/errors/out-of-stock"
        fields.findings.error("property.bad-value", message, parts["type"][0], parts["type"][1].position)
    status = fields.whole(parts.get("status"), "status", least=0, most=_LARGEST_STATUS)
    instance = fields.text(parts.get("instance"), "instance", scope)
    if isinstance(instance, Literal) and _POINTER.fullmatch(str(instance.value)) is None:
        message = f"{instance.value!r} is no JSON pointer: an error's instance is one, such as /do/0/reserve"
        fields.findings.error("property.bad-value", message, parts["instance"][0], parts["instance"][1].position)
    title = fields.text(parts.get("title"), "title", scope)
    detail = fields.text(parts.get("detail"), "detail", scope)
    if type_ is None or status is None:
        return None
    return ErrorDefinition(type=type_, status=status, instance=instance, title=title, detail=detail, name=name)


def error_filter(fields: Fields, found: tuple[str, Node] | None) -> ErrorFilter | None:
    """`catch.errors`: None when every error is meant."""
    if found is None:
        return None
    parts = fields.members(found[1], found[0], ("with",), what="errors")
    if "with" not in parts:
        return None
    pointer, node = parts["with"]
    wanted = fields.members(node, pointer, _FILTERS, what="an error filter")
    if node.json == {}:
        message = "an error filter needs at least one of type, status, instance, title, detail"
        fields.findings.error("property.bad-value", message, pointer, node.position)
    return ErrorFilter(
        type=_constant(fields, wanted, "type"),
        status=fields.whole(wanted.get("status"), "status", least=0, most=_LARGEST_STATUS),
        instance=_constant(fields, wanted, "instance"),
        title=_constant(fields, wanted, "title"),
        # The reference calls it detail, its schema details.
        detail=_constant(fields, wanted, "detail") or _constant(fields, wanted, "details"),
    )


def _constant(fields: Fields, found: Found, name: str) -> str | None:
    text = fields.string(found.get(name), name)
    if text is not None and "${" in text:
        message = "an error filter compares constants: use `when` for an expression"
        fields.findings.error("property.bad-value", message, found[name][0], found[name][1].position)
    return text


def retry_policy(fields: Fields, found: tuple[str, Node] | None, scope: Scope) -> RetryPolicy | None:
    """The retry policy of a `catch`: an object, or the name of one under `use.retries`."""
    if found is None:
        return None
    pointer, node = found
    if not isinstance(node.json, str):
        return retry_definition(fields, found, scope)
    name = node.json
    if name not in fields.retries:
        fields.findings.undefined(
            "reference.unknown-retry",
            "retry policy",
            name,
            fields.retries,
            pointer,
            node.position,
            remedy="define it under use.retries",
        )
        return None
    key = (name, scope)
    if key not in fields.read_retries:
        fields.read_retries[key] = retry_definition(fields, fields.retries[name], scope, name)
    return fields.read_retries[key]


def retry_definition(fields: Fields, found: tuple[str, Node], scope: Scope, name: str | None = None) -> RetryPolicy | None:
    """A retry policy as it is defined."""
    pointer, node = found
    if not fields.expect(node, pointer, dict, "a retry policy"):
        return None
    known = ("when", "exceptWhen", "delay", "backoff", "limit", "jitter")
    parts = fields.members(node, pointer, known, what="a retry policy")
    limit = _inner(fields, parts, "limit", ("attempt", "duration"))
    attempt = _inner(fields, limit, "attempt", ("count", "duration"))
    return RetryPolicy(
        when=fields.condition(parts.get("when"), "when", scope),
        except_when=fields.condition(parts.get("exceptWhen"), "exceptWhen", scope),
        delay=fields.duration(parts.get("delay"), "delay", scope),
        backoff=_backoff(fields, parts.get("backoff")),
        attempt_count=fields.whole(attempt.get("count"), "count", least=1, most=_MOST_ATTEMPTS),
        attempt_duration=fields.duration(attempt.get("duration"), "duration", scope),
        duration=fields.duration(limit.get("duration"), "duration", scope),
        jitter=_jitter(fields, parts.get("jitter"), scope),
        name=name,
    )


def _inner(fields: Fields, parts: Found, name: str, known: tuple[str, ...]) -> Found:
    return fields.members(parts[name][1], parts[name][0], known, what=name) if name in parts else {}


def _backoff(fields: Fields, found: tuple[str, Node] | None) -> Backoff:
    if found is None:
        return "constant"
    pointer, node = found
    parts = fields.members(node, pointer, _BACKOFFS, what="backoff")
    for name, (where, value) in parts.items():
        fields.members(value, where, (), what=name)
    if isinstance(node.json, dict) and len(node.json) != 1:
        message = f"backoff is exactly one of {', '.join(_BACKOFFS)}"
        fields.findings.error("property.bad-value", message, pointer, node.position)
    return next((name for name in _BACKOFFS if name in parts), "constant")


def _jitter(fields: Fields, found: tuple[str, Node] | None, scope: Scope) -> tuple[Duration, Duration] | None:
    if found is None:
        return None
    pointer, node = found
    parts = fields.members(node, pointer, ("from", "to"), required=("from", "to"), what="jitter")
    least = fields.duration(parts.get("from"), "from", scope)
    most = fields.duration(parts.get("to"), "to", scope)
    if least is None or most is None:
        return None
    if isinstance(least, timedelta) and isinstance(most, timedelta) and least > most:
        message = "jitter goes from the shorter to the longer duration"
        fields.findings.error("property.bad-value", message, child(pointer, "from"), parts["from"][1].position)
    return least, most
