"""How long tokens are used."""

from __future__ import annotations

from typing import Any

import pytest

from workflow_runner.calls.oauth2 import UNKNOWN_LIFETIME, lifetime


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (3600, 3570),
        (100, 90),
        (0.5, 0.45),
        ("60", 54),
        (0, 0),
        (-5, 0),
        (None, UNKNOWN_LIFETIME - 30),
        ("soon", UNKNOWN_LIFETIME - 30),
        ([60], UNKNOWN_LIFETIME - 30),
        (True, UNKNOWN_LIFETIME - 30),
        (1e300, 365 * 86_400 - 30),
        (float("nan"), 0),
        (10**400, UNKNOWN_LIFETIME - 30),
    ],
)
def test_a_token_is_used_until_shortly_before_its_end(said: Any, seconds: float) -> None:
    assert lifetime(said) == pytest.approx(seconds)
