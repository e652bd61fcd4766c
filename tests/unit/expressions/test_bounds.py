"""Which programs may run in a shared process, and over how much data."""

from __future__ import annotations

import json

import pytest

from workflow_runner.expressions.bounds import IN_PROCESS_BYTES, in_process_limit, provably_bounded, work
from workflow_runner.expressions.programs import compile_text, program_text

ORDINARY = [
    ".a + 1",
    ". + {a: .b}",
    "$item * 2",
    "-2 * .x",
    ".list += [$item]",
    ".a |= . + 1",
    ".a[3] = 1",
    '.["a b"] = 1',
    "if .a then .b else .c end",
    '.a // "none"',
    '"https://example.com/\\(.id)"',
    ".items | length",
    "$context + {n: ($context.n + 1)}",
    '.name | split(",") | .[0]',
    "to_entries",
    '.a == "b" and (.c | not)',
    "try .a.b catch null",
    ".a as $x | {x: $x}",
    ".[0:2]",
    "keys | sort",
]
ITERATING = [
    "[.items[] | select(.price > 10) | .name]",
    "map(. + 1)",
    ".items | map(.price) | add",
    "any(.a; . == 1)",
    "with_entries(.value |= tostring)",
    'join(", ")',
    "[..]",
]
UNBOUNDED = [
    "[range(10)]",
    "range(.n)",
    "[limit(3; .[])]",
    "[.[] | recurse]",
    "repeat(.)",
    "[while(. < 10; . + 1)]",
    "until(. > 10; . + 1)",
    "def f: f; f",
    "reduce .[] as $x (0; . + $x)",
    "foreach .[] as $x (0; . + $x)",
    "input",
    'test("^(a+)+$")',
    'split("a+"; "g")',
    "split(.separator)",
    'gsub("a"; "b")',
    ".a * .b",
    '"x" * .n',
    '"x" * 1000000000',
    ".[.n] = 1",
    ".a[.n] |= 1",
    "setpath([.n]; 1)",
    "[.[1000000000]] | .[0] = 1 | .[99999999] = 1",
    "walk(.)",
    "[combinations]",
    "walk([., .])",
    "label $out | break $out",
    "getpath([1]) | ascii",
    "import .a",
    ".a[",
    "x" * 5000,
]
BOMBS = [
    "|".join([". + ."] * 40),
    "|".join(["[., .]"] * 40),
    "|".join(["tojson"] * 60),
    "[" + " + ".join(["(1, 2)"] * 40) + "]",
    "[" + " + ".join(["if . then 1, 2 else 3 end"] * 40) + "]",
    "[" + "(1, 2) | " * 40 + ".]",
    "[.[] as $a | .[] as $b | .[] as $c | .[] as $d | .[] as $e | $a]",
    '"' + "\\(.)" * 3000 + '"',
    "{" + ", ".join(f"a{n}: (1, 2)" for n in range(40)) + "}",
]


@pytest.mark.parametrize("program", ORDINARY)
def test_ordinary_programs_run_here_whatever_data_is_not_large(program: str) -> None:
    assert in_process_limit(program) == IN_PROCESS_BYTES - 1


@pytest.mark.parametrize("program", ITERATING)
def test_programs_that_iterate_run_here_over_small_data(program: str) -> None:
    assert 500 <= in_process_limit(program) < IN_PROCESS_BYTES


@pytest.mark.parametrize("program", ["sort_by(.name)", "group_by(.kind) | length", "max_by(.price)"])
def test_programs_that_compare_run_here_over_very_small_data(program: str) -> None:
    assert 100 <= in_process_limit(program) < 500


@pytest.mark.parametrize("program", UNBOUNDED, ids=lambda program: program[:40])
def test_programs_without_a_bound_never_run_here(program: str) -> None:
    assert not provably_bounded(program)


@pytest.mark.parametrize("program", BOMBS, ids=lambda program: program[:40])
def test_programs_that_grow_with_their_own_length_do_not_run_here_over_data(program: str) -> None:
    assert in_process_limit(program) < 100


WORST = [
    ("[.[]]", "numbers"),
    ("[.[] as $a | .[] as $b | $a + $b]", "numbers"),
    ("[.[] | $all]", "numbers"),
    ("map($all) | map($all)", "numbers"),
    ('map("\\($all)") | join("")', "numbers"),
    ("[..]", "depth"),
    ("[.[] | [..]]", "depth"),
    ("tojson | tojson | tojson", "quotes"),
    ("{a: ., b: ., c: ., d: [., ., .], e: tostring}", "quotes"),
    ("@uri", "letters"),
    ("[paths]", "depth"),
    ("sort_by($all)", "numbers"),
    ("contains([2, 3, 4])", "numbers"),
    ("any($all | tojson | length > 1)", "numbers"),
]


@pytest.mark.parametrize(("program", "shape"), WORST)
@pytest.mark.timeout(60)
def test_at_its_limit_a_program_still_ends_and_gives_little(program: str, shape: str) -> None:
    limit = in_process_limit(program)
    data = data_of(shape, max(2, limit))
    variables = ("all",) if "$all" in program else ()
    payload = f"[{data},{data}]" if variables else data
    compiled = compile_text(program_text(program, variables))
    texts = list(compiled.input_text(payload)) if limit else []
    assert len(json.dumps(texts)) < 64 * 1024 * 1024


def data_of(shape: str, size: int) -> str:
    """JSON text of nearly that many bytes."""
    if shape == "numbers":
        return "[" + ",".join(["1"] * (size // 2 - 1)) + "]"
    if shape == "depth":
        depth = min(size // 2, 400)
        return "[" * depth + "]" * depth
    if shape == "quotes":
        return json.dumps("\\" * (size // 2 - 1))
    return json.dumps("é" * (size // 6), ensure_ascii=True)


@pytest.mark.parametrize(
    ("program", "least", "most"),
    [
        (".a.b", 1, 1),
        ("{a: .b, c: length}", 1, 1),
        ("map(. + 1)", 15, 100),
        ("[.[] | tostring]", 15, 100),
        ("sort", 10, 100),
        ("to_entries", 30, 100),
        ("ascii_downcase", 60, 200),
        ("ascii_downcase | ascii_upcase", 130, 300),
        ("group_by(.a)", 30, 200),
        ("[.[] as $a | .[] | . + $a]", 700, 5000),
    ],
)
def test_work_is_at_least_what_was_measured_and_not_beyond_all_measure(program: str, least: int, most: int) -> None:
    assert least <= work(program, 243) / 243 <= most
