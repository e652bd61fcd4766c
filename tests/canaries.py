"""Secrets that the tests use wherever the program gets one, and the search for them where none may be.

Whoever hands a secret to the program in a test takes it from here. tests/conftest.py looks through all that tests logged
and printed, tests/e2e/harness/evidence.py through what a cluster keeps: logs, events, statuses, metrics.
"""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import quote

STIGMER_KEY = "canary-stigmer-key-4711-Zx"
WORKFLOW_SECRET = "canary-workflow-secret-0815-Qy"
ENV_SECRET = "canary-env-secret-2342-Wv"
URL_PASSWORD = "canary-url-password-1138-Pk"
BEARER = "canary-bearer-token-9001-Jm"
S3_SECRET = "canary-s3-secret-2718-Lm"

CANARIES = {
    "Stigmer's API key": STIGMER_KEY,
    "a value of $secrets": WORKFLOW_SECRET,
    "a Secret in the environment": ENV_SECRET,
    "a password in a URL": URL_PASSWORD,
    "a bearer token of a call": BEARER,
    "the key of an object store": S3_SECRET,
}
_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}")


def found_in(text: str) -> list[str]:
    """What secrets a text holds, plain or in another spelling, by name and never by value."""
    found = [name for name, value in CANARIES.items() if any(spelling in text for spelling in _spellings(value))]
    return [*found, "a service account's token"] if _TOKEN.search(text) else found


def _spellings(value: str) -> set[str]:
    """Plain, quoted, and inside of base64, wherever in a group of three bytes it begins."""
    encoded = set()
    for shift in range(3):
        text = base64.b64encode(b"x" * shift + value.encode()).decode().rstrip("=")
        # The first and the last characters depend on the neighbours.
        encoded.add(text[4 if shift else 0 : -2])
    urlsafe = {text.replace("+", "-").replace("/", "_") for text in encoded}
    return {value, value[::-1], quote(value, safe=""), json.dumps(value)[1:-1]} | encoded | urlsafe
