"""What must not be installed beside this project."""

from __future__ import annotations

from importlib.util import find_spec


def test_niquests_is_absent() -> None:
    """Its urllib3-future overwrites urllib3, and every POST to Kubernetes then fails with 415."""
    assert find_spec("niquests") is None
    assert find_spec("urllib3_future") is None
