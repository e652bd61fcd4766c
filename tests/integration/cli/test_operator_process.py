"""The operator as a process, on an API server with nothing to do: what it serves, what it asks, how it stops."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests import canaries
from tests.servers.idle_api_server import IdleApiServer, idle_api_server
from tests.until import until

Json = dict[str, Any]

PROGRAM = [sys.executable, "-c", "from workflow_runner.cli.main import main; main(['operator'])"]
HOSTS = ["127.0.0.1", "::1"] if socket.has_dualstack_ipv6() else ["127.0.0.1"]


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


class Operator:
    """The process and its ports."""

    def __init__(self, process: asyncio.subprocess.Process, ports: list[int]) -> None:
        self.process = process
        self.grpc, self.health, self.metrics = ports

    async def ask(self, port: int, path: str, host: str = "127.0.0.1") -> tuple[int, str]:
        where = f"[{host}]" if ":" in host else host
        async with aiohttp.ClientSession() as session, session.get(f"http://{where}:{port}{path}") as answer:
            return answer.status, await answer.text()

    async def ready(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            return (await self.ask(self.health, "/health/ready"))[0] == 200
        return False

    async def stop(self) -> tuple[int, str]:
        """Its exit code and its log."""
        self.process.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(self.process.communicate(), 30)
        return self.process.returncode or 0, log.decode()


@asynccontextmanager
async def operator(kubeconfig: Path, **environment: str) -> AsyncIterator[Operator]:
    ports = free_ports(3)
    names = dict(zip(("GRPC_PORT", "HEALTH_PORT", "METRICS_PORT"), map(str, ports), strict=True))
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WORKFLOW_RUNNER_", "KUBE"))}
    settings = {"WORKFLOW_RUNNER_IMAGE": "image:1", "WORKFLOW_RUNNER_NAMESPACE": "home", "KUBECONFIG": str(kubeconfig)}
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        env={**clean, **settings, **names, **environment},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield Operator(process, ports)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.fixture
async def api_server(tmp_path: Path) -> AsyncIterator[IdleApiServer]:
    async with idle_api_server(tmp_path / "kubeconfig") as server:
        yield server


def lines_of(log: str) -> list[Json]:
    assert canaries.found_in(log) == []
    return [json.loads(line) for line in log.splitlines()]


async def test_it_serves_on_both_kinds_of_addresses_logs_json_and_stops_when_told(
    api_server: IdleApiServer, tmp_path: Path
) -> None:
    async with operator(tmp_path / "kubeconfig") as running:
        await until(running.ready, 60)
        for host in HOSTS:
            assert (await running.ask(running.health, "/health", host))[0] == 200
            status, text = await running.ask(running.metrics, "/metrics", host)
            assert (status, "workflow_runner_build_info" in text) == (200, True)
            _, writer = await asyncio.open_connection(host, running.grpc)
            writer.close()
        code, log = await running.stop()
    assert code == 0
    assert [line["event"] for line in lines_of(log) if line["logger"] == "workflow_runner.cli.operator"] == [
        "operator started",
        "operator stopping",
    ]


async def test_its_own_services_show_a_certificate_beside_the_sink(api_server: IdleApiServer, tmp_path: Path) -> None:
    [port] = free_ports(1)
    control = {"CONTROL_PORT": str(port), "WORKFLOW_RUNNER_CONTROL_TOKENS": "true"}
    async with operator(tmp_path / "kubeconfig", **control) as running:
        await until(running.ready, 60)
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        for each in (running.grpc, port, running.grpc, port):
            _, writer = await asyncio.open_connection("127.0.0.1", each, ssl=context)
            assert writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
            writer.close()
        assert (await running.stop())[0] == 0


async def test_an_operator_of_some_namespaces_asks_for_nothing_of_the_whole_cluster(
    api_server: IdleApiServer, tmp_path: Path
) -> None:
    async with operator(tmp_path / "kubeconfig", WATCH_NAMESPACES="team-a,team-b") as running:
        await until(running.ready, 60)
        plurals = ("workflowexecutions", "workflowrunners", "jobs", "pods")

        def watched() -> bool:
            return all(
                sum(path.endswith(f"/namespaces/{namespace}/{plural}") for _, path in api_server.asked) >= 2
                for namespace in ("team-a", "team-b", "home")
                for plural in plurals
            )

        await until(watched, 30)
        await running.stop()
    others = {path for path in api_server.paths if "/namespaces/" not in path}
    assert {path for path in others if path.rpartition("/")[2] in plurals} == set()
    assert not [item for item in api_server.created if item.get("kind") == "TokenReview"]


async def test_an_api_server_that_goes_away_makes_it_unready_not_dead(api_server: IdleApiServer, tmp_path: Path) -> None:
    async with operator(tmp_path / "kubeconfig") as running:
        await until(running.ready, 60)
        api_server.down = True

        async def unready() -> bool:
            return not await running.ready()

        await until(unready, 60)
        status, text = await running.ask(running.health, "/health/ready")
        assert (status, list(json.loads(text)["problems"])) == (503, ["api-server"])
        assert (await running.ask(running.health, "/health/live"))[0] == 200
        api_server.down = False
        await until(running.ready, 60)
        assert (await running.stop())[0] == 0


async def test_it_makes_the_runner_that_its_environment_describes(api_server: IdleApiServer, tmp_path: Path) -> None:
    spec = {"type": "embedded", "stigmer": {"endpoint": "stigmer:443"}}
    async with operator(tmp_path / "kubeconfig", WORKFLOW_RUNNER_DEFAULT_RUNNER=json.dumps(spec)) as running:
        await until(running.ready, 60)
        await until(lambda: any(item.get("kind") == "WorkflowRunner" for item in api_server.created), 30)
        await running.stop()
    [runner] = [item for item in api_server.created if item.get("kind") == "WorkflowRunner"]
    assert (runner["metadata"]["name"], runner["metadata"]["namespace"], runner["spec"]) == ("default", "home", spec)


async def test_it_takes_events_where_it_is_told_to(api_server: IdleApiServer, tmp_path: Path) -> None:
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "team-a").write_text("token-of-team-a")
    [port] = free_ports(1)
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}
    variables = {"EVENTS_PORT": str(port), "WORKFLOW_RUNNER_EVENTS_TOKENS_FOLDER": str(tmp_path / "tokens")}
    async with operator(tmp_path / "kubeconfig", **variables) as running:
        await until(running.ready, 60)
        for namespace, status in (("team-a", 202), ("team-b", 401)):
            headers = {"Content-Type": "application/cloudevents+json", "Authorization": "Bearer token-of-team-a"}
            address = f"http://127.0.0.1:{port}/namespaces/{namespace}"
            async with aiohttp.ClientSession() as session, session.post(address, json=event, headers=headers) as answer:
                assert answer.status == status
        assert (await running.stop())[0] == 0


async def test_a_port_for_events_without_tokens_is_refused(api_server: IdleApiServer, tmp_path: Path) -> None:
    async with operator(tmp_path / "kubeconfig", EVENTS_PORT=str(free_ports(1)[0])) as running:
        _, log = await asyncio.wait_for(running.process.communicate(), 60)
        assert running.process.returncode == 2
    assert "workflow-runner: settings.missing: EVENTS_PORT is set" in log.decode()


async def test_a_port_that_is_taken_is_named(api_server: IdleApiServer, tmp_path: Path) -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        async with operator(tmp_path / "kubeconfig", HEALTH_PORT=str(port)) as running:
            _, log = await asyncio.wait_for(running.process.communicate(), 60)
            assert running.process.returncode == 2
    assert f"workflow-runner: settings.port-unusable: port {port} cannot be listened on" in log.decode()


@pytest.mark.parametrize("level", ["trace", "debug", "info", "warn", "error"])
async def test_every_level_of_logging_works(api_server: IdleApiServer, tmp_path: Path, level: str) -> None:
    levels = ["trace", "debug", "info", "warn", "error"]
    async with operator(tmp_path / "kubeconfig", LOG_LEVEL=level) as running:
        await until(running.ready, 60)
        code, log = await running.stop()
    assert code == 0
    seen = {line["level"] for line in lines_of(log)}
    assert seen <= set(levels[levels.index(level) :])
    if level in ("trace", "debug"):
        assert {"debug", "info"} <= seen
    if level == "info":
        assert "info" in seen
    kopfs = [line for line in lines_of(log) if line["logger"].startswith("kopf") and line["level"] != "error"]
    assert bool(kopfs) == (level == "trace"), f"trace shows everything: {kopfs}"


async def test_an_operator_that_never_finds_out_what_to_watch_ends(api_server: IdleApiServer, tmp_path: Path) -> None:
    """Better restarted than deaf."""
    api_server.refused["/apis"] = 400
    async with operator(tmp_path / "kubeconfig") as process:
        _, log = await asyncio.wait_for(process.process.communicate(), 90)
        assert process.process.returncode == 2
        assert "the watches have ended" in log.decode()


@pytest.mark.parametrize("status", [503, 400], ids=["busy", "refused"])
async def test_an_operator_is_not_ready_before_it_has_found_out_what_to_watch(
    api_server: IdleApiServer, tmp_path: Path, status: int
) -> None:
    api_server.refused["/apis"] = status
    async with operator(tmp_path / "kubeconfig") as process:

        async def only_watches_are_missing() -> bool:
            with contextlib.suppress(aiohttp.ClientError):
                return list(json.loads((await process.ask(process.health, "/health"))[1])["problems"]) == ["watches"]
            return False

        await until(only_watches_are_missing, 60)
        api_server.refused.clear()
        await until(process.ready, 60)
