"""The tokens of a jq program, and what they say about it without running it.

jq's own compiler decides what is valid; this reader only has to find names reliably: which variables and
functions a program mentions, and where. The loader uses it to bind only what is mentioned and to refuse
what would make a run unrepeatable; `expressions.bounds` estimates what a program can cost.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from typing import Literal, NamedTuple, TypeAlias

from msgspec import Struct

Kind: TypeAlias = Literal["name", "field", "key", "variable", "number", "string", "format", "op"]


class Token(NamedTuple):
    """One token. `text` of a field, variable, key or format has no `.`, `$` or `@`.

    A string gives one token with its text between the quotes as written; one with interpolations gives one
    before each, the tokens inside bracketed by the operators `\\(` and `)`, and one at its end.
    """

    kind: Kind
    text: str
    offset: int


class NotTokens(ValueError):
    """The program has brackets or quotes that do not match, or a character that jq does not know."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


_TOKEN = re.compile(
    r"""
      (?P<space>[ \t\r\n]+|\#(?:\\(?:\r\n|[\s\S])|[^\n\\])*\\?)
    | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | \.(?P<field>[a-zA-Z_][a-zA-Z_0-9]*)
    | \$\s*(?P<variable>(?:[a-zA-Z_][a-zA-Z_0-9]*::)*[a-zA-Z_][a-zA-Z_0-9]*)
    | @(?P<format>[a-zA-Z0-9_]+)
    | (?P<name>(?:[a-zA-Z_][a-zA-Z_0-9]*::)*[a-zA-Z_][a-zA-Z_0-9]*)
    | (?P<quote>")
    | (?P<op>\?//=?|//=?|\|=|\+=|-=|\*=|/=|%=|==|!=|<=|>=|\.\.|[.,:;|=<>+\-*/%?()\[\]{}$])
    """,
    re.VERBOSE,
)
_STRING_PART = re.compile(r'(?:[^"\\]|\\[^(])*')
_CLOSERS = {")": "(", "]": "[", "}": "{"}


def tokens(program: str) -> list[Token]:
    """The tokens of a program, without spaces and comments. Raises NotTokens."""
    return list(_scan(program))


def _scan(program: str) -> Iterator[Token]:
    stack: list[str] = []  # open brackets; '"' where an interpolation was opened
    previous = ""  # the operator before this token, when it was one
    at = 0
    while at < len(program):
        match = _TOKEN.match(program, at)
        if match is None:
            raise NotTokens(f"{program[at]!r} cannot stand here", at)
        kind, text, start = match.lastgroup, match[match.lastgroup or 0], at
        at = match.end()
        if kind == "space":
            continue
        if kind == "quote":
            at = yield from _string(program, at, stack)
            previous = ""
            continue
        if kind == "op":
            if text in _CLOSERS:
                resumed = _close(stack, text, start)
                yield Token("op", text, start)
                previous = text
                if resumed:
                    at = yield from _string(program, at, stack)
                    previous = ""
                continue
            if text in "([{":
                stack.append(text)
            yield Token("op", text, start)
            previous = text
            continue
        if kind == "name" and stack and stack[-1] == "{" and previous in ("{", ","):
            kind = "key"
        yield Token(kind, text, start)  # type: ignore[arg-type]  # the groups of _TOKEN are the kinds
        previous = ""
    if stack:
        raise NotTokens(f"{stack[-1]!r} is never closed", len(program))


def _close(stack: list[str], text: str, offset: int) -> bool:
    """Take the bracket that `text` closes off the stack; True when a string goes on after it."""
    opener = stack.pop() if stack else ""
    if opener == '"' and text == ")":
        return True
    if opener != _CLOSERS[text]:
        raise NotTokens(f"{text!r} closes nothing", offset)
    return False


def _string(program: str, at: int, stack: list[str]) -> Generator[Token, None, int]:
    """Read the part of a string that begins at `at`; returns where to go on."""
    match = _STRING_PART.match(program, at)
    end = match.end() if match else at
    yield Token("string", program[at:end], at)
    if program.startswith('"', end):
        return end + 1
    if program.startswith("\\(", end):
        stack.append('"')
        yield Token("op", "\\(", end)
        return end + 2
    raise NotTokens("a string is never closed", at)


FORBIDDEN_FUNCTIONS = {
    "env": "it would read the runner's environment",
    "now": "a run would differ from its replay",
    "localtime": "it depends on where the runner stands",
    "strflocaltime": "it depends on where the runner stands",
    "input": "there is no further input",
    "inputs": "there is no further input",
    "input_filename": "there is no file",
    "input_line_number": "there is no file",
    "debug": "an expression has no console",
    "stderr": "an expression has no console",
    "halt": "use `then: end`",
    "halt_error": "use a `raise` task",
    "import": "there are no modules",
    "include": "there are no modules",
    "modulemeta": "there are no modules",
    "get_search_list": "there are no modules",
    "get_jq_origin": "it would tell where the runner is installed",
    "get_prog_origin": "it would tell where the runner is installed",
}
"""jq functions that an expression may not use, and why."""

FORBIDDEN_VARIABLES = {
    "ENV": "it would read the runner's environment",
    "__prog_args": "there is no command line",
}


class Mentions(Struct, frozen=True):
    """What a program mentions.

    `variables` are all `$names`, its own local ones too. `forbidden` is the first use of something that no
    expression may use: (name as written, why, offset). `secrets` are the names after `$secrets`, and None
    when the program uses `$secrets` in another way, so that they cannot be known.
    """

    variables: frozenset[str]
    forbidden: tuple[str, str, int] | None
    secrets: frozenset[str] | None


def mentions(program: str) -> Mentions:
    """Read a program's names. Raises NotTokens."""
    found = tokens(program)
    variables: set[str] = set()
    secrets: set[str] | None = set()
    forbidden: tuple[str, str, int] | None = None
    for number, token in enumerate(found):
        if token.kind == "variable":
            variables.add(token.text)
            if forbidden is None and token.text in FORBIDDEN_VARIABLES:
                forbidden = ("$" + token.text, FORBIDDEN_VARIABLES[token.text], token.offset)
            if token.text == "secrets" and secrets is not None:
                name = _member(found, number + 1)
                secrets = None if name is None else secrets | {name}
        elif token.kind == "name" and forbidden is None and token.text in FORBIDDEN_FUNCTIONS:
            forbidden = (token.text, FORBIDDEN_FUNCTIONS[token.text], token.offset)
    return Mentions(frozenset(variables), forbidden, None if secrets is None else frozenset(secrets))


def _member(found: list[Token], at: int) -> str | None:
    """The fixed name of the member taken from the value before token `at`: `.name`, `."name"`, `["name"]`."""
    shape = [(token.kind, token.text) for token in found[at : at + 4]]
    match shape:
        case [("field", name), *_]:
            return name
        case [("op", "."), ("string", name), *rest] if rest[:1] != [("op", "\\(")] and "\\" not in name:
            return name
        case [("op", "."), ("op", "["), ("string", name), ("op", "]")] | [("op", "["), ("string", name), ("op", "]"), *_]:
            return name if "\\" not in name else None
        case _:
            return None
