"""What docs/codes.md says about a code, for reports: codes/codes.json is made of that page by `make generate`."""

from __future__ import annotations

import functools
import json
from pathlib import Path

_TABLE = Path(__file__).parent / "codes" / "codes.json"


def meaning(code: str) -> str:
    """What a code means."""
    return _rows().get(code, [code, ""])[0]


def remedy(code: str) -> str:
    """What to do about it, whatever the document."""
    return _rows().get(code, [code, ""])[1]


@functools.cache
def _rows() -> dict[str, list[str]]:
    rows: dict[str, list[str]] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return rows
