"""JSON from outside: nothing that is read can be what nothing could write again."""

from __future__ import annotations

import json
import sys

import pytest

from workflow_runner.dsl.json_text import read_json


@pytest.mark.parametrize("text", ["NaN", "Infinity", "[1, -Infinity]", '{"a": NaN}', "", "{", "[" * 100_000])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises((ValueError, RecursionError)):
        read_json(text)


def test_a_number_that_is_too_large_is_the_largest_that_there_is() -> None:
    assert read_json('{"a": [1e999, -1e999, 1e308]}') == {"a": [sys.float_info.max, -sys.float_info.max, 1e308]}


def test_whole_numbers_keep_their_digits() -> None:
    assert read_json("123456789012345678901234567890") == 123456789012345678901234567890


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le"])
def test_bytes_are_read_in_their_encoding(encoding: str) -> None:
    assert read_json(json.dumps({"a": "é"}, ensure_ascii=False).encode(encoding)) == {"a": "é"}
