"""As much of an API server as an operator needs that has nothing to do: discovery, empty lists, watches that say nothing.

tests/e2e/cases hold the operator against a real one; this one tells what it was asked, and can go away, forget what it
serves, and end watches.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from workflow_runner.crd import group

Json = dict[str, Any]

RESOURCES = {
    "/api/v1": ["pods", "events", "secrets", "configmaps", "namespaces"],
    "/apis/batch/v1": ["jobs"],
    "/apis/apiextensions.k8s.io/v1": ["customresourcedefinitions"],
    f"/apis/{group.API_VERSION}": [group.EXECUTION_PLURAL, group.RUNNER_PLURAL],
}
CLUSTER_SCOPED = {"namespaces", "customresourcedefinitions"}


class IdleApiServer:
    """What was asked for, by (method, path).

    `down` makes it answer 503, `refused` certain paths with a status, `gone` so many watches of executions with 410;
    `stranger` makes it know nobody (401). It does not serve what is `unknown`, keys of RESOURCES. With `busy` the watch of pods
    tells of ever new ones.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.created: list[Json] = []
        self.down = False
        self.refused: dict[str, int] = {}
        self.gone = 0
        self.stranger = False
        self.unknown: set[str] = set()
        self.busy = False
        self._pods = 0
        self.port = 0
        self._watches: dict[asyncio.Transport, str] = {}

    @property
    def paths(self) -> set[str]:
        return {path for _, path in self.asked}

    @property
    def watched(self) -> set[str]:
        """The paths of the watches that are open."""
        return {path for transport, path in self._watches.items() if not transport.is_closing()}

    def cut_watches(self) -> None:
        for transport in self._watches:
            transport.abort()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        self.asked.append((request.method, path))
        if self.down:
            return web.json_response({"message": "etcd is having a moment"}, status=503)
        if self.stranger:
            return web.json_response({"kind": "Status", "message": "who is it"}, status=401)
        if path in self.refused:
            return web.json_response({"kind": "Status", "message": "told to"}, status=self.refused[path])
        if any(path.startswith(f"{base}/") for base in self.unknown):
            return web.json_response({"kind": "Status", "message": "not found"}, status=404)
        if request.query.get("watch"):
            return await self._watch(request, path)
        if request.method in ("POST", "PATCH"):
            self.created.append(json.loads(await request.text()))
            return web.json_response(self.created[-1] | {"metadata": {"resourceVersion": "1", "uid": "u"}}, status=201)
        return self._read(path)

    def _read(self, path: str) -> web.Response:
        if path == "/version":
            return web.json_response({"gitVersion": "v1.34.0"})
        if path == "/api":
            return web.json_response({"versions": ["v1"]})
        if path == "/apis":
            names = [
                base.removeprefix("/apis/") for base in RESOURCES if base.startswith("/apis/") and base not in self.unknown
            ]
            versions = {name: {"groupVersion": name, "version": name.split("/")[1]} for name in names}
            groups = [
                {"name": name.split("/")[0], "versions": [version], "preferredVersion": version}
                for name, version in versions.items()
            ]
            return web.json_response({"groups": groups})
        if path in RESOURCES:
            found = [
                {"name": name, "singularName": name[:-1], "kind": name, "namespaced": name not in CLUSTER_SCOPED}
                | {"verbs": ["get", "list", "watch", "patch", "create", "delete"], "shortNames": []}
                for name in RESOURCES[path]
            ]
            return web.json_response({"kind": "APIResourceList", "resources": found})
        if "/secrets/" in path:
            return web.json_response({"message": "not found"}, status=404)
        return web.json_response({"metadata": {"resourceVersion": "10"}, "items": []})

    async def _watch(self, request: web.Request, path: str) -> web.StreamResponse:
        if self.gone and path.endswith(group.EXECUTION_PLURAL):
            self.gone -= 1
            return web.json_response({"kind": "Status", "message": "told to", "code": 410}, status=410)
        response = web.StreamResponse()
        await response.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        self._watches[request.transport] = path
        try:
            while True:
                await asyncio.sleep(0.02)
                if self.busy and path.endswith("/pods"):
                    self._pods += 1
                    await response.write(json.dumps({"type": "ADDED", "object": _pod(self._pods)}).encode() + b"\n")
        except ConnectionError:
            return response
        finally:
            del self._watches[request.transport]


def _pod(number: int) -> Json:
    labels = {group.MANAGED_BY_LABEL: group.MANAGED_BY, group.LABEL_EXECUTION_UID: "e"}
    metadata = {
        "name": f"p{number}",
        "namespace": "ns",
        "uid": f"u{number}",
        "resourceVersion": str(10 + number),
        "labels": labels,
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {}, "status": {}}


def _write_kubeconfig(path: Path, port: int) -> None:
    cluster = {"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u"}}
    config = {"clusters": [cluster], "contexts": [context], "users": [{"name": "u", "user": {}}], "current-context": "x"}
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **config}))


@asynccontextmanager
async def idle_api_server(kubeconfig: Path) -> AsyncIterator[IdleApiServer]:
    """Serves on loopback, and writes a kubeconfig that leads there."""
    server = IdleApiServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.port = runner.addresses[0][1]
    _write_kubeconfig(kubeconfig, server.port)
    try:
        yield server
    finally:
        await runner.cleanup()
