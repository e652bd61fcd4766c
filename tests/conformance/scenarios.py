"""Reads requirements.yaml and the feature files. tests and tools/conformance.py use it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from gherkin.parser import Parser
from gherkin.pickles.compiler import Compiler
from tests.conformance.case import Case, Observed
from tests.conformance.steps import check, prepare

FOLDER = Path(__file__).parent
FEATURES = FOLDER / "features"
REQUIREMENTS = FOLDER / "requirements.yaml"


@dataclass(frozen=True)
class Requirement:
    """One demand of the reference. Where there is no scenario, `reason` says why: it comes later, or is left out."""

    id: str
    section: str
    text: str
    status: Literal["shown", "later", "left out"] = "shown"
    reason: str = ""


@dataclass(frozen=True, eq=False)
class Scenario:
    """One scenario, with the ids of the requirements that it shows to hold."""

    file: str
    name: str
    ids: tuple[str, ...]
    command: bool
    steps: tuple[tuple[str, str, Any], ...]
    """The kind ("Context", "Action", "Outcome"), the text, and a doc string, rows of a table, or None."""

    @property
    def case(self) -> Case:
        """What a host is given."""
        case = Case(command=self.command)
        for step in self.steps:
            prepare(case, *step)
        return case

    def check(self, observed: Observed) -> None:
        """Raises AssertionError where what was seen is not what the scenario says."""
        for step in self.steps:
            check(observed, *step)


@cache
def scenarios() -> tuple[Scenario, ...]:
    """All of them, by file and in order."""
    found: list[Scenario] = []
    for path in sorted(FEATURES.glob("*.feature")):
        document: Any = Parser().parse(path.read_text(encoding="utf-8"))
        document["uri"] = path.name
        for pickle in Compiler().compile(document):
            tags = [tag["name"].removeprefix("@") for tag in pickle["tags"]]
            steps = tuple((step["type"], step["text"], _argument(step)) for step in pickle["steps"])
            ids = tuple(tag for tag in tags if tag.isupper())
            found.append(Scenario(path.name, pickle["name"], ids, "command" in tags, steps))
    return tuple(found)


@cache
def requirements() -> tuple[Requirement, ...]:
    """All of them, in the order of the file."""
    sections: dict[str, list[dict[str, str]]] = yaml.safe_load(REQUIREMENTS.read_text(encoding="utf-8"))
    return tuple(
        Requirement(entry["id"], section, entry["text"].strip(), *_status(entry))
        for section, entries in sections.items()
        for entry in entries
    )


def _status(entry: dict[str, str]) -> tuple[Literal["shown", "later", "left out"], str]:
    if set(entry) - {"id", "text", "status", "reason"}:
        raise ValueError(f"{entry['id']} has members that nobody knows")
    match entry.get("status", ""), entry.get("reason", ""):
        case "", "":
            return "shown", ""
        case ("later" | "left out") as status, reason if reason:
            return status, reason
    raise ValueError(f"{entry['id']}: status is later or left out, with a reason, or not there")


def _argument(step: Any) -> Any:
    argument = step.get("argument", {})
    if "docString" in argument:
        return argument["docString"]["content"]
    if "dataTable" in argument:
        return [[cell["value"] for cell in row["cells"]] for row in argument["dataTable"]["rows"]]
    return None
