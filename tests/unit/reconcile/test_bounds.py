"""Whatever a workflow says, its status can be kept: held against the schema that the API server has."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.reconcile.conftest import NOW, UID, Builder, event, pod

from workflow_runner.crd.execution import WorkflowExecutionStatus
from workflow_runner.crd.schema import structural_schema
from workflow_runner.reconcile import actions as act
from workflow_runner.reconcile.bounds import MAX_STATUS, bounded_error, minimal, size
from workflow_runner.reconcile.execution import plan
from workflow_runner.reconcile.live import End, LiveRun
from workflow_runner.reconcile.observed import Delivery

Json = dict[str, Any]
SCHEMA = structural_schema(WorkflowExecutionStatus)
LONG = "é" * 20_000
HUGE_ERROR = {"type": LONG, "status": 2**40, "message": LONG, "detail": LONG, "instance": f"/{LONG}", "code": LONG}

HUGE_ERROR_IN_RANGE = {**HUGE_ERROR, "status": 500}


def mistakes(value: Any, schema: Json, path: str = "") -> list[str]:
    """What the API server would refuse, of what the CRD's schema says."""
    found = []
    kinds = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}
    if "type" in schema and not isinstance(value, kinds[schema["type"]]):
        return [f"{path}: not {schema['type']}"]
    if isinstance(value, str) and len(value) > schema.get("maxLength", 10**9):
        found.append(f"{path}: too long")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{path}: {value!r} is not in the enum")
    if isinstance(value, list):
        found += [f"{path}: too many"] if len(value) > schema.get("maxItems", 10**9) else []
        found += [mistake for item in value for mistake in mistakes(item, schema.get("items", {}), f"{path}[]")]
    if isinstance(value, dict):
        found += [f"{path}.{name}: missing" for name in schema.get("required", []) if name not in value]
        for name, item in value.items():
            found += mistakes(item, schema.get("properties", {}).get(name, {}), f"{path}.{name}")
    return found


def ended_status(observed: Builder, live: LiveRun, **changes: Any) -> Json:
    decision = plan(observed.launched(live, now=NOW + timedelta(seconds=5), **changes))
    [status] = [action.status for action in decision.actions if isinstance(action, act.WriteStatus)]
    return status


def test_names_and_errors_of_any_length_are_kept_cut(observed: Builder, live: LiveRun) -> None:
    for number in range(1, 61):
        fields = {"task_name": LONG, "task_reference": f"/do/{number}/{LONG}", "task_iteration": "1." * 9000}
        live.ingest(event(number, "task_failed", error={**HUGE_ERROR, "status": 2**31 - 1}, **fields))
    live.ingest(event(61, "workflow_failed", error={**HUGE_ERROR, "status": -1}, message=LONG))
    status = ended_status(observed, live, delivery=Delivery(0, "down", 61))
    assert mistakes(status, SCHEMA) == []
    assert size(status) <= MAX_STATUS
    assert status["phase"] == "Failed"
    assert status["callback"]["owed"][-1]["type"] == "workflow_failed"


def test_a_status_that_had_to_be_made_small_is_not_written_again_and_again(observed: Builder, live: LiveRun) -> None:
    live.ingest(event(1, "workflow_started"))
    for number in range(2, 61):
        live.ingest(
            event(number, "task_failed", task_name=LONG, task_reference=f"/do/{number}/{LONG}", error=HUGE_ERROR_IN_RANGE)
        )
    late: dict[str, Any] = {"now": NOW + timedelta(seconds=5), "delivery": Delivery(0, "down", 60)}
    [first] = [action for action in plan(observed.launched(live, **late)).actions if isinstance(action, act.WriteStatus)]
    assert size(first.status) <= MAX_STATUS
    again = plan(observed.launched(live, status=first.status, **late))
    assert not [action for action in again.actions if isinstance(action, act.WriteStatus)]


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("x" * 300_000, "TooLarge"),
        ([1] * 100_000, "TooLarge"),
        (10**4000, "NotRepresentable"),
        ("\ud800", "NotRepresentable"),
    ],
    ids=["text", "list", "number", "surrogate"],
)
def test_an_output_that_cannot_be_kept_is_told_as_lost_and_the_run_has_completed(
    observed: Builder, live: LiveRun, output: Any, reason: str
) -> None:
    live.conclude(End("Completed", NOW, output=output))
    status = ended_status(observed, live)
    assert status["phase"] == "Completed"
    assert "output" not in status
    assert [item["reason"] for item in status["conditions"] if item["type"] == "OutputLost"] == [reason]
    assert mistakes(status, SCHEMA) == []


@pytest.mark.parametrize("depth", [60, 101, 900])
def test_an_output_of_any_depth_lets_the_run_end(observed: Builder, live: LiveRun, depth: int) -> None:
    output: Any = 1
    for _ in range(depth):
        output = [output]
    live.conclude(End("Completed", NOW, output=output))
    assert ended_status(observed, live)["phase"] == "Completed"
    assert ("output" in ended_status(observed, live)) is (depth <= 100)


def test_an_output_nested_beyond_what_can_be_read_is_unknown(observed: Builder, live: LiveRun) -> None:
    live.ingest(event(1, "workflow_completed"), b"[" * 100_000 + b"]" * 100_000)
    assert ended_status(observed, live)["phase"] == "Completed"
    deep = pod({"terminated": {"exitCode": 0, "message": "[" * 100_000}})
    other = LiveRun(execution_id=UID, attempt=1)
    [action] = plan(observed.launched(other, pod=deep)).actions
    assert isinstance(action, act.EndRun)


def test_a_hostile_termination_message_is_bounded(observed: Builder, live: LiveRun) -> None:
    message = json.dumps({"phase": "Failed", "error": {"type": "t" * 4000, "status": 2**70, "title": 7, "instance": None}})
    [action] = plan(observed.launched(live, pod=pod({"terminated": {"exitCode": 1, "message": message}}))).actions
    assert isinstance(action, act.EndRun)
    live.conclude(action.end)
    assert mistakes(ended_status(observed, live), SCHEMA) == []


def test_a_number_that_no_run_reaches_is_not_taken_in(live: LiveRun) -> None:
    assert not live.ingest(event(2**63 - 1, "workflow_started"))
    assert live.conclude(End("Failed", NOW)).sequence_number == 1


def test_the_last_resort_is_small_and_valid(observed: Builder, live: LiveRun) -> None:
    live.ingest(event(1, "workflow_failed", error={**HUGE_ERROR, "status": 500}, message=LONG))
    status = minimal(ended_status(observed, live))
    assert mistakes(status, SCHEMA) == []
    assert size(status) < 4096


json_like = st.recursive(
    st.none() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(error=st.dictionaries(st.sampled_from(["type", "status", "title", "detail", "instance", "code"]), json_like))
def test_any_error_becomes_one_that_status_takes(error: Json) -> None:
    assert mistakes(bounded_error(error), SCHEMA["properties"]["error"]) == []


def test_an_output_that_the_pod_kept_for_its_size_is_told_as_too_large(observed: Builder, live: LiveRun) -> None:
    live.ingest(event(1, "workflow_started"))
    live.ingest(event(2, "workflow_completed"), b"", too_large=True)
    status = ended_status(observed, live)
    assert "output" not in status
    assert [item["reason"] for item in status["conditions"] if item["type"] == "OutputLost"] == ["TooLarge"]
