"""The operator's whole use of the Kubernetes API besides kopf's watches. Built by cli.operator.

Requests and answers are plain objects, as in YAML. Every call has a deadline; errors are this module's:

    ClusterError             what the API server (or the way to it) answered
    ├── NotFound             404
    ├── Conflict             409: changed meanwhile, or there already
    ├── Forbidden            401, 403: rights, quota, admission, a terminating namespace
    ├── Rejected             400, 413, 422: the object itself
    └── Busy                 429, 5xx, no answer: try again later
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # in all systems

import aiohttp
from kubernetes.aio import client, config

from workflow_runner.crd import group
from workflow_runner.errors import Temporary, WorkflowRunnerError

Json = dict[str, Any]
Called = Callable[[str, str, int, float], None]
"""(verb, resource such as `jobs` or `workflowexecutions/status`, HTTP status or 0 for no answer, seconds)"""

TIMEOUT_SECONDS = 20.0
LIST_PAGE = 250
FIELD_MANAGER = "workflow-runner"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"
NAMESPACE_FILE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class ClusterError(WorkflowRunnerError):
    """The API server's answer was not a success; `status` is its HTTP status, 0 when there was none."""

    code = "cluster.error"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class NotFound(ClusterError):
    """There is no such object."""

    code = "cluster.not-found"


class Conflict(ClusterError):
    """The object was changed meanwhile, or exists already."""

    code = "cluster.conflict"


class Forbidden(ClusterError):
    """The operator may not, or quota or an admission rule says no."""

    code = "cluster.forbidden"


class Rejected(ClusterError):
    """The API server refuses the object itself."""

    code = "cluster.rejected"


class Busy(ClusterError, Temporary):
    """The API server is overloaded or cannot be reached."""

    code = "cluster.busy"


def _error(status: int, message: str) -> ClusterError:
    kinds: dict[int, type[ClusterError]] = {
        404: NotFound,
        409: Conflict,
        401: Forbidden,
        403: Forbidden,
        400: Rejected,
        413: Rejected,
        422: Rejected,
    }
    kind = kinds.get(status) or (Busy if status == 429 or status >= 500 or status == 0 else ClusterError)
    return kind(message, status)


def _proxy_for(server: str) -> str | None:
    """What HTTPS_PROXY and NO_PROXY say of an address, where no kubeconfig says otherwise."""
    place, proxies = urlsplit(server), getproxies_environment()
    # By the name alone, and with the port: an IPv6 address has brackets there and none in NO_PROXY.
    if not place.hostname or any(proxy_bypass_environment(host, proxies) for host in (place.hostname, place.netloc)):
        return None
    return proxies.get(place.scheme)


class Cluster:
    """One API server. Close it when done."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self.called: Called = lambda verb, resource, status, seconds: None
        """Told of every call, once it has been answered or given up."""

    @classmethod
    async def connect(cls) -> Cluster:
        """By the pod's service account where there is one, else by kubeconfig; raises ClusterError when there is neither."""
        configuration = client.Configuration()
        try:
            if os.environ.get("KUBERNETES_SERVICE_HOST"):
                config.load_incluster_config(client_configuration=configuration)
            else:
                await config.load_kube_config(client_configuration=configuration)
        except config.ConfigException as error:
            raise ClusterError(f"no way to a cluster is configured: {error}", 0) from error
        # Told to trust the environment, aiohttp would read it, and ~/.netrc, in two threads at every request.
        configuration.client_session_kwargs = {"trust_env": False}
        configuration.proxy = configuration.proxy or _proxy_for(configuration.host)
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        """Closes the connections."""
        await self._api.close()

    async def request(
        self,
        method: str,
        path: str,
        body: Json | list[Json] | None = None,
        *,
        query: Mapping[str, str] | None = None,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Json:
        """One call; returns the answer's object. Raises ClusterError and its kinds."""
        if query:
            path = f"{path}?{urlencode(query)}"
        headers = {"Content-Type": content_type, "Accept": accept}
        (verb, resource), begun = _verb_and_resource(method, path), time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                # The body is plain already; the client's own preparation would recurse through all of it.
                method, url, headers, _, _ = await self._api.param_serialize(
                    method, path, header_params=headers, auth_settings=["BearerToken"]
                )
                response = await self._api.call_api(method, url, headers, body, _request_timeout=TIMEOUT_SECONDS)
                data = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self.called(verb, resource, 0, time.monotonic() - begun)
            raise _error(0, f"{method} {path}: no answer from the API server: {type(error).__name__}") from error
        self.called(verb, resource, response.status, time.monotonic() - begun)
        if response.status >= 300:
            raise _error(response.status, f"{method} {path}: {response.status}: {_message(data)}")
        answer: Json = json.loads(data) if data else {}
        return answer

    # Executions and runners

    async def get_execution(self, namespace: str, name: str) -> Json:
        """The execution as it is now."""
        return await self.request("GET", _path(group.EXECUTION_PLURAL, namespace, name))

    async def set_finalizers(self, resource: Json, finalizers: list[str]) -> Json:
        """Writes the execution's finalizers, if nobody changed it meanwhile; returns it as it is then."""
        metadata = resource["metadata"]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": finalizers}}
        return await self._patch(_path(group.EXECUTION_PLURAL, metadata["namespace"], metadata["name"]), body, MERGE_PATCH)

    async def write_status(self, resource: Json, status: Json) -> Json:
        """Makes the execution's status what `status` is, if nobody changed it meanwhile; returns it as it is then."""
        return await self._put(group.EXECUTION_PLURAL, resource, "/status", status)

    async def write_callback(self, resource: Json, callback: Json) -> Json:
        """Makes the execution's status.callback what `callback` is, and touches nothing else of it."""
        return await self._put(group.EXECUTION_PLURAL, resource, "/status/callback", callback)

    async def _put(self, plural: str, resource: Json, pointer: str, value: Json) -> Json:
        """Makes one place of a resource's status what `value` is, if nobody changed the resource meanwhile."""
        metadata = resource["metadata"]
        # Not a merge patch: that takes a null for "remove", and a workflow's output may hold nulls.
        body = [
            {"op": "add", "path": pointer, "value": value},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": metadata["resourceVersion"]},
        ]
        path = _path(plural, metadata["namespace"], metadata["name"]) + "/status"
        return await self._patch(path, body, JSON_PATCH)

    async def _patch(self, path: str, body: Json | list[Json], content_type: str) -> Json:
        return await self.request("PATCH", path, body, query={"fieldManager": FIELD_MANAGER}, content_type=content_type)

    async def write_runner_status(self, runner: Json, status: Json) -> Json:
        """Makes the runner's status what `status` is, if nobody changed it meanwhile; returns it as it is then."""
        return await self._put(group.RUNNER_PLURAL, runner, "/status", status)

    async def apply_runner(self, manifest: Json) -> Json:
        """Makes a runner what the manifest says, or makes one; raises Conflict where others have set it otherwise."""
        metadata = manifest["metadata"]
        path = _path(group.RUNNER_PLURAL, metadata["namespace"], metadata["name"])
        query = {"fieldManager": f"{FIELD_MANAGER}-default"}
        return await self.request("PATCH", path, manifest, query=query, content_type=APPLY_PATCH)

    async def delete_execution(self, namespace: str, name: str, uid: str) -> None:
        """Removes the execution with this uid; content when it is gone already, or is another one by now."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
        await self._delete(_path(group.EXECUTION_PLURAL, namespace, name), options)

    # Jobs, pods, inputs, events

    async def get_job(self, namespace: str, name: str) -> Json:
        """A Job as it is now."""
        return await self.request("GET", f"/apis/batch/v1/namespaces/{quote(namespace)}/jobs/{quote(name)}")

    async def create_job(self, manifest: Json) -> Json:
        """Creates a Job; raises Conflict when there is one of that name."""
        return await self.request(
            "POST", f"/apis/batch/v1/namespaces/{quote(manifest['metadata']['namespace'])}/jobs", manifest
        )

    async def delete_job(self, namespace: str, name: str) -> None:
        """Removes a Job and its pods; content when it is gone already."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        await self._delete(f"/apis/batch/v1/namespaces/{quote(namespace)}/jobs/{quote(name)}", options)

    async def suspend_job(self, namespace: str, name: str, *, suspend: bool) -> Json:
        """Takes a Job's pods away and keeps the Job, or lets it have pods again; returns it as it is then."""
        path = f"/apis/batch/v1/namespaces/{quote(namespace)}/jobs/{quote(name)}"
        return await self._patch(path, {"spec": {"suspend": suspend}}, MERGE_PATCH)

    async def create_pod(self, manifest: Json) -> Json:
        """Creates a pod; raises Conflict when there is one of that name."""
        return await self.request("POST", f"/api/v1/namespaces/{quote(manifest['metadata']['namespace'])}/pods", manifest)

    async def delete_pod(self, namespace: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Removes a pod, its own grace period or this one given; content when it is gone already."""
        options: Json = {"apiVersion": "v1", "kind": "DeleteOptions"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        await self._delete(f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}", options)

    async def get_config_map(self, namespace: str, name: str) -> dict[str, str]:
        """A ConfigMap's data; what it holds as binary is left out."""
        config_map = await self.request("GET", f"/api/v1/namespaces/{quote(namespace)}/configmaps/{quote(name)}")
        return {str(key): str(value) for key, value in (config_map.get("data") or {}).items()}

    async def create_config_map(self, manifest: Json) -> None:
        """Creates a ConfigMap; content when there is one of that name already."""
        try:
            await self.request("POST", f"/api/v1/namespaces/{quote(manifest['metadata']['namespace'])}/configmaps", manifest)
        except Conflict:
            return

    async def delete_config_map(self, namespace: str, name: str) -> None:
        """Removes a ConfigMap; content when it is gone already."""
        await self._delete(f"/api/v1/namespaces/{quote(namespace)}/configmaps/{quote(name)}", {})

    async def last_warning(self, namespace: str, uid: str, reason: str) -> str | None:
        """The message of the newest Kubernetes Event with this reason about the object with this uid."""
        query = {"fieldSelector": f"involvedObject.uid={uid},reason={reason}", "limit": "20"}
        page = await self.request("GET", f"/api/v1/namespaces/{quote(namespace)}/events", query=query)
        events = sorted(page.get("items") or [], key=lambda event: str(event.get("lastTimestamp") or ""))
        return str(events[-1].get("message") or "") if events else None

    async def _delete(self, path: str, options: Json) -> None:
        try:
            await self.request("DELETE", path, options)
        except (NotFound, Conflict):  # a conflict: the uid asked for is not there any more
            return

    async def get_pod(self, namespace: str, name: str) -> Json:
        """A pod as it is now."""
        return await self.request("GET", f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(name)}")

    async def list_pods(self, namespace: str, selector: str) -> list[Json]:
        """The pods of a namespace that fit a label selector."""
        path = f"/api/v1/namespaces/{quote(namespace)}/pods"
        _, items = await self._list(path, "v1", "Pod", selector)
        return items

    async def list_everywhere(self, kind: str, namespace: str | None = None) -> tuple[str, list[Json]]:
        """All executions, runners, or Jobs or pods of ours ("execution", "runner", "job", "pod"), of the whole cluster
        or one namespace, with the resourceVersion that they were listed at. Raises NotFound when the CRDs are not
        installed."""
        crds = f"/apis/{group.GROUP}/{group.VERSION}"
        ours = f"{group.MANAGED_BY_LABEL}={group.MANAGED_BY}"
        base, plural, api_version, name, selector = {
            "execution": (crds, group.EXECUTION_PLURAL, group.API_VERSION, group.EXECUTION_KIND, ""),
            "runner": (crds, group.RUNNER_PLURAL, group.API_VERSION, group.RUNNER_KIND, ""),
            "job": ("/apis/batch/v1", "jobs", "batch/v1", "Job", ours),
            "pod": ("/api/v1", "pods", "v1", "Pod", ours),
        }[kind]
        path = f"{base}/{plural}" if namespace is None else f"{base}/namespaces/{quote(namespace)}/{plural}"
        return await self._list(path, api_version, name, selector)

    async def _list(self, path: str, api_version: str, kind: str, selector: str) -> tuple[str, list[Json]]:
        items: list[Json] = []
        query = {"limit": str(LIST_PAGE)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = await self.request("GET", path, query=query)
            items += [{**item, "apiVersion": api_version, "kind": kind} for item in page.get("items") or []]
            more = page["metadata"].get("continue")
            if not more:
                return str(page["metadata"].get("resourceVersion", "0")), items
            query["continue"] = more

    async def create_event(self, namespace: str, manifest: Json) -> None:
        """Records a Kubernetes Event; content when it is there already."""
        try:
            await self.request("POST", f"/api/v1/namespaces/{quote(namespace)}/events", manifest)
        except Conflict:
            return

    # Secrets and tokens

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes]:
        """A Secret's data, decoded."""
        secret = await self.request("GET", f"/api/v1/namespaces/{quote(namespace)}/secrets/{quote(name)}")
        return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}

    async def apply(self, manifest: Json) -> Json:
        """Makes a Service or StatefulSet what the manifest says, whoever has set it otherwise; returns it as it is then."""
        base = {"Service": "/api/v1", "StatefulSet": "/apis/apps/v1"}[manifest["kind"]]
        metadata, plural = manifest["metadata"], f"{manifest['kind'].lower()}s"
        path = f"{base}/namespaces/{quote(metadata['namespace'])}/{plural}/{quote(metadata['name'])}"
        query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return await self.request("PATCH", path, manifest, query=query, content_type=APPLY_PATCH)

    async def delete_stateful_set(self, namespace: str, name: str) -> None:
        """Removes a StatefulSet and its pods; content when it is gone already."""
        options = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        await self._delete(f"/apis/apps/v1/namespaces/{quote(namespace)}/statefulsets/{quote(name)}", options)

    async def create_secret_object(self, manifest: Json) -> None:
        """Creates a Secret; raises Conflict when there is one of that name."""
        await self.request("POST", f"/api/v1/namespaces/{quote(manifest['metadata']['namespace'])}/secrets", manifest)

    async def create_secret(self, namespace: str, name: str, data: Mapping[str, bytes], *, owner: Json | None = None) -> None:
        """Creates a Secret, which goes with its owner; raises Conflict when there is one of that name."""
        metadata: Json = {"name": name, "namespace": namespace, "labels": {group.MANAGED_BY_LABEL: group.MANAGED_BY}}
        if owner is not None:
            metadata["ownerReferences"] = [owner]
        manifest = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": metadata,
            "type": "Opaque",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        await self.request("POST", f"/api/v1/namespaces/{quote(namespace)}/secrets", manifest)

    async def token_issuer(self) -> tuple[str, Json]:
        """Who signs service-account tokens, and with which keys (a JWK set); every service account may read this."""
        configuration = await self.request("GET", "/.well-known/openid-configuration")
        # Its keys come in no other representation.
        keys = await self.request("GET", "/openid/v1/jwks", accept="application/jwk-set+json")
        return str(configuration.get("issuer", "")), keys

    async def version(self) -> Json:
        """What the API server says of itself: the cheapest question there is."""
        return await self.request("GET", "/version")

    async def review_token(self, token: str, audience: str | None) -> Json:
        """The status of a TokenReview: whose token it is, if it holds for the audience; None is the API server's own."""
        spec: Json = {"token": token} | ({"audiences": [audience]} if audience else {})
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": spec}
        review = await self.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)
        status: Json = review.get("status") or {}
        return status

    async def may(self, user: Json, verb: str, plural: str, namespace: str, name: str = "") -> bool:
        """Whether a user (`user`, `groups`, `uid`, `extra` as access reviews take them) has a right on resources of ours."""
        attributes = {"group": group.GROUP, "verb": verb, "resource": plural, "namespace": namespace, "name": name}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "LocalSubjectAccessReview",
            "metadata": {"namespace": namespace},
            "spec": {**user, "resourceAttributes": attributes},
        }
        path = f"/apis/authorization.k8s.io/v1/namespaces/{quote(namespace)}/localsubjectaccessreviews"
        review = await self.request("POST", path, body)
        return (review.get("status") or {}).get("allowed") is True

    # Resources of ours for somebody else (controller.control)

    async def get_resource(self, plural: str, namespace: str, name: str) -> Json:
        """An execution or a runner as it is now."""
        return await self.request("GET", _path(plural, namespace, name))

    async def create_resource(self, plural: str, manifest: Json) -> Json:
        """Creates one; raises Conflict where there is one of that name, and Rejected for what the API server does not take."""
        path = f"/apis/{group.GROUP}/{group.VERSION}/namespaces/{quote(manifest['metadata']['namespace'])}/{plural}"
        return await self.request("POST", path, manifest, query={"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"})

    async def replace_resource(self, plural: str, manifest: Json) -> Json:
        """Makes one what the manifest says; with a resourceVersion in it raises Conflict when it has changed since."""
        metadata = manifest["metadata"]
        query = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        return await self.request("PUT", _path(plural, metadata["namespace"], metadata["name"]), manifest, query=query)

    async def patch_spec(self, plural: str, namespace: str, name: str, spec: Json) -> Json:
        """Merges these members into a spec."""
        return await self._patch(_path(plural, namespace, name), {"spec": spec}, MERGE_PATCH)

    async def delete_resource(self, plural: str, namespace: str, name: str) -> None:
        """Removes one; content when it is gone already."""
        await self._delete(_path(plural, namespace, name), {})

    async def page(
        self, plural: str, namespace: str, *, limit: int, token: str = "", selector: str = ""
    ) -> tuple[list[Json], str]:
        """Some of a namespace's, by name, and the token of the next page; empty after the last one. Raises ClusterError
        with status 410 for a token that is too old."""
        query = {"limit": str(limit)}
        query |= {"continue": token} if token else {}
        query |= {"labelSelector": selector} if selector else {}
        path = f"/apis/{group.GROUP}/{group.VERSION}/namespaces/{quote(namespace)}/{plural}"
        answer = await self.request("GET", path, query=query)
        return list(answer.get("items") or []), str(answer["metadata"].get("continue") or "")


def own_namespace() -> str:
    """The namespace this process runs in: its pod's, else `default`."""
    return NAMESPACE_FILE.read_text().strip() if NAMESPACE_FILE.exists() else "default"


def _path(plural: str, namespace: str, name: str) -> str:
    return f"/apis/{group.GROUP}/{group.VERSION}/namespaces/{quote(namespace)}/{plural}/{quote(name)}"


def _verb_and_resource(method: str, path: str) -> tuple[str, str]:
    """A call as rights and metrics name it: ("list", "jobs"), ("patch", "workflowexecutions/status")."""
    parts = path.partition("?")[0].strip("/").split("/")
    if parts[0] not in ("api", "apis"):
        return method.lower(), "/".join(parts[:2])  # /version, /openid/…
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    verbs = {"POST": "create", "PATCH": "patch", "PUT": "update", "DELETE": "delete"}
    verb = verbs.get(method) or ("get" if len(rest) > 1 else "list")
    return verb, "/".join([*rest[:1], *rest[2:3]])


def _message(data: bytes) -> str:
    try:
        answer = json.loads(data)
    except ValueError:
        return data[:500].decode("utf-8", "replace")
    return str(answer.get("message", ""))[:2000] if isinstance(answer, dict) else ""
