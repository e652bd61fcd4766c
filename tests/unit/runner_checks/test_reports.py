"""Results as text, JSON and JUnit, whatever a server has said."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import grpc
import pytest
from google.protobuf import struct_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from workflow_runner import telemetry
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.runner_checks.caller import MOST_SAID, Answer, Streamed, as_text, short
from workflow_runner.runner_checks.reports import line, to_json, to_junit, totals
from workflow_runner.runner_checks.requirements import REQUIREMENTS
from workflow_runner.runner_checks.suite import Mark, Result


def result(mark: Mark, came: str = "came", number: int = 3) -> Result:
    asked = [("Service/Method(a='b')", "OK (1 ms)"), ("Service/Other()", "NOT_FOUND (2 ms)")]
    return Result(number, REQUIREMENTS["CANCEL-3"], mark, "NOT_FOUND", came, asked, 0.25)


def test_text_of_what_passed_is_one_line() -> None:
    text = line(result("pass"), verbose=False, coloured=False)
    assert text == "  3  pass         CANCEL-3   Cancelling an unknown run is NOT_FOUND."
    assert len(line(result("pass"), verbose=True, coloured=False).splitlines()) == 3


def test_text_of_what_failed_has_everything() -> None:
    assert line(result("fail"), verbose=False, coloured=False).splitlines() == [
        "  3  fail         CANCEL-3   Cancelling an unknown run is NOT_FOUND.",
        "                  asked     Service/Method(a='b') → OK (1 ms)",
        "                            Service/Other() → NOT_FOUND (2 ms)",
        "                  expected  NOT_FOUND",
        "                  came      came",
    ]


def test_text_of_what_is_not_offered_says_why() -> None:
    text = line(result("not offered", "UNIMPLEMENTED: PauseExecution"), verbose=False, coloured=False)
    assert text.splitlines()[1:] == ["                  because   UNIMPLEMENTED: PauseExecution"]


def test_colours_do_not_move_the_columns() -> None:
    coloured = line(result("fail"), verbose=False, coloured=True)
    assert coloured.replace("\033[31m", "").replace("\033[0m", "") == line(result("fail"), verbose=False, coloured=False)


def test_totals_count() -> None:
    assert totals([result("pass"), result("pass"), result("not offered")]) == "3 checks: 2 passed, 0 failed, 1 not offered"
    assert totals([result("fail")]) == "1 check: 0 passed, 1 failed, 0 not offered"


@given(st.text())
def test_whatever_was_said_json_and_junit_can_be_read(said: str) -> None:
    results = [result("fail", short(said)), result("not offered", short(said), 4)]
    assert json.loads(json.dumps(to_json("grpc://x:1", results)))["failed"] == 1
    suite = ElementTree.fromstring(to_junit("grpc://x:1", results))
    assert [case.attrib["time"] for case in suite] == ["0.250", "0.250"]


@given(st.text(max_size=3000))
def test_what_was_said_is_one_printable_line(said: str) -> None:
    told = short(said)
    assert told.isprintable()
    assert len(told) <= MOST_SAID


def test_a_secret_that_a_server_quotes_is_not_told() -> None:
    telemetry.conceal("a-token-of-this-test")
    assert "a-token-of-this-test" not in str(Answer(grpc.StatusCode.UNAUTHENTICATED, "no: Bearer a-token-of-this-test"))


@pytest.mark.parametrize(
    "value",
    [struct_pb2.Value(number_value=float("nan")), struct_pb2.Value(), struct_pb2.Value(number_value=float("inf"))],
    ids=["nan", "nothing", "infinity"],
)
def test_what_json_cannot_say_is_told_all_the_same(value: struct_pb2.Value) -> None:
    event = WorkflowProgressEvent(event_type="workflow_completed", output=value)
    assert "workflow_completed" in as_text(event)
    assert str(Answer(grpc.StatusCode.OK, value=event)).startswith("OK ")


def test_a_stream_is_told_by_its_events() -> None:
    heard = Streamed([WorkflowProgressEvent(sequence_number=number, event_type="task_started") for number in range(1, 3)])
    heard.answer = Answer(grpc.StatusCode.OK)
    assert str(heard) == "[1 task_started, 2 task_started] and then OK"
    heard.left = True
    assert str(heard).endswith("and then the caller went away")


def test_violations_are_read_from_the_details() -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="workflow_yaml", description="2:1: no")
    status = status_pb2.Status(code=3)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="x"))
    status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    answer = Answer(grpc.StatusCode.INVALID_ARGUMENT, details=status.SerializeToString())
    assert answer.violations() == ["workflow_yaml: 2:1: no"]
    assert Answer(grpc.StatusCode.INVALID_ARGUMENT).violations() is None
    with pytest.raises(ValueError, match=r"no google\.rpc\.Status"):
        Answer(grpc.StatusCode.INVALID_ARGUMENT, details=b"\xff\xff").violations()
