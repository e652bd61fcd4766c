"""Reads single variables of the environment; the modules beside it use it. Each raises InvalidInput that names the variable."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from workflow_runner.errors import InvalidInput

LOG_LEVELS = ("trace", "debug", "info", "warn", "error")
MOST_SECONDS = 100 * 366 * 86_400
"""The longest that the language knows: a hundred years."""
ENDPOINT = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):[0-9]{1,5}")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_DECIMAL = re.compile(r"[0-9]{1,10}(\.[0-9]{1,9})?")


def switch(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    """A boolean."""
    text = environment.get(name, "").lower()
    if text not in ("", "true", "false"):
        raise InvalidInput(f"{name} is {text!r}, not true or false", code="settings.invalid")
    return default if not text else text == "true"


def entries(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    """A list, with commas or blanks between."""
    return tuple(environment.get(name, "").replace(",", " ").split())


def required(environment: Mapping[str, str], name: str, meaning: str) -> str:
    """What must be there; `meaning` says what it is."""
    value = environment.get(name, "")
    if not value:
        raise InvalidInput(f"{name} is not set: {meaning}", code="settings.missing")
    return value


def seconds(environment: Mapping[str, str], name: str) -> timedelta | None:
    """A duration in seconds; None where it is not set."""
    text = environment.get(name, "")
    if not text:
        return None
    if _DECIMAL.fullmatch(text) is None or not 0 < float(text) <= MOST_SECONDS:
        raise InvalidInput(f"{name} is {text!r}, not a number of seconds above 0", code="settings.invalid")
    return timedelta(seconds=float(text))


def count(environment: Mapping[str, str], name: str, default: int) -> int:
    """A number from 1 to a million."""
    text = environment.get(name, str(default))
    if not text.isdigit() or not 1 <= int(text) <= 1_000_000:
        raise InvalidInput(f"{name} is {text!r}, not a number from 1 to 1,000,000", code="settings.invalid")
    return int(text)


def path(environment: Mapping[str, str], name: str) -> Path | None:
    """An absolute path; None where it is not set."""
    text = environment.get(name, "")
    if text and not text.startswith("/"):
        raise InvalidInput(f"{name} is {text!r}, not an absolute path", code="settings.invalid")
    return Path(text) if text else None


def port(environment: Mapping[str, str], name: str, default: int) -> int:
    """A port; 0 may mean none."""
    text = environment.get(name, str(default))
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise InvalidInput(f"{name} is {text!r}, not a port", code="settings.invalid")
    return int(text)


def object_(environment: Mapping[str, str], name: str) -> dict[str, Any] | None:
    """A JSON object; None where it is not set."""
    text = environment.get(name, "").strip()
    if not text:
        return None
    try:
        value = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"{name} is not JSON: {error}", code="settings.invalid") from error
    if not isinstance(value, dict):
        raise InvalidInput(f"{name} is not a JSON object", code="settings.invalid")
    return value


def namespaces(environment: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Names of namespaces, with commas between."""
    found = tuple(dict.fromkeys(part.strip() for part in environment.get(name, "").split(",") if part.strip()))
    for namespace in found:
        if not _NAMESPACE.fullmatch(namespace):
            raise InvalidInput(f"{name} names {namespace!r}, which is no namespace's name", code="settings.invalid")
    return found


def level(environment: Mapping[str, str], name: str = "LOG_LEVEL", default: str = "info") -> str:
    """A log level."""
    level = environment.get(name, default).lower()
    if level not in LOG_LEVELS:
        raise InvalidInput(f"{name} is {level!r}, not one of {', '.join(LOG_LEVELS)}", code="settings.invalid")
    return level
