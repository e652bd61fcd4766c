"""What the environment says, and what is said of it when it is wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from workflow_runner.errors import InvalidInput
from workflow_runner.settings import (
    HostSettings,
    StigmerSettings,
    host_settings,
    operator_settings,
    pod_settings,
    stigmer_settings,
)

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
        ({"WORKFLOW_RUNNER_IMAGE": "i", "METRICS_PORT": "-1"}, "settings.invalid", "METRICS_PORT"),
        ({"WORKFLOW_RUNNER_IMAGE": "i", "WATCH_NAMESPACES": "a,team_b"}, "settings.invalid", "team_b"),
        ({"WORKFLOW_RUNNER_IMAGE": "i", "WORKFLOW_RUNNER_JOB_LOG_LEVEL": "x"}, "settings.invalid", "JOB_LOG_LEVEL"),
        ({"WORKFLOW_RUNNER_IMAGE": "i", "WORKFLOW_RUNNER_DEFAULT_RUNNER": "type: x"}, "settings.invalid", "DEFAULT_RUNNER"),
        ({"WORKFLOW_RUNNER_IMAGE": "i", "WORKFLOW_RUNNER_DEFAULT_RUNNER": "[]"}, "settings.invalid", "DEFAULT_RUNNER"),
    ],
    ids=[
        "image",
        "grpc-port",
        "health-port",
        "log-level",
        "metrics-port",
        "namespace",
        "job-log-level",
        "runner",
        "runner-list",
    ],
)
def test_a_wrong_operator_variable_is_named(environment: dict[str, str], code: str, named: str) -> None:
    with pytest.raises(InvalidInput, match=named) as refusal:
        operator_settings(environment)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("text", "namespaces"),
    [("", ()), (" ", ()), ("team-a", ("team-a",)), (" team-a, team-b ,team-a,", ("team-a", "team-b"))],
    ids=["none", "blank", "one", "several"],
)
def test_the_namespaces_to_watch(text: str, namespaces: tuple[str, ...]) -> None:
    settings = operator_settings({"WORKFLOW_RUNNER_IMAGE": "i", "WATCH_NAMESPACES": text})
    assert settings.watch_namespaces == namespaces
    assert (settings.metrics_port, settings.default_runner) == (9464, None)


def test_the_default_runner_is_a_spec() -> None:
    settings = operator_settings({"WORKFLOW_RUNNER_IMAGE": "i", "WORKFLOW_RUNNER_DEFAULT_RUNNER": '{"type": "embedded"}'})
    assert settings.default_runner == {"type": "embedded"}


@pytest.mark.parametrize("name", POD)
def test_a_missing_pod_variable_is_named(name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        pod_settings({key: value for key, value in POD.items() if key != name})


def test_what_a_pod_may_be_told_besides() -> None:
    least = pod_settings(POD)
    assert (least.run_id, least.timeout, least.secrets_folder, least.snapshot_folder) == ("", None, None, None)
    settings = pod_settings(
        POD
        | {
            "WORKFLOW_RUNNER_RUN_ID": "again",
            "WORKFLOW_RUNNER_TIMEOUT_SECONDS": "90.5",
            "WORKFLOW_RUNNER_SECRETS_FOLDER": "/secrets",
            "WORKFLOW_RUNNER_SNAPSHOT_FOLDER": "/volume",
        }
    )
    assert (settings.run_id, settings.timeout) == ("again", timedelta(seconds=90.5))
    assert (settings.secrets_folder, settings.snapshot_folder) == (Path("/secrets"), Path("/volume"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("WORKFLOW_RUNNER_TIMEOUT_SECONDS", value) for value in ("0", "-1", "soon", "1e3", "nan", "9999999999", "PT1M")],
        ("WORKFLOW_RUNNER_SECRETS_FOLDER", "secrets"),
        ("WORKFLOW_RUNNER_SNAPSHOT_FOLDER", "./volume"),
    ],
)
def test_a_wrong_pod_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=name) as refusal:
        pod_settings(POD | {name: value})
    assert refusal.value.code == "settings.invalid"


def test_an_attempt_is_a_number() -> None:
    with pytest.raises(InvalidInput, match="WORKFLOW_RUNNER_ATTEMPT"):
        pod_settings({**POD, "WORKFLOW_RUNNER_ATTEMPT": "one"})


def test_addresses_are_split_for_pods_and_for_the_operator() -> None:
    said = {"WORKFLOW_RUNNER_ALLOW_ADDRESSES": "a.test, 10.0.0.0/8", "WORKFLOW_RUNNER_DENY_ADDRESSES": "b.test c.test"}
    expected = (("a.test", "10.0.0.0/8"), ("b.test", "c.test"))
    pod, operator = pod_settings(POD | said), operator_settings({"WORKFLOW_RUNNER_IMAGE": "i"} | said)
    assert (pod.allow_addresses, pod.deny_addresses) == expected
    assert (operator.allow_addresses, operator.deny_addresses) == expected
    assert pod_settings(POD).deny_addresses == ()


def test_what_a_host_has_and_permits() -> None:
    said = {
        "WORKFLOW_RUNNER_PROCESSES": "False",
        "WORKFLOW_RUNNER_PROCESS_TIMEOUT_SECONDS": "90.5",
        "WORKFLOW_RUNNER_DEFAULT_CATALOG": "https://c.test/",
    }
    expected = HostSettings(processes=False, process_seconds=90.5, default_catalog="https://c.test/")
    assert host_settings(said) == expected
    assert operator_settings({"WORKFLOW_RUNNER_IMAGE": "i"} | said).host == expected
    assert host_settings({}) == host_settings(dict.fromkeys(said, "")) == HostSettings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKFLOW_RUNNER_PROCESSES", "no"),
        ("WORKFLOW_RUNNER_PROCESS_TIMEOUT_SECONDS", "0"),
        ("WORKFLOW_RUNNER_DEFAULT_CATALOG", "c.test"),
    ],
)
def test_a_wrong_host_variable_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        host_settings({name: value})


def test_where_a_process_of_its_own_reports() -> None:
    said = {"STIGMER_SERVICE_ENDPOINT": "stigmer.test:443", "STIGMER_SERVICE_API_KEY": " k3y-in-the-environment\n"}
    settings = stigmer_settings(said)
    assert settings == StigmerSettings("stigmer.test:443", "k3y-in-the-environment", use_tls=True, api="progress")
    assert "k3y" not in f"{settings!r} {settings}"
    file = {"STIGMER_SERVICE_ENDPOINT": "[::1]:9091", "STIGMER_SERVICE_API_KEY_FILE": "/keys/api-key"}
    other = {"STIGMER_SERVICE_USE_TLS": "false", "STIGMER_SERVICE_API": "status"}
    expected = StigmerSettings("[::1]:9091", "", use_tls=False, api_key_file=Path("/keys/api-key"), api="status")
    assert stigmer_settings(file | other) == expected
    assert stigmer_settings({}) is stigmer_settings({"STIGMER_SERVICE_ENDPOINT": ""}) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STIGMER_SERVICE_ENDPOINT", "grpc://stigmer.test:443"),
        ("STIGMER_SERVICE_ENDPOINT", "stigmer.test"),
        ("STIGMER_SERVICE_ENDPOINT", "stigmer.test:65536"),
        ("STIGMER_SERVICE_API", "events"),
        ("STIGMER_SERVICE_USE_TLS", "no"),
        ("STIGMER_SERVICE_API_KEY", "s3cret\x00"),
        ("STIGMER_SERVICE_API_KEY_FILE", "keys/api-key"),
        ("STIGMER_SERVICE_API_KEY_FILE", "/keys/api-key"),
    ],
)
def test_a_wrong_variable_about_stigmer_is_named_and_the_key_is_not(name: str, value: str) -> None:
    environment = {"STIGMER_SERVICE_ENDPOINT": "stigmer.test:443", "STIGMER_SERVICE_API_KEY": "s3cret", name: value}
    with pytest.raises(InvalidInput, match=name) as refusal:
        stigmer_settings(environment)
    assert refusal.value.code == "settings.invalid"
    assert "s3cret" not in str(refusal.value)
