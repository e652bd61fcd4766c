"""A launched pod, a real process, whose workflow comes from Stigmer: what it finds in $secrets, and whom it asks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from tests import canaries
from tests.integration.snapshots.conftest import Pod
from tests.servers.sink import UNSET, Sink

from workflow_runner.server.tls import new_authority, serving_certificate

SECRET = canaries.WORKFLOW_SECRET
DOCUMENT = """
use: {secrets: [TOKEN, REGION]}
do: [{a: {set: {token: '${ $secrets.TOKEN }', region: '${ $secrets.REGION }'}}}, {b: {set: {length: '${ .token | length }',
 region: '${ .region }'}}}]
"""
ECHO = """
use: {secrets: [TOKEN]}
do: [{a: {set: {echo: '${ $secrets.TOKEN }'}}}]
"""


@pytest.fixture
async def pod(tmp_path: Path) -> AsyncIterator[Pod]:
    authority = new_authority()
    sink = Sink(serving_certificate(authority, ["localhost"]))
    await sink.up()
    pod = Pod(tmp_path, sink, authority.certificate)
    del pod.variables["WORKFLOW_RUNNER_SNAPSHOT_FOLDER"]
    pod.runs(DOCUMENT)
    yield pod
    if pod.lives:
        await pod.kill()
    await sink.down()


def outcome(pod: Pod) -> dict[str, object]:
    found: dict[str, object] = json.loads((pod.folder / "termination").read_text())
    return found


async def test_plain_values_come_with_the_pod_and_secret_ones_from_the_sink(pod: Pod) -> None:
    pod.variables |= {"WORKFLOW_RUNNER_STIGMER_VALUES": '{"REGION": "eu"}', "WORKFLOW_RUNNER_STIGMER_SECRETS": "TOKEN"}
    pod.sink.secrets = {"TOKEN": SECRET}
    await pod.start()
    assert await pod.ends() == 0
    assert outcome(pod)["output"] == {"length": len(SECRET), "region": "eu"}
    [asked] = pod.sink.asked
    assert (asked.run.execution_uid, asked.run.execution_id, asked.run.attempt) == ("uid-1", "uid-1-first", 1)
    assert SECRET not in pod.said


async def test_without_secrets_nobody_is_asked(pod: Pod) -> None:
    pod.variables["WORKFLOW_RUNNER_STIGMER_VALUES"] = '{"REGION": "eu", "TOKEN": "plain"}'
    await pod.start()
    assert await pod.ends() == 0
    assert outcome(pod)["output"] == {"length": 5, "region": "eu"}
    assert pod.sink.asked == []


async def test_a_secret_of_stigmers_is_concealed_like_any_other(pod: Pod) -> None:
    pod.runs(ECHO)
    pod.variables["WORKFLOW_RUNNER_STIGMER_SECRETS"] = "TOKEN"
    pod.sink.secrets = {"TOKEN": SECRET}
    await pod.start()
    assert await pod.ends() == 0
    assert "output" not in outcome(pod)
    assert SECRET not in pod.said


async def test_an_operator_that_comes_later_is_waited_for(pod: Pod) -> None:
    pod.variables["WORKFLOW_RUNNER_STIGMER_SECRETS"] = "TOKEN"
    pod.sink.secrets = {"TOKEN": SECRET, "REGION": "eu"}
    pod.sink.refuse = grpc.StatusCode.UNAVAILABLE
    await pod.start()
    await pod.sink.until(lambda: len(pod.sink.asked) >= 2)
    pod.sink.refuse = UNSET
    assert await pod.ends() == 0


async def test_secrets_that_are_refused_end_the_run_before_it_begins(pod: Pod) -> None:
    pod.variables["WORKFLOW_RUNNER_STIGMER_SECRETS"] = "TOKEN"
    await pod.start()
    assert await pod.ends() == 2
    told = outcome(pod)
    assert told["phase"] == "Failed"
    assert "run.secrets-unavailable" in str(told["error"])
    assert "FAILED_PRECONDITION: stigmer.refused: no such workflow" in str(told["error"])
    assert pod.sink.events == []
