"""`python -m benchmarks [NAME…]`: prints the figures of docs/performance.md, each against a floor of the same run."""

from __future__ import annotations

import sys

from benchmarks import (
    apply_to_completed,
    events,
    many,
    million,
    pool,
    relay,
    resident,
    scale,
    serve,
    snapshots,
    start,
    tasks,
    temporal,
    throughput,
)

BENCHMARKS = {
    "tasks": tasks.main,
    "start": start.main,
    "million": million.main,
    "many": many.main,
    "scale": scale.main,
    "snapshots": snapshots.main,
    "relay": relay.main,
    "serve": serve.main,
    "temporal": temporal.main,
    "apply_to_completed": apply_to_completed.main,
    "throughput": throughput.main,
    "pool": pool.main,
    "events": events.main,
    "resident": resident.main,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"there is no benchmark {unknown[0]!r}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names or BENCHMARKS:
        print(f"== {name}")
        BENCHMARKS[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
