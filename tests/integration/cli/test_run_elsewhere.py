"""`workflow-runner run` with documents beside the document, processes and catalogs."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from pathlib import Path

from tests.integration.cli.program import PROGRAM, ROOT, call, environment
from tests.processes import alive
from tests.until import until

HEADER = "document: {{dsl: '1.0.3', namespace: tests, name: {}, version: 1.0.0}}\n"
PARENT = HEADER.format("parent") + "do: [{r: {run: {workflow: {namespace: tests, name: child, input: {n: 1}}}}}]\n"
CHILD = HEADER.format("child") + "do: [{s: {set: {got: '${ .n }'}}}]\n"
SHELL = HEADER.format("shell") + "do: [{s: {run: {shell: {command: 'echo \"[$WORKFLOW_SECRET_TOKEN]\"'}}}}]\n"


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_workflow_beside_the_document_is_found(tmp_path: Path) -> None:
    parent = written(tmp_path / "parent.yaml", PARENT)
    assert call("run", parent).problem["status"] == 404
    written(tmp_path / "child.yaml", CHILD)
    assert call("run", parent).output == {"got": 1}


def test_workflows_in_folders_are_found(tmp_path: Path) -> None:
    parent = written(tmp_path / "one" / "parent.yaml", PARENT)
    written(tmp_path / "two" / "deep" / "child.yaml", CHILD)
    assert call("run", parent, "--workflows", tmp_path / "two").output == {"got": 1}
    assert call("run", "-", "--workflows", tmp_path / "two", given=PARENT).output == {"got": 1}
    ended = call("run", parent, "--workflows", tmp_path / "three")
    assert (ended.code, "input.unreadable" in ended.err) == (2, True)


def test_a_process_sees_no_secret(tmp_path: Path) -> None:
    ended = call("run", written(tmp_path / "shell.yaml", SHELL), WORKFLOW_SECRET_TOKEN="hidden")
    assert ended.output == "[]\n"


def test_processes_can_be_switched_off(tmp_path: Path) -> None:
    ended = call("run", written(tmp_path / "shell.yaml", SHELL), WORKFLOW_RUNNER_PROCESSES="false")
    assert (ended.code, ended.problem["status"], ended.problem["instance"]) == (1, 403, "/do/0/s")
    assert "run.process-refused" in ended.problem["detail"]
    ended = call("run", written(tmp_path / "shell.yaml", SHELL), WORKFLOW_RUNNER_PROCESSES="perhaps")
    assert (ended.code, "settings.invalid" in ended.err) == (2, True)


def test_a_process_has_the_time_that_the_environment_gives(tmp_path: Path) -> None:
    path = written(tmp_path / "shell.yaml", SHELL.replace("echo", "sleep 60; echo"))
    ended = call("run", path, WORKFLOW_RUNNER_PROCESS_TIMEOUT_SECONDS="0.2")
    assert (ended.code, ended.problem["status"]) == (1, 408)


def test_the_default_catalog_is_the_environments(tmp_path: Path) -> None:
    written(tmp_path / "functions" / "double" / "1.0.0" / "function.yaml", "set: {n: '${ .n * 2 }'}\n")
    document = HEADER.format("calls") + "do: [{f: {call: 'double:1.0.0@default', with: {n: 4}}}]\n"
    ended = call("run", "-", given=document, WORKFLOW_RUNNER_DEFAULT_CATALOG=tmp_path.as_uri())
    assert ended.output == {"n": 8}


async def test_a_signal_ends_the_run_and_its_processes(tmp_path: Path) -> None:
    command = f"echo $$ > {tmp_path}/pid; sleep 600; true"
    document = HEADER.format("shell") + f"do: [{{s: {{run: {{shell: {{command: '{command}'}}}}}}}}]\n"
    path = written(tmp_path / "shell.yaml", document)
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "run", path, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    pid_file = tmp_path / "pid"
    await until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), 30)
    process.send_signal(signal.SIGTERM)
    output, _ = await asyncio.wait_for(process.communicate(), 30)
    assert (process.returncode, output) == (3, b"")
    pid = int(pid_file.read_text())
    await until(lambda: not alive(pid))
