"""`operator`, `crds` and `execute` as processes, where there is no cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

PROGRAM = [sys.executable, "-c", "from workflow_runner.cli.main import main; main()"]


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WORKFLOW_RUNNER_", "KUBE"))}
    return subprocess.run(
        [*PROGRAM, *arguments], env={**clean, **environment}, capture_output=True, text=True, timeout=60, check=False
    )


def test_an_operator_without_its_settings_says_which() -> None:
    done = call("operator")
    assert done.returncode == 2
    assert done.stderr.startswith("workflow-runner: settings.missing: WORKFLOW_RUNNER_IMAGE is not set")


def test_an_operator_without_a_cluster_says_so(tmp_path: Path) -> None:
    done = call("operator", WORKFLOW_RUNNER_IMAGE="i", KUBECONFIG=str(tmp_path / "none"), HOME=str(tmp_path))
    assert done.returncode == 2
    assert "workflow-runner: cluster.error: no way to a cluster is configured" in done.stderr


def test_crds_are_printed_ready_to_apply() -> None:
    done = call("crds")
    assert done.returncode == 0
    assert [item["spec"]["names"]["kind"] for item in yaml.safe_load_all(done.stdout)] == [
        "WorkflowRunner",
        "WorkflowExecution",
    ]


def test_a_pod_whose_input_is_not_the_pinned_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "input"
    file.write_text("eJyLBgABFQC5")
    names = ("EXECUTION_UID", "EXECUTION_ID", "SINK_ENDPOINT", "SINK_CA", "SINK_TOKEN_FILE")
    environment = {f"WORKFLOW_RUNNER_{name}": "x" for name in names} | {"WORKFLOW_RUNNER_ATTEMPT": "1"}
    done = call("execute", f"--input-file={file}", "--digest=sha256:0", **environment)
    assert done.returncode == 2
    assert "workflow-runner: input.damaged: the run's packed input cannot be read" in done.stderr
