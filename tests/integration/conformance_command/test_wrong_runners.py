"""Every check catches a runner that is wrong in what it looks at, and lets a right one pass."""

from __future__ import annotations

import grpc.aio
import pytest
from examples.runners.dag import dag_runner
from examples.runners.dag.dag_runner import QueryController, Runs
from tests.integration.conformance_command.right_runners import (
    asks_for_a_token,
    faces,
    has_little_room,
    looks_at_time_limits,
    only_what_it_must,
    reporting,
)
from tests.integration.conformance_command.runners import KEY, QUICK, check, dag_profile, served, told
from tests.integration.conformance_command.wrong_runners import OVERLONG, WRONG, AnswersOtherwise, Wrong
from tests.until import until

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2
from workflow_runner.runner_checks.interface import EXECUTION, NEWER, OLDER
from workflow_runner.runner_checks.receiver import receiving
from workflow_runner.runner_checks.requirements import REQUIREMENTS
from workflow_runner.runner_checks.suite import select


def test_every_requirement_has_a_runner_that_breaks_it() -> None:
    cannot_be_broken = {"OFFER-7"}  # it is there or not; the runner that has only what it must has it not
    assert {wrong.check for wrong in WRONG} == set(REQUIREMENTS) - cannot_be_broken


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.check} {wrong.name}")
async def test_a_wrong_runner_is_caught_by_the_check_that_is_meant_for_it(wrong: Wrong) -> None:
    async with receiving("127.0.0.1:0") as receiver:
        assert receiver is not None
        async with served(lambda runs: wrong.server(runs, f"127.0.0.1:{receiver.port}")) as address:
            results = await check(
                address, only=[wrong.check], token=wrong.token, overlong=wrong.overlong, receiver=receiver, limits=QUICK
            )
    result = results[wrong.check]
    assert result.mark == "fail", result
    assert "cannot be judged" not in result.came
    assert "the time for all checks" not in result.came


_LACKS = {"OFFER-3", "OFFER-4", "OFFER-5", "EXECUTE-9", "START-9", "CALLBACK-1", "CALLBACK-2", "CALLBACK-3", "CALLBACK-4"}


@pytest.mark.parametrize(
    ("names", "lacks"),
    [
        ((EXECUTION, OLDER, NEWER), []),
        ((EXECUTION,), ["FACE-1", "FACE-2"]),
        ((OLDER,), ["FACE-1", "FACE-2"]),
        ((NEWER,), ["EXECUTE", "EVENT", "CANCEL-4", "PAUSE-6", "QUERY-11", "FACE-1", "FACE-2"]),
    ],
    ids=["all", "today's", "the older", "the newer"],
)
async def test_a_right_runner_passes_under_each_of_its_names(names: tuple[str, ...], lacks: list[str]) -> None:
    async with served(faces(*names)) as address:
        results = await check(address)
    assert told(results, "fail") == []
    without = {name for name in REQUIREMENTS if name in lacks or name.partition("-")[0] in lacks}
    assert set(told(results, "not offered")) == _LACKS | without


async def test_a_runner_that_has_only_what_it_must_passes() -> None:
    async with served(only_what_it_must) as address:
        results = await check(address)
    assert told(results, "fail") == []
    passed = told(results, "pass")
    assert {name for name, requirement in REQUIREMENTS.items() if requirement.must} <= set(passed)
    assert not {name for name in passed if name.startswith(("PAUSE", "QUERY", "FACE"))}
    assert results["PAUSE-1"].came == "UNIMPLEMENTED: PauseExecution"


async def test_no_run_is_left_behind_and_nobody_elses_is_touched() -> None:
    """The check fails halfway, and the run that it began would go on for a minute."""
    all_runs: list[Runs] = []

    def build(runs: Runs) -> grpc.aio.Server:
        all_runs.append(runs)
        runs.start(io_pb2.WorkflowExecuteInput(workflow_execution_id="else", workflow_yaml=dag_profile().long.text))
        return dag_runner.server_for(AnswersOtherwise(runs), QueryController(runs))

    async with served(build) as address:
        assert told(await check(address, only=["START-5"]), "fail") == ["START-5"]
        runs = all_runs[0]._runs
        await until(lambda: [run.id for run in runs.values() if not run.ended] == ["else"])
        assert len(runs) > 1


async def test_a_runner_that_has_room_for_one_run_at_a_time_passes() -> None:
    async with served(has_little_room) as address:
        results = await check(address)
    assert told(results, "fail") == []


async def test_a_time_limit_that_is_looked_at_passes_and_one_that_is_not_is_not_offered() -> None:
    async with served(looks_at_time_limits) as address:
        assert told(await check(address, only=["EXECUTE-9"], overlong=OVERLONG), "pass") == ["EXECUTE-9"]
    async with served(dag_runner.build) as address:
        assert told(await check(address, only=["EXECUTE-9"], overlong=OVERLONG), "not offered") == ["EXECUTE-9"]


async def test_a_runner_that_asks_for_a_token_at_every_door_passes() -> None:
    async with served(asks_for_a_token) as address:
        assert told(await check(address, only=["OFFER-5"], token=KEY), "pass") == ["OFFER-5"]


async def test_a_runner_that_reports_passes() -> None:
    async with receiving("127.0.0.1:0") as receiver:
        assert receiver is not None
        service = reporting(f"127.0.0.1:{receiver.port}")
        async with served(lambda runs: dag_runner.server_for(service(runs), QueryController(runs))) as address:
            results = await check(address, only=select(["CALLBACK"]), receiver=receiver)
    assert told(results, "pass") == ["CALLBACK-1", "CALLBACK-2", "CALLBACK-3", "CALLBACK-4"]
