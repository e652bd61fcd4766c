"""From Stigmer's WorkflowSpec (proto ai.stigmer.agentic.workflow.v1) to a document of the workflow language.

Whoever gets a workflow from Stigmer calls `convert`; docs/converter.md has the table of what becomes what. No input and
output: what a spec needs besides itself (environments, other workflows) is named in the document and found when it runs.

What the language cannot say is an error that names the task and the place; nothing is left out in silence.
`configs` reads a task's task_config strictly, `expressions` what authors write in texts, `tasks` makes the tasks,
`placed` remembers where each part came from, `written` writes YAML.
"""

from __future__ import annotations

from msgspec import Struct, field

from workflow_runner.dsl.diagnostics import MOST, Diagnostic, DocumentErrors
from workflow_runner.dsl.nodes import escape
from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.documents import read_document
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.spec_pb2 import WorkflowSpec
from workflow_runner.stigmer.converter.configs import Problems, raw_task
from workflow_runner.stigmer.converter.expressions import Names
from workflow_runner.stigmer.converter.placed import Placed, Sources, plain
from workflow_runner.stigmer.converter.tasks import tasks_of
from workflow_runner.stigmer.converter.written import to_yaml

__all__ = ["ConversionFailed", "Converted", "convert"]

NAME = "WorkflowSpec"
"""What messages call the spec."""


class ConversionFailed(DocumentErrors):
    """The spec cannot be made a document. `diagnostics` say what is wrong where: their pointers are places in the spec, with
    the names that its messages' fields have in the protos (`/tasks/0/task_config/endpoint/uri`)."""


class Converted(Struct, frozen=True):
    """`document` is the workflow document, `warnings` what is probably not meant in the spec. Share and do not change them."""

    document: dict[str, Json]
    warnings: tuple[Diagnostic, ...] = ()
    sources: Sources = field(default_factory=Sources)

    @property
    def yaml(self) -> str:
        """The document as text."""
        return to_yaml(self.document)

    def source(self, pointer: str) -> str:
        """The place in the spec that a place in the document was made from."""
        return self.sources.find(pointer)[0]


def convert(spec: WorkflowSpec, *, check: bool = True) -> Converted:
    """The document that says what the spec says. Raises ConversionFailed with everything that is wrong.

    With `check` the document is read and validated as any other is, expressions compiled, and what is found is told of the
    spec. That takes about a millisecond an expression: for specs of strangers, and on an event loop, call it where it can be
    stopped, or leave it to whoever reads the document afterwards.
    """
    problems = Problems(NAME)
    document = _document(spec, problems)
    root: dict[str, Json] = {}
    sources = Sources()
    if not problems.failed:
        made = plain(document, sources)
        assert isinstance(made, dict)  # noqa: S101 - it is one
        root = made
        if check:
            _check(root, sources, problems)
    if problems.failed:
        raise ConversionFailed(problems.found)
    return Converted(root, tuple(problems.found), sources)


def _document(spec: WorkflowSpec, problems: Problems) -> Placed:
    names = Names(environment=frozenset(spec.env_spec.data))
    for name in ("dsl", "namespace", "name", "version"):
        if not getattr(spec.document, name):
            problems.error("stigmer.missing", f"document needs {name!r}", "/document")
    if not spec.tasks:
        problems.error("stigmer.missing", "a workflow needs a task", "/tasks")
    raw = [raw_task(task, problems, f"/tasks/{number}") for number, task in enumerate(spec.tasks)]
    namespace = spec.document.namespace
    do = tasks_of([task for task in raw if task is not None], "/tasks", problems, names, namespace)
    members: dict[str, Placed] = {"document": _header(spec)}
    secrets = sorted(names.environment | names.asked)
    if secrets:
        declared = Placed([Placed(name, f"/env_spec/data/{escape(name)}") for name in secrets], "/env_spec/data")
        members["use"] = Placed({"secrets": declared}, "/env_spec")
    return Placed(members | {"do": do}, "")


def _header(spec: WorkflowSpec) -> Placed:
    given = spec.document
    header = {name: Placed(getattr(given, name), f"/document/{name}") for name in ("dsl", "namespace", "name", "version")}
    summary = given.description or spec.description
    if summary:
        header["summary"] = Placed(summary, "/document/description" if given.description else "/description")
    if given.description and spec.description not in ("", given.description):
        header["metadata"] = Placed({"description": Placed(spec.description, "/description")}, "/description")
    return Placed(header, "/document")


def _check(document: dict[str, Json], sources: Sources, problems: Problems) -> None:
    """Note what is wrong with the document as if it were said of the spec."""
    try:
        _, found = read_document(document, NAME)
    except DocumentErrors as error:
        found = error.diagnostics
    for diagnostic in found[:MOST]:
        pointer, task = sources.find(diagnostic.pointer)
        problems.add(diagnostic.severity, diagnostic.code, diagnostic.message, pointer, task, diagnostic.hint)
