"""Ten times the work against ten times the time: the ratio of the two stays near one where nothing grows with the size.

    .venv/bin/python -m benchmarks scale

Each size is measured in turns with the other, and the medians compared.
"""

from __future__ import annotations

import asyncio
import json
import statistics
from collections.abc import Callable

from benchmarks.tasks import Case, forked, looped, one_by_one, run, switched

from workflow_runner.expressions.documents import read_document

BOUND = 11.0
ROUNDS = 5
SIZES: list[tuple[Callable[[int], Case], int]] = [(one_by_one, 100), (looped, 5_000), (switched, 2_000), (forked, 100)]


def seconds(case: Case) -> float:
    """One run; reading the document is not counted."""
    workflow, _ = read_document(case.text, "scale.yaml")
    return asyncio.run(run(workflow, json.loads(json.dumps(case.input))))[0]


def main() -> None:
    """Measure and print."""
    for make, size in SIZES:
        small, large = make(size), make(size * 10)
        times = [(seconds(small), seconds(large)) for _ in range(ROUNDS)]
        ratio = statistics.median(one for _, one in times) / statistics.median(one for one, _ in times)
        print(f"{small.name:16} {size:6,} → {size * 10:7,}: {ratio:5.1f} times the time (wanted: at most {BOUND:.0f})")


if __name__ == "__main__":
    main()
