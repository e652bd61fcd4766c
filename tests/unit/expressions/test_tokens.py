"""What is read from a jq program's text: tokens, variables, secrets, what is forbidden."""

from __future__ import annotations

import pytest

from workflow_runner.dsl.jq_tokens import FORBIDDEN_FUNCTIONS, NotTokens, mentions, tokens
from workflow_runner.expressions.programs import EvaluationFailed, InvalidProgram, compile_text, program_text, single_value


@pytest.mark.parametrize(
    ("program", "variables"),
    [
        ("$a + .b", {"a"}),
        ('"\\($a) and \\("\\($b)")"', {"a", "b"}),
        ('"$a"', set()),
        ("1 # $a\n+ $b", {"b"}),
        ("1 # $a \\\n still comment $b\n + $c", {"c"}),
        ("{$a, b: $c}", {"a", "c"}),
        (". as [$x, {y: $z}] | $x", {"x", "z"}),
        ("$ a", {"a"}),
        ('@json "x\\($a)"', {"a"}),
    ],
)
def test_variables(program: str, variables: set[str]) -> None:
    assert mentions(program).variables == variables


@pytest.mark.parametrize(
    ("program", "secrets"),
    [
        (".a", set()),
        ("$secrets.a", {"a"}),
        ('$secrets."a b"', {"a b"}),
        ('$secrets["a"].x + $secrets.["b"]', {"a", "b"}),
        ("$secrets", None),
        ("$secrets[.key]", None),
        ("$secrets | keys", None),
        ('$secrets["a\\(1)"]', None),
        ('$secrets["\\u0061"]', None),
        ("$secrets.a + ($secrets | length)", None),
    ],
)
def test_secrets(program: str, secrets: set[str] | None) -> None:
    assert mentions(program).secrets == secrets


@pytest.mark.parametrize("name", sorted(FORBIDDEN_FUNCTIONS))
def test_forbidden_functions_are_found_where_they_are_functions(name: str) -> None:
    used = mentions(f".a | {name}").forbidden
    assert used is not None
    assert (used[0], used[2]) == (name, 5)
    inside = mentions(f'"x \\({name}) y"').forbidden
    assert inside is not None
    assert inside[2] == 5
    assert mentions(f'.{name} + {{{name}: 1}} + {{a, {name}}} + "{name}" # {name}').forbidden is None


CALLS = sorted(FORBIDDEN_FUNCTIONS.keys() - {"import", "include"} | {"debug(1)", "halt_error(1)", 'strflocaltime("%Y")'})


@pytest.mark.parametrize("call", CALLS)
def test_forbidden_functions_do_nothing_even_in_a_document_that_was_not_validated(call: str) -> None:
    with pytest.raises(EvaluationFailed, match="cannot be used"):
        single_value(compile_text(program_text(call, ())), "0")


@pytest.mark.parametrize("program", ['import "a" as a; 1', 'include "a"; 1'])
def test_there_are_no_modules(program: str) -> None:
    with pytest.raises(InvalidProgram):
        compile_text(program_text(program, ()))


def test_the_environment_is_out_of_reach() -> None:
    assert single_value(compile_text(program_text("$ENV | length", ())), "0") == 0
    assert mentions("$ENV.PATH").forbidden is not None


@pytest.mark.parametrize(
    ("program", "at"),
    [
        ("(1", 2),
        ("1)", 1),
        ("[1)", 2),
        ('"abc', 1),
        ('"a\\(1', 5),
        ('"a\\(1]"', 5),
        ("a ~ b", 2),
        ("} | {", 0),
    ],
)
def test_what_does_not_match_is_told_where_it_is(program: str, at: int) -> None:
    with pytest.raises(NotTokens) as caught:
        tokens(program)
    assert caught.value.offset == at
