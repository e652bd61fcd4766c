"""What a jq program can cost at most, told from its text.

libjq holds the interpreter's lock, cannot be interrupted, and ends the whole process when memory runs out.
So a program runs in this process only where its time and memory are bounded by the size of its data; the
others go to a killable worker (`hosts.jq_worker`). The estimate errs on the safe side:

- Only known functions count as bounded. Recursion, `range`, `repeat`, `while`, `until`, `recurse`, `limit`,
  `input`, `reduce`, `foreach`, own definitions and regular expressions do not; nor does `*` without a
  number written beside it (it repeats strings), nor assignment to a computed array index (it allocates).
- Sizes. Within a stretch between pipes (and function arguments) every operand can bring the whole data once, so
  their number bounds the growth; stretches multiply. Encoders multiply by what they can add.
- Iterators (`.[]`, `map`, `..`) can repeat all that once for each element of the data, commas in brackets twice.
"""

from __future__ import annotations

from functools import lru_cache

from workflow_runner.dsl.jq_tokens import NotTokens, Token, tokens

IN_PROCESS_BYTES = 64 * 1024
"""Data (as JSON text) of this size or more never stays in the process."""

_BUDGET_BYTES = 8 * 1024 * 1024  # what one evaluation may build in this process
_LONGEST_PROGRAM = 4096
_LARGEST_INDEX = 1000

_KEYWORDS = frozenset({"if", "then", "elif", "else", "end", "and", "or", "as", "try", "catch"})
# keywords after which `[` begins an array; after any other name it takes an element
_PLAIN = frozenset(
    """
    abs acos acosh add arrays asin asinh atan atan2 atanh booleans bsearch cbrt ceil copysign cos cosh del
    delpaths drem empty endswith erf erfc error exp exp10 exp2 explode expm1 fabs fdim finites first flatten floor fma
    fmax fmin fmod frexp from_entries fromdate fromdateiso8601 fromjson gamma getpath gmtime has
    have_decnum have_literal_numbers hypot in infinite isempty isfinite isinfinite isnan isnormal iterables
    j0 j1 keys keys_unsorted last ldexp length lgamma lgamma_r log log10 log1p log2 logb ltrim ltrimstr max
    min mktime modf nan nearbyint nextafter nexttoward normals not nth null true false nulls numbers objects pow
    remainder reverse rint round rtrim rtrimstr scalars scalb scalbln select significand sin sinh sort sqrt
    startswith strings tan tanh tgamma to_entries toboolean todate todateiso8601 tonumber trim trimstr trunc type unique
    utf8bytelength values y0 y1 ascii_downcase ascii_upcase
    """.split()  # noqa: SIM905 - a hundred quoted names would be unreadable
)
_ITERATING = frozenset(
    """
    map map_values with_entries paths transpose contains inside index rindex indices IN INDEX any all join tostream
    """.split()  # noqa: SIM905 - as above
)
_COMPARING = frozenset({"group_by", "sort_by", "unique_by", "max_by", "min_by"})
# their argument can be as large as all the data for each element, and is compared with the others'
_GROWING = {"tojson": 6, "tostring": 6, "implode": 6, "strftime": 16, "strptime": 16}
_SLOW = {
    **dict.fromkeys(("ascii_downcase", "ascii_upcase"), 80),
    **dict.fromkeys(("add", "flatten", "from_entries", "reverse", "sort", "to_entries", "unique"), 40),
    **dict.fromkeys(("explode", "implode", "join", "split", "tostream"), 40),
    **dict.fromkeys(_COMPARING, 40),
}
_ITERATION = 50
# measured, as multiples of what reading a character costs (40 ns)
_ASSIGNMENTS = frozenset({"=", "|=", "+=", "-=", "*=", "/=", "%=", "//=", "?//="})
_FORMAT_GROWTH = 9  # @uri: three characters for each byte of a character


def in_process_limit(program: str) -> int:
    """The size of data, in bytes of JSON, up to which a program may run in a shared process; 0 is never."""
    if len(program) > _LONGEST_PROGRAM:
        return 0
    try:
        cost = _Cost(tokens(program))
    except NotTokens:
        return 0
    if not cost.bounded:
        return 0
    limit = cost.largest_data()
    return limit if limit >= 2 else 0


def work(program: str, size: int) -> int:
    """What a bounded program over so many bytes of data costs about, as the number of bytes that could be read meanwhile.

    The same for the same arguments, whatever the machine: a durable host counts with it when to pause.
    """
    weight, iterators = _weight(program)
    passes: int = max(1, size // 16) ** max(0, iterators - 1)
    return weight * size * passes


@lru_cache(maxsize=2000)
def _weight(program: str) -> tuple[int, int]:
    cost = _Cost(tokens(program))
    return 1 + cost.slow + _ITERATION * cost.iterators, cost.iterators - 2 * cost.comparisons


def provably_bounded(program: str) -> bool:
    """True when the time and memory of a program are bounded by the size of its data."""
    return in_process_limit(program) > 0


class _Cost:
    """One pass over a program's tokens. `bounded` is False as soon as something unknown was seen."""

    def __init__(self, found: list[Token]) -> None:
        self.bounded = True
        self.growth = 1
        self.iterators = 0
        self.comparisons = 0
        self.slow = 0
        self._operands = 0
        self._brackets: list[str] = []
        self._text = sum(len(token.text) for token in found)
        self._assigns = any(token.kind == "op" and token.text in _ASSIGNMENTS for token in found)
        for at, token in enumerate(found):
            self._take(found, at, token)
        self._end_stretch()

    def largest_data(self) -> int:
        """The data size at which the estimate reaches the budget: growth · size · elements^iterators."""
        if self.growth > _BUDGET_BYTES or self.iterators > 8:
            return 0
        size = (_BUDGET_BYTES * 2**self.iterators / self.growth) ** (1 / (self.iterators + 1))
        written = max(1, self._text // 2)  # a program can iterate over what is written in it, too
        if self.iterators:
            size = min(size, _BUDGET_BYTES / self.growth / written**self.iterators)
        return int(min(size, IN_PROCESS_BYTES - 1))

    def _end_stretch(self) -> None:
        self._multiply(max(1, self._operands))
        self._operands = 0

    def _multiply(self, factor: int) -> None:
        self.growth = min(self.growth * factor, _BUDGET_BYTES + 1)

    def _take(self, found: list[Token], at: int, token: Token) -> None:
        kind, text = token.kind, token.text
        if kind == "op":
            self._operator(found, at, text)
        elif kind == "name":
            self._name(text)
            if text == "split":
                self._split(found, at)
        elif kind == "format":
            self._multiply(_FORMAT_GROWTH)
            self._operands += 1
        elif kind == "field":
            self._operands += 0 if _ends_term(found, at - 1) else 1
        else:  # a variable, number, string or key
            self._operands += 1

    def _name(self, name: str) -> None:
        if name == "if":
            self._brackets.append("if")
        elif name == "end" and self._brackets and self._brackets[-1] == "if":
            self._brackets.pop()
        elif name in ("then", "elif", "else", "catch", "as"):
            self._end_stretch()
        elif name in _ITERATING:
            self.iterators += 1
        elif name in _COMPARING:
            self.iterators += 2
            self.comparisons += 1
        elif name in _GROWING:
            self._multiply(_GROWING[name])
        elif name not in _PLAIN and name not in _KEYWORDS and name != "split":
            self.bounded = False
        if name not in _KEYWORDS:
            self._operands += 1
        self.slow += _SLOW.get(name, 0)

    def _split(self, found: list[Token], at: int) -> None:
        """`split` by a written string; with two arguments it takes a regular expression."""
        shape = [(token.kind, token.text) for token in found[at + 1 : at + 4]]
        if len(shape) < 3 or shape[0] != ("op", "(") or shape[1][0] != "string" or shape[2] != ("op", ")"):
            self.bounded = False
        self._multiply(4)

    def _operator(self, found: list[Token], at: int, text: str) -> None:
        if text in ("|", ";", "|="):
            self._end_stretch()
        elif text == ",":
            if not self._brackets or self._brackets[-1] not in ("[", "{"):
                self._multiply(2)  # several values, of which each may meet several others
        elif text in (".", ".."):
            self._operands += 1
            if text == "..":
                self.iterators += 1
        elif text == "[":
            self._open_square(found, at)
        elif text in ("(", "{", "\\("):
            self._brackets.append(text)
            if text == "\\(":
                self._multiply(6)  # what becomes part of a string is written as JSON
            if text == "(" and at and found[at - 1].kind == "name":
                self._end_stretch()  # arguments see what the function was given, again and again
        elif text in (")", "]", "}"):
            if self._brackets:
                self._brackets.pop()
        elif text in ("*", "*="):
            self._repeat(found, at)

    def _open_square(self, found: list[Token], at: int) -> None:
        """An array that is built, or an element, iterator or slice of the value before it."""
        element = _ends_term(found, at - 1)
        self._brackets.append("index" if element else "[")
        if not element:
            return
        following = found[at + 1]
        if following.text == "]" and following.kind == "op":
            self.iterators += 1
        elif self._assigns and not _safe_index(found, at + 1):
            self.bounded = False

    def _repeat(self, found: list[Token], at: int) -> None:
        """`*` repeats strings: bounded only by a number that is written beside it."""
        sign = 1 if at + 1 < len(found) and found[at + 1].text == "-" else 0
        beside = [found[place] for place in (at - 1, at + 1 + sign) if 0 <= place < len(found)]
        numbers = [float(token.text) for token in beside if token.kind == "number"]
        if not numbers or min(numbers) > _BUDGET_BYTES:
            self.bounded = False
        else:
            self._multiply(max(1, int(min(numbers)) + 1))


def _ends_term(found: list[Token], at: int) -> bool:
    """True when the token at `at` ends a value, so that `[` or `.name` after it takes a part of that value."""
    if at < 0:
        return False
    kind, text = found[at].kind, found[at].text
    if kind == "op":
        return text in (")", "]", "}", "?", ".", "..")
    if kind == "name":
        return text == "end" or text not in _KEYWORDS
    return kind in ("field", "variable", "string", "format")


def _safe_index(found: list[Token], at: int) -> bool:
    """True when the index at `at` is one written string or small number."""
    token, closing = found[at], found[at + 1]
    if closing.kind != "op" or closing.text != "]":
        return False
    return token.kind == "string" or (token.kind == "number" and float(token.text) <= _LARGEST_INDEX)
