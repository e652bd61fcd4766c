"""As much of an API server as an operator needs that has nothing to do: discovery, empty lists, watches that say nothing.

tests/e2e/cases hold the operator against a real one; this one tells what it was asked, and can go away.
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
    """What was asked for, by (method, path); `down` makes it answer 503, `refused` certain paths with a status."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.created: list[Json] = []
        self.down = False
        self.refused: dict[str, int] = {}
        self.port = 0

    @property
    def paths(self) -> set[str]:
        return {path for _, path in self.asked}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.rstrip("/")
        self.asked.append((request.method, path))
        if self.down:
            return web.json_response({"message": "etcd is having a moment"}, status=503)
        if path in self.refused:
            return web.json_response({"kind": "Status", "message": "told to"}, status=self.refused[path])
        if request.query.get("watch"):
            return await self._silence(request)
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
            names = [base.removeprefix("/apis/") for base in RESOURCES if base.startswith("/apis/")]
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

    async def _silence(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.Event().wait()
        return response


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
