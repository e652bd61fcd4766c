"""Documents that mean harm, or are no documents: refused quickly, with a message, and never with another exception."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.dsl.cases import HEADER

from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.loader import load, load_object
from workflow_runner.expressions.documents import read_document

LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))
LONG_TEXT = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 100)}]\n"
ALIASED_DEPTH = "a: &a " + "[" * 100 + "]" * 100 + "\nb: " + "[" * 100 + "*a" + "]" * 100 + "\n"

ENDS = 60
"""Seconds after which a refusal counts as one that never comes; a refusal takes a fraction of one."""


@pytest.mark.parametrize(
    ("source", "code", "line"),
    [
        pytest.param(LAUGHS, "document.too-large", 10, id="a billion laughs"),
        pytest.param(LONG_TEXT, "document.too-large", 2, id="a long text used often"),
        pytest.param(ALIASED_DEPTH, "document.too-deep", 2, id="an alias inside depth"),
        pytest.param("[" * 500_000, "document.too-deep", 1, id="brackets"),
        pytest.param('{"a":' * 100_000, "document.too-deep", 1, id="braces in JSON"),
        pytest.param("- " * 400_000, "document.too-deep", 1, id="dashes"),
        pytest.param("x" * 1_100_000, "document.too-large", 1, id="a large text"),
        pytest.param("[" + "0," * 200_000 + "0]", "document.too-large", 1, id="a long list"),
        pytest.param(b"a: \xff", "yaml.not-utf8", 1, id="bytes that are no text"),
        pytest.param("a: é".encode("latin-1"), "yaml.not-utf8", 1, id="latin-1"),
        pytest.param("a: b".encode("utf-16"), "yaml.not-utf8", 1, id="utf-16"),
        pytest.param("a: \ud800", "yaml.not-utf8", 1, id="half of a pair"),
        pytest.param("a: \x00", "yaml.syntax", 1, id="a zero character"),
    ],
)
@pytest.mark.timeout(ENDS)
def test_it_is_refused_and_where_it_is(source: str | bytes, code: str, line: int) -> None:
    with pytest.raises(DocumentErrors) as caught:
        load(source, "hostile.yaml")
    assert (caught.value.diagnostics[0].code, caught.value.diagnostics[0].line) == (code, line)
    assert len(str(caught.value)) < 1000


MANY = 9_000
WRONG_JUMPS = "do:\n" + "".join(f"  - task-{n}: {{set: {{x: 1}}, then: tusk-{n}}}\n" for n in range(MANY))
WRONG_MEMBERS = "do:\n  - a:\n      set: {x: 1}\n" + "".join(f"      outputs{n}: 1\n" for n in range(3 * MANY))
RAISED = f"use: {{errors: {{e: {{type: 'http://e', status: 1, detail: '${{ .a{' | .a' * 3000} }}'}}}}}}\ndo:\n"
RAISED += "".join(f"  - t{n}: {{raise: {{error: e}}}}\n" for n in range(MANY)) + "  - t0: 1\n"


@pytest.mark.parametrize("body", [WRONG_JUMPS, WRONG_MEMBERS, RAISED], ids=["jumps", "members", "a long error raised often"])
@pytest.mark.timeout(ENDS)
def test_a_great_many_mistakes_are_told(body: str) -> None:
    with pytest.raises(DocumentErrors) as caught:
        read_document(HEADER + body)
    assert len(caught.value.diagnostics) <= 50


def test_bytes_that_are_no_text_are_told_where() -> None:
    with pytest.raises(DocumentErrors) as caught:
        load("ok: é\nnot: ".encode() + b"\xff", "latin.yaml")
    assert str(caught.value) == "latin.yaml:2:6: yaml.not-utf8: byte 12 is not UTF-8: save the document as UTF-8"


def test_a_document_may_begin_with_a_byte_order_mark() -> None:
    assert load(b"\xef\xbb\xbf" + HEADER.encode() + b"do: []\n").document.name == "test"


@given(st.binary(max_size=200) | st.text(alphabet="{}[]:,-&*!|>'\"#%@` \n\tabdo01.$\\", max_size=80))
@settings(deadline=None, max_examples=400)
def test_no_text_is_too_strange(source: str | bytes) -> None:
    with pytest.raises(DocumentErrors):
        load(source)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=15,
)
_NAMES = """
do set for in at each while try catch errors when exceptWhen retry retries limit attempt count delay backoff jitter duration
call with method endpoint headers query body http switch then raise error type status title wait seconds if input from output
as export fork branches listen foreach item run use secrets document
"""
_names = st.sampled_from(_NAMES.split())
_shapes = st.recursive(
    _json | st.sampled_from(["${ .a }", "${ $secrets.x }", "${", "$x", "http", "PT1S", "https://x/{y}", "continue"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=4),
    max_leaves=25,
)


@given(_shapes, _shapes)
@settings(deadline=None, max_examples=400)
def test_no_shape_is_too_strange(tasks: Any, use: Any) -> None:
    document = {"document": {"dsl": "1.0.3", "namespace": "a", "name": "b", "version": "1.0.0"}, "do": tasks, "use": use}
    with contextlib.suppress(DocumentErrors):
        load_object(document)


def test_more_expressions_than_are_compiled_are_refused() -> None:
    body = "do:\n" + "".join(f"  - t{n}: {{set: {{x: '${{ {n} }}'}}}}\n" for n in range(3_001))
    with pytest.raises(DocumentErrors) as caught:
        read_document(HEADER + body)
    assert [item.code for item in caught.value.diagnostics] == ["document.too-many-expressions"]


def test_too_many_regular_expressions_are_not_all_compiled() -> None:
    half = ", ".join(f"p{n}: {{pattern: ^x}}" for n in range(250))
    other = ", ".join(f"^p{n}: {{}}" for n in range(250))
    body = (
        f"input: {{schema: {{document: {{properties: {{{half}}}}}}}}}\n"
        f"output: {{schema: {{document: {{prefixItems: [{{patternProperties: {{{other}%s}}}}]}}}}}}\ndo: []\n"
    )
    read_document(HEADER + body % "")
    with pytest.raises(DocumentErrors) as caught:
        read_document(HEADER + body % ", ^q: {}")
    assert [item.code for item in caught.value.diagnostics] == ["document.too-many-patterns"]
