"""`workflow-runner graph`: a document as a drawing, and the way that a run took through it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from workflow_runner.cli.documents import read_file
from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.errors import InvalidInput
from workflow_runner.expressions.documents import read_document
from workflow_runner.graph.build import build
from workflow_runner.graph.marks import marks_of
from workflow_runner.graph.model import Graph, Marks

DRAWN, INVALID = 0, 2


def graph(
    file: Annotated[Path, Parameter(help="The document, YAML or JSON; - is standard input.")],
    /,
    *,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["mermaid", "dot", "svg"], Parameter(help="mermaid and dot are text that other programs draw.")
    ] = "mermaid",
    events: Annotated[
        Path | None, Parameter(help="The events of a run, as `run --events FILE` writes them: its way is marked.")
    ] = None,
) -> int:
    """Draw a workflow document on standard output.

    Exits with 0, or with 2 when the document has mistakes (`validate` says which) or the events are not those of a run of it.
    """
    source, name = read_file(file)
    try:
        workflow, _ = read_document(source, name, runnable=False)
    except DocumentErrors as error:
        for diagnostic in error.diagnostics:
            print(diagnostic, file=sys.stderr)
        return INVALID
    drawn = build(workflow)
    marks = None if events is None else marks_of(drawn, _events(events))
    print(_writer(format)(drawn, marks), end="")
    return DRAWN


def _writer(form: str) -> Callable[[Graph, Marks | None], str]:
    if form == "svg":
        from workflow_runner.graph.svg import to_svg

        return to_svg
    if form == "dot":
        from workflow_runner.graph.dot import to_dot

        return to_dot
    from workflow_runner.graph.mermaid import to_mermaid

    return to_mermaid


def _events(path: Path) -> Iterator[dict[str, Any]]:
    data, name = read_file(path)
    for number, line in enumerate(data.splitlines(), 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidInput(f"{name}, line {number} is not JSON: {error}", code="input.not-json") from error
        if not isinstance(event, dict):
            raise InvalidInput(f"{name}, line {number} is no event: an event is an object", code="input.not-json")
        yield event
