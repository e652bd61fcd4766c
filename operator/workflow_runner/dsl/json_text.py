"""JSON as it comes from outside: answers of servers, events, inputs. Called by calls, hosts and cli.

Python's reader takes what JSON is not (NaN, Infinity), and makes an infinity of a number that is too large for it; nothing
that was read here holds either, since nothing could write it again.
"""

from __future__ import annotations

import json
import math
import sys

from workflow_runner.dsl.templates import Json


def read_json(text: str | bytes) -> Json:
    """The value of a JSON text; of bytes in UTF-8, -16 or -32, as RFC 4627 tells them apart. A number that is too large
    for a float is the largest that there is, as jq reads it. Raises ValueError, and RecursionError for deep nesting."""
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    value: Json = _READER.decode(text)
    return value


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is no JSON value")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else math.copysign(sys.float_info.max, number)


_READER = json.JSONDecoder(parse_constant=_no_constant, parse_float=_finite)
