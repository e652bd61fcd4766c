"""The steps that scenarios are written in. There are few, and they are these.

Given and When steps fill a Case (case.py), Then steps look at what a host saw. VALUE is YAML on the same line, or in a
doc string below. The address http://service.example stands for the HTTP server that the Given steps describe, and
https://secure.example for the same by TLS.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from tests.conformance.case import SERVICE, Answer, Arrival, Case, Observed

from workflow_runner.dsl.templates import Json
from workflow_runner.dsl.text_reader import read_text

ERRORS = "https://serverlessworkflow.io/spec/1.0.0/errors/"
LIFECYCLE = "io.serverlessworkflow."
_VALUE = r"(?:[: ]+(.+))?"

_Prepare = Callable[..., None]
_PREPARE: list[tuple[str, re.Pattern[str], _Prepare]] = []
_CHECK: list[tuple[re.Pattern[str], str, _Prepare]] = []


class UnknownStep(AssertionError):
    """A feature file uses a step that is not in the vocabulary."""


def prepare(case: Case, kind: str, text: str, argument: Any) -> None:
    """Put what a Given or When step says into the case; of a Then step, what it will look at."""
    if kind == "Outcome":
        wanted = _find_check(text)[1]
        if wanted:
            case.wants.add(wanted)
        return
    for step_kind, pattern, function in _PREPARE:
        match = pattern.fullmatch(text)
        if match is not None and step_kind == kind:
            function(case, *match.groups(), *([] if argument is None else [argument]))
            return
    raise UnknownStep(text)


def check(observed: Observed, kind: str, text: str, argument: Any) -> None:
    """Raises AssertionError when a Then step does not hold."""
    if kind == "Outcome":
        match, _, function = _find_check(text)
        function(observed, *match.groups(), *([] if argument is None else [argument]))


def _find_check(text: str) -> tuple[re.Match[str], str, _Prepare]:
    for pattern, wanted, function in _CHECK:
        match = pattern.fullmatch(text)
        if match is not None:
            return match, wanted, function
    raise UnknownStep(text)


def _given(pattern: str) -> Callable[[_Prepare], _Prepare]:
    return _preparing("Context", pattern)


def _when(pattern: str) -> Callable[[_Prepare], _Prepare]:
    return _preparing("Action", pattern)


def _preparing(kind: str, pattern: str) -> Callable[[_Prepare], _Prepare]:
    def register(function: _Prepare) -> _Prepare:
        _PREPARE.append((kind, re.compile(pattern), function))
        return function

    return register


def _then(pattern: str, wants: str = "") -> Callable[[_Prepare], _Prepare]:
    def register(function: _Prepare) -> _Prepare:
        _CHECK.append((re.compile(pattern), wants, function))
        return function

    return register


def value_of(line: str | None, block: str | None = None) -> Json:
    """YAML as the language reads it, so that `on` is a string."""
    text = block if line is None else line
    assert text is not None, "the step needs a value"
    root, complaints = read_text(text)
    assert not complaints, complaints
    return root.json


# Given


@_given("a workflow")
def _workflow(case: Case, text: str) -> None:
    case.document = text


@_given("a workflow beside it")
def _beside(case: Case, text: str) -> None:
    case.beside.append(text)


@_given("the input" + _VALUE)
def _input(case: Case, line: str | None, block: str | None = None) -> None:
    case.input = value_of(line, block)


@_given(r"the secret (\S+) is (.+)")
def _secret(case: Case, name: str, line: str) -> None:
    case.secrets[name] = value_of(line)


@_given(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\S+) answers (\d+)")
def _answers_status(case: Case, method: str, path: str, status: str, block: str | None = None) -> None:
    body, kind = ("", "") if block is None else (json.dumps(value_of(None, block)), "application/json")
    _answer(case, method, path, Answer(int(status), body, kind))


@_given(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\S+) answers (\d+) with the header ([\w-]+): (.+)")
def _answers_header(case: Case, method: str, path: str, status: str, name: str, content: str) -> None:
    _answer(case, method, path, Answer(int(status), headers=((name, content),)))


@_given(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\S+) answers (\d+) as (\S+)(?: (.+))?")
def _answers_text(
    case: Case, method: str, path: str, status: str, kind: str, line: str | None, block: str | None = None
) -> None:
    _answer(case, method, path, Answer(int(status), line or block or "", kind))


@_given(r"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\S+) answers (\d+) with (.+)")
def _answers_json(case: Case, method: str, path: str, status: str, line: str) -> None:
    _answer(case, method, path, Answer(int(status), json.dumps(value_of(line)), "application/json"))


@_given(r"(GET|POST) (\S+) never answers")
def _never(case: Case, method: str, path: str) -> None:
    _answer(case, method, path, Answer(None))


def _answer(case: Case, method: str, path: str, answer: Answer) -> None:
    case.answers.setdefault((method, path), []).append(answer)


@_given(r"the runner's own catalog is at (\S+)")
def _catalog(case: Case, path: str) -> None:
    case.default_catalog = path


@_given(r"the client (\S+), whose certificate is the secret (\S+)")
def _client(case: Case, name: str, secret: str) -> None:
    case.client = name, secret


@_given("the gRPC service")
def _greeter(case: Case) -> None:
    case.greeter = True


@_given(r"the event(?: when (\S+) has started)?" + _VALUE)
def _event(case: Case, after: str | None, line: str | None, block: str | None = None) -> None:
    event = value_of(line, block)
    assert isinstance(event, dict)
    number = len(case.arrivals) + 1
    case.arrivals.append(Arrival({"specversion": "1.0", "id": f"e{number}", "source": "/outside", **event}, after or ""))


# When


@_when("it runs")
def _runs(_case: Case) -> None:
    pass


@_when(r"it runs by its schedule (\d+) times")
def _by_schedule(case: Case, times: str) -> None:
    case.scheduled = int(times)


@_when("it is validated")
def _validated(case: Case) -> None:
    case.validated = True


@_when(r"it is paused at (\S+) and resumed")
def _paused(case: Case, task: str) -> None:
    case.steering = ("pause", task)


@_when(r"it is cancelled at (\S+)")
def _cancelled(case: Case, task: str) -> None:
    case.steering = ("cancel", task)


# Then


@_then("it completes")
def _completes(observed: Observed) -> None:
    assert observed.ended == "completed", (observed.ended, observed.error, observed.findings)


# Before "it completes with", which would take it for a value.
@_then("it completes with at least" + _VALUE)
def _completes_with_some(observed: Observed, line: str | None, block: str | None = None) -> None:
    _completes(observed)
    expected = _placed(value_of(line, block), observed)
    assert _within(expected, observed.output), f"{json.dumps(observed.output)} has no {json.dumps(expected)}"


@_then("it completes with" + _VALUE)
def _completes_with(observed: Observed, line: str | None, block: str | None = None) -> None:
    _completes(observed)
    expected = _placed(value_of(line, block), observed)
    assert observed.output == expected, f"{json.dumps(observed.output)} is not {json.dumps(expected)}"
    assert json.dumps(observed.output, sort_keys=True) == json.dumps(expected, sort_keys=True), "1, 1.0 and true are different"


@_then(r"it faults with (\S+) (\d+)(?: at (\S+))?")
def _faults(observed: Observed, type_: str, status: str, instance: str | None) -> None:
    assert observed.ended == "faulted", (observed.ended, observed.output, observed.findings)
    full = type_ if ":" in type_ else ERRORS + type_
    assert (observed.error["type"], observed.error["status"]) == (full, int(status)), observed.error
    if instance is not None:
        assert observed.error.get("instance") == instance, observed.error


@_then(r"the error has the (title|detail|instance)" + _VALUE)
def _error_has(observed: Observed, member: str, line: str | None, block: str | None = None) -> None:
    assert observed.error.get(member) == value_of(line, block), observed.error


@_then(r"the error's detail mentions (.+)")
def _mentions(observed: Observed, text: str) -> None:
    assert text in str(observed.error.get("detail")), observed.error


@_then("it is cancelled")
def _is_cancelled(observed: Observed) -> None:
    assert observed.ended == "cancelled", (observed.ended, observed.error)


@_then(r"it is invalid with (\S+)(?: at (\d+):(\d+))?")
def _invalid(observed: Observed, code: str, line: str | None, column: str | None) -> None:
    errors = [found for found in observed.findings if found.severity == "error"]
    assert observed.ended == "invalid", (observed.ended, observed.findings)
    assert code in {found.code for found in errors}, errors
    if line is not None and column is not None:
        assert (code, int(line), int(column)) in {(found.code, found.line, found.column) for found in errors}, errors


@_then("it is valid")
def _valid(observed: Observed) -> None:
    assert (observed.ended, observed.findings) == ("valid", [])


@_then(r"it is valid with the warning (\S+)")
def _warns(observed: Observed, code: str) -> None:
    assert observed.ended == "valid", observed.findings
    assert code in {found.code for found in observed.findings}, observed.findings


@_then(r"the tasks (started|completed|skipped|retried|failed|cancelled) are(?: (.*))?")
def _tasks(observed: Observed, what: str, names: str | None) -> None:
    seen = [name for happened, name in observed.tasks if happened == what]
    assert seen == (names.split(", ") if names else []), observed.tasks


@_then(r"no task is started")
def _none_started(observed: Observed) -> None:
    assert observed.tasks == []


@_then("the requests are")
def _requests(observed: Observed, rows: list[list[str]]) -> None:
    seen = [[request.method, request.path] for request in observed.requests]
    assert seen == rows, seen


@_then(r"there are (\d+) requests")
def _so_many(observed: Observed, number: str) -> None:
    assert len(observed.requests) == int(number), observed.requests


@_then(r"request (\d+) has the header ([\w-]+): (.+)")
def _has_header(observed: Observed, number: str, name: str, content: str) -> None:
    headers = observed.requests[int(number) - 1].headers
    assert headers.get(name.lower()) == content.replace(SERVICE, observed.url), headers


@_then(r"request (\d+) has the header ([\w-]+) with (.+)")
def _has_in_header(observed: Observed, number: str, name: str, content: str) -> None:
    headers = observed.requests[int(number) - 1].headers
    assert content in headers.get(name.lower(), ""), headers


@_then(r"request (\d+) has no header ([\w-]+)")
def _has_no_header(observed: Observed, number: str, name: str) -> None:
    headers = observed.requests[int(number) - 1].headers
    assert name.lower() not in headers, headers


@_then(r"request (\d+) has the body" + _VALUE)
def _has_body(observed: Observed, number: str, line: str | None, block: str | None = None) -> None:
    request = observed.requests[int(number) - 1]
    assert json.loads(request.body or "null") == _placed(value_of(line, block), observed), request


@_then(r"request (\d+) has the text (.+)")
def _has_text(observed: Observed, number: str, text: str) -> None:
    request = observed.requests[int(number) - 1]
    assert request.body == text, request


@_then(r"request (\d+) has the form (.+)")
def _has_form(observed: Observed, number: str, content: str) -> None:
    request = observed.requests[int(number) - 1]
    sent = parse_qsl(request.body)
    assert request.headers["content-type"].startswith("application/x-www-form-urlencoded")
    assert set(parse_qsl(content)) <= set(sent), sent


@_then(r"request (\d+) has the query (.+)")
def _has_query(observed: Observed, number: str, content: str) -> None:
    request = observed.requests[int(number) - 1]
    assert request.query == tuple(parse_qsl(content, keep_blank_values=True)), request


@_then(r"request (\d+) does not mention (.+)")
def _not_mentioned(observed: Observed, number: str, text: str) -> None:
    request = observed.requests[int(number) - 1]
    assert text not in f"{request}", request


@_then(r"request (\d+) came from the client (\S+)")
def _came_from(observed: Observed, number: str, name: str) -> None:
    assert observed.requests[int(number) - 1].client == name


@_then("the gRPC service has heard the authorization (.+)")
def _grpc_heard(observed: Observed, text: str) -> None:
    assert observed.authorizations == [text]


@_then("the emitted events are" + _VALUE, wants="emitted")
def _emitted(observed: Observed, line: str | None, block: str | None = None) -> None:
    expected = _placed(value_of(line, block), observed)
    assert isinstance(expected, list)
    assert len(expected) == len(observed.emitted), observed.emitted
    assert _within(expected, observed.emitted), observed.emitted


@_then("the lifecycle events are", wants="lifecycle")
def _lifecycle(observed: Observed, rows: list[list[str]]) -> None:
    seen = [[event["type"].removeprefix(LIFECYCLE), event["data"].get("task", "")] for event in _dicts(observed.lifecycle)]
    assert seen == [[row[0], row[1] if len(row) > 1 else ""] for row in rows], seen


@_then(r"a lifecycle event (\S+) has the data" + _VALUE, wants="lifecycle")
def _lifecycle_data(observed: Observed, type_: str, line: str | None, block: str | None = None) -> None:
    expected = value_of(line, block)
    data = [event["data"] for event in _dicts(observed.lifecycle) if event["type"] == LIFECYCLE + type_]
    assert any(_within(expected, one) for one in data), data or [event["type"] for event in _dicts(observed.lifecycle)]


@_then("every lifecycle event has" + _VALUE, wants="lifecycle")
def _every_lifecycle(observed: Observed, line: str | None, block: str | None = None) -> None:
    expected = value_of(line, block)
    assert observed.lifecycle
    assert all(_within(expected, one) for one in observed.lifecycle), observed.lifecycle
    assert len({event["id"] for event in _dicts(observed.lifecycle)}) == len(observed.lifecycle), "ids are of one event each"


@_then(r"events are sent as (\S+)")
def _sent_as(observed: Observed, kind: str) -> None:
    assert observed.sink_types == {kind}


@_then(r"it takes (\S+) seconds", wants="time")
def _takes(observed: Observed, seconds: str) -> None:
    assert observed.seconds == float(seconds), observed.sleeps


@_then(r"it waits (\S.*) seconds", wants="time")
def _waits(observed: Observed, seconds: str) -> None:
    assert observed.sleeps == [float(one) for one in seconds.split(", ")], observed.sleeps


def _dicts(events: list[Json]) -> list[dict[str, Any]]:
    return [event for event in events if isinstance(event, dict)]


def _placed(value: Json, observed: Observed) -> Any:
    """The value with the server's real address."""
    return json.loads(json.dumps(value).replace(SERVICE, observed.url))


def _within(expected: Json, value: Json) -> bool:
    """Whether a value is as expected; objects may have more members, and "<text>" is any string that is not empty."""
    match expected, value:
        case dict(), dict():
            return all(name in value and _within(inner, value[name]) for name, inner in expected.items())
        case list(), list():
            return len(expected) == len(value) and all(map(_within, expected, value))
        case "<text>", str():
            return bool(value)
        case _:
            return expected == value and type(expected) is type(value)
