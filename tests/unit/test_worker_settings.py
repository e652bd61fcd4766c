"""What the environment says to a Temporal worker."""

from __future__ import annotations

import pytest

from workflow_runner.errors import InvalidInput
from workflow_runner.settings import worker_settings

ADDRESS = {"TEMPORAL_SERVICE_ADDRESS": "temporal:7233"}


def test_the_defaults_are_the_topologys() -> None:
    settings = worker_settings(ADDRESS)
    temporal = settings.temporal
    queues = (temporal.stigmer_task_queue, temporal.runner_task_queue, temporal.engine_task_queue)
    assert queues == ("workflow_execution_stigmer", "workflow_execution_runner", "workflow_execution")
    assert temporal.time_limit_seconds == 1800
    assert (settings.health_port, settings.metrics_port, settings.stigmer) == (3000, 9090, None)


def test_all_of_it_can_be_set() -> None:
    settings = worker_settings(
        {
            **ADDRESS,
            "TEMPORAL_WORKFLOW_EXECUTION_STIGMER_TASK_QUEUE": "a",
            "TEMPORAL_WORKFLOW_EXECUTION_RUNNER_TASK_QUEUE": "b",
            "TEMPORAL_WORKFLOW_EXECUTION_TASK_QUEUE": "c",
            "TEMPORAL_WORKFLOW_EXECUTION_TIMEOUT_SECONDS": "90.5",
            "STIGMER_SERVICE_ENDPOINT": "stigmer:443",
            "WORKFLOW_RUNNER_MOST_EXECUTIONS": "7",
        }
    )
    temporal = settings.temporal
    assert (temporal.stigmer_task_queue, temporal.runner_task_queue, temporal.engine_task_queue) == ("a", "b", "c")
    assert (temporal.time_limit_seconds, settings.most_executions) == (90.5, 7)
    assert settings.stigmer is not None


@pytest.mark.parametrize("text", ["0", "-1", "soon"])
def test_a_time_limit_is_a_number_of_seconds(text: str) -> None:
    with pytest.raises(InvalidInput, match="TEMPORAL_WORKFLOW_EXECUTION_TIMEOUT_SECONDS"):
        worker_settings({**ADDRESS, "TEMPORAL_WORKFLOW_EXECUTION_TIMEOUT_SECONDS": text})
