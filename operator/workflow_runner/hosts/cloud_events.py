"""CloudEvents over HTTP: what a request holds, for the endpoints of the command line and of the operator.

The three modes of the HTTP protocol binding, version 1.0: structured, binary, batch. Written here because the library
for it knows no batches, makes objects of what stays JSON with us, and loads more than a run should wait for.
Whatever is wrong is told by a status and a sentence; nothing of the event is repeated that could be long.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from urllib.parse import unquote

from workflow_runner.dsl.json_text import read_json
from workflow_runner.dsl.read_events import is_attribute, is_timestamp
from workflow_runner.dsl.templates import Json

CloudEvent = dict[str, Json]

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LARGEST_EVENT = 1024 * 1024
LARGEST_BATCH = 4 * 1024 * 1024
DEEPEST = 128
"""Levels of arrays and objects in a request."""
MOST_IN_A_BATCH = 1000
_LARGEST_INTEGER = 2**31

_REQUIRED = ("id", "source", "type")
_TEXTS = (*_REQUIRED, "subject", "time", "datacontenttype", "dataschema")


class BadEvent(ValueError):
    """This request holds no event that can be taken. `status` is what HTTP says about it."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


def events_of(headers: Mapping[str, str], body: bytes) -> list[CloudEvent]:
    """The events of a request, checked. `headers` by lower-case names. Raises BadEvent."""
    kind = headers.get("content-type", "")
    media = kind.split(";")[0].strip().lower()
    if media == BATCH:
        events = _json(body)
        if not isinstance(events, list):
            raise BadEvent("a batch is a JSON array of events")
        if len(events) > MOST_IN_A_BATCH:
            raise BadEvent(f"a batch has at most {MOST_IN_A_BATCH:,} events", 413)
        if len(body) > LARGEST_EVENT and any(len(json.dumps(event, ensure_ascii=False)) > LARGEST_EVENT for event in events):
            raise BadEvent(f"an event has at most {LARGEST_EVENT:,} characters", 413)
        return [_structured(event) for event in events]
    if len(body) > LARGEST_EVENT:
        raise BadEvent(f"an event has at most {LARGEST_EVENT:,} bytes", 413)
    if media == STRUCTURED:
        return [_structured(_json(body))]
    if media.startswith("application/cloudevents") or "ce-specversion" not in headers:
        raise BadEvent(f"send a CloudEvent: {STRUCTURED}, {BATCH}, or any other content with ce- headers", 415)
    return [_binary(headers, kind, media, body)]


def _structured(value: Json) -> CloudEvent:
    if not isinstance(value, dict):
        raise BadEvent("an event is a JSON object")
    event = {name: given for name, given in value.items() if given is not None or name == "data"}
    encoded = event.get("data_base64")
    if encoded is not None:
        if "data" in event or not isinstance(encoded, str):
            raise BadEvent("an event has either data or data_base64, which is a string")
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadEvent("data_base64 is not base64") from error
        media = event.get("datacontenttype")
        if isinstance(media, str) and _is_json(media.split(";")[0].strip().lower()):
            del event["data_base64"]
            event["data"] = _json(data)
    return _checked(event)


def _binary(headers: Mapping[str, str], kind: str, media: str, body: bytes) -> CloudEvent:
    event: CloudEvent = {}
    for name, text in headers.items():
        if name.startswith("ce-"):
            try:
                event[name[3:]] = unquote(text, errors="strict")
            except UnicodeDecodeError as error:
                raise BadEvent(f"the header {name[:60]} is not UTF-8 in percent-encoding") from error
    if "data" in event or "data_base64" in event:
        raise BadEvent("data are the body of a request, not a header")
    if media:
        event["datacontenttype"] = kind
    if body:
        event |= _data(media, kind, body)
    return _checked(event)


def _data(media: str, kind: str, body: bytes) -> CloudEvent:
    """JSON as it is, text as a string, anything else in base64. Without a content type it is JSON, if it can be."""
    if _is_json(media):
        return {"data": _json(body)}
    if not media:
        try:
            return {"data": _json(body)}
        except BadEvent:
            pass
    if media.startswith("text/") or media.endswith(("/xml", "+xml")):
        charset = next((part.split("=", 1)[1] for part in kind.split(";") if part.strip().startswith("charset=")), "utf-8")
        try:
            return {"data": body.decode(charset.strip().strip('"'))}
        except (LookupError, UnicodeDecodeError):
            pass
    return {"data_base64": base64.b64encode(body).decode()}


def _checked(event: CloudEvent) -> CloudEvent:
    if event.get("specversion") != "1.0":
        raise BadEvent("specversion must be 1.0")
    for name in _REQUIRED:
        if name not in event:
            raise BadEvent(f"the event has no {name}")
    for name, value in event.items():
        if name in ("data", "data_base64"):
            continue
        if not is_attribute(name):
            raise BadEvent(f"{name[:60]!r} cannot be the name of an attribute")
        if name in _TEXTS and (not isinstance(value, str) or not value):
            raise BadEvent(f"{name} must be a string that is not empty")
        if isinstance(value, int) and not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
            raise BadEvent(f"the attribute {name} must be an integer of 32 bits")
        if not isinstance(value, str | int):
            raise BadEvent(f"the attribute {name} must be a string, an integer or a boolean")
    time = event.get("time")
    if isinstance(time, str) and not is_timestamp(time):
        raise BadEvent("time must be a moment such as 2024-07-26T16:59:57Z")
    return event


def _is_json(media: str) -> bool:
    return media in ("application/json", "text/json") or media.endswith("+json")


def _json(body: bytes) -> Json:
    try:
        value = read_json(body)
    except (ValueError, RecursionError) as error:
        raise BadEvent("the body is not JSON") from error
    if not _shallow(value, DEEPEST):
        raise BadEvent(f"values are nested more than {DEEPEST} levels deep")
    return value


def _shallow(value: Json, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    parts = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_shallow(part, levels - 1) for part in parts)
