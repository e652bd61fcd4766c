"""Reading `call: openapi` tasks, for `read_tasks`.

The OpenAPI document itself is not looked at: it is fetched when the task runs (calls/openapi.py).
"""

from __future__ import annotations

from workflow_runner.dsl.fields import Fields, Found, Place
from workflow_runner.dsl.model import OpenApiCallTask, Task
from workflow_runner.dsl.read_authentication import described, read_authentication
from workflow_runner.dsl.read_resources import read_resource
from workflow_runner.dsl.templates import Literal, Template

_ARGUMENTS = ("document", "operationId", "parameters", "authentication", "output", "redirect")


def read_openapi(fields: Fields, place: Place, found: Found) -> Task | None:
    """The task, or None when it has errors that leave nothing to model."""
    if "with" not in found:
        fields.findings.error("property.missing", "a call of openapi needs 'with'", place.pointer, place.node.position)
        return None
    pointer, node = found["with"]
    required = ("document", "operationId")
    parts = fields.members(node, pointer, _ARGUMENTS, required=required, what="a call of openapi")
    document = read_resource(fields, parts.get("document"), place.body, "an OpenAPI document")
    operation_id = fields.text(parts.get("operationId"), "operationId", place.body)
    if isinstance(operation_id, Literal) and not operation_id.value:
        where, given = parts["operationId"]
        fields.findings.error("property.bad-value", "operationId cannot be empty", where, given.position)
    parameters = object_template(fields, parts, "parameters", place)
    authentication = read_authentication(fields, parts.get("authentication"), place.body)
    output = fields.one_of(parts.get("output"), "output", ("raw", "content", "response"))
    redirect = "redirect" in parts and fields.expect(parts["redirect"][1], parts["redirect"][0], bool, "redirect")
    if document is None or operation_id is None:
        return None
    return OpenApiCallTask(
        **place.common,
        document=document,
        operation_id=operation_id,
        parameters=parameters,
        authentication=authentication,
        authorization=described(fields, place, authentication),
        output=output or "content",  # type: ignore[arg-type]  # one_of gives one of the choices
        redirect=redirect and parts["redirect"][1].json is True,
    )


def object_template(fields: Fields, parts: Found, name: str, place: Place) -> Template | None:
    """An object of anything with expressions in it, or one expression that gives an object."""
    if name not in parts:
        return None
    pointer, node = parts[name]
    if not isinstance(node.json, str):
        return fields.template(node, pointer, place.body) if fields.expect(node, pointer, dict, name) else None
    template = fields.template(node, pointer, place.body)
    if isinstance(template, Literal):
        message = f"{name} must be an object, or one expression ${{ … }} that gives one"
        fields.findings.error("property.wrong-type", message, pointer, node.position)
    return template
