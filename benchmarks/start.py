"""The start of `workflow-runner run hello.yaml`, against Python's own (`python -c pass`), as processes one after the other.

.venv/bin/python -m benchmarks start
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BOUND_SECONDS = 0.5
ROUNDS = 11
HELLO = """
document: {dsl: '1.0.3', namespace: benchmarks, name: hello, version: '1.0.0'}
do:
  - greet: {set: {greeting: '${ "Hello, \\(.name)" }'}}
"""


def seconds(*command: str | Path) -> float:
    """How long a command takes from its start to its end."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return time.perf_counter() - begin


def main() -> None:
    """Measure and print."""
    python = Path(sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "hello.yaml"
        file.write_text(HELLO, encoding="utf-8")
        run: list[str | Path] = [python.parent / "workflow-runner", "run", file, "--input", '{"name": "Ada"}']
        seconds(*run)
        bare, whole = [], []
        for _ in range(ROUNDS):
            bare.append(seconds(python, "-c", "pass"))
            whole.append(seconds(*run))
    print(f"python -c pass                 {statistics.median(bare) * 1000:6.0f} ms")
    print(
        f"workflow-runner run hello.yaml {statistics.median(whole) * 1000:6.0f} ms (wanted: under {BOUND_SECONDS * 1000:.0f})"
    )
    print(f"ratio                          {statistics.median(whole) / statistics.median(bare):6.1f}")


if __name__ == "__main__":
    main()
