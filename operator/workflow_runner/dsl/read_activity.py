"""Reading `call: activity` tasks, for `read_tasks`: a call of this runner's own, beyond the reference (docs/language.md,
"Activities"). A document that defines a function `activity` calls that."""

from __future__ import annotations

from workflow_runner.dsl.fields import Fields, Found, Place
from workflow_runner.dsl.model import ActivityCallTask, Task
from workflow_runner.dsl.templates import Literal

_ARGUMENTS = ("activity", "input")


def read_activity(fields: Fields, place: Place, found: Found) -> Task | None:
    """The task, or None when it has errors that leave nothing to model."""
    if "with" not in found:
        fields.findings.error("property.missing", "a call of activity needs 'with'", place.pointer, place.node.position)
        return None
    pointer, node = found["with"]
    parts = fields.members(node, pointer, _ARGUMENTS, required=("activity",), what="a call of activity")
    activity = fields.text(parts.get("activity"), "activity", place.body)
    if isinstance(activity, Literal) and not activity.value:
        where, given = parts["activity"]
        fields.findings.error("property.bad-value", "activity cannot be empty", where, given.position)
    input_ = fields.template(parts["input"][1], parts["input"][0], place.body) if "input" in parts else None
    return None if activity is None else ActivityCallTask(**place.common, activity=activity, input_=input_)
