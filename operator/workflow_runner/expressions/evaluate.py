"""Evaluating templates: the interpreter's door to jq.

`evaluate` is what tasks use; it awaits only where a program has to run in a killable worker, which the host
provides as `defer`. Every failure is a WorkflowFault of the `expression` type (DSL reference, "Runtime
Expressions"), or of the `authorization` type for a secret that has no value.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from msgspec import Struct

from workflow_runner.dsl.problems import AUTHORIZATION, EXPRESSION, Problem, WorkflowFault
from workflow_runner.dsl.templates import ArrayTemplate, Expression, Json, Literal, ObjectTemplate, Template
from workflow_runner.expressions.bounds import work
from workflow_runner.expressions.paths import PathError
from workflow_runner.expressions.programs import EvaluationFailed, InvalidProgram, program_for

_SHOWN = 200  # characters of a program or of jq's message that an error repeats


class JqRequest(Struct, frozen=True):
    """An evaluation for a killable worker: what jq compiles, and the JSON text it is fed with."""

    program: str
    payload: str

    def __repr__(self) -> str:
        """Without the data, in which the values of secrets are."""
        return "JqRequest()"


Defer: TypeAlias = Callable[[JqRequest], Awaitable[Json]]
"""Runs a program where it can be killed. Raises EvaluationFailed, also when it took too long or too much."""


Here: TypeAlias = Callable[[int], bool]
"""Whether a bounded program that costs so much (bounds.work) may run in this process now."""


async def evaluate(
    template: Template, data: Json, variables: Mapping[str, Json], defer: Defer, here: Here | None = None
) -> Json:
    """The value of a template over `data` (jq's `.`).

    `variables` has a value for every name that is available where the template stands; only those that a
    program mentions are looked up, so a lazy mapping costs nothing. The result may share parts with the
    data, the variables and the template: nobody may change it. What `here` says no to is deferred; None: nothing is, that
    is bounded. Raises WorkflowFault.
    """
    if isinstance(template, Expression):
        answer = _value(template, data, variables, here)
        return await _deferred(template, answer, defer) if isinstance(answer, JqRequest) else answer
    if isinstance(template, Literal):
        return template.value
    if isinstance(template, ObjectTemplate):
        members: dict[str, Json] = {}
        for key, part in template.items:
            # What needs no coroutine gets none: most parts are literals and programs that run here.
            if isinstance(part, Literal):
                members[key] = part.value
            elif isinstance(part, Expression):
                answer = _value(part, data, variables, here)
                members[key] = await _deferred(part, answer, defer) if isinstance(answer, JqRequest) else answer
            else:
                members[key] = await evaluate(part, data, variables, defer, here)
        return members
    return [await evaluate(part, data, variables, defer, here) for part in template.items]


class NeedsWorker(Exception):
    """`evaluate_here` met a program that may not run in this process."""


def evaluate_here(template: Template, data: Json, variables: Mapping[str, Json]) -> Json:
    """Like `evaluate`, for callers that cannot wait. Raises NeedsWorker where `evaluate` would defer."""
    if isinstance(template, Literal):
        return template.value
    if isinstance(template, Expression):
        answer = _value(template, data, variables)
        if isinstance(answer, JqRequest):
            raise NeedsWorker(template.source)
        return answer
    if isinstance(template, ObjectTemplate):
        return {key: evaluate_here(part, data, variables) for key, part in template.items}
    return [evaluate_here(part, data, variables) for part in template.items]


def truthy(value: Json) -> bool:
    """Whether a condition holds: as in jq, everything but false and null does."""
    return value is not None and value is not False


def _value(expression: Expression, data: Json, variables: Mapping[str, Json], here: Here | None = None) -> Json | JqRequest:
    """The value, when the program may run here; otherwise what to ask a worker. Raises WorkflowFault."""
    try:
        return _answer(expression, data, variables, here)
    except (EvaluationFailed, InvalidProgram) as error:
        if expression.otherwise is not None:
            return expression.otherwise
        raise _fault(expression, str(error)) from error


async def _deferred(expression: Expression, request: JqRequest, defer: Defer) -> Json:
    try:
        return await defer(request)
    except (EvaluationFailed, InvalidProgram) as error:
        if expression.otherwise is not None:
            return expression.otherwise
        raise _fault(expression, str(error)) from error


def _answer(expression: Expression, data: Json, variables: Mapping[str, Json], here: Here | None) -> Json | JqRequest:
    program = program_for(expression)
    if expression.secrets:
        _require_secrets(expression, variables)
    path = program.path
    if path is not None:
        try:
            return path.take(data if path.variable is None else variables[path.variable])
        except PathError as error:
            raise EvaluationFailed(str(error)) from error
    try:
        payload = program.payload(data, variables)
    except RecursionError as error:
        raise EvaluationFailed("its data is nested too deeply") from error
    except ValueError as error:
        raise EvaluationFailed(f"its data is not JSON: {error}") from error
    if len(payload) <= program.limit and (here is None or here(work(expression.source, len(payload)))):
        return program.run(payload)
    return JqRequest(program.text, payload)


def _require_secrets(expression: Expression, variables: Mapping[str, Json]) -> None:
    given = variables["secrets"]
    missing = [name for name in expression.secrets if not isinstance(given, dict) or name not in given]
    if missing:
        names = ", ".join(missing)
        raise WorkflowFault(
            Problem.standard(AUTHORIZATION, f"The secret {names} is declared but was given no value for this execution.")
        )


def _fault(expression: Expression, said: str) -> WorkflowFault:
    secret = next((name for name in ("secrets", "authorization") if name in expression.variables), None)
    if secret is not None:
        said = f"the evaluation failed; why is not told, since the expression uses ${secret}"
    source = " ".join(expression.source.split())
    return WorkflowFault(Problem.standard(EXPRESSION, f"${{ {_short(source)} }}: {_short(said)}"))


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


__all__ = ["ArrayTemplate", "Defer", "Here", "JqRequest", "NeedsWorker", "evaluate", "evaluate_here", "truthy"]
