"""What may go to Temporal. Used by run, run_workflow, effects and activities.

Secrets only encrypted. And no more than it takes: without an object store a server takes two megabytes at a time.

What is larger is an error of the document, told before Temporal refuses it: a workflow task that it refuses would be tried
for ever.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.problems import RUNTIME, Problem
from workflow_runner.dsl.templates import Expression
from workflow_runner.expressions.programs import dump
from workflow_runner.hosts.temporal.payloads import MOST_INLINE, MOST_STORED

_SECRET = frozenset({"secrets", "authorization"})

LARGEST_PLAIN, LARGEST_STORED = MOST_INLINE, MOST_STORED
"""Bytes of JSON of one payload, without and with an object store."""


def size_of(value: Any) -> int:
    """Bytes of a value as JSON."""
    return len(dump(value).encode(errors="replace"))


def too_large(what: str, size: int, largest: int) -> Problem:
    """The error of something that is larger than it may be."""
    hint = "" if largest > LARGEST_PLAIN else "; an object store for large payloads (TEMPORAL_PAYLOAD_STORE) permits more"
    detail = f"temporal.payload-too-large: {what} has {size:,} bytes, and {largest:,} may go to Temporal{hint}"
    return Problem.standard(RUNTIME, detail)


def needing_encryption(workflow: Workflow, plain: Container[str] = frozenset()) -> Expression | None:
    """The first expression that makes data of a secret; None where secrets are used for authentication only. Values named in
    `plain` are no secrets, though documents call them so."""
    for expression in workflow.expressions:
        used = _SECRET.intersection(expression.variables)
        if not used or expression in workflow.sealed:
            continue
        if used == {"secrets"} and all(name in plain for name in expression.secrets):
            continue
        return expression
    return None
