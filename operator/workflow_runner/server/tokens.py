"""Whether a service-account token holds, and for which pod: by the API server's word, or by its public keys.

Called by identity.py. `TokenReviews` asks the API server about each token, which takes a right that is the
cluster's to give. `IssuerKeys` needs no rights: it checks signature, issuer, audience and expiry against the keys that
every service account may read. What only the API server knows, that the pod still exists, identity.py finds
out either way.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from typing import Any

import jwt
import structlog
from msgspec import Struct

from workflow_runner.cluster import Cluster, ClusterError
from workflow_runner.crd import group
from workflow_runner.errors import PermissionDenied, Unauthenticated

Json = dict[str, Any]

POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
_PREFIX = "system:serviceaccount:"

ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
"""With which an API server signs. No shared-secret algorithm, no `none`."""
KEYS_SECONDS = 600.0
"""After this long the keys are read again: one may have been withdrawn."""
KEYS_AT_MOST_SECONDS = 3600.0
"""So long they hold while the API server does not answer."""
UNKNOWN_KEY_SECONDS = 10.0
"""How often an unknown key makes us read again: a stranger may name any."""
MOST_KEYS = 100
LEEWAY_SECONDS = 30.0

log = structlog.get_logger(__name__)


class BoundPod(Struct, frozen=True):
    """The pod that a token was made for."""

    namespace: str
    name: str
    uid: str


class TokenReviews:
    """Asks the API server."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def verify(self, token: str) -> BoundPod:
        """Whose token it is; raises Unauthenticated, PermissionDenied where it is no pod's, or ClusterError."""
        review = await self._cluster.review_token(token, group.SINK_AUDIENCE)
        if not review.get("authenticated") or group.SINK_AUDIENCE not in review.get("audiences", []):
            raise _bad(f"the token does not hold for the audience {group.SINK_AUDIENCE}")
        user = review.get("user") or {}
        extra = user.get("extra") or {}
        pod_names, pod_uids = extra.get(POD_NAME) or [""], extra.get(POD_UID) or [""]
        return _bound(str(user.get("username", "")), pod_names[0], pod_uids[0])


class _Keys(Struct, frozen=True):
    issuer: str
    by_id: dict[str, jwt.PyJWK]
    read_at: float


class IssuerKeys:
    """Verifies tokens by the issuer's keys, which are read from the API server when they are first needed."""

    def __init__(self, cluster: Cluster, namespaces: Collection[str]) -> None:
        """Pods of these namespaces only: of others the operator could not find out whose they are."""
        self._cluster = cluster
        self._namespaces = namespaces
        self._keys: _Keys | None = None
        self._asked_at = -KEYS_AT_MOST_SECONDS
        self._reading = asyncio.Lock()

    async def verify(self, token: str) -> BoundPod:
        """Whose token it is; raises Unauthenticated, PermissionDenied where it is no pod's, or ClusterError where the
        keys cannot be read."""
        try:
            key_id = str(jwt.get_unverified_header(token).get("kid", ""))
            keys = await self._known(key_id)
            if key_id not in keys.by_id:
                raise _bad("the token is signed with a key that the cluster does not know")
            key = keys.by_id[key_id]
            claims = jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=group.SINK_AUDIENCE,
                issuer=keys.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except jwt.InvalidAudienceError as error:
            raise _bad(f"the token does not hold for the audience {group.SINK_AUDIENCE}") from error
        except jwt.PyJWTError as error:
            raise _bad(f"the token does not hold: {type(error).__name__}") from error
        about = claims.get("kubernetes.io")
        pod = about.get("pod") if isinstance(about, dict) else None
        pod = pod if isinstance(pod, dict) else {}
        bound = _bound(str(claims["sub"]), str(pod.get("name", "")), str(pod.get("uid", "")))
        if bound.namespace not in self._namespaces:
            raise PermissionDenied("the token's pod is in a namespace that is not watched", code="sink.not-a-run")
        return bound

    async def _known(self, key_id: str) -> _Keys:
        """The keys, read again where they are old or lack this one."""
        async with self._reading:  # those who wait find what the first one has read
            now = time.monotonic()
            keys = self._keys
            missing = keys is None or key_id not in keys.by_id
            wanted = keys is None or missing or now - keys.read_at > KEYS_SECONDS
            if wanted and (keys is None or now - self._asked_at > UNKNOWN_KEY_SECONDS):
                self._asked_at = now
                try:
                    self._keys = keys = await self._read(now)
                except ClusterError as error:
                    if missing:
                        raise
                    log.warning("the keys of service-account tokens cannot be read again", error=error.message)
            if keys is None or now - keys.read_at > KEYS_AT_MOST_SECONDS:
                raise ClusterError("the keys of service-account tokens cannot be read", 0)
            return keys

    async def _read(self, now: float) -> _Keys:
        issuer, found = await self._cluster.token_issuer()
        if not issuer:
            raise ClusterError("the API server does not say who issues its service-account tokens", 0)
        by_id: dict[str, jwt.PyJWK] = {}
        for entry in list(found.get("keys") or [])[:MOST_KEYS]:
            try:
                key = jwt.PyJWK(entry)
            except (jwt.PyJWTError, TypeError, ValueError, KeyError):
                continue  # of a kind that we do not know
            if key.key_id and key.algorithm_name in ALGORITHMS:
                by_id[key.key_id] = key
        return _Keys(issuer, by_id, now)


def _bound(subject: str, pod_name: str, pod_uid: str) -> BoundPod:
    namespace, _, account = subject.removeprefix(_PREFIX).partition(":")
    if not pod_name or not pod_uid or not subject.startswith(_PREFIX) or not namespace or not account:
        raise PermissionDenied("the token is not bound to a pod", code="sink.not-a-pod")
    return BoundPod(namespace, pod_name, pod_uid)


def _bad(message: str) -> Unauthenticated:
    return Unauthenticated(message, code="sink.bad-token")
