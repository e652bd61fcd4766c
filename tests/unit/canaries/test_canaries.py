"""The search for secrets finds them, and a session in which one was written fails."""

from __future__ import annotations

import base64
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from tests import canaries

ROOT = Path(__file__).parents[3]
VALUE = canaries.URL_PASSWORD


@pytest.mark.parametrize(
    "text",
    [
        f"http://user:{VALUE}@host/",
        f'{{"password": "{VALUE}"}}',
        base64.b64encode(VALUE.encode()).decode(),
        "Basic " + base64.b64encode(f"u:{VALUE}".encode()).decode(),
        "Basic " + base64.b64encode(f"us:{VALUE}".encode()).decode(),
        "Basic " + base64.urlsafe_b64encode(f"use:{VALUE}".encode()).decode(),
        f"http://host/?p={quote(VALUE)}",
    ],
    ids=["url", "json", "base64", "basic-1", "basic-2", "basic-3", "query"],
)
def test_a_secret_is_found_however_it_is_written(text: str) -> None:
    assert canaries.found_in(f"before {text} after") == ["a password in a URL"]


def test_a_service_accounts_token_is_found() -> None:
    token = ".".join(["eyJhbGciOiJSUzI1NiIs", "eyJhdWQiOlsid29yay", "c2lnbmF0dXJlLXNpZ25hdHVyZQ"])
    assert canaries.found_in(f"authorization: Bearer {token}") == ["a service account's token"]


def test_ordinary_text_is_clean() -> None:
    assert canaries.found_in('{"level":"info","event":"operator started","image":"x@sha256:' + "0" * 64 + '"}') == []


@pytest.mark.parametrize("how", ["print(SECRET)", "logging.getLogger('x').warning('%s', SECRET)", "print('nothing')"])
def test_a_session_that_wrote_a_secret_fails_though_its_tests_pass(tmp_path: Path, how: str) -> None:
    test = tmp_path / "test_it.py"
    test.write_text(f"import logging\nfrom tests.canaries import BEARER as SECRET\ndef test_it():\n    {how}\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", str(test)]
    command += ["--rootdir", str(tmp_path), "--import-mode=importlib"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert "1 passed" in done.stdout
    assert (done.returncode == 0) == ("nothing" in how)
    assert ("a bearer token of a call" in done.stdout) == ("nothing" not in how)
    assert canaries.BEARER not in done.stdout
