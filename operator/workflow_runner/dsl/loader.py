"""Loading documents: YAML text, or an object, to a `Workflow`.

`expressions.documents.read_document` is what most callers want: it adds validation and jq's compiler. Here a
document is read and its structure checked; what is found is told all at once, by position.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from workflow_runner.dsl.diagnostics import DocumentErrors as DocumentErrors
from workflow_runner.dsl.diagnostics import Findings
from workflow_runner.dsl.fields import ANYWHERE, WORKFLOW_INPUT, WORKFLOW_OUTPUT, Fields, Found, child
from workflow_runner.dsl.model import DocumentInfo, Schema, TaskList, Use, Workflow
from workflow_runner.dsl.nodes import InvalidText, Node, NotJson, items, node_of
from workflow_runner.dsl.read_authentication import authentication_definition
from workflow_runner.dsl.read_errors import error_definition, retry_definition
from workflow_runner.dsl.read_events import read_schedule
from workflow_runner.dsl.read_functions import check_catalogs, function_definitions, read_extensions
from workflow_runner.dsl.read_schemas import read_schema
from workflow_runner.dsl.read_tasks import read_list, read_task
from workflow_runner.dsl.read_timeouts import read_timeout, timeout_definition
from workflow_runner.dsl.templates import Expression, Position, Template
from workflow_runner.dsl.text_reader import read_text

_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
_SEMANTIC_VERSION = re.compile(r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_DSL = re.compile(r"1\.0\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
_USE = ("authentications", "catalogs", "errors", "extensions", "functions", "retries", "secrets", "timeouts")


def load(source: str | bytes, file: str = "<document>") -> Workflow:
    """The workflow that a YAML or JSON text describes; `file` is what messages call it. Raises DocumentErrors."""
    findings = Findings(file)
    workflow = load_text(source, findings)
    findings.raise_errors()
    return workflow


def load_object(document: Mapping[str, Any], file: str = "<document>") -> Workflow:
    """The workflow that an object describes. Messages give JSON pointers for places. Raises DocumentErrors."""
    findings = Findings(file)
    workflow = load_node(document, findings)
    findings.raise_errors()
    return workflow


def load_text(source: str | bytes, findings: Findings, compiles: Callable[[Expression], bool] | None = None) -> Workflow:
    """Like `load`, for callers that go on collecting: with errors in `findings` parts of the workflow are missing.

    `compiles` says what is an expression in loose mode; without it whatever may be one. Raises DocumentErrors when there
    is nothing that could be looked at.
    """
    findings.start = Position(1, 1)
    try:
        root, complaints = read_text(source)
    except InvalidText as error:
        findings.error(error.code, str(error), "", error.position, hint=error.hint)
        raise DocumentErrors(findings.sorted()) from error
    for complaint in complaints:
        findings.error(complaint.code, str(complaint), "", complaint.position, hint=complaint.hint)
    return _read(root, findings, compiles)


def load_node(
    document: Mapping[str, Any], findings: Findings, compiles: Callable[[Expression], bool] | None = None
) -> Workflow:
    """Like `load_text`, for an object."""
    try:
        root = node_of(document)
    except NotJson as error:
        findings.error(error.code, str(error), error.pointer)
        raise DocumentErrors(findings.sorted()) from error
    return _read(root, findings, compiles)


def _read(root: Node, findings: Findings, compiles: Callable[[Expression], bool] | None) -> Workflow:
    if not isinstance(root.json, dict):
        findings.error("property.wrong-type", "a workflow document must be an object", "", root.position)
        raise DocumentErrors(findings.sorted())
    other = _other_kind(root.json)
    if other is not None:
        message, hint = other
        findings.error("document.other-kind", message, "", root.position, hint=hint)
        raise DocumentErrors(findings.sorted())
    fields = Fields(findings)
    if compiles is not None:
        fields.compiles = compiles
    found = fields.members(
        root,
        "",
        ("document", "do", "input", "output", "schedule", "timeout", "use", "evaluate"),
        required=("document", "do"),
        what="a workflow",
    )
    document = _document(fields, found)
    _evaluate(fields, found)
    use = _use(fields, found)
    input_from, input_schema = _filter(fields, found, "input", "from")
    output_as, output_schema = _filter(fields, found, "output", "as")
    timeout = read_timeout(fields, found.get("timeout"), WORKFLOW_INPUT)
    schedule = read_schedule(fields, found.get("schedule"))
    tasks = read_list(fields, found["do"][1], found["do"][0], frozenset()) if "do" in found else TaskList()
    return Workflow(
        document=document,
        do=tasks,
        definition=root.json,
        input_schema=input_schema,
        input_from=input_from,
        output_as=output_as,
        output_schema=output_schema,
        timeout=timeout,
        schedule=schedule,
        use=use,
        file=findings.file,
        expressions=tuple(fields.expressions),
        sealed=frozenset(fields.sealed),
        schemas=tuple(fields.schemas),
        source=root,
    )


def _other_kind(root: Mapping[str, Any]) -> tuple[str, str] | None:
    """What a document is that is no workflow of this language, and what to do; None for one that may be."""
    if "document" in root or "do" in root:
        return None
    if "apiVersion" in root and "kind" in root:
        message = f"this is a manifest of Kubernetes ({str(root['kind'])[:60]}), not a workflow document"
        if root["kind"] == "WorkflowExecution":
            return message, "what is checked here stands in it under spec.workflow.definition: check that alone"
        return message, "name the file of the workflow"
    if "states" in root or "specVersion" in root:
        version = str(root.get("specVersion", "0.x"))[:20]
        return f"this is a workflow of Serverless Workflow {version}", "rewrite it in DSL 1.0: `document` and `do`"
    return None


def _document(fields: Fields, found: Found) -> DocumentInfo:
    if "document" not in found:
        return DocumentInfo(dsl="", namespace="", name="", version="")
    pointer, node = found["document"]
    parts = fields.members(
        node,
        pointer,
        ("dsl", "namespace", "name", "version", "title", "summary", "tags", "metadata"),
        required=("dsl", "namespace", "name", "version"),
        what="document",
    )
    return DocumentInfo(
        dsl=_matching(fields, parts, "dsl", _DSL, "document.dsl-version", "this runner speaks DSL 1.0.x"),
        namespace=_matching(fields, parts, "namespace", _NAME, "document.bad-name", _NAME_RULE),
        name=_matching(fields, parts, "name", _NAME, "document.bad-name", _NAME_RULE),
        version=_matching(
            fields, parts, "version", _SEMANTIC_VERSION, "document.bad-version", "it is a semantic version such as 1.0.0"
        ),
        title=fields.string(parts.get("title"), "title"),
        summary=fields.string(parts.get("summary"), "summary"),
        tags=fields.free_object(parts.get("tags"), "tags"),
        metadata=fields.free_object(parts.get("metadata"), "metadata"),
    )


_NAME_RULE = "it is 1 to 63 letters, digits and inner dashes"


def _matching(fields: Fields, parts: Found, name: str, pattern: re.Pattern[str], code: str, rule: str) -> str:
    text = fields.string(parts.get(name), name)
    if text is None:
        return ""
    if pattern.fullmatch(text) is None:
        fields.findings.error(code, f"{name} cannot be {text[:80]!r}: {rule}", parts[name][0], parts[name][1].position)
    return text


def _use(fields: Fields, found: Found) -> Use:
    if "use" not in found:
        return Use()
    pointer, node = found["use"]
    parts = fields.members(node, pointer, _USE, what="use")
    fields.secrets = _secrets(fields, parts.get("secrets"))
    fields.functions = _named(fields, parts.get("functions"), "functions")
    fields.catalogs = _named(fields, parts.get("catalogs"), "catalogs")
    fields.authentications = _named(fields, parts.get("authentications"), "authentications")
    fields.errors = _named(fields, parts.get("errors"), "errors")
    fields.retries = _named(fields, parts.get("retries"), "retries")
    fields.timeouts = _named(fields, parts.get("timeouts"), "timeouts")
    policies = {name: authentication_definition(fields, entry, ANYWHERE) for name, entry in fields.authentications.items()}
    errors = {name: error_definition(fields, entry, ANYWHERE, name) for name, entry in fields.errors.items()}
    retries = {name: retry_definition(fields, entry, ANYWHERE, name) for name, entry in fields.retries.items()}
    timeouts = {name: timeout_definition(fields, entry, ANYWHERE) for name, entry in fields.timeouts.items()}
    check_catalogs(fields)
    return Use(
        authentications={name: policy for name, policy in policies.items() if policy is not None},
        errors={name: error for name, error in errors.items() if error is not None},
        retries={name: retry for name, retry in retries.items() if retry is not None},
        timeouts={name: timeout for name, timeout in timeouts.items() if timeout is not None},
        secrets=fields.secrets,
        functions=function_definitions(fields, read_task),
        extensions=read_extensions(fields, parts.get("extensions"), read_list),
    )


def _named(fields: Fields, found: tuple[str, Node] | None, what: str) -> dict[str, tuple[str, Node]]:
    if found is None or not fields.expect(found[1], found[0], dict, what):
        return {}
    return {name: (pointer, node) for name, pointer, _, node in items(found[1], found[0])}


def _secrets(fields: Fields, found: tuple[str, Node] | None) -> tuple[str, ...]:
    if found is None or not fields.expect(found[1], found[0], list, "secrets"):
        return ()
    names: list[str] = []
    for number, node in enumerate(found[1].elements):
        name = fields.string((child(found[0], str(number)), node), "a secret")
        if name is not None and name not in names:
            names.append(name)
    return tuple(names)


def _evaluate(fields: Fields, found: Found) -> None:
    """`evaluate`: the language is jq; the mode is noted for whatever is read afterwards."""
    if "evaluate" not in found:
        return
    pointer, node = found["evaluate"]
    parts = fields.members(node, pointer, ("language", "mode"), what="evaluate")
    fields.one_of(parts.get("language"), "language", ("jq",))
    fields.loose = fields.one_of(parts.get("mode"), "mode", ("strict", "loose")) == "loose"


def _filter(fields: Fields, found: Found, name: str, inner: str) -> tuple[Template | None, Schema | None]:
    if name not in found:
        return None, None
    pointer, node = found[name]
    parts = fields.members(node, pointer, (inner, "schema"), what=name)
    scope = WORKFLOW_INPUT if name == "input" else WORKFLOW_OUTPUT
    return fields.filter(parts.get(inner), f"{name}.{inner}", scope), read_schema(fields, parts, name, scope)
