"""Digest authentication (RFC 7616), for `authentication.Authenticator`: one Digest for a user at an origin."""

from __future__ import annotations

import hashlib
import re
import secrets

from workflow_runner.calls.messages import Answer, Request

_HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}
_WORDS = re.compile(r'([A-Za-z][A-Za-z0-9_-]*)\s*=\s*("(?:[^"\\]|\\.)*"|[^\s,"]+)|([A-Za-z][A-Za-z0-9_-]*)')


class Digest:
    """Remembers the server's last challenge, so that only the first of many requests is sent twice."""

    def __init__(self, username: str, password: str) -> None:
        self._username, self._password = username, password
        self._challenge: dict[str, str] | None = None
        self._count = 0

    def challenged(self, answer: Answer) -> bool:
        """Take the challenge in a 401; false when there is none that can be answered."""
        text = ", ".join(answer.headers.getall("WWW-Authenticate", []))
        self._challenge = next((found for found in _challenges(text) if _is_answerable(found)), None)
        self._count = 0
        return self._challenge is not None

    def header(self, request: Request) -> str | None:
        """The `Authorization` of a request; None before the first challenge."""
        challenge = self._challenge
        if challenge is None:
            return None
        self._count += 1
        algorithm = challenge.get("algorithm", "MD5")
        name, uri, realm, nonce = algorithm.upper(), request.url.raw_path_qs, challenge["realm"], challenge["nonce"]
        count, own = f"{self._count:08x}", secrets.token_hex(16)

        def hashed(*parts: str | bytes) -> str:
            data = b":".join(part.encode(errors="surrogatepass") if isinstance(part, str) else part for part in parts)
            return hashlib.new(_HASHES[name.removesuffix("-SESS")], data, usedforsecurity=False).hexdigest()

        user = hashed(self._username, realm, self._password)
        if name.endswith("-SESS"):
            user = hashed(user, nonce, own)
        qop = _qop(challenge)
        what = hashed(request.method, uri)
        if qop == "auth-int":
            what = hashed(request.method, uri, hashed(request.body or b""))
        response = hashed(user, nonce, what) if qop is None else hashed(user, nonce, count, own, qop, what)
        quoted = {"username": self._username, "realm": realm, "nonce": nonce, "uri": uri, "response": response}
        if "opaque" in challenge:
            quoted["opaque"] = challenge["opaque"]
        plain = {"algorithm": algorithm} if "algorithm" in challenge else {}
        if qop is not None:
            quoted["cnonce"] = own
            plain |= {"qop": qop, "nc": count}
        parts = [f'{key}="{_escaped(value)}"' for key, value in quoted.items()]
        return "Digest " + ", ".join(parts + [f"{key}={value}" for key, value in plain.items()])


def _challenges(text: str) -> list[dict[str, str]]:
    """The digest challenges of a header, by their parameters; a word that no `=` follows begins another scheme."""
    found: list[tuple[str, dict[str, str]]] = []
    for name, value, scheme in _WORDS.findall(text):
        if scheme:
            found.append((scheme.lower(), {}))
        elif found:
            found[-1][1][name.lower()] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
    return [parameters for scheme, parameters in found if scheme == "digest"]


def _is_answerable(challenge: dict[str, str]) -> bool:
    algorithm = challenge.get("algorithm", "MD5").upper().removesuffix("-SESS")
    known = algorithm in _HASHES and _HASHES[algorithm] in hashlib.algorithms_available
    return known and "realm" in challenge and bool(challenge.get("nonce")) and _qop(challenge) != ""


def _qop(challenge: dict[str, str]) -> str | None:
    """The protection to use; None for the older form without one, "" when none that is offered is known."""
    if "qop" not in challenge:
        return None
    offered = {word.strip().lower() for word in challenge["qop"].split(",")}
    return next((word for word in ("auth", "auth-int") if word in offered), "")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
