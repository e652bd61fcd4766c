"""What YAML's scalars and keys mean: the core schema of YAML 1.2, and nothing of YAML 1.1."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_runner.dsl.text_reader import read_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("n", "n"),
        ("off", "off"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        ("012", 12),
        ("0o17", 15),
        ("0x1F", 31),
        ("0b11", "0b11"),
        ("1_000", "1_000"),
        ("-3", -3),
        ("+3", 3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("-1.5E-3", -0.0015),
        ("1.2.3", "1.2.3"),
        ("12345678901234567890123", 12345678901234567890123),
        ("true", True),
        ("TRUE", True),
        ("tRue", "tRue"),
        ("False", False),
        ("null", None),
        ("Null", None),
        ("~", None),
        ("", None),
        ("nan", "nan"),
        ("=", "="),
        ("'12'", "12"),
        ('"null"', "null"),
        ("!!str 12", "12"),
        ("!!float 12", 12.0),
        ("!!int '12'", 12),
        ("! 12", "12"),
        ("|\n  12\n", "12\n"),
        (">-\n  a\n  b\n", "a b"),
        ("[1, on]", [1, "on"]),
    ],
)
def test_a_plain_scalar_means_what_the_core_schema_says(text: str, value: object) -> None:
    node, complaints = read_text(f"key: {text}\n")
    assert node.json == {"key": value}
    assert not complaints
    assert isinstance(node.json, dict)
    assert type(node.json["key"]) is type(value)


@pytest.mark.parametrize("key", ["on", "404", "true", "null", "1.5", "2024-01-01"])
def test_keys_are_what_is_written(key: str) -> None:
    assert read_text(f"{key}: 1\n")[0].json == {key: 1}


def test_aliases_are_the_values_that_they_stand_for() -> None:
    node, _ = read_text("a: &x {b: [1]}\nc: *x\nd: [*x, *x]\n")
    assert node.json == {"a": {"b": [1]}, "c": {"b": [1]}, "d": [{"b": [1]}, {"b": [1]}]}


def test_an_alias_as_a_key_is_its_text() -> None:
    assert read_text("a: &k name\n*k : 1\n")[0].json == {"a": "name", "name": 1}


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=5), _values, max_size=5), st.sampled_from([None, 2]), st.booleans())
def test_json_is_read_as_json(value: dict[str, object], indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    node, complaints = read_text(text)
    assert node.json == json.loads(text)
    assert not complaints


def test_a_number_too_long_to_read_is_told() -> None:
    for text in ("9" * 5000, '{"a": ' + "9" * 5000 + "}"):
        _, complaints = read_text(f"{{a: {text}}}" if text[0] == "9" else text)
        assert [complaint.code for complaint in complaints] == ["document.not-json"]


def test_large_and_small_floats_are_not_rounded() -> None:
    node, _ = read_text("a: [1.7976931348623157e308, 5e-324]\n")
    assert isinstance(node.json, dict)
    assert node.json["a"] == [1.7976931348623157e308, math.ulp(0.0)]
