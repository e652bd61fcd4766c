"""How a run ended, as hosts tell the command line and the launched pod."""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct

from workflow_runner.dsl.problems import Problem
from workflow_runner.dsl.templates import Json


class Completed(Struct, frozen=True):
    """The workflow ran to its end and gave `output`."""

    output: Json


class Faulted(Struct, frozen=True):
    """An error was not caught."""

    problem: Problem


class Cancelled(Struct, frozen=True):
    """Somebody outside stopped it, for `reason`; no handler of the document ran."""

    reason: str


Outcome: TypeAlias = Completed | Faulted | Cancelled
