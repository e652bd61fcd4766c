"""What values become in Temporal, and what comes back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from temporalio.api.sdk.v1.external_storage_pb2 import ExternalStorageReference
from temporalio.converter import DataConverter
from temporalio.exceptions import ApplicationError

from workflow_runner.errors import InvalidInput, Unavailable, WorkflowRunnerError
from workflow_runner.hosts.temporal.payloads import MOST_INLINE, PayloadTooLarge, data_converter
from workflow_runner.settings.temporal import PayloadSettings

PLAIN = data_converter(PayloadSettings()).payload_converter

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=())),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=())), inner, max_size=4)
    ),
    max_leaves=20,
)


class Order(Struct):
    number: int
    items: list[str] = []


@dataclass
class Place:
    street: str


@given(VALUES)
def test_what_goes_in_comes_out_with_its_members_in_order(value: Any) -> None:
    payload = PLAIN.to_payload(value)
    again = PLAIN.from_payload(payload)
    assert json.dumps(again) == json.dumps(value)
    if value is not None:
        assert payload.metadata["encoding"] == b"json/plain"


def test_members_are_not_sorted() -> None:
    value = {"b": 1, "a": {"z": 1, "y": 2}}
    assert PLAIN.to_payload(value).data == b'{"b":1,"a":{"z":1,"y":2}}'


def test_large_integers_are_exact() -> None:
    value = [2**200 + 1, -(2**63) - 1, 0.1]
    assert PLAIN.from_payload(PLAIN.to_payload(value)) == value


@pytest.mark.parametrize(
    "value", [math.nan, [math.nan], {"half \ud800": math.nan}], ids=["alone", "inside", "beside half a pair"]
)
def test_nan_is_null(value: Any) -> None:
    text = PLAIN.to_payload(value).data.decode()
    assert "null" in text
    assert "NaN" not in text


@pytest.mark.parametrize("value", [None, b"\x00\xff", Duration(seconds=3)], ids=["null", "bytes", "message"])
def test_other_kinds_are_as_the_sdk_writes_them(value: Any) -> None:
    ours, theirs = PLAIN.to_payload(value), DataConverter.default.payload_converter.to_payload(value)
    assert ours == theirs
    assert PLAIN.from_payload(ours) == value


def test_structs_and_dataclasses_come_back_where_they_are_asked_for() -> None:
    order = PLAIN.to_payload(Order(7, ["a"]))
    assert PLAIN.from_payload(order, Order) == Order(7, ["a"])
    assert PLAIN.from_payload(order) == {"number": 7, "items": ["a"]}
    assert PLAIN.from_payload(PLAIN.to_payload(Place("Elm")), Place) == Place("Elm")
    assert PLAIN.from_payload(PLAIN.to_payload([1, 2]), list[int]) == [1, 2]
    with pytest.raises(RuntimeError, match="could not be converted"):
        PLAIN.from_payload(order, list[int])


@pytest.mark.parametrize("data", [b"{", b"NaN", b"\xff\xff", b""], ids=["cut off", "no number", "no text", "nothing"])
def test_what_is_not_json_is_refused(data: bytes) -> None:
    with pytest.raises(RuntimeError, match="could not be converted"):
        PLAIN.from_payload(Payload(metadata={"encoding": b"json/plain"}, data=data))


def test_without_a_store_too_much_is_refused_with_what_to_set() -> None:
    assert PLAIN.to_payload("x" * (MOST_INLINE - 2)).data
    with pytest.raises(PayloadTooLarge) as caught:
        PLAIN.to_payloads(["x" * (MOST_INLINE // 2), "y" * (MOST_INLINE // 2)])
    error = caught.value
    assert isinstance(error, ApplicationError)
    assert (error.type, error.non_retryable) == ("payload.too-large", True)
    assert "TEMPORAL_PAYLOAD_STORE" in error.message


def test_a_reference_without_a_store_is_no_value() -> None:
    reference = PLAIN.to_payload(ExternalStorageReference(driver_name="workflow-runner"))
    with pytest.raises(InvalidInput, match="TEMPORAL_PAYLOAD_STORE") as caught:
        PLAIN.from_payload(reference)
    assert caught.value.code == "payload.no-store"


def test_encrypted_data_without_keys_are_no_value() -> None:
    with pytest.raises(InvalidInput, match="TEMPORAL_PAYLOAD_KEYS") as caught:
        PLAIN.from_payload(Payload(metadata={"encoding": b"binary/encrypted"}, data=b"x"))
    assert caught.value.code == "payload.no-keys"


@pytest.mark.parametrize(
    ("error", "final"),
    [(InvalidInput("no", code="input.x", hint="do that"), True), (Unavailable("gone", code="input.x", hint="do that"), False)],
    ids=["refused", "unavailable"],
)
def test_an_error_of_ours_keeps_its_code(error: WorkflowRunnerError, final: bool) -> None:
    converter, failure = data_converter(PayloadSettings()), Failure()
    converter.failure_converter.to_failure(error, converter.payload_converter, failure)
    assert failure.message == str(error)
    assert failure.application_failure_info.type == "input.x"
    assert failure.application_failure_info.non_retryable is final
    again = converter.failure_converter.from_failure(failure, converter.payload_converter)
    assert isinstance(again, ApplicationError)
    assert "do that" in again.message


@pytest.mark.parametrize(
    "store",
    [
        "/var/payloads",
        "s3:///prefix",
        "http://user:canary-url-password-1138-Pk@host/x",
        "file://elsewhere/x",
        "s3://Bad_Bucket",
    ],
)
def test_an_object_store_that_is_none_is_refused_without_quoting_it(store: str) -> None:
    with pytest.raises(InvalidInput, match="TEMPORAL_PAYLOAD_STORE") as caught:
        data_converter(PayloadSettings(store=store))
    assert caught.value.code == "settings.invalid"
    assert store not in str(caught.value)
