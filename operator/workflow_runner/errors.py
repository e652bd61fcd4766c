"""The errors this project raises, for every other module.

    WorkflowRunnerError          has a stable `code` and, where one helps, a `hint`
    ├── InvalidDocument          a workflow document cannot be accepted (dsl.problems adds diagnostics)
    ├── InvalidInput             input or settings cannot be accepted
    ├── Unauthenticated          a caller of a service did not prove who it is
    ├── PermissionDenied         a caller is known, and may not do this
    ├── Temporary                may work when tried again
    │   └── Unavailable          a service could not be reached or refused for now
    └── Internal                 a bug of this project

A message says what happened, where, and what to do; it never holds a secret. Codes are lower-case
words joined by dots and dashes ("document.duplicate-key") and are never renamed.
"""

from __future__ import annotations


class WorkflowRunnerError(Exception):
    """The root of the tree. `code` is stable and documented in docs/codes.md."""

    code = "internal"

    def __init__(self, message: str, *, code: str | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class InvalidDocument(WorkflowRunnerError):
    """A workflow document was refused before anything ran."""

    code = "document.invalid"


class InvalidInput(WorkflowRunnerError):
    """An input, a file or a setting was refused before anything ran."""

    code = "input.invalid"


class Unauthenticated(WorkflowRunnerError):
    """A caller gave no proof of who it is, or one that does not hold."""

    code = "auth.unauthenticated"


class PermissionDenied(WorkflowRunnerError):
    """A caller is known and may not do what it asked for."""

    code = "auth.permission-denied"


class Temporary(WorkflowRunnerError):
    """Something that may work when tried again."""

    code = "temporary"


class Unavailable(Temporary):
    """A service could not be reached, or refused for now."""

    code = "unavailable"


class Internal(WorkflowRunnerError):
    """A bug of this project: the message is for its developers."""

    code = "internal"
