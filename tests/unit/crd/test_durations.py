"""Durations as Kubernetes writes them."""

from __future__ import annotations

import pytest

from workflow_runner.crd.durations import seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [("30s", 30), ("1h30m", 5400), ("250ms", 0.25), ("1.5h", 5400), ("0s", 0), ("1m1m", 120), ("2h3m4.5s6ms", 7384.506)],
)
def test_how_long_a_duration_is(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "30", "PT30S", "-1s", "1 s", "5d", "1h\n", "s", "1.s"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration such as 30s"):
        seconds(text)
