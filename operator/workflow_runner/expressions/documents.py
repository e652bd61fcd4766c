"""Reading a document completely: structure, validation, jq's compiler over every expression, and every schema.

The command line, the operator's validating child and launched pods accept a document here and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from workflow_runner.dsl.diagnostics import Diagnostic, Findings
from workflow_runner.dsl.fields import STANDARD_VARIABLES
from workflow_runner.dsl.jq_tokens import FORBIDDEN_FUNCTIONS
from workflow_runner.dsl.loader import load_node, load_text
from workflow_runner.dsl.model import Schema, TaskList, Workflow
from workflow_runner.dsl.nodes import escape
from workflow_runner.dsl.templates import Expression, Json, Position
from workflow_runner.dsl.validation import validate
from workflow_runner.expressions.programs import InvalidProgram, builtins
from workflow_runner.expressions.programs import check as check_program
from workflow_runner.expressions.schemas import InvalidSchema, check_schema, count_patterns

_UNDEFINED = re.compile(r"\$(\w+) is not defined")
_NO_FUNCTION = re.compile(r"(\w{1,80})/\d+ is not defined.*")

MAX_EXPRESSIONS = 3_000
"""jq needs about a millisecond for each; whether a document is accepted must not depend on how busy a machine is."""

MAX_PATTERNS = 500
"""Regular expressions in schemas; a long one takes some milliseconds and a megabyte."""


def read_document(
    source: str | bytes | Mapping[str, Any], file: str = "<document>", *, check: bool = True, runnable: bool = True
) -> tuple[Workflow, list[Diagnostic]]:
    """The workflow that a text or an object describes, and the warnings about it.

    With `check` false validation, jq's compiler and the schemas are left out, for a document that was accepted
    before: they are then compiled when they are first used. With `runnable` false a document may have parts of
    the language that this version cannot run: warnings say so. Raises DocumentErrors with everything that is
    wrong, by position, warnings included.
    """
    findings = Findings(file, runnable=runnable)
    loose = _Loose(findings)
    if isinstance(source, str | bytes):
        workflow = load_text(source, findings, loose.compiles)
    else:
        workflow = load_node(source, findings, loose.compiles)
    if check:
        validate(workflow, findings)
        count = len(workflow.expressions)
        if count > MAX_EXPRESSIONS:
            message = f"the document has {count:,} expressions, and at most {MAX_EXPRESSIONS:,} are compiled"
            findings.error("document.too-many-expressions", message, "")
        for expression in workflow.expressions[:MAX_EXPRESSIONS]:
            _compile(expression, findings)
        _check_schemas(workflow, findings)
    findings.raise_errors()
    return workflow, findings.sorted()


def read_function(definition: Json, name: str, *, check: bool = True) -> TaskList:
    """A function that was fetched, as a list of one task; `name` is what it is called by. Raises DocumentErrors.

    It is a document of its own: it has no functions, secrets, … of the document that calls it.
    """
    document = {"dsl": "1.0.0", "namespace": "functions", "name": "function", "version": "1.0.0"}
    workflow, _ = read_document({"document": document, "do": [{name: definition}]}, name, check=check)
    return workflow.do


class _Loose:
    """Which strings are expressions in loose mode. Only as many are tried as a document may have expressions."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._tried: dict[str, bool] = {}

    def compiles(self, expression: Expression) -> bool:
        """Whether jq takes it."""
        known = self._tried.get(expression.key)
        if known is None:
            if len(self._tried) >= MAX_EXPRESSIONS:
                message = f"in loose mode every string may be an expression, and at most {MAX_EXPRESSIONS:,} are compiled"
                self._findings.error("document.too-many-expressions", message, "")
                return False
            try:
                check_program(expression)
                known = True
            except InvalidProgram:
                known = False
            self._tried[expression.key] = known
        return known


def _check_schemas(workflow: Workflow, findings: Findings) -> None:
    patterns = sum(count_patterns(schema.text) for schema in workflow.schemas if schema.text is not None)
    if patterns > MAX_PATTERNS:
        message = f"the document's schemas have {patterns:,} regular expressions, and at most {MAX_PATTERNS:,} are compiled"
        findings.error("document.too-many-patterns", message, "")
        return
    for schema in workflow.schemas:
        _check(schema, workflow, findings)


def _check(schema: Schema, workflow: Workflow, findings: Findings) -> None:
    if schema.text is None:
        return
    try:
        check_schema(schema.text)
    except InvalidSchema as error:
        pointer = schema.pointer + "".join(f"/{escape(str(part))}" for part in error.path)
        found = None if workflow.source is None else workflow.source.find(pointer)
        position = schema.position if found is None else found[1]
        findings.error("schema.invalid", f"{schema.name} is no JSON schema: {error}", pointer, position)


def _compile(expression: Expression, findings: Findings) -> None:
    try:
        check_program(expression)
    except InvalidProgram as error:
        position = expression.position
        if expression.exact and error.line == 1:
            position = Position(position.line, position.column + error.column - 1)
        undefined = _UNDEFINED.match(str(error))
        if undefined is None:
            message, hint = f"jq cannot compile this expression: {error}", _function_hint(str(error), findings)
            findings.error("expression.invalid", message, expression.pointer, position, hint=hint)
        else:
            message, hint = f"${undefined[1]} is not available here", _hint(undefined[1], findings)
            findings.error("expression.unknown-variable", message, expression.pointer, position, hint=hint)


def _hint(name: str, findings: Findings) -> str:
    if name in STANDARD_VARIABLES:
        return "see docs/language.md for what is available where"
    if name in findings.variables:
        return "a loop or a catch defines it elsewhere; it is known only inside of that"
    known = (f"${other}" for other in sorted({*STANDARD_VARIABLES, *findings.variables}))
    return findings.suggestion(f"${name}", known) or "a loop or a catch around it, or `as`, would have to define it"


def _function_hint(said: str, findings: Findings) -> str:
    """About a function that jq does not have: one of that name with other arguments, or of a similar name."""
    found = _NO_FUNCTION.fullmatch(said)
    if found is None:
        return ""
    known: dict[str, list[int]] = {}
    for entry in builtins():
        name, _, arguments = entry.partition("/")
        known.setdefault(name, []).append(int(arguments))
    if found[1] in known:
        numbers = " or ".join(map(str, sorted(known[found[1]])))
        many = "argument" if numbers == "1" else "arguments, with ; between them"
        return f"{found[1]} takes {numbers} {many}"
    return findings.suggestion(found[1], (name for name in sorted(known) if name not in FORBIDDEN_FUNCTIONS))
