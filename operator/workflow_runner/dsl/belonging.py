"""Where a member belongs that stands at the wrong level: what `Fields.members` says about a name it does not know."""

from __future__ import annotations

from collections.abc import Mapping

from workflow_runner.dsl.unsupported import CALL_ARGUMENTS

Levels = dict[str, tuple[str, tuple[str, ...]]]
"""What has been read so far: the pointer of an object → (what it is, the members it may have)."""

_HTTP = ("method", "endpoint", "headers", "body", "query", "redirect")
_ERROR = ("type", "status", "instance", "title", "detail")
_RETRY = ("backoff", "delay", "limit", "jitter")
_SCHEMA = ("format", "document", "resource")
_ATTRIBUTES = ("type", "source", "subject", "data")
_EVENT = ("one", "any", "all", "until")

INSIDE: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "a workflow": {
        "document": ("dsl", "namespace", "name", "version", "title", "summary", "tags"),
        "use": ("authentications", "catalogs", "errors", "extensions", "functions", "retries", "secrets", "timeouts"),
        "evaluate": ("language", "mode"),
        "schedule": ("every", "cron", "on"),
    },
    "a call task": {"with": (*_HTTP, *(name for names in CALL_ARGUMENTS.values() for name in names))},
    "a for task": {"for": ("each", "in", "at")},
    "a fork task": {"fork": ("branches", "compete")},
    "a raise task": {"raise": ("error",), "raise.error": _ERROR},
    "a try task": {
        "catch": ("errors", "as", "when", "exceptWhen", "retry"),
        "catch.retry": ("backoff", "delay", "limit", "jitter"),
    },
    "a listen task": {"listen": ("to", "read"), "listen.to": _EVENT},
    "a emit task": {"emit": ("event",), "emit.event.with": _ATTRIBUTES},
    "a run task": {"run": ("await", "return", "container", "script", "shell", "workflow")},
    "a switch task": {"a case of switch": ("when",)},
    "raise": {"error": _ERROR},
    "catch": {"retry": _RETRY, "errors.with": _ERROR},
    "errors": {"with": _ERROR},
    "a retry policy": {"limit": ("attempt",), "limit.attempt": ("count",), "backoff": ("constant", "linear", "exponential")},
    "limit": {"attempt": ("count",)},
    "input": {"schema": _SCHEMA},
    "output": {"schema": _SCHEMA},
    "export": {"schema": _SCHEMA},
    "a call of http": {"endpoint": ("uri", "authentication")},
    "listen": {"to": _EVENT},
    "an event filter": {"with": _ATTRIBUTES},
    "emit": {"event": ("with",), "event.with": _ATTRIBUTES},
    "event": {"with": _ATTRIBUTES},
    "run": {
        "container": ("image",),
        "script": ("code", "language"),
        "shell": ("command",),
        "workflow": ("namespace", "name", "version"),
    },
}
"""Of an object, by what messages call it: the members that authors put there, by where inside of it they belong."""

INSIDE_TASKS: Mapping[str, tuple[str, ...]] = {"input": ("from",), "output": ("as",)}
"""The same of every task."""


def home_of(name: str, what: str, pointer: str, levels: Levels) -> str | None:
    """Where a member belongs ("it belongs under 'with'"), or None when nothing around or inside its object has it.

    `what` is the object that it stands in, at `pointer`; what is around that has been read already.
    """
    inside = INSIDE.get(what, {})
    if what.endswith(" task"):
        inside = {**inside, **INSIDE_TASKS}
    for path, names in inside.items():
        if name in names:
            return f"it belongs under {path!r}" if " " not in path else f"it belongs in {path}"
    inner = pointer
    while inner:
        outer, _, part = inner.rpartition("/")
        while outer and outer not in levels:
            outer, _, part = outer.rpartition("/")
        around, members = levels.get(outer, ("", ()))
        if name in members:
            return "it belongs at the top of the document" if not outer else f"it belongs in {around}, beside {part!r}"
        inner = outer
    return None
