"""What a task is to somebody who follows a run: its kind, or something that is told apart within it. Called by run.py."""

from __future__ import annotations

from workflow_runner.dsl.model import Task
from workflow_runner.dsl.templates import Json

AGENT, APPROVAL = "agent", "approval"
TOLD_APART = frozenset({"call", "listen"})
"""The kinds of which some are told apart; of all others the kind is what they are."""

_APPROVAL = frozenset({"approval", "approvals", "approve", "approved"})


def role_of(task: Task) -> str:
    """`agent` for a call of an agent, `approval` for a task that listens for one (an event whose `type` or `id` has the
    word), else the task's kind."""
    kind = task.kind
    if kind == "call":
        return AGENT if task.definition.get("call") == AGENT else kind
    if kind == "listen":
        return APPROVAL if _awaits_approval(task.definition.get("listen")) else kind
    return kind


def _awaits_approval(listen: Json) -> bool:
    to = listen.get("to") if isinstance(listen, dict) else None
    if not isinstance(to, dict):
        return False
    filters = [to.get("one"), *(item for mode in ("any", "all") if isinstance(items := to.get(mode), list) for item in items)]
    wanted = [item.get("with") for item in filters if isinstance(item, dict)]
    names = [item.get(name) for item in wanted if isinstance(item, dict) for name in ("type", "id")]
    return any(isinstance(name, str) and not _APPROVAL.isdisjoint(_words(name)) for name in names)


def _words(text: str) -> list[str]:
    return "".join(character if character.isalpha() else " " for character in text.lower()).split()
