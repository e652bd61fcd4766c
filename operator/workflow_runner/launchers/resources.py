"""Requests and limits of a run's container: the operator's defaults under what templates ask. Called by pod_template."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

Json = dict[str, Any]

_SUFFIXES = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30}))([eE][+-]?[0-9]{1,2}|[KMGTPE]i|[numkMGTPE]?)")


def quantity(value: str | int | float) -> Decimal | None:
    """The number that a Kubernetes quantity such as 250m or 1.5Gi stands for; None for what is none."""
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    number, suffix = Decimal(match[1]), match[2]
    if suffix in _BINARY:
        return number * Decimal(1024 ** _BINARY[suffix])
    exponent = _SUFFIXES[suffix] if suffix in _SUFFIXES else int(suffix[1:])
    return number.scaleb(exponent)


def resources(defaults: Json, asked: Json) -> Json:
    """`asked` over `defaults`, each {requests, limits}. A default never contradicts what is asked: where only one of
    request and limit is asked and the other's default would make the request the larger, both become what is asked."""
    requests = {**defaults["requests"], **(asked.get("requests") or {})}
    limits = {**defaults["limits"], **(asked.get("limits") or {})}
    for name in requests.keys() & limits.keys():
        request, limit = quantity(requests[name]), quantity(limits[name])
        if request is None or limit is None or request <= limit:
            continue
        if name not in (asked.get("requests") or {}):
            requests[name] = limits[name]
        elif name not in (asked.get("limits") or {}):
            limits[name] = requests[name]
    extra = {key: value for key, value in asked.items() if key not in ("requests", "limits")}
    return {**extra, "requests": requests, "limits": limits}
