"""Requests and limits: what is asked over the operator's defaults."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from workflow_runner.launchers.resources import quantity, resources

Json = dict[str, Any]
DEFAULTS: Json = {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi"}}


@pytest.mark.parametrize(
    ("text", "number"),
    [("250m", "0.25"), (2, "2"), ("1.5Gi", "1610612736"), ("1e3", "1000"), ("100n", "1e-7"), ("1E", "1e18"), (".5", "0.5")],
)
def test_quantities(text: str | int, number: str) -> None:
    assert quantity(text) == Decimal(number)


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1gi", "9" * 100, "1e999"])
def test_what_is_no_quantity(text: str) -> None:
    assert quantity(text) is None


CASES: dict[str, tuple[Json, Json]] = {
    "nothing": ({}, DEFAULTS),
    "a-limit-above-the-default-request": (
        {"limits": {"memory": "1Gi"}},
        {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "1Gi"}},
    ),
    "a-limit-below-the-default-request": (
        {"limits": {"memory": "64Mi", "cpu": "10m"}},
        {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "64Mi", "cpu": "10m"}},
    ),
    "a-request-above-the-default-limit": (
        {"requests": {"memory": "2Gi"}},
        {"requests": {"cpu": "50m", "memory": "2Gi"}, "limits": {"memory": "2Gi"}},
    ),
    "a-contradiction-of-its-own-is-the-api-servers-to-refuse": (
        {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}},
        {"requests": {"cpu": "50m", "memory": "2Gi"}, "limits": {"memory": "1Gi"}},
    ),
    "others": (
        {"limits": {"nvidia.com/gpu": 1}},
        {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "512Mi", "nvidia.com/gpu": 1}},
    ),
    "no-quantity": (
        {"limits": {"memory": "much"}},
        {"requests": {"cpu": "50m", "memory": "96Mi"}, "limits": {"memory": "much"}},
    ),
}


@pytest.mark.parametrize(("asked", "expected"), CASES.values(), ids=CASES)
def test_defaults_never_contradict_what_is_asked(asked: Json, expected: Json) -> None:
    assert resources(DEFAULTS, asked) == expected
