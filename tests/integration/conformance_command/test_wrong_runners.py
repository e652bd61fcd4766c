"""Every check catches a runner that is wrong in what it looks at, and lets a right one pass."""

from __future__ import annotations

import grpc
import grpc.aio
import pytest
from examples.runners.dag import dag_runner
from examples.runners.dag.dag_runner import ExecutionService, QueryController, Runs
from google.protobuf import empty_pb2
from tests.integration.conformance_command.runners import check, served, told
from tests.integration.conformance_command.wrong_runners import KEY, OVERLONG, WRONG, Context, SaysNoMore, Wrong, faces

from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import io_pb2
from workflow_runner.runner_checks.requirements import REQUIREMENTS


def test_every_requirement_has_a_runner_that_breaks_it() -> None:
    assert {wrong.check for wrong in WRONG} == set(REQUIREMENTS)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.check} {wrong.name}")
async def test_a_wrong_runner_is_caught_by_the_check_that_is_meant_for_it(wrong: Wrong) -> None:
    async with served(wrong.server) as address:
        results = await check(address, only=[wrong.check], token=wrong.token, overlong=wrong.overlong)
    result = results[wrong.check]
    assert result.mark == "fail", result
    assert "cannot be judged" not in result.came
    assert "the time for all checks" not in result.came


async def test_a_right_runner_passes_under_all_its_names() -> None:
    async with served(faces()) as address:
        results = await check(address)
    assert told(results, "fail") == []
    assert told(results, "not offered") == ["OFFER-3", "OFFER-5", "EXECUTE-9", "START-9"]


class CannotPause(ExecutionService):
    """Has what it must."""

    async def PauseExecution(self, request: io_pb2.PauseExecutionRequest, context: Context) -> empty_pb2.Empty:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this runner cannot pause")
        raise AssertionError("abort raises")

    async def ResumeExecution(self, request: io_pb2.ResumeExecutionRequest, context: Context) -> empty_pb2.Empty:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "this runner cannot pause")
        raise AssertionError("abort raises")


async def test_a_runner_that_has_only_what_it_must_passes() -> None:
    async with served(lambda runs: dag_runner.server_for(CannotPause(runs), None)) as address:
        results = await check(address)
    assert told(results, "fail") == []
    passed = told(results, "pass")
    assert {name for name, requirement in REQUIREMENTS.items() if requirement.must} <= set(passed)
    assert not {name for name in passed if name.startswith(("PAUSE", "QUERY", "FACE"))}
    assert results["PAUSE-1"].came == "UNIMPLEMENTED: PauseExecution"


class PointsElsewhere(SaysNoMore):
    """Refuses what may take too long, and says what to do."""

    async def Execute(self, request: io_pb2.WorkflowExecuteInput, context: Context):  # type: ignore[no-untyped-def, override]
        if "overlong" in request.workflow_yaml:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "use execute_async")
        async for event in ExecutionService.Execute(self, request, context):
            yield event


async def test_a_time_limit_that_is_looked_at_passes_and_one_that_is_not_is_not_offered() -> None:
    def build(runs: Runs) -> grpc.aio.Server:
        return dag_runner.server_for(PointsElsewhere(runs), QueryController(runs))

    async with served(build) as address:
        assert told(await check(address, only=["EXECUTE-9"], overlong=OVERLONG), "pass") == ["EXECUTE-9"]
    async with served(dag_runner.build) as address:
        assert told(await check(address, only=["EXECUTE-9"], overlong=OVERLONG), "not offered") == ["EXECUTE-9"]


async def test_a_runner_that_asks_for_a_token_everywhere_passes() -> None:
    class Doorman(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation, details):  # type: ignore[no-untyped-def, override]
            if ("authorization", f"Bearer {KEY}") in details.invocation_metadata:
                return await continuation(details)
            handler = await continuation(details)

            async def refuse(request: object, context: Context) -> None:
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")

            async def refuse_stream(request: object, context: Context):  # type: ignore[no-untyped-def]
                await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no")
                yield

            if handler.response_streaming:
                return grpc.unary_stream_rpc_method_handler(refuse_stream, handler.request_deserializer)
            return grpc.unary_unary_rpc_method_handler(refuse, handler.request_deserializer)

    def build(runs: Runs) -> grpc.aio.Server:
        server = grpc.aio.server(interceptors=[Doorman()], options=[("grpc.so_reuseport", 0)])
        from workflow_runner.proto.ai.stigmer.agentic.workflowrunner.v1 import service_pb2_grpc

        service_pb2_grpc.add_WorkflowExecutionServiceServicer_to_server(ExecutionService(runs), server)
        return server

    async with served(build) as address:
        assert told(await check(address, only=["OFFER-5"], token=KEY), "pass") == ["OFFER-5"]
