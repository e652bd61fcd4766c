"""A sink on loopback with TLS, and the little of an API server that it asks.

The fake answers TokenReviews, gets of pods and Jobs, its version and its public keys. It is held against the real API server by
tests/e2e/cases/sink_callers, which makes the same callers with real tokens.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from aiohttp import web
from kubernetes.aio import client

from workflow_runner.cluster import Cluster
from workflow_runner.controller.runs import Runs
from workflow_runner.crd import group
from workflow_runner.proto.ai.stigmer.workflowrunner.sink.v1 import sink_pb2
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.server.identity import Identities
from workflow_runner.server.sink import SinkService, build_server
from workflow_runner.server.tls import new_authority, server_credentials
from workflow_runner.server.tokens import POD_NAME, POD_UID, TokenReviews
from workflow_runner.stigmer.relay import Relay

Json = dict[str, Any]

RUN = sink_pb2.Run(execution_uid="execution-1", execution_id="execution-1", attempt=1)


NAMESPACES = {"execution-1": "ns", "execution-2": "ns", "execution-3": "elsewhere"}


class ApiServer:
    """Tokens `pod-1.x.y`, `pod-2.x.y`, … belong to the pods of execution-1, execution-2, …, `pod-1-again.x.y` to another
    pod of the first, `pod-1-old-run.x.y` to one of its former runId, `pod-bare-1.x.y` to a pod without a Job;
    `wrong-audience` and `unbound` are what they say; any other token is none."""

    def __init__(self) -> None:
        self.reviews = 0
        self.down = False
        self.issuer = "https://cluster.example"
        self.keys: list[Json] = []
        """Of its service-account tokens, as JWKs."""
        self.key_reads = 0

    async def review(self, request: web.Request) -> web.Response:
        self.reviews += 1
        if self.down:
            return web.json_response({"message": "etcd is having a moment"}, status=503)
        spec = (await request.json())["spec"]
        token, user = spec["token"].split(".")[0], {"username": "system:serviceaccount:ns:default", "extra": {}}
        if token.startswith("pod-"):
            user["extra"] = {POD_NAME: [token], POD_UID: [f"uid-of-{token}"]}
        good = token.startswith("pod-") or token == "unbound"
        return web.json_response(
            {"status": {"authenticated": good, "audiences": spec["audiences"] if good else [], "user": user}}
        )

    async def configuration(self, request: web.Request) -> web.Response:
        return web.json_response({"issuer": self.issuer, "jwks_uri": "https://elsewhere.example/openid/v1/jwks"})

    async def jwks(self, request: web.Request) -> web.Response:
        if request.headers.get("Accept") not in ("application/jwk-set+json", "*/*"):
            return web.Response(status=406, text="406: Not Acceptable\n\nAvailable representations: application/jwk-set+json")
        self.key_reads += 1
        if self.down:
            return web.json_response({"message": "etcd is having a moment"}, status=503)
        return web.json_response({"keys": self.keys}, content_type="application/jwk-set+json")

    async def version(self, request: web.Request) -> web.Response:
        return web.json_response({"gitVersion": "v1.34.0"}, status=503 if self.down else 200)

    async def pod(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name == "pod-of-nobody":
            return web.json_response({"metadata": {"name": name, "uid": f"uid-of-{name}"}})
        number = name.removeprefix("pod-").removesuffix("-again")
        if number.startswith("bare-"):
            execution = {"apiVersion": group.API_VERSION, "kind": group.EXECUTION_KIND, "name": "x", "controller": True}
            execution["uid"] = f"execution-{number.removeprefix('bare-')}"
            labels = {group.LABEL_ATTEMPT: "1"}
            return web.json_response(
                {"metadata": {"name": name, "uid": f"uid-of-{name}", "labels": labels, "ownerReferences": [execution]}}
            )
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": f"job-{number}",
            "uid": f"uid-of-job-{number}",
            "controller": True,
        }
        return web.json_response({"metadata": {"name": name, "uid": f"uid-of-{name}", "ownerReferences": [owner]}})

    async def job(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        number = name.removeprefix("job-")
        owner = {
            "apiVersion": group.API_VERSION,
            "kind": group.EXECUTION_KIND,
            "name": "x",
            "uid": f"execution-{number}",
            "controller": True,
        }
        labels = {group.LABEL_ATTEMPT: "1"}
        if number.endswith("-old-run"):
            owner["uid"] = f"execution-{number.removesuffix('-old-run')}"
            labels[group.LABEL_RUN_ID] = "old"
        metadata = {"name": name, "uid": f"uid-of-{name}", "labels": labels, "ownerReferences": [owner]}
        return web.json_response({"metadata": metadata})


@pytest.fixture
def api_server() -> ApiServer:
    return ApiServer()


@pytest.fixture
async def cluster(api_server: ApiServer) -> AsyncIterator[Cluster]:
    application = web.Application()
    application.router.add_post("/apis/authentication.k8s.io/v1/tokenreviews", api_server.review)
    application.router.add_get("/.well-known/openid-configuration", api_server.configuration)
    application.router.add_get("/openid/v1/jwks", api_server.jwks)
    application.router.add_get("/version", api_server.version)
    application.router.add_get("/api/v1/namespaces/ns/pods/{name}", api_server.pod)
    application.router.add_get("/apis/batch/v1/namespaces/ns/jobs/{name}", api_server.job)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    cluster = Cluster(client.ApiClient(client.Configuration(host=f"http://127.0.0.1:{port}")))
    yield cluster
    await cluster.close()
    await runner.cleanup()


class Sink:
    """The server and what is behind it."""

    def __init__(self, port: int, ca: bytes, runs: Runs) -> None:
        self.port = port
        self.ca = ca
        self.runs = runs
        self.service: SinkService
        self.ended: set[str] = set()
        self.secrets: dict[str, dict[str, str] | Exception] = {}
        """What Stigmer has for each execution, or what goes wrong when it is asked."""

    async def secrets_of(self, uid: str) -> dict[str, str]:
        found = self.secrets.get(uid, {})
        if isinstance(found, Exception):
            raise found
        return found

    def channel(self) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(f"localhost:{self.port}", grpc.ssl_channel_credentials(self.ca))


@pytest.fixture
async def sink(cluster: Cluster) -> AsyncIterator[Sink]:
    ended: set[str] = set()
    runs = Runs(Relay(changed=lambda key: None), lambda uid: None, lambda uid: uid in ended)
    identities = Identities(
        cluster,
        TokenReviews(cluster).verify,
        known_pod=lambda namespace, uid: None,
        known_job=lambda namespace, uid: None,
        namespace_of=NAMESPACES.get,
    )
    authority = new_authority()
    sink = Sink(0, authority.certificate, runs)
    sink.service = SinkService(runs, identities, secrets=sink.secrets_of)
    server, sink.port = build_server(sink.service, "127.0.0.1:0", server_credentials(authority, ["localhost"]))
    await server.start()
    sink.ended = ended
    yield sink
    await server.stop(grace=None)


@pytest.fixture
def live(sink: Sink) -> LiveRun:
    run = LiveRun(execution_id="execution-1", attempt=1)
    sink.runs.begin("execution-1", run, None, delivered=0)
    return run
