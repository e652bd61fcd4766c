"""Compiled jq programs, and the texts they are compiled from and fed with.

A program with variables is compiled as `.[0] as $a | .[1] as $b | .[2] | (… )` and gets an array of their values
and its data, so the same compiled program serves every evaluation. `evaluate` uses `program_for` in this
process; `hosts.jq_worker` uses `compile_text` and `single_value` in its child.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import jq
import msgspec
from msgspec import Struct

from workflow_runner.dsl.jq_tokens import FORBIDDEN_FUNCTIONS, FORBIDDEN_VARIABLES
from workflow_runner.dsl.templates import Expression, Json
from workflow_runner.expressions.bounds import in_process_limit
from workflow_runner.expressions.paths import Path, read_path

_CACHED_PROGRAMS = 2048
_KEYWORDS = frozenset({"import", "include"})  # no definition can have these names; between brackets jq refuses them
_ALSO_WITH_ARGUMENT = ("debug", "halt_error", "strflocaltime")
_SHADOWED = (*sorted(FORBIDDEN_FUNCTIONS.keys() - _KEYWORDS), *(f"{name}(f)" for name in _ALSO_WITH_ARGUMENT))
# What validation refuses does nothing even where a document was not validated.
_SHADOWS = "".join(f'def {head}: error("{head.removesuffix("(f)")} cannot be used here"); ' for head in _SHADOWED) + "".join(
    f"null as ${name} | " for name in sorted(FORBIDDEN_VARIABLES)
)
_PLACE = re.compile(r" at <top-level>, line (\d+), column (\d+)")
_MAY_GIVE_NAN = re.compile(r"[-*/%]|nan|inf|num|json|log|sqrt|pow|exp|sin|cos|tan|gamma|erf|[jy][01n]|mod|rem|flo|hyp|sca|fma")
_MISSING = object()

dump_strictly = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
"""The same as `dump`, slower; raises ValueError for NaN."""
_fast = msgspec.json.Encoder().encode


def dump(value: Json) -> str:
    """JSON text as it is given to jq; NaN is null. Raises RecursionError for nesting that is too deep."""
    try:
        return _fast(value).decode()
    except UnicodeEncodeError:  # half of a surrogate pair: JSON can say that in ASCII only
        return dump_strictly(value)


class InvalidProgram(ValueError):
    """jq refuses the program. `line` and `column` count from 1 within the expression; 0 where unknown."""

    def __init__(self, message: str, line: int = 0, column: int = 0) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


class EvaluationFailed(ValueError):
    """The program ended in an error, or did not give exactly one value."""


class Program(Struct):
    """A compiled expression. Either `path` answers without jq, or `compiled` (None until first used) does.

    `limit` is the size of data up to which it may run in this process (bounds); `text` is what jq compiles.
    """

    text: str
    variables: tuple[str, ...]
    path: Path | None
    limit: int
    may_give_nan: bool = True
    compiled: Any = None

    @property
    def bounded(self) -> bool:
        """True when the program's cost is bounded by its data (bounds.provably_bounded)."""
        return self.path is not None or self.limit > 0

    def payload(self, data: Json, variables: Mapping[str, Json]) -> str:
        """The JSON text to feed the program with. Raises ValueError or RecursionError for what is not JSON."""
        if not self.variables:
            return dump(data)
        given = [variables[name] for name in self.variables]
        given.append(data)
        return dump(given)

    def run(self, payload: str) -> Json:
        """Evaluate in this process. Raises EvaluationFailed, or InvalidProgram at the first use."""
        if self.compiled is None:
            self.compiled = compile_text(self.text)
        return single_value(self.compiled, payload, may_give_nan=self.may_give_nan)


def program_text(source: str, variables: tuple[str, ...]) -> str:
    """What jq compiles for an expression: the bindings on the first line, the expression from the second on."""
    bindings = "".join(f".[{place}] as ${name} | " for place, name in enumerate(variables))
    last = f".[{len(variables)}] | " if variables else ""
    return f"{_SHADOWS}{bindings}{last}(\n{source}\n)"


def compile_text(text: str) -> Any:
    """The compiled program of a text that `program_text` made. Raises InvalidProgram."""
    try:
        return jq.compile(text)
    except ValueError as error:
        raise _invalid(str(error), text) from error


def builtins() -> list[str]:
    """The functions that jq has, as `name/number of arguments`."""
    found: list[str] = jq.compile("[builtins]").input_text("null").first()[0]
    return found


def single_value(compiled: Any, payload: str, *, may_give_nan: bool = True) -> Json:
    """Run a compiled program over JSON text. No value is null; more than one is an error.

    Raises EvaluationFailed.
    """
    try:
        results = iter(compiled.input_text(payload))
        value: Json = next(results, None)
        if next(results, _MISSING) is not _MISSING:
            raise EvaluationFailed("it gives more than one value; collect them with [ … ]")
        return _without_nan(value) if may_give_nan else value
    except EvaluationFailed:
        raise
    except ValueError as error:
        raise EvaluationFailed(str(error)) from error
    except RecursionError as error:
        raise EvaluationFailed("its result is nested too deeply") from error


def _without_nan(value: Json) -> Json:
    """The value with null for NaN, as jq itself writes it. Raises RecursionError."""
    if isinstance(value, float | list | dict):
        try:
            dump_strictly(value)
        except ValueError:
            cleaned: Json = json.loads(json.dumps(value), parse_constant=lambda _: None)
            return cleaned
    return value


_programs: dict[str, Program] = {}


def program_for(expression: Expression) -> Program:
    """The program of an expression, kept for the next time; over the bound the older half is forgotten."""
    key = expression.key
    program = _programs.get(key)
    if program is not None:
        return program
    source, variables = expression.source, expression.variables
    path = read_path(source)
    if path is not None and path.variable is not None and path.variable not in variables:
        path = None  # not a variable here: jq says so
    program = Program(
        text=program_text(source, variables),
        variables=variables,
        path=path,
        limit=0 if path is not None else in_process_limit(source),
        may_give_nan=_MAY_GIVE_NAN.search(source) is not None,
    )
    if len(_programs) >= _CACHED_PROGRAMS:
        # By another thread at this moment, too: whoever is late finds them gone.
        for older in list(_programs)[: _CACHED_PROGRAMS // 2]:
            _programs.pop(older, None)
    _programs[key] = program
    return program


def check(expression: Expression) -> None:
    """Compile an expression without running it. Raises InvalidProgram."""
    program = program_for(expression)
    if program.path is None and program.compiled is None:
        program.compiled = compile_text(program.text)


def _invalid(said: str, text: str) -> InvalidProgram:
    """jq's message without its frame, and with the place within the expression in characters."""
    first = said.partition("\n")[0].removeprefix("jq: error: ")
    place = _PLACE.search(first)
    if place is None:
        return InvalidProgram(first)
    message = first[: place.start()]
    line, column = int(place[1]) - 1, int(place[2])
    lines = text.split("\n")
    if line < 1:
        return InvalidProgram(message)
    if line >= len(lines) - 1:  # the frame around it
        return InvalidProgram("it ends too early", len(lines) - 2, len(lines[-2].rstrip()) + 1)
    before = lines[line].encode()[: column - 1].decode(errors="ignore")
    return InvalidProgram(message, line, len(before) + 1)
