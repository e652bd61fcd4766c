"""How a run ended, as hosts tell the command line and the launched pod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from workflow_runner.dsl.problems import Problem
from workflow_runner.dsl.templates import Json


@dataclass(frozen=True, slots=True)
class Completed:
    """The workflow ran to its end and gave `output`."""

    output: Json


@dataclass(frozen=True, slots=True)
class Faulted:
    """An error was not caught."""

    problem: Problem


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Somebody outside stopped it, for `reason`; no handler of the document ran."""

    reason: str


Outcome: TypeAlias = Completed | Faulted | Cancelled
