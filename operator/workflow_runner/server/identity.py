"""Who calls the sink: from a projected token to the run it belongs to. Called by sink.py.

Token → pod UID (tokens.py) → the Job that controls the pod → the execution that controls the Job
(docs/sink-protocol.md). Answers are cached by the token's hash for a minute; the tokens are not kept.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from msgspec import Struct

from workflow_runner.cluster import Cluster, NotFound
from workflow_runner.crd import group
from workflow_runner.errors import PermissionDenied, Unauthenticated, Unavailable
from workflow_runner.server.tokens import BoundPod

Json = dict[str, Any]

CACHE_SECONDS = 60.0
CACHE_SIZE = 4096
Refusal = Unauthenticated | PermissionDenied
REFUSAL_SECONDS = 5.0
"""A bad token, or one of a pod that is no run's, is bad for this long without asking: a stranger who insists does not
load the API server."""
REVIEWS_AT_ONCE = 16
MAX_TOKEN = 16 * 1024

Verify = Callable[[str], Awaitable[BoundPod]]
"""Says which pod a token was made for (tokens.py)."""


class Caller(Struct, frozen=True):
    """The run a token belongs to."""

    execution_uid: str
    execution_id: str
    namespace: str
    pod: str
    pod_created: str
    attempt: int


class Identities:
    """Finds out who calls, through the API server and what the watches have seen."""

    def __init__(
        self,
        cluster: Cluster,
        verify: Verify,
        *,
        known_pod: Callable[[str, str], Json | None],
        known_job: Callable[[str, str], Json | None],
        namespace_of: Callable[[str], str | None],
    ) -> None:
        """`known_pod` and `known_job` look an object up by (namespace, uid); `namespace_of` says where an execution is."""
        self._cluster = cluster
        self._verify = verify
        self._namespace_of = namespace_of
        self._known_pod = known_pod
        self._known_job = known_job
        self._cache: OrderedDict[bytes, tuple[float, Caller | Refusal]] = OrderedDict()
        self._reviews = asyncio.Semaphore(REVIEWS_AT_ONCE)
        self._asking: dict[bytes, asyncio.Lock] = {}

    async def caller(self, token: str) -> Caller:
        """Whose token it is; raises Unauthenticated, PermissionDenied, or ClusterError where that cannot be found out."""
        digest = hashlib.sha256(token.encode()).digest()
        # A pod opens its two streams at once: the second waits for the first one's answer.
        lock = self._asking.setdefault(digest, asyncio.Lock())
        try:
            async with lock:
                caller = self._known(digest)
                if caller is not None:
                    return caller
                caller = await self._find_out(digest, token)
        finally:
            if not lock.locked():
                self._asking.pop(digest, None)
        return caller

    def _known(self, digest: bytes) -> Caller | None:
        until, answer = self._cache.get(digest, (0.0, None))
        if answer is None or time.monotonic() > until:
            return None
        if isinstance(answer, Caller):
            return answer
        raise type(answer)(answer.message, code=answer.code)

    async def _find_out(self, digest: bytes, token: str) -> Caller:
        if len(token) > MAX_TOKEN or token.count(".") != 2:
            raise Unauthenticated("that is no service-account token", code="sink.bad-token")
        try:
            async with self._reviews:
                caller = await self._ask(token)
        except (Unauthenticated, PermissionDenied) as error:
            self._keep(digest, error)
            raise
        self._keep(digest, caller)
        return caller

    def _keep(self, digest: bytes, answer: Caller | Refusal) -> None:
        seconds = CACHE_SECONDS if isinstance(answer, Caller) else REFUSAL_SECONDS
        self._cache[digest] = (time.monotonic() + seconds, answer)
        self._cache.move_to_end(digest)
        while len(self._cache) > CACHE_SIZE:
            self._cache.popitem(last=False)

    async def _ask(self, token: str) -> Caller:
        pod = await self._verify(token)
        return await self._owner(pod.namespace, pod.name, pod.uid)

    async def _owner(self, namespace: str, pod_name: str, pod_uid: str) -> Caller:
        pod = self._known_pod(namespace, pod_uid)
        try:
            if pod is None:
                pod = await self._cluster.get_pod(namespace, pod_name)
            if pod["metadata"]["uid"] != pod_uid:
                raise PermissionDenied("the token's pod is gone", code="sink.not-a-run")
            workload = await self._workload(namespace, pod)
        except NotFound as error:
            raise PermissionDenied("the token's pod or its Job is gone", code="sink.not-a-run") from error
        execution = _controller(workload, group.EXECUTION_KIND, group.API_VERSION)
        home = self._namespace_of(execution["uid"])
        if home is None:
            raise Unavailable("the run is not known yet", code="sink.unknown-run")
        if home != namespace:
            # Owners are only names in the object of whoever may write it: one of another namespace proves nothing.
            raise PermissionDenied("the pod's Job names an execution of another namespace", code="sink.other-namespace")
        labels = workload["metadata"].get("labels") or {}
        attempt, created = labels.get(group.LABEL_ATTEMPT, "0"), pod["metadata"].get("creationTimestamp", "")
        return Caller(
            execution_uid=execution["uid"],
            execution_id=group.execution_id(execution["uid"], labels.get(group.LABEL_RUN_ID, "")),
            namespace=namespace,
            pod=pod_name,
            pod_created=created,
            attempt=int(attempt) if attempt.isdigit() else 0,
        )

    async def _workload(self, namespace: str, pod: Json) -> Json:
        """What the operator launched: the pod itself, or the Job that controls it."""
        if any(owner.get("controller") and owner.get("kind") == group.EXECUTION_KIND for owner in _owners(pod)):
            return pod
        ref = _controller(pod, "Job", "batch/v1")
        job = self._known_job(namespace, ref["uid"])
        if job is None:
            job = await self._cluster.get_job(namespace, ref["name"])
        if job["metadata"]["uid"] != ref["uid"]:
            raise PermissionDenied("the pod's Job is another one by now", code="sink.not-a-run")
        return job


def _owners(resource: Json) -> list[Json]:
    owners: list[Json] = resource["metadata"].get("ownerReferences", [])
    return owners


def _controller(resource: Json, kind: str, api_version: str) -> Json:
    for owner in _owners(resource):
        if owner.get("controller") and owner.get("kind") == kind and owner.get("apiVersion") == api_version:
            value: Json = owner
            return value
    raise PermissionDenied(f"the pod does not belong to a {group.EXECUTION_KIND}", code="sink.not-a-run")
