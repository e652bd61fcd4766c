"""The cases of the examples: which files belong together.

A folder of examples/tasks or examples/scenarios has one `workflow.yaml`. Each `output.json`, or `error.json` for a run that
faults, is a case; one with a name (`output-late.json`) takes `input-late.json` and `events-late.json`, where they are there,
and else `input.json` and no events.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
DOCUMENT = "workflow.yaml"
PARTS = ("input", "output", "error", "events")


@dataclass(frozen=True)
class Case:
    """One run of an example. `suffix` is "" or begins with a dash; `faults` where `error…json` is what comes out."""

    folder: Path
    suffix: str
    faults: bool

    @property
    def name(self) -> str:
        return f"{self.folder.relative_to(EXAMPLES)}{self.suffix}"

    @property
    def document(self) -> Path:
        return self.folder / DOCUMENT

    @property
    def input(self) -> str:
        """The text of the input."""
        own = self.folder / f"input{self.suffix}.json"
        return (own if own.exists() else self.folder / "input.json").read_text()

    @property
    def expected(self) -> Any:
        """The output, or the problem."""
        return json.loads((self.folder / f"{'error' if self.faults else 'output'}{self.suffix}.json").read_text())

    @property
    def events(self) -> list[dict[str, Any]]:
        """What is sent to the run, in this order."""
        path = self.folder / f"events{self.suffix}.json"
        found: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
        return found


def folders() -> list[Path]:
    """Every example that has a folder."""
    return sorted(path for group in ("tasks", "scenarios") for path in (EXAMPLES / group).iterdir() if path.is_dir())


def cases() -> list[Case]:
    """Every case of every example."""
    found = []
    for folder in folders():
        for path in sorted(folder.glob("*.json")):
            part, dash, rest = path.stem.partition("-")
            if part in ("output", "error"):
                found.append(Case(folder, dash + rest, part == "error"))
    return found
