"""Reading a document completely: structure, validation, and jq's compiler over every expression.

The command line, the operator's validating child and launched pods accept a document here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from workflow_runner.dsl.diagnostics import Diagnostic, Findings
from workflow_runner.dsl.fields import STANDARD_VARIABLES
from workflow_runner.dsl.loader import load_node, load_text
from workflow_runner.dsl.model import Workflow
from workflow_runner.dsl.templates import Expression, Position
from workflow_runner.dsl.validation import validate
from workflow_runner.expressions.programs import InvalidProgram
from workflow_runner.expressions.programs import check as check_program

_UNDEFINED = re.compile(r"\$(\w+) is not defined")

MAX_EXPRESSIONS = 3_000
"""jq needs about a millisecond for each; whether a document is accepted must not depend on how busy a machine is."""


def read_document(
    source: str | bytes | Mapping[str, Any], file: str = "<document>", *, check: bool = True
) -> tuple[Workflow, list[Diagnostic]]:
    """The workflow that a text or an object describes, and the warnings about it.

    With `check` false validation and jq's compiler are left out, for a document that was accepted before:
    expressions are then compiled when they are first used. Raises DocumentErrors with everything that is
    wrong, by position, warnings included.
    """
    findings = Findings(file)
    workflow = load_text(source, findings) if isinstance(source, str | bytes) else load_node(source, findings)
    if check:
        validate(workflow, findings)
        count = len(workflow.expressions)
        if count > MAX_EXPRESSIONS:
            message = f"the document has {count:,} expressions, and at most {MAX_EXPRESSIONS:,} are compiled"
            findings.error("document.too-many-expressions", message, "")
        for expression in workflow.expressions[:MAX_EXPRESSIONS]:
            _compile(expression, findings)
    findings.raise_errors()
    return workflow, findings.sorted()


def _compile(expression: Expression, findings: Findings) -> None:
    try:
        check_program(expression)
    except InvalidProgram as error:
        position = expression.position
        if expression.exact and error.line == 1:
            position = Position(position.line, position.column + error.column - 1)
        undefined = _UNDEFINED.match(str(error))
        if undefined is None:
            message = f"jq cannot compile this expression: {error}"
            findings.error("expression.invalid", message, expression.pointer, position)
        else:
            message = f"${undefined[1]} is not available here{_hint(undefined[1], findings)}"
            findings.error("expression.unknown-variable", message, expression.pointer, position)


def _hint(name: str, findings: Findings) -> str:
    if name in STANDARD_VARIABLES:
        return ": see docs/language.md for what is available where"
    return findings.hint(name, STANDARD_VARIABLES) or ": a loop or a catch around it, or `as`, would have to define it"
