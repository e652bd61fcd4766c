"""jq: compiling, evaluating, and saying beforehand what a program can cost. No input or output here.

The interpreter evaluates templates (evaluate); the loader's callers have every program compiled
(documents); `hosts.jq_worker` runs the programs that are not safe in a shared process.
"""
