"""Texts as Stigmer's authors write them, as the language has them; `tasks` calls it for every text of a spec.

In Stigmer `${ … }` may stand anywhere in a text, and names of the environment, of loops and of caught errors are written as
members of the data. In the language an expression is a whole text, and such names are variables:

    Bearer ${ .secrets.TOKEN }     ${ "Bearer \\($secrets.TOKEN)" }
    ${.item.id}                    ${$item.id}              inside of a loop over `item`
    ${TOKEN}                       ${ $secrets.TOKEN }      where env_spec has a TOKEN

Only names at the beginning of a path are taken for such, and only where `.` is still the task's input: after a pipe, or in
the arguments of a function, it is something else. There they are left, and a warning says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from msgspec import Struct, field

from workflow_runner.dsl.fields import LONGEST_EXPRESSION
from workflow_runner.dsl.jq_tokens import NotTokens, Token, mentions, tokens
from workflow_runner.stigmer.converter.configs import Problems

ENVIRONMENT = ("secrets", "env_vars")
"""Members of the data under which Stigmer has an execution's environment."""

ERROR_FIELDS: Mapping[str, str] = {
    **{name: name for name in ("type", "status", "title", "detail", "instance")},
    "message": "detail",
}
"""What is known of a caught error, by the names that it has in Stigmer."""

_OPEN = "${"
_NAME = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*")
_KEYWORDS = frozenset({"and", "or", "if", "then", "elif", "else", "try", "catch", "as", "def", "reduce", "foreach", "label"})
_REBINDS = frozenset({"catch", "def", "reduce", "foreach", "label"})
"""After these `.` may be anything."""


class Names(Struct):
    """The names that expressions may mean. `asked` collects those of the environment that were used."""

    environment: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()
    errors: frozenset[str] = frozenset()
    asked: set[str] = field(default_factory=set)

    def inside(self, *variables: str, error: str | None = None) -> Names:
        """The names inside of a loop with these variables, or where an error is caught."""
        caught = frozenset() if error is None else frozenset({error})
        new = frozenset(variables)
        return Names(self.environment, (self.variables - caught) | new, (self.errors - new) | caught, self.asked)


class Where(Struct, frozen=True):
    """The place of a text, for what is said about it."""

    problems: Problems
    names: Names
    pointer: str
    task: str

    def at(self, *parts: str | int) -> Where:
        """A place inside; the parts are escaped already."""
        return Where(self.problems, self.names, "/".join([self.pointer, *map(str, parts)]), self.task)

    def wrong(self, code: str, message: str, *, hint: str = "") -> None:
        """Note an error here."""
        self.problems.error(code, message, self.pointer, self.task, hint=hint)


def text(value: str, where: Where) -> str:
    """A text in which expressions may be: as it is, one `${ … }`, or a `${ "…" }` that puts the parts together."""
    parts = _parts(value, where)
    if parts is None or not any(is_expression for is_expression, _ in parts):
        return value
    significant = [part for part in parts if part[0] or part[1].strip()]
    if len(significant) == 1:
        return _marked(translated(significant[0][1], where))
    pieces = [_inserted(translated(part, where)) if is_expression else _quoted(part) for is_expression, part in parts]
    return f'${{ "{"".join(pieces)}" }}'


def has_expression(value: str) -> bool:
    """Whether a text is not only text."""
    return _OPEN in value


def expression(value: str, where: Where) -> str:
    """A text that is an expression as a whole, with `${ }` around it or without."""
    if _OPEN not in value:
        return _marked(translated(value, where))
    parts = _parts(value, where)
    if parts is None:
        return value
    significant = [part for part in parts if part[0] or part[1].strip()]
    if len(significant) != 1:
        where.wrong("stigmer.bad-expression", "this must be one expression", hint="put all of it into one ${ … }")
        return value
    return _marked(translated(significant[0][1], where))


def _marked(program: str) -> str:
    return f"${{{program}}}" if program[:1].isspace() else f"${{ {program.strip()} }}"


def _inserted(program: str) -> str:
    """A program inside of a string; a comment must not take the bracket with it."""
    end = "\n" if "#" in program else ""
    return f"\\({program.strip()}{end})"


def _quoted(value: str) -> str:
    """A text as it stands in a string of jq."""
    return json.dumps(value, ensure_ascii=False)[1:-1]


def _parts(value: str, where: Where) -> list[tuple[bool, str]] | None:
    """The pieces of a text, each with whether it is an expression; None when one has no end."""
    if _OPEN in value and len(value) > LONGEST_EXPRESSION:
        hint = "put what is long into the workflow's input, and name it by an expression"
        message = f"a text with an expression in it has {len(value)} characters, more than {LONGEST_EXPRESSION}"
        where.wrong("expression.too-long", message, hint=hint)
        return None
    parts: list[tuple[bool, str]] = []
    at = 0
    while (start := value.find(_OPEN, at)) >= 0:
        end = _end(value, start + len(_OPEN))
        if end is None:
            message = f"the expression at character {start + 1} has no end, or brackets that do not match"
            where.wrong("stigmer.bad-expression", message, hint="close it by }, or leave ${ out")
            return None
        if start > at:
            parts.append((False, value[at:start]))
        parts.append((True, value[start + len(_OPEN) : end]))
        at = end + 1
    if at < len(value):
        parts.append((False, value[at:]))
    return parts


def _end(value: str, start: int) -> int | None:
    """Where the `}` is that closes the expression that begins at `start`."""
    try:
        tokens(value[start:])
    except NotTokens as error:
        end = start + error.offset
        return end if value[end : end + 1] == "}" else None
    return None


def translated(program: str, where: Where) -> str:
    """A program with the language's names."""
    names = where.names
    if not program.strip():
        where.wrong("stigmer.bad-expression", "the expression is empty")
        return program
    whole = _NAME.fullmatch(program)
    if whole is not None:
        if whole[1] in names.variables | names.errors:
            return f"${whole[1]}"
        return f"$secrets.{whole[1]}" if whole[1] in names.environment else program
    try:
        found = tokens(program)
    except NotTokens:
        return program  # validation says what is wrong
    program = _replaced(program, found, where)
    names.asked |= mentions(program).secrets or frozenset()
    return program


def _replaced(program: str, found: list[Token], where: Where) -> str:
    """The program with its tokens' names replaced."""
    pieces: list[str] = []
    at = 0
    local = {found[number + 1].text for number, token in enumerate(found[:-1]) if (token.kind, token.text) == ("name", "as")}
    for number, root in enumerate(_roots(found)):
        if root is None or (found[number].kind == "variable" and found[number].text in local):
            continue
        change = _change(found[number : number + 3], where, root=root)
        if change is not None:
            new, end = change
            pieces += [program[at : found[number].offset], new]
            at = end
    return "".join([*pieces, program[at:]])


def _change(ahead: list[Token], where: Where, *, root: bool) -> tuple[str, int] | None:
    """What stands instead of the tokens that begin a path, and where the program goes on; None where nothing does."""
    names, first, *rest = where.names, *ahead
    variables = names.variables | names.errors
    name, end = first.text, _behind(first)
    if first.kind == "variable" and name != "data" and name not in names.errors:
        return None
    if first.kind == "variable" and name == "data":
        if not rest or rest[0].kind != "field" or rest[0].text not in variables:
            hint = "a task gets what the one before it gave (`.`), and what was exported is in $context"
            where.wrong("stigmer.bad-expression", "the language has no $data but for the variables of loops", hint=hint)
            return None
        name, end = rest[0].text, _behind(rest[0])
        del rest[0]
    if first.kind == "name":
        if name not in variables or not rest or rest[0].kind != "field":
            return None  # a function of jq, or what no program knows
        end = first.offset + len(name)
    if first.kind == "key":
        stands_alone = rest and rest[0].kind == "op" and rest[0].text in ",}"
        if not stands_alone or name not in variables:
            return None
        return f"{name}: ${name}", first.offset + len(name)
    is_environment = name in ENVIRONMENT and name not in variables and first.kind == "field"
    if not is_environment and name not in variables:
        return None
    new = "$secrets" if is_environment else f"${name}"
    if not root and first.kind == "field":
        message = f"`.{name}` is taken for a member of what comes out before it"
        hint = f"write {new} for {'the environment' if is_environment else 'the variable'}"
        where.problems.warning("stigmer.bad-expression", message, where.pointer, where.task, hint=hint)
        return None
    if name in names.errors and rest and rest[0].kind == "field":
        known = ERROR_FIELDS.get(rest[0].text)
        if known is None:
            hint = f"it has {', '.join(ERROR_FIELDS)}"
            where.wrong("stigmer.bad-expression", f"a caught error has no {rest[0].text!r:.80}", hint=hint)
            return None
        return f"{new}.{known}", _behind(rest[0])
    return new, end


def _behind(token: Token) -> int:
    """Where the program goes on after a field or a variable; spaces may be after a `$`, which nobody writes."""
    return token.offset + len(token.text) + 1


def _roots(found: list[Token]) -> list[bool | None]:
    """For each token: None where no path begins with it, else whether `.` is still the task's input there."""
    answers: list[bool | None] = []
    stack: list[tuple[bool, str]] = []
    root = True
    ends = False  # whether the token before this one ends a term
    called = False  # whether it is the name of a function
    for token in found:
        begins = not ends and token.kind in ("field", "key", "name", "variable")
        answers.append(root if begins else None)
        ends = token.kind != "op" and not (token.kind == "name" and token.text in _KEYWORDS)
        if token.kind == "name" and token.text in _REBINDS:
            root = False
        match token:
            case Token("op", "(" | "[" | "{" | "\\(" as bracket):
                stack.append((root, bracket))
                root = root and not (bracket == "(" and called)
            case Token("op", ")" | "]" | "}"):
                root, _ = stack.pop() if stack else (root, "")
                ends = True
            case Token("op", "|" | "|="):
                root = False
            case Token("op", ",") if stack and stack[-1][1] == "{":
                root = stack[-1][0]
            case Token("op", "?" | "." | ".."):
                ends = True
        called = token.kind == "name" and token.text not in _KEYWORDS
    return answers
