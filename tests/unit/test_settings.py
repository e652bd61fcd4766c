"""What the environment says, and what is said of it when it is wrong."""

from __future__ import annotations

import pytest

from workflow_runner.errors import InvalidInput
from workflow_runner.settings import operator_settings, pod_settings

POD = {
    "WORKFLOW_RUNNER_EXECUTION_UID": "u",
    "WORKFLOW_RUNNER_EXECUTION_ID": "u",
    "WORKFLOW_RUNNER_ATTEMPT": "1",
    "WORKFLOW_RUNNER_SINK_ENDPOINT": "sink:9090",
    "WORKFLOW_RUNNER_SINK_CA": "PEM",
    "WORKFLOW_RUNNER_SINK_TOKEN_FILE": "/token",
}


def test_the_names_that_others_rely_on() -> None:
    settings = operator_settings({"WORKFLOW_RUNNER_IMAGE": "i", "GRPC_PORT": "1234", "LOG_LEVEL": "DEBUG"})
    assert (settings.grpc_port, settings.health_port, settings.log_level, settings.job_log_level) == (
        1234,
        3000,
        "debug",
        "debug",
    )


@pytest.mark.parametrize(
    ("environment", "code", "named"),
    [
        ({}, "settings.missing", "WORKFLOW_RUNNER_IMAGE"),
        ({"WORKFLOW_RUNNER_IMAGE": "i", "GRPC_PORT": "http"}, "settings.invalid", "GRPC_PORT"),
        ({"WORKFLOW_RUNNER_IMAGE": "i", "HEALTH_PORT": "70000"}, "settings.invalid", "HEALTH_PORT"),
        ({"WORKFLOW_RUNNER_IMAGE": "i", "LOG_LEVEL": "loud"}, "settings.invalid", "LOG_LEVEL"),
    ],
    ids=["image", "grpc-port", "health-port", "log-level"],
)
def test_a_wrong_operator_variable_is_named(environment: dict[str, str], code: str, named: str) -> None:
    with pytest.raises(InvalidInput, match=named) as refusal:
        operator_settings(environment)
    assert refusal.value.code == code


@pytest.mark.parametrize("name", POD)
def test_a_missing_pod_variable_is_named(name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        pod_settings({key: value for key, value in POD.items() if key != name})


def test_an_attempt_is_a_number() -> None:
    with pytest.raises(InvalidInput, match="WORKFLOW_RUNNER_ATTEMPT"):
        pod_settings({**POD, "WORKFLOW_RUNNER_ATTEMPT": "one"})
