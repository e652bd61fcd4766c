"""The secrets of a workflow that comes from Stigmer: a launched pod asks the operator's sink for them before it begins.

Called by cli.execute, for runs that have some and for no others. They are held in memory only and concealed in whatever is
logged from then on.
"""

from __future__ import annotations

import asyncio
import logging
import random

import grpc
import grpc.aio

from workflow_runner import telemetry
from workflow_runner.errors import InvalidInput
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2
from workflow_runner.settings import PodSettings

log = logging.getLogger(__name__)

WAIT_SECONDS = 120.0
"""So long the operator, or Stigmer behind it, may be away before a run that cannot begin fails."""
DEADLINE_SECONDS = 45.0
"""Of one call: the operator tries several times to read from Stigmer."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
METHOD = "/ai.stigmer.workflowrunner.sink.v1.SinkService/Secrets"

_FOR_GOOD = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.UNIMPLEMENTED)


async def secrets_of(settings: PodSettings, *, wait_seconds: float = WAIT_SECONDS) -> dict[str, str]:
    """The secret values by name, concealed from now on. Raises InvalidInput (`run.secrets-unavailable`) where they are not to
    be had, at once or in `wait_seconds`."""
    credentials = grpc.ssl_channel_credentials(root_certificates=settings.sink_ca)
    options = [("grpc.enable_http_proxy", 0), ("grpc.enable_retries", 0)]
    loop = asyncio.get_running_loop()
    over = loop.time() + wait_seconds
    async with grpc.aio.secure_channel(settings.sink_endpoint, credentials, options=options) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[sink_pb2.SecretsRequest, sink_pb2.SecretsResponse] = channel.unary_unary(
            METHOD,
            request_serializer=sink_pb2.SecretsRequest.SerializeToString,
            response_deserializer=sink_pb2.SecretsResponse.FromString,
        )
        failures = 0
        while True:
            found, trouble, for_good = await _ask(call, settings, max(0.1, min(DEADLINE_SECONDS, over - loop.time())))
            if found is not None:
                for value in found.values():
                    telemetry.conceal(value)
                return found
            failures += 1
            pause = random.uniform(0, min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10)))  # noqa: S311 - jitter
            if for_good or loop.time() + pause >= over:
                message = f"the secrets of the workflow could not be had from Stigmer: {trouble}"
                raise InvalidInput(message, code="run.secrets-unavailable")
            if failures == 1:
                log.warning("the operator does not give the run's secrets; it is asked again", extra={"details": trouble})
            await asyncio.sleep(pause)


async def _ask(
    call: grpc.aio.UnaryUnaryMultiCallable[sink_pb2.SecretsRequest, sink_pb2.SecretsResponse],
    settings: PodSettings,
    seconds: float,
) -> tuple[dict[str, str] | None, str, bool]:
    """(the values, or None; what stands in the way; whether it will stay)"""
    run = sink_pb2.Run(execution_uid=settings.execution_uid, execution_id=settings.execution_id, attempt=settings.attempt)
    try:
        # Read at every call: the kubelet replaces it.
        token = settings.sink_token_file.read_text().strip()
        metadata = (("authorization", f"Bearer {token}"),)
        answer = await call(sink_pb2.SecretsRequest(run=run), metadata=metadata, timeout=seconds)
    except OSError as error:
        return None, f"the token file cannot be read: {error.strerror}", False
    except grpc.aio.AioRpcError as error:
        said = telemetry.redact(f"{error.code().name}: {error.details()}")[:1000]
        return None, said, error.code() in _FOR_GOOD
    return dict(answer.values), "", False
