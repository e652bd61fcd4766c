"""What a request of the CloudEvents HTTP binding holds, and what is said of one that holds no event."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from workflow_runner.hosts.cloud_events import BATCH, DEEPEST, LARGEST_EVENT, MOST_IN_A_BATCH, STRUCTURED, BadEvent, events_of

EVENT: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
HEADERS = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t"}


def structured(event: Any, kind: str = STRUCTURED) -> list[dict[str, Any]]:
    return events_of({"content-type": kind}, json.dumps(event).encode())


def test_a_structured_event_is_its_json() -> None:
    event = {**EVENT, "time": "2024-07-26T16:59:57-05:00", "room": 5, "urgent": True, "data": {"a": [1]}}
    assert structured(event, f"{STRUCTURED}; charset=utf-8") == [event]


def test_members_that_are_null_are_not_set_but_data_are() -> None:
    assert structured({**EVENT, "subject": None, "data": None}) == [{**EVENT, "data": None}]


def test_a_batch_has_its_events_in_order() -> None:
    events = [{**EVENT, "id": str(number)} for number in range(3)]
    assert structured(events, BATCH) == events
    assert structured([], BATCH) == []


@pytest.mark.parametrize(
    ("kind", "body", "data"),
    [
        ("application/json", b'{"a": 1}', {"data": {"a": 1}}),
        ("application/vnd.x+json; charset=utf-8", b"[1]", {"data": [1]}),
        ("text/plain", "é".encode(), {"data": "é"}),
        ("text/plain; charset=latin-1", "é".encode("latin-1"), {"data": "é"}),
        ("text/plain; charset=none", b"\xff", {"data_base64": "/w=="}),
        ("application/xml", b"<a/>", {"data": "<a/>"}),
        ("application/octet-stream", b"\x00\x01", {"data_base64": "AAE="}),
        ("application/json", b"", {}),
        (None, b'{"a": 1}', {"data": {"a": 1}}),
        (None, b"\xff", {"data_base64": "/w=="}),
    ],
)
def test_a_binary_events_body_is_its_data(kind: str | None, body: bytes, data: dict[str, Any]) -> None:
    headers = {**HEADERS, **({} if kind is None else {"content-type": kind})}
    expected = {**EVENT, **({} if kind is None else {"datacontenttype": kind}), **data}
    assert events_of(headers, body) == [expected]


def test_a_binary_events_attributes_are_percent_decoded_headers() -> None:
    headers = {**HEADERS, "ce-subject": "Euro%20%E2%82%AC", "ce-roomid": "5", "x-other": "no"}
    assert events_of(headers, b"") == [{**EVENT, "subject": "Euro €", "roomid": "5"}]


def test_base64_of_json_is_the_json() -> None:
    encoded = base64.b64encode(b'{"a": 1}').decode()
    event = {**EVENT, "datacontenttype": "application/json", "data_base64": encoded}
    assert structured(event)[0]["data"] == {"a": 1}
    assert structured({**EVENT, "data_base64": encoded})[0]["data_base64"] == encoded


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ([], "an event is a JSON object"),
        ({**EVENT, "specversion": "0.3"}, "specversion must be 1.0"),
        ({"specversion": "1.0", "id": "1", "source": "/s"}, "no type"),
        ({**EVENT, "id": ""}, "id must be a string that is not empty"),
        ({**EVENT, "subject": 5}, "subject must be a string"),
        ({**EVENT, "Room": 5}, "'Room' cannot be the name"),
        ({**EVENT, "room": 1.5}, "room must be a string, an integer"),
        ({**EVENT, "room": 2**40}, "32 bits"),
        ({**EVENT, "room": {}}, "room must be a string, an integer"),
        ({**EVENT, "time": "today"}, "time must be a moment"),
        ({**EVENT, "data": 1, "data_base64": "AA=="}, "either data or data_base64"),
        ({**EVENT, "data_base64": "?"}, "not base64"),
        ({**EVENT, "datacontenttype": "application/json", "data_base64": "AA=="}, "not JSON"),
    ],
)
def test_what_is_no_event_is_a_bad_request(event: Any, message: str) -> None:
    with pytest.raises(BadEvent, match=message) as caught:
        structured(event)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"content-type": STRUCTURED}, b"{", 400),
        ({"content-type": STRUCTURED}, b'{"id": NaN}', 400),
        ({"content-type": STRUCTURED}, b"[" * 100_000, 400),
        ({"content-type": STRUCTURED}, b"\xff", 400),
        ({"content-type": BATCH}, b"{}", 400),
        ({"content-type": BATCH}, json.dumps([EVENT] * (MOST_IN_A_BATCH + 1)).encode(), 413),
        ({**HEADERS, "content-type": "text/plain"}, b"x" * (LARGEST_EVENT + 1), 413),
        ({"content-type": "application/json"}, b"{}", 415),
        ({"content-type": "application/cloudevents+avro", **HEADERS}, b"", 415),
        ({}, b"", 415),
        ({**HEADERS, "ce-subject": "%FF"}, b"", 400),
        ({**HEADERS, "ce-data": "x"}, b"", 400),
        ({**HEADERS, "content-type": "application/json"}, b"{", 400),
    ],
)
def test_a_request_that_cannot_be_read_says_why_by_its_status(headers: dict[str, str], body: bytes, status: int) -> None:
    with pytest.raises(BadEvent) as caught:
        events_of(headers, body)
    assert caught.value.status == status
    assert len(str(caught.value)) < 200


def test_an_event_in_a_batch_is_no_larger_than_one_alone() -> None:
    events = [EVENT, {**EVENT, "data": "x" * LARGEST_EVENT}]
    with pytest.raises(BadEvent, match="at most 1,048,576 characters") as caught:
        structured(events, BATCH)
    assert caught.value.status == 413
    assert len(structured([{**EVENT, "data": "x" * (LARGEST_EVENT // 2)}] * 3, BATCH)) == 3


@pytest.mark.parametrize("levels", [DEEPEST, 900, 100_000])
def test_nesting_is_bounded(levels: int) -> None:
    body = json.dumps(EVENT)[:-1].encode() + b', "data": ' + b"[" * levels + b"]" * levels + b"}"
    with pytest.raises(BadEvent):
        events_of({"content-type": STRUCTURED}, body)
    with pytest.raises(BadEvent):
        events_of(HEADERS | {"content-type": "application/json"}, b"[" + b"[" * levels + b"]" * levels + b"]")
