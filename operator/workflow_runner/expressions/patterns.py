"""Regular expressions over strings that come from outside: `interpreter.consumption` compares attributes of events.

By the engine that the schemas have (Rust's syntax, no look-around and no back-references): it takes time in
proportion to the text, whatever the expression, so nobody who sends an event can make a run stand still.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import jsonschema_rs

_SPECIAL = frozenset("*+?[](){}|^$\\")
_LARGEST = 64 * 1024  # bytes of one compiled expression


def fits(pattern: str, text: str) -> bool:
    """Whether a text is the pattern, or the pattern is a regular expression that matches the whole of the text.

    A pattern without any of `*+?[](){}|^$\\` is only itself: its dots are dots. One that is no regular expression, too.
    """
    if pattern == text:
        return True
    if not is_expression(pattern):
        return False
    validator = _compiled(pattern)
    return validator is not None and validator.is_valid(text)


def is_expression(pattern: str) -> bool:
    """Whether a pattern may fit other texts than itself."""
    return not _SPECIAL.isdisjoint(pattern)


@functools.lru_cache(maxsize=256)
def _compiled(pattern: str) -> jsonschema_rs.Validator | None:
    import jsonschema_rs  # 35 ms: whoever compares no expressions does not pay for it

    options = jsonschema_rs.RegexOptions(size_limit=_LARGEST, dfa_size_limit=_LARGEST)
    try:
        return jsonschema_rs.validator_for({"pattern": rf"\A(?:{pattern})\z"}, pattern_options=options)
    except (ValueError, jsonschema_rs.ValidationError):
        return None
