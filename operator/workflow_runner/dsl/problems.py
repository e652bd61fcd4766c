"""RFC 7807 problems: what a faulted workflow says about itself, and what `catch` matches against.

The interpreter and the calls raise `WorkflowFault(problem)`; `to_dict` is what `$error` holds, what the
last line of stderr says, and what travels in events. The types are those of the DSL reference ("Standard
Error Types"), whose default status each carries.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from workflow_runner.dsl.templates import Json

_BASE = "https://serverlessworkflow.io/spec/1.0.0/errors/"

CONFIGURATION = _BASE + "configuration"
VALIDATION = _BASE + "validation"
EXPRESSION = _BASE + "expression"
AUTHENTICATION = _BASE + "authentication"
AUTHORIZATION = _BASE + "authorization"
TIMEOUT = _BASE + "timeout"
COMMUNICATION = _BASE + "communication"
RUNTIME = _BASE + "runtime"

STANDARD_STATUS: Mapping[str, int] = {
    CONFIGURATION: 400,
    VALIDATION: 400,
    EXPRESSION: 400,
    AUTHENTICATION: 401,
    AUTHORIZATION: 403,
    TIMEOUT: 408,
    COMMUNICATION: 500,
    RUNTIME: 500,
}
"""The standard error types and the status each has when nothing says better."""

STANDARD_TITLE: Mapping[str, str] = {
    CONFIGURATION: "Configuration Error",
    VALIDATION: "Validation Error",
    EXPRESSION: "Expression Error",
    AUTHENTICATION: "Authentication Error",
    AUTHORIZATION: "Authorization Error",
    TIMEOUT: "Timeout",
    COMMUNICATION: "Communication Error",
    RUNTIME: "Runtime Error",
}


class Problem(Struct, frozen=True):
    """One error, after RFC 7807. `instance` is the JSON pointer of the task that raised it."""

    type: str
    status: int
    title: str | None = None
    detail: str | None = None
    instance: str | None = None

    @classmethod
    def standard(
        cls,
        type_: str,
        detail: str | None = None,
        *,
        status: int | None = None,
        title: str | None = None,
        instance: str | None = None,
    ) -> Problem:
        """A problem of a standard type, with that type's status and title unless others are given."""
        return cls(
            type=type_,
            status=STANDARD_STATUS[type_] if status is None else status,
            title=title or STANDARD_TITLE[type_],
            detail=detail,
            instance=instance,
        )

    def at(self, instance: str) -> Problem:
        """The same problem with this instance, unless it has one already."""
        return self if self.instance is not None else replace(self, instance=instance)

    def to_dict(self) -> dict[str, Json]:
        """The JSON object of RFC 7807; members that are not set are left out."""
        out: dict[str, Json] = {"type": self.type, "status": self.status}
        if self.title is not None:
            out["title"] = self.title
        if self.detail is not None:
            out["detail"] = self.detail
        if self.instance is not None:
            out["instance"] = self.instance
        return out

    @classmethod
    def from_dict(cls, value: Mapping[str, Json]) -> Problem:
        """The problem that `to_dict` wrote. Raises ValueError when a member is missing or of another type."""
        type_, status = value.get("type"), value.get("status")
        if not isinstance(type_, str):
            raise ValueError("a problem needs a 'type' that is a string")
        if not isinstance(status, int) or isinstance(status, bool):
            raise ValueError("a problem needs a 'status' that is an integer")
        return cls(type_, status, _text(value, "title"), _text(value, "detail"), _text(value, "instance"))

    def __str__(self) -> str:
        said = self.title or self.type
        return f"{said} ({self.status}): {self.detail}" if self.detail else f"{said} ({self.status})"


def _text(value: Mapping[str, Json], name: str) -> str | None:
    text = value.get(name)
    if text is not None and not isinstance(text, str):
        raise ValueError(f"a problem's {name!r} must be a string")
    return text


class WorkflowFault(Exception):
    """An error of the running workflow, which `catch` may handle. Not an error of this project."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(str(problem))
        self.problem = problem
