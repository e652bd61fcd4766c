"""Packing a run for its pod, and what the pod refuses."""

from __future__ import annotations

import base64
import random
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflow_runner.errors import InvalidInput
from workflow_runner.launchers.payload import MAX_UNPACKED, Payload, pack, spec_digest, unpack

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(value=json_values)
def test_what_is_packed_is_what_the_pod_unpacks(value: Any) -> None:
    payload = Payload("document: …", value, "spec.workflow.yaml")
    assert unpack(pack(payload), spec_digest(payload)) == payload


def test_a_changed_input_is_refused() -> None:
    payload = Payload("document: a", {"n": 1}, "f")
    with pytest.raises(InvalidInput) as refusal:
        unpack(pack(Payload("document: a", {"n": 2}, "f")), spec_digest(payload))
    assert refusal.value.code == "input.digest-mismatch"


@pytest.mark.parametrize(
    "text",
    ["", "?", "aGVsbG8=", base64.b64encode(zlib.compress(b"{}")).decode(), base64.b64encode(zlib.compress(b"[")).decode()],
)
def test_a_damaged_input_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        unpack(text, "sha256:0")
    assert refusal.value.code == "input.damaged"


def test_a_compression_bomb_is_not_unpacked() -> None:
    bomb = base64.b64encode(zlib.compress(b" " * (MAX_UNPACKED + 1), 9)).decode()
    with pytest.raises(InvalidInput) as refusal:
        unpack(bomb, "sha256:0")
    assert refusal.value.code == "input.damaged"


def test_an_input_that_does_not_fit_is_refused_with_its_size() -> None:
    noise = random.Random(1).randbytes(900_000).hex()
    with pytest.raises(InvalidInput, match=r"bytes after compression; at most 1,048,576") as refusal:
        pack(Payload("document: a", noise, "f"))
    assert refusal.value.code == "input.too-large"


def test_an_input_that_fits_a_config_map_is_taken() -> None:
    noise = random.Random(1).randbytes(600_000).hex()
    assert 131_072 < len(pack(Payload("document: a", noise, "f"))) <= 1_048_576


def test_the_order_of_keys_does_not_change_the_digest() -> None:
    assert spec_digest(Payload({"a": 1, "b": 2}, {}, "f")) == spec_digest(Payload({"b": 2, "a": 1}, {}, "g"))
