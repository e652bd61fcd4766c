"""Durations: ISO 8601 texts and the DSL's objects. The loader and the interpreter (for expressions) read them here.

A year is 365 days and a month 30: a duration is a fixed span, whatever the calendar says (docs/language.md).
"""

from __future__ import annotations

import re
from datetime import timedelta

from workflow_runner.dsl.templates import Json

LONGEST = timedelta(days=36500)
"""The longest duration: a hundred years."""

UNITS = ("days", "hours", "minutes", "seconds", "milliseconds")
"""The members of a duration that is an object."""

_NUMBER = r"(\d{1,12}(?:\.\d{1,12})?)"
_ISO = re.compile(
    rf"P(?!$)(?:{_NUMBER}Y)?(?:{_NUMBER}M)?(?:{_NUMBER}W)?(?:{_NUMBER}D)?"
    rf"(?:T(?=\d)(?:{_NUMBER}H)?(?:{_NUMBER}M)?(?:{_NUMBER}S)?)?"
)
_SECONDS = (365 * 86400, 30 * 86400, 7 * 86400, 86400, 3600, 60, 1)


def parse_duration(text: str) -> timedelta:
    """The duration that an ISO 8601 text says ("PT1M30S"). Raises ValueError."""
    match = _ISO.fullmatch(text)
    if match is None:
        raise ValueError(f"{text[:60]!r} is not an ISO 8601 duration such as PT1M30S")
    seconds = sum(float(part) * unit for part, unit in zip(match.groups(), _SECONDS, strict=True) if part)
    return _checked(seconds)


def duration_from_json(value: Json) -> timedelta:
    """The duration that a value says: an ISO 8601 text, or an object of whole numbers. Raises ValueError."""
    if isinstance(value, str):
        return parse_duration(value)
    if not isinstance(value, dict) or not value:
        raise ValueError("a duration is an ISO 8601 text or an object of days, hours, minutes, seconds, milliseconds")
    total = 0.0
    for name, amount in value.items():
        if name not in UNITS:
            raise ValueError(f"a duration has no {name!r}: its members are {', '.join(UNITS)}")
        if not isinstance(amount, int) or isinstance(amount, bool) or amount < 0:
            raise ValueError(f"{name} must be a whole number, zero or more")
        total += min(amount, 10**15) * timedelta(**{name: 1}).total_seconds()
    return _checked(total)


def _checked(seconds: float) -> timedelta:
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"a duration is at most {LONGEST.days} days")
    return timedelta(seconds=seconds)
