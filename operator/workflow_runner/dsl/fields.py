"""Reading the parts of a document: types, required and unknown members, expressions, durations.

`read_document_parts` and `read_tasks` use it; every method notes what is wrong and goes on, so that all errors of
a document are told at once. Where a value cannot be read the answer is None (or the default).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct, field

from workflow_runner.dsl.belonging import Levels, home_of
from workflow_runner.dsl.diagnostics import Findings
from workflow_runner.dsl.durations import UNITS, duration_from_json
from workflow_runner.dsl.jq_tokens import NotTokens, mentions
from workflow_runner.dsl.model import Authentication, Duration, ErrorDefinition, RetryPolicy, Schema
from workflow_runner.dsl.nodes import Node, escape, items
from workflow_runner.dsl.templates import (
    ArrayTemplate,
    Expression,
    Json,
    Literal,
    ObjectTemplate,
    Position,
    Template,
)

Scope = frozenset[str]
"""The variables, without `$`, that an expression may use."""

Found = dict[str, tuple[str, Node]]
"""Members of an object as name → (pointer, value)."""

WORKFLOW_INPUT: Scope = frozenset({"secrets", "workflow", "runtime"})
WORKFLOW_OUTPUT: Scope = WORKFLOW_INPUT | {"context"}
TASK_INPUT: Scope = WORKFLOW_OUTPUT | {"task"}
TASK_BODY: Scope = TASK_INPUT | {"input", "authorization"}
TASK_EXPORT: Scope = TASK_BODY | {"output"}
"""What is available where (dsl.md, "Runtime expression arguments"); loops and catches add their own."""

STANDARD_VARIABLES: Scope = TASK_EXPORT

ANYWHERE: Scope = frozenset({"*"})
"""For reusable parts as such: their variables are those of the tasks that use them, for which they are read again."""

LONGEST_EXPRESSION = 16 * 1024
"""Characters of one expression; compiling takes time that grows with their square."""

_WHOLE = re.compile(r"(\s*\$\{)(.*)\}\s*", re.DOTALL)
_MEANT = re.compile(r"\$\{\s*[.$]")
_PLAIN_DURATION = re.compile(r"([0-9]{1,9}) ?(ms|[smhd]|(?:milli)?seconds?|minutes?|hours?|days?|secs?|mins?)")
_UNITS_BY_LETTER = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z_0-9]*")

_TYPE_NAMES: Mapping[type, str] = {
    type(None): "null",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    list: "an array",
    dict: "an object",
}


class Fields(Struct):
    """One document being read. `secrets` are the declared ones; `expressions` all that were found so far, and `sealed` those
    of Workflow.sealed.

    `authentications`, `errors`, `retries` and `timeouts` are the nodes of the reusable parts; `read_authentications`,
    `read_errors`, `read_retries` and `read_timeouts` what they become among the variables that are available where they
    are used. `schemas` are all that were found so far.
    """

    findings: Findings
    secrets: tuple[str, ...] = ()
    authentications: dict[str, tuple[str, Node]] = field(default_factory=dict)
    errors: dict[str, tuple[str, Node]] = field(default_factory=dict)
    retries: dict[str, tuple[str, Node]] = field(default_factory=dict)
    timeouts: dict[str, tuple[str, Node]] = field(default_factory=dict)
    expressions: list[Expression] = field(default_factory=list)
    sealed: set[Expression] = field(default_factory=set)
    read_authentications: dict[tuple[str, Scope], Authentication | None] = field(default_factory=dict)
    read_errors: dict[tuple[str, Scope], ErrorDefinition | None] = field(default_factory=dict)
    read_retries: dict[tuple[str, Scope], RetryPolicy | None] = field(default_factory=dict)
    read_timeouts: dict[tuple[str, Scope], Duration | None] = field(default_factory=dict)
    schemas: list[Schema] = field(default_factory=list)
    levels: Levels = field(default_factory=dict)
    functions: dict[str, tuple[str, Node]] = field(default_factory=dict)
    catalogs: dict[str, tuple[str, Node]] = field(default_factory=dict)
    loose: bool = False
    """`evaluate.mode: loose`: any string of a template is an expression when `compiles` says so of it."""
    compiles: Callable[[Expression], bool] = lambda _: True

    def seal(self, templates: Iterable[Template | None]) -> None:
        """What these give never becomes data; of those only that are expressions and not made of some."""
        self.sealed.update(each for each in templates if isinstance(each, Expression))

    def members(
        self,
        node: Node,
        pointer: str,
        known: Iterable[str],
        *,
        required: Iterable[str] = (),
        what: str = "value",
    ) -> Found:
        """The known members of an object."""
        if not self.expect(node, pointer, dict, what):
            return {}
        known = tuple(known)
        found: Found = {}
        self.levels[pointer] = (what, known)
        for name, place, key, child in items(node, pointer):
            if name in known:
                found[name] = (place, child)
            else:
                self._unknown(name, pointer, place, key)
        for name in required:
            if name not in node.members:
                self.findings.error("property.missing", f"{what} needs {name!r}", pointer, node.position)
        return found

    def _unknown(self, name: str, pointer: str, place: str, key: Position) -> None:
        what, known = self.levels[pointer]
        home = home_of(name, what, pointer, self.levels)
        if home is not None:
            self.findings.error("property.misplaced", f"{name!r} does not belong in {what}", place, key, hint=home)
            return
        hint = self.findings.suggestion(name, known) or (f"it can have {', '.join(known)}" if known else "it has no members")
        self.findings.error("property.unknown", f"{what} has no {name!r}", place, key, hint=hint)

    def expect(self, node: Node, pointer: str, wanted: type, what: str) -> bool:
        """Note an error unless the value is of a type (an integer is no boolean)."""
        value = node.json
        if isinstance(value, wanted) and not (wanted is int and isinstance(value, bool)):
            return True
        hint = _rewritten(value, wanted)
        message = f"{what} must be {_wanted(wanted)}, not {type_name(value)}"
        self.findings.error("property.wrong-type", message, pointer, node.position, hint=hint)
        return False

    def string(self, found: tuple[str, Node] | None, what: str) -> str | None:
        """A string, or None where there is none."""
        if found is None or not self.expect(found[1], found[0], str, what):
            return None
        return str(found[1].json)

    def name(self, found: tuple[str, Node] | None, what: str, default: str) -> str:
        """The name of a variable (`each`, `at`, `as`)."""
        text = self.string(found, what)
        self.findings.variables.add(default if text is None else text)
        if found is None or text is None:
            return default
        if _IDENTIFIER.fullmatch(text) is None:
            message = f"{what} is {text!r}, which is no name for a variable: letters, digits and _, without $"
        elif text in STANDARD_VARIABLES:
            message = f"{what} is {text!r}, which is a variable of the language already"
        else:
            return text
        self.findings.error("variable.bad-name", message, found[0], found[1].position)
        return default

    def one_of(self, found: tuple[str, Node] | None, what: str, choices: tuple[str, ...]) -> str | None:
        """A string that is one of a few."""
        text = self.string(found, what)
        if found is None or text is None or text in choices:
            return text
        hint = self.findings.suggestion(text, choices) or f"it is one of {', '.join(choices)}"
        self.findings.error("property.bad-value", f"{what} cannot be {text!r}", found[0], found[1].position, hint=hint)
        return None

    def free_object(self, found: tuple[str, Node] | None, what: str) -> Mapping[str, Json]:
        """An object of anything, such as `metadata`."""
        if found is None or not self.expect(found[1], found[0], dict, what):
            return {}
        json = found[1].json
        return json if isinstance(json, dict) else {}

    def whole(self, found: tuple[str, Node] | None, what: str, *, least: int, most: int) -> int | None:
        """An integer within bounds."""
        if found is None or not self.expect(found[1], found[0], int, what):
            return None
        value = found[1].json
        if isinstance(value, int) and least <= value <= most:
            return value
        message = f"{what} must be between {least} and {most}"
        self.findings.error("property.bad-value", message, found[0], found[1].position)
        return None

    def condition(self, found: tuple[str, Node] | None, what: str, scope: Scope) -> Expression | None:
        """A property that is an expression, with or without `${ }` around it."""
        if found is None or not self.expect(found[1], found[0], str, what):
            return None
        pointer, node = found
        whole = _WHOLE.fullmatch(str(node.json))
        if whole is None:
            return self._expression(str(node.json), 0, pointer, node, scope)
        return self._expression(whole[2], len(whole[1]), pointer, node, scope)

    def filter(self, found: tuple[str, Node] | None, what: str, scope: Scope) -> Template | None:
        """A property that is an expression or an object with expressions in it (`input.from`, `output.as`, `export.as`)."""
        if found is None:
            return None
        pointer, node = found
        if isinstance(node.json, str):
            return self.condition(found, what, scope)
        if isinstance(node.json, dict):
            return self.template(node, pointer, scope)
        message = f"{what} must be an expression or an object, not {type_name(node.json)}"
        self.findings.error("property.wrong-type", message, pointer, node.position)
        return None

    def text(self, found: tuple[str, Node] | None, what: str, scope: Scope) -> Template | None:
        """A string that may be `${ … }` as a whole."""
        if found is None or not self.expect(found[1], found[0], str, what):
            return None
        return self.template(found[1], found[0], scope)

    def template(self, node: Node, pointer: str, scope: Scope) -> Template:
        """Any value with `${ … }` strings in it."""
        value = node.json
        if isinstance(value, str):
            return self._string(value, pointer, node, scope, loose=self.loose)
        if isinstance(value, dict):
            parts = [(name, self.template(child, place, scope)) for name, place, _, child in items(node, pointer)]
            if all(isinstance(part, Literal) for _, part in parts):
                return Literal(value)
            return ObjectTemplate(tuple(parts))
        if isinstance(value, list):
            elements = [self.template(child, f"{pointer}/{at}", scope) for at, child in enumerate(node.elements)]
            if all(isinstance(part, Literal) for part in elements):
                return Literal(value)
            return ArrayTemplate(tuple(elements))
        return Literal(value)

    def boolean(self, found: tuple[str, Node] | None, what: str, *, default: bool) -> bool:
        """True or false; the default where there is none."""
        if found is None or not self.expect(found[1], found[0], bool, what):
            return default
        return found[1].json is True

    def code(self, found: tuple[str, Node] | None, what: str, scope: Scope) -> Template | None:
        """A text of another language, where `${` is nothing unusual: an expression only if it is `${ … }` as a whole, in
        either mode. What looks like an expression of ours inside gets a warning."""
        if found is None or not self.expect(found[1], found[0], str, what):
            return None
        pointer, node = found
        text = str(node.json)
        if _WHOLE.fullmatch(text) is not None or _MEANT.search(text) is not None:
            return self._string(text, pointer, node, scope, loose=False)
        return Literal(text)

    def is_expression(self, value: str) -> bool:
        """Whether a string is `${ … }` as a whole."""
        return _WHOLE.fullmatch(value) is not None

    def duration(self, found: tuple[str, Node] | None, what: str, scope: Scope) -> Duration | None:
        """A duration, or an expression that gives one."""
        if found is None:
            return None
        pointer, node = found
        value = node.json
        if isinstance(value, str) and _WHOLE.fullmatch(value):
            return self.condition(found, what, scope)
        if isinstance(value, dict):
            self.members(node, pointer, UNITS, what="a duration")
            if any(name not in UNITS for name in value):
                return None
        try:
            return duration_from_json(value)
        except ValueError as error:
            if self.loose and isinstance(value, str):
                return self.condition(found, what, scope)
            hint = duration_hint(value)
            self.findings.error("duration.invalid", f"{what}: {error}", pointer, node.position, hint=hint)
            return None

    def _string(self, value: str, pointer: str, node: Node, scope: Scope, *, loose: bool) -> Template:
        whole = _WHOLE.fullmatch(value)
        if whole is not None and not _several(whole[2]):
            expression = self._expression(whole[2], len(whole[1]), pointer, node, scope, value if loose else None)
            return expression if expression is not None else Literal(None)
        if loose and (found := self._loose(value, pointer, node, scope)) is not None:
            return found
        if "${" in value:
            open_ended = value.lstrip().startswith("${") and "}" not in value
            self.findings.warning(
                "expression.embedded",
                "this is text, not an expression: "
                + ("the closing } is missing" if open_ended else "${ … } must be the whole string"),
                pointer,
                node.position,
                hint=f"write {value.strip()[:100]} }}" if open_ended else 'write ${ "… \\(.value) …" }',
            )
        return Literal(value)

    def _loose(self, value: str, pointer: str, node: Node, scope: Scope) -> Expression | None:
        """The expression that a string without `${ }` is in loose mode, or None when it cannot be one."""
        if len(value) > LONGEST_EXPRESSION or not value.strip():
            return None
        try:
            said = mentions(value)
        except NotTokens:
            return None
        needed = self.secrets if said.secrets is None else tuple(sorted(said.secrets))
        if said.forbidden is not None or any(name not in self.secrets for name in needed):
            return None
        expression = Expression(
            source=value,
            variables=tuple(sorted(said.variables if scope is ANYWHERE else said.variables & scope)),
            secrets=needed,
            pointer=pointer,
            position=node.exact or node.position,
            exact=node.exact is not None,
            otherwise=value,
        )
        if not self.compiles(expression):
            return None
        self.expressions.append(expression)
        return expression

    def _expression(
        self, source: str, offset: int, pointer: str, node: Node, scope: Scope, otherwise: str | None = None
    ) -> Expression | None:
        exact = node.exact is not None
        position = Position(node.exact.line, node.exact.column + offset) if node.exact else node.position
        if len(source) > LONGEST_EXPRESSION:
            message = f"the expression has {len(source)} characters, more than {LONGEST_EXPRESSION}"
            self.findings.error("expression.too-long", message, pointer, position)
            return None
        if not source.strip():
            self.findings.error("expression.invalid", "the expression is empty", pointer, position)
            return None

        def at(place: int) -> Position:
            return Position(position.line, position.column + place) if exact else position

        try:
            said = mentions(source)
        except NotTokens as error:
            self.findings.error("expression.invalid", f"the expression cannot be read: {error}", pointer, at(error.offset))
            return None
        if said.forbidden is not None:
            name, why, place = said.forbidden
            self.findings.error("expression.forbidden", f"{name} cannot be used: {why}", pointer, at(place))
            return None
        needed = self.secrets if said.secrets is None else tuple(sorted(said.secrets))
        for name in needed:
            if name not in self.secrets:
                hint = self.findings.suggestion(name, self.secrets) or "list it under use.secrets"
                where = at(source.find(name, source.find("secrets")))
                self.findings.error("secret.undeclared", f"the secret {name!r} is not declared", pointer, where, hint=hint)
        expression = Expression(
            source=source,
            variables=tuple(sorted(said.variables if scope is ANYWHERE else said.variables & scope)),
            secrets=needed,
            pointer=pointer,
            position=position,
            exact=exact,
            otherwise=otherwise,
        )
        self.expressions.append(expression)
        return expression


class Place(Struct, frozen=True):
    """A task being read: its node and pointer, and what its parts have in common."""

    node: Node
    pointer: str
    variables: Scope  # of the loops and catches around it
    common: dict[str, Any]  # keyword arguments of Task

    @property
    def body(self) -> Scope:
        """What expressions of the task's own definition may use."""
        return TASK_BODY | self.variables


def _several(inner: str) -> bool:
    """True for the inside of a string such as `${ .a } and ${ .b }`: text that only looks like one expression."""
    if "${" not in inner:
        return False
    try:
        mentions(inner)
    except NotTokens:
        return True
    return False


def duration_hint(value: Json) -> str:
    """How a duration such as `30s` or `5 minutes` is written in the language; nothing for what looks like none."""
    found = _PLAIN_DURATION.fullmatch(value.strip().lower()) if isinstance(value, str) else None
    if found is None:
        return ""
    unit = "milliseconds" if found[2].startswith(("ms", "milli")) else _UNITS_BY_LETTER[found[2][0]]
    return f"write {{{unit}: {found[1]}}}"


def _rewritten(value: Json, wanted: type) -> str:
    """How a value of another type is written, where that can be said."""
    match value:
        case int() | float() if wanted is str:
            return "put it in quotes"
        case str() if wanted is int and value.strip().isdigit():
            return "leave the quotes out"
        case str() if wanted is bool:
            return "write true or false, without quotes"
        case dict() if wanted is list:
            first = next(iter(value), "name")
            return f"write a list: each entry begins with a dash, `- {first[:60]}: …`"
        case list() if wanted is dict:
            return "write names with values, without dashes"
        case str() if wanted is dict:
            return "write an object: names with values"
        case _:
            return ""


def type_name(value: Json) -> str:
    """What people call the type of a value."""
    return _TYPE_NAMES[type(value)]


def _wanted(wanted: type) -> str:
    return "a whole number" if wanted is int else _TYPE_NAMES[wanted]


def child(pointer: str, name: str) -> str:
    """The pointer of a member."""
    return f"{pointer}/{escape(name)}"
