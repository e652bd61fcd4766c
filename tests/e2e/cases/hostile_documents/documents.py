"""Documents that nobody means well with, and what is to become of them. Read by the test beside it."""

from __future__ import annotations

import json
from typing import Any

Json = dict[str, Any]

HEAD = "document: {dsl: 1.0.0, namespace: e2e, name: hostile, version: 0.1.0}\n"
MOST_TEXT = 1_000_000
"""Characters; the API server takes a ConfigMap of 1 MiB."""


def tasks(*lines: str) -> str:
    """A document of these tasks, each the text after `- `."""
    return HEAD + "do:\n" + "".join(f"  - {line}\n" for line in lines)


def jq(program: str) -> str:
    """A document that evaluates one program."""
    return tasks(f"evil: {{set: {json.dumps({'value': '${ ' + program + ' }'})}}}")


def _bomb(levels: int, fold: int) -> str:
    """YAML aliases of aliases: fold ** levels values."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * fold)}]" for n in range(1, levels + 1)]
    return HEAD + "do:\n  - evil:\n      set:\n" + "".join(f"        {line}\n" for line in lines)


def _as_many_as_fit(line: str) -> str:
    return tasks(*(line.format(n) for n in range(MOST_TEXT // (len(line) + 7))))


REFUSED: dict[str, tuple[str, str]] = {
    "alias-bomb": (_bomb(9, 9), "document.too-large"),
    "alias-bomb-that-is-wide": (_bomb(2, 2000), "document.too-large"),
    "alias-of-itself": (tasks("evil: {set: {a: &a [*a]}}"), "yaml.bad-alias"),
    "nested-a-little-too-deeply": (tasks(f"evil: {{set: {{a: {'[' * 200}{']' * 200}}}}}"), "document.too-deep"),
    "nested-very-deeply": (tasks(f"evil: {{set: {{a: {'[' * 300_000}{']' * 300_000}}}}}"), "document.too-deep"),
    "nested-tasks": (
        HEAD + "do: " + "".join("[{a: {do: " for _ in range(5000)) + "[{a: {set: {}}}]" + "}}]" * 5000,
        "document.too-deep",
    ),
    "a-hundred-thousand-tasks": (_as_many_as_fit("t{0}: {{set: {{}}}}"), "document.too-large"),
    "thousands-of-expressions": (_as_many_as_fit("t{0}: {{set: '${{ . }}'}}"), "document.too-many-expressions"),
    "a-number-of-many-digits": (tasks(f"evil: {{set: {{a: {'9' * 500_000}}}}}"), "document.not-json"),
    "a-number-beyond-all-numbers": (tasks("evil: {set: {a: 1e999999}}"), "document.not-json"),
    "infinity": (tasks("evil: {set: {a: .inf}}"), "document.not-json"),
    "half-a-surrogate-pair": (tasks('evil: {set: {a: "\\ud800"}}'), "yaml.syntax"),
    "control-characters": (tasks("evil: {set: {a: 'x\x01\x02\x1b[2J'}}"), "yaml.syntax"),
    "nul": (tasks("evil: {set: {a: 'x\x00y'}}"), "yaml.syntax"),
    "python-object": (tasks("evil: {set: {a: !!python/object/apply:os.system ['id']}}"), "yaml.unknown-tag"),
    "merge-key": (tasks("evil: {set: {<<: {a: 1}}}"), "yaml.merge-key"),
    "a-name-of-many-characters": (HEAD.replace("hostile", "h" * 500_000) + "do: [{a: {set: {}}}]", "document.bad-name"),
    "a-program-of-many-characters": (jq("1" + " + 1" * 20_000), "expression.too-long"),
    "a-schema-from-elsewhere": (
        HEAD + "input: {schema: {document: {$ref: 'http://169.254.169.254/latest'}}}\ndo: [{a: {set: {}}}]",
        "schema.invalid",
    ),
}

FAULTED: dict[str, str] = {
    "endless-recursion": jq("def f: f; f"),
    "growing-recursion": jq("def f: [., f]; f"),
    "repeat-for-ever": jq("[limit(1e9; repeat(1))]"),
    "a-range-without-end": jq("[range(1e18)]"),
    "a-string-without-end": jq('"x" * 1e12'),
    "until-never": jq("until(false; .)"),
    "a-regex-that-never-ends": jq('("a" * 60 + "b") | test("^(a+)+$")'),
    "an-enormous-regex": jq('. as $x | "a" | test("(" * 4000 + "a" + ")*" * 4000)'),
    "a-wild-index": jq(".[1e9] = 1"),
}

HARMLESS: dict[str, tuple[str, Json]] = {
    "a-program-nested-deeply": (jq("(" * 8000 + "1" + ")" * 8000), {"value": 1}),
    "a-task-name-of-many-characters": (tasks(f"? {'n' * 100_000}\n    : {{set: {{a: 1}}}}"), {"a": 1}),
    "a-task-name-of-control-characters": (tasks('"\\u0000\\e[2J\\n../..": {set: {a: 1}}'), {"a": 1}),
    "controls-in-values": (tasks('evil: {set: {a: "\\u0000\\e[31m"}}'), {"a": "\x00\x1b[31m"}),
    "text-of-a-megabyte": (tasks(f"evil: {{set: {{a: '{'x' * (MOST_TEXT - 200)}'}}}}", "good: {set: {a: 1}}"), {"a": 1}),
    "a-number-that-jq-cannot-hold": (jq("1e1000"), {"value": 1.7976931348623157e308}),
}
