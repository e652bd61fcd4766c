"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from cyclopts import Parameter

AllowAddress: TypeAlias = Annotated[
    tuple[str, ...],
    Parameter(help="Calls go nowhere else: a host, *.DOMAIN, address, network or *.", negative="", show_default=False),
]
DenyAddress: TypeAlias = Annotated[
    tuple[str, ...], Parameter(help="Calls do not go there; the same entries.", negative="", show_default=False)
]
