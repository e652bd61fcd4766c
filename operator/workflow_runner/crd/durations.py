"""Durations as Kubernetes writes them ("30s", "1h30m"), for the fields of both resources. Read by reconcile, launchers."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from workflow_runner.crd.base import Rule, rules

PATTERN = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"

Duration = Annotated[
    str,
    Field(
        pattern=PATTERN,
        max_length=32,
        json_schema_extra=rules(Rule("duration(self) <= duration('87600h')", "a duration is at most ten years (87600h)")),
    ),
]
"""Text such as "30s", "1h30m" or "250ms"; `seconds` reads it."""

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")


def seconds(text: str) -> float:
    """A Duration's length; raises ValueError for text that is none."""
    if not re.fullmatch(PATTERN, text):
        raise ValueError(f"{text!r} is no duration such as 30s or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
