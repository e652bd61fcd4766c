"""Tokens verified by the issuer's public keys, with nothing but what every service account may read.

The keys and tokens are real ones; tests/e2e/cases/namespaced holds the same against an API server's own.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tests.integration.server.conftest import ApiServer

from workflow_runner.cluster import Cluster, ClusterError
from workflow_runner.crd import group
from workflow_runner.errors import PermissionDenied, Unauthenticated
from workflow_runner.server.tokens import BoundPod, IssuerKeys

Json = dict[str, Any]
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE_KEY = ec.generate_private_key(ec.SECP256R1())
POD = BoundPod("ns", "pod-1", "uid-1")


def jwk(key: Key, kid: str) -> Json:
    head = {"kid": kid, "use": "sig"}
    if isinstance(key, rsa.RSAPrivateKey):
        return RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | head | {"alg": "RS256"}
    return ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | head | {"alg": "ES256"}


def claims(**changes: Any) -> Json:
    now = datetime.now(UTC)
    about = {"namespace": "ns", "pod": {"name": "pod-1", "uid": "uid-1"}, "serviceaccount": {"name": "default", "uid": "s"}}
    return {
        "aud": [group.SINK_AUDIENCE],
        "exp": now + timedelta(hours=1),
        "iat": now,
        "nbf": now,
        "iss": "https://cluster.example",
        "sub": "system:serviceaccount:ns:default",
        "kubernetes.io": about,
    } | changes


def token(key: Any = KEY, kid: str = "one", algorithm: str = "RS256", **changes: Any) -> str:
    kept = {name: value for name, value in claims(**changes).items() if value is not None}
    return jwt.encode(kept, key, algorithm, {"kid": kid})


@pytest.fixture
def keys(cluster: Cluster, api_server: ApiServer) -> IssuerKeys:
    api_server.keys = [{"kty": "future", "kid": "odd"}, jwk(KEY, "one"), jwk(CURVE_KEY, "curve")]
    return IssuerKeys(cluster, ["ns"])


async def test_a_pods_token_is_that_pods_and_the_keys_are_read_once(keys: IssuerKeys, api_server: ApiServer) -> None:
    assert await keys.verify(token()) == POD
    assert await keys.verify(token(CURVE_KEY, "curve", "ES256")) == POD
    assert api_server.key_reads == 1
    assert api_server.reviews == 0


PUBLIC = KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def signed_with_the_public_key() -> str:
    """What a verifier that trusts the header takes: the public key as the shared secret of HS256."""
    import hashlib
    import hmac

    def encoded(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = encoded(json.dumps({"alg": "HS256", "kid": "one", "typ": "JWT"}).encode())
    plain = {name: int(value.timestamp()) if isinstance(value, datetime) else value for name, value in claims().items()}
    body = encoded(json.dumps(plain).encode())
    return f"{head}.{body}.{encoded(hmac.digest(PUBLIC, f'{head}.{body}'.encode(), hashlib.sha256))}"


@pytest.mark.parametrize(
    "bad",
    [
        token(aud=["somebody-else"]),
        token(aud=None),
        token(exp=datetime.now(UTC) - timedelta(minutes=5)),
        token(exp=None),
        token(nbf=datetime.now(UTC) + timedelta(days=1)),
        token(iss="https://another.example"),
        token(iss=None),
        token(OTHER_KEY),
        token(kid="two"),
        token(KEY, "curve"),
        token()[:-6] + "AAAAAA",
        jwt.encode(claims(), None, "none", {"kid": "one"}),  # type: ignore[arg-type]
        signed_with_the_public_key(),
        "a.b.c",
        "...",
    ],
    ids=[
        "another-audience",
        "no-audience",
        "expired",
        "without-an-end",
        "not-valid-yet",
        "another-issuer",
        "no-issuer",
        "another-key-of-the-same-name",
        "unknown-key",
        "key-of-another-kind",
        "broken-signature",
        "unsigned",
        "public-key-as-secret",
        "nonsense",
        "dots",
    ],
)
async def test_a_token_that_does_not_hold_is_refused(keys: IssuerKeys, bad: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        await keys.verify(bad)
    assert refusal.value.code == "sink.bad-token"
    assert bad not in str(refusal.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"kubernetes.io": {"namespace": "ns"}},
        {"kubernetes.io": "ns"},
        {"kubernetes.io": None},
        {"sub": "somebody"},
        {"sub": "system:serviceaccount:elsewhere:default"},
    ],
    ids=["no-pod", "odd", "not-of-kubernetes", "no-service-account", "namespace-not-watched"],
)
async def test_a_token_of_no_pod_of_ours_is_denied(keys: IssuerKeys, changes: Json) -> None:
    with pytest.raises(PermissionDenied):
        await keys.verify(token(**changes))


async def test_a_new_key_is_found_and_an_unknown_one_is_not_asked_for_again_and_again(
    keys: IssuerKeys, api_server: ApiServer
) -> None:
    await keys.verify(token())
    keys._asked_at = 0.0  # as though that had been a while ago
    api_server.keys.append(jwk(OTHER_KEY, "two"))
    assert await keys.verify(token(OTHER_KEY, "two")) == POD
    for _ in range(5):
        with pytest.raises(Unauthenticated):
            await keys.verify(token(kid="made-up"))
    assert api_server.key_reads == 2


async def test_keys_hold_for_a_while_when_the_api_server_is_away_and_not_for_ever(
    keys: IssuerKeys, api_server: ApiServer
) -> None:
    api_server.down = True
    with pytest.raises(ClusterError):
        await keys.verify(token())
    api_server.down = False
    await keys.verify(token())
    api_server.down = True
    assert keys._keys is not None
    for age, holds in ((1_000, True), (10_000, False)):
        keys._asked_at = 0.0
        keys._keys = type(keys._keys)(keys._keys.issuer, keys._keys.by_id, keys._keys.read_at - age)
        if holds:
            assert await keys.verify(token()) == POD
        else:
            with pytest.raises(ClusterError):
                await keys.verify(token())


async def test_a_withdrawn_key_holds_no_longer_than_it_is_kept(keys: IssuerKeys, api_server: ApiServer) -> None:
    await keys.verify(token())
    api_server.keys = [jwk(CURVE_KEY, "curve")]
    assert keys._keys is not None
    keys._asked_at = 0.0
    keys._keys = type(keys._keys)(keys._keys.issuer, keys._keys.by_id, keys._keys.read_at - 1_000)
    with pytest.raises(Unauthenticated):
        await keys.verify(token())
