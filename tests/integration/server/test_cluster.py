"""What is told of calls to the API server, and which calls an operator of some namespaces makes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client
from tests.until import until

from workflow_runner.cluster import Busy, Cluster
from workflow_runner.controller.queue import KeyedQueue
from workflow_runner.controller.resync import Resync
from workflow_runner.controller.slots import Slots
from workflow_runner.controller.store import Store

Json = dict[str, Any]


@pytest.fixture
async def server() -> AsyncIterator[tuple[str, list[str]]]:
    """The address of an API server in which every list has one object, and the paths that it was asked for."""
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.path)
        parts = request.path.split("/")
        namespace = parts[parts.index("namespaces") + 1] if "namespaces" in parts else "anywhere"
        metadata = {"name": "x", "namespace": namespace, "uid": f"{namespace}/{parts[-1]}", "resourceVersion": "5"}
        item = {"metadata": metadata, "spec": {"workflow": {}}}
        return web.json_response({"metadata": {"resourceVersion": str(10 + len(paths))}, "items": [item]})

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}", paths
    await runner.cleanup()


@pytest.fixture
async def asked(server: tuple[str, list[str]]) -> AsyncIterator[tuple[Cluster, list[str]]]:
    """A client of it, and the paths."""
    address, paths = server
    cluster = Cluster(client.ApiClient(client.Configuration(host=address)))
    yield cluster, paths
    await cluster.close()


async def test_every_call_is_named_as_rights_name_it(asked: tuple[Cluster, list[str]]) -> None:
    cluster, _ = asked
    told: list[tuple[str, str, int]] = []
    cluster.called = lambda verb, resource, status, seconds: told.append((verb, resource, status))
    execution = {"metadata": {"namespace": "ns", "name": "x", "resourceVersion": "1"}}
    await cluster.write_status(execution, {})
    await cluster.set_finalizers(execution, [])
    await cluster.list_everywhere("execution")
    await cluster.list_everywhere("pod", "ns")
    await cluster.get_secret("ns", "x")
    await cluster.create_event("ns", {})
    await cluster.version()
    await cluster.token_issuer()
    await cluster.request("GET", "/api/v1/namespaces/ns")
    assert told == [
        ("patch", "workflowexecutions/status", 200),
        ("patch", "workflowexecutions", 200),
        ("list", "workflowexecutions", 200),
        ("list", "pods", 200),
        ("get", "secrets", 200),
        ("create", "events", 200),
        ("get", "version", 200),
        ("get", ".well-known/openid-configuration", 200),
        ("get", "openid/v1", 200),
        ("get", "namespaces", 200),
    ]


async def test_no_write_touches_a_spec() -> None:
    """GitOps tools compare specs with Git: what the operator writes to resources is status and finalizers."""
    bodies: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append(await request.text())
        return web.json_response({"metadata": {}})

    application = web.Application()
    application.router.add_route("PATCH", "/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    cluster = Cluster(client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")))
    resource = {"metadata": {"namespace": "ns", "name": "x", "resourceVersion": "1"}, "spec": {"paused": True}}
    await cluster.write_status(resource, {"phase": "Running"})
    await cluster.write_callback(resource, {"deliveredSequence": 1})
    await cluster.write_runner_status(resource, {"activeExecutions": 1})
    await cluster.set_finalizers(resource, ["x"])
    await cluster.close()
    await runner.cleanup()
    assert len(bodies) == 4
    for body in map(json.loads, bodies):
        paths = {item["path"] for item in body} if isinstance(body, list) else {f"/{key}" for key in body}
        assert paths <= {"/status", "/status/callback", "/metadata", "/metadata/resourceVersion"}


async def test_no_answer_is_told_as_0() -> None:
    cluster = Cluster(client.ApiClient(client.Configuration(host="http://127.0.0.1:1")))
    told: list[int] = []
    cluster.called = lambda verb, resource, status, seconds: told.append(status)
    with pytest.raises(Busy):
        await cluster.version()
    await cluster.close()
    assert told == [0]


async def test_some_namespaces_are_listed_one_by_one_and_nothing_of_the_whole_cluster(
    asked: tuple[Cluster, list[str]],
) -> None:
    cluster, paths = asked
    store = Store()
    slots = Slots(changed=lambda runner: None, turn=lambda uid: None)
    await Resync(cluster, store, slots, KeyedQueue(), "team-a", ["team-a", "team-b"]).first()
    assert len(paths) == 8
    assert all("/namespaces/team-a/" in path or "/namespaces/team-b/" in path for path in paths)
    assert set(store.executions) == {"team-a/workflowexecutions", "team-b/workflowexecutions"}


async def test_listing_one_namespace_forgets_nothing_of_another(asked: tuple[Cluster, list[str]]) -> None:
    cluster, _ = asked
    store, slots = Store(), Slots(changed=lambda runner: None, turn=lambda uid: None)
    resync = Resync(cluster, store, slots, KeyedQueue(), "team-a", ["team-a", "team-b"])
    await resync.first()
    await resync.first()
    assert set(store.runners) == {("team-a", "x"), ("team-b", "x")}
    assert len(store.executions) == 2


async def test_everything_is_listed_again_soon_when_something_may_have_gone_unseen(
    asked: tuple[Cluster, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workflow_runner.controller.resync.SOON_SECONDS", 0.01)
    cluster, paths = asked
    slots = Slots(changed=lambda runner: None, turn=lambda uid: None)
    resync = Resync(cluster, Store(), slots, KeyedQueue(), "team-a")
    running = asyncio.create_task(resync.run())
    for times in (1, 2):
        resync.soon()
        await until(lambda times=times: len(paths) == 4 * times)  # type: ignore[misc]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_a_proxy_of_the_environment_is_used_and_its_exceptions_too(
    server: tuple[str, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client is told once, and does not read the environment at every request."""
    own, paths = server
    kubeconfig = tmp_path / "config"
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("http_proxy", own)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    for address in ("http://api.invalid", own):
        kubeconfig.write_text(json.dumps(_kubeconfig(address)))
        cluster = await Cluster.connect()
        assert await cluster.version()
        await cluster.close()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    cluster = await Cluster.connect()
    assert await cluster.version()
    await cluster.close()
    assert len(paths) == 3


def _kubeconfig(server: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


@pytest.mark.parametrize(
    ("server", "exceptions", "proxied"),
    [
        ("https://[fd00::1]:443", "fd00::1", False),
        ("https://10.0.0.1:443", "10.0.0.1", False),
        ("https://10.0.0.1:6443", "10.0.0.1:6443", False),
        ("https://api.example", ".example", False),
        ("https://10.0.0.1:443", "10.0.0.2", True),
    ],
)
async def test_exceptions_from_the_proxy_name_addresses_as_people_do(
    server: str, exceptions: str, proxied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text(json.dumps(_kubeconfig(server)))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubeconfig))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", exceptions)
    cluster = await Cluster.connect()
    assert cluster._api.configuration.proxy == ("http://proxy.example:3128" if proxied else None)
    await cluster.close()
