"""`workflow-runner serve` passes `workflow-runner conformance`: two processes of one program, by the interface alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests import canaries
from tests.integration.cli.program import PROGRAM, ROOT, environment
from tests.integration.conformance_command.test_command import program
from tests.servers.tls import Authority
from tests.until import until

from workflow_runner.runner_checks.requirements import REQUIREMENTS


@contextlib.asynccontextmanager
async def served(folder: Path, **variables: str) -> AsyncIterator[int]:
    """The port of a `serve`, as long as the block runs."""
    log = folder / "serve.log"
    with log.open("w") as file:
        process = await asyncio.create_subprocess_exec(
            PROGRAM, "serve", "--listen", "127.0.0.1:0",
            stdout=file, stderr=file, cwd=ROOT, env=environment(HEALTH_PORT="0", METRICS_PORT="0", **variables),
        )  # fmt: skip
    port = 0

    def serving() -> bool:
        nonlocal port
        assert process.returncode is None, log.read_text()
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.endswith("}")]
        port = next((line["port"] for line in lines if line["event"] == "serving"), 0)
        return port > 0

    try:
        await until(serving, 60)
        yield port
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 60)


@pytest.mark.parametrize("kept", [False, True], ids=["in memory", "with a state folder"])
async def test_it_passes(tmp_path: Path, *, kept: bool) -> None:
    variables = {"WORKFLOW_RUNNER_STATE_FOLDER": str(tmp_path / "state")} if kept else {}
    (tmp_path / "state").mkdir()
    async with served(tmp_path, **variables) as port:
        ended = await program("conformance", f"grpc://127.0.0.1:{port}", "--format", "json")
    marks = {check["requirement"]: check["result"] for check in ended.output["checks"]}
    assert list(marks) == list(REQUIREMENTS)
    without = {"OFFER-5", *(name for name in REQUIREMENTS if name.startswith("CALLBACK"))}
    assert {name: mark for name, mark in marks.items() if mark != "pass"} == dict.fromkeys(without, "not offered"), ended.out
    assert ended.code == 0


async def test_it_reports_to_those_who_want_reports(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        stigmer = f"127.0.0.1:{taken.getsockname()[1]}"
    variables = {"STIGMER_SERVICE_ENDPOINT": stigmer, "STIGMER_SERVICE_USE_TLS": "false"}
    async with served(tmp_path, **variables, STIGMER_SERVICE_API_KEY=canaries.STIGMER_KEY) as port:
        asked = ("conformance", f"grpc://127.0.0.1:{port}", "--callbacks", stigmer, "--only", "CALLBACK", "--format", "json")
        ended = await program(*asked)
    assert (ended.code, ended.output["passed"]) == (0, 4), ended.out


async def test_it_passes_behind_tls_and_a_key(tmp_path: Path) -> None:
    authority = Authority()
    pair = authority.server()
    (tmp_path / "keys").mkdir()
    for name, content in {
        "ca.pem": authority.certificate,
        "cert.pem": pair.certificate,
        "key.pem": pair.key,
        "keys/tester": canaries.STIGMER_KEY,
    }.items():
        (tmp_path / name).write_text(content)
    async with served(
        tmp_path,
        WORKFLOW_RUNNER_API_KEYS=str(tmp_path / "keys"),
        WORKFLOW_RUNNER_TLS_CERTIFICATE=str(tmp_path / "cert.pem"),
        WORKFLOW_RUNNER_TLS_KEY=str(tmp_path / "key.pem"),
    ) as port:
        asked = ("conformance", f"grpcs://127.0.0.1:{port}", "--ca", tmp_path / "ca.pem", "--format", "json")
        unknown = await program(*asked)
        ended = await program(*asked, "--token", f"@{tmp_path}/keys/tester")
    assert unknown.code == 2
    assert unknown.err.startswith("workflow-runner: auth.unauthenticated: ")
    assert (ended.output["failed"], ended.output["notOffered"]) == (0, 4), ended.out
    assert ended.code == 0
