"""How a WorkflowRunner reads in its own status: pure. Called by controller."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from workflow_runner.crd import group
from workflow_runner.crd.runner import ENDPOINT
from workflow_runner.reconcile.status import with_conditions

Json = dict[str, Any]


MAX_CAPABILITIES = 64


class Health(Struct, frozen=True):
    """What the last look at an endpoint found: whether it answers, whether it says that it works, and otherwise why not, in a
    CamelCase word and for people. `capabilities` are SERVICE/METHOD each, None where nobody could find out."""

    reachable: bool
    serving: bool
    reason: str = ""
    message: str = ""
    milliseconds: float | None = None
    capabilities: tuple[str, ...] | None = None


def runner_status(
    runner: Json,
    *,
    now: datetime,
    active: int,
    queued: int,
    image: str,
    invalid: str | None,
    stigmer_problem: str | None,
    health: Health | None = None,
    replicas: tuple[int, int] | None = None,
    replica_ended: str = "",
    pool_problem: str | None = None,
) -> Json:
    """The status of a runner. `invalid` says why its spec cannot be read; `stigmer_problem` why callbacks would fail,
    None as well where it names no Stigmer. `health` is of its endpoint, None where nobody has looked yet or there is none.
    `replicas` are those that its pool shall have, and has ready; `replica_ended` is what one said last that has ended;
    `pool_problem` says why the pool cannot be made."""
    spec, generation = runner.get("spec") or {}, int(runner["metadata"].get("generation", 0))
    status: Json = dict(runner.get("status") or {})
    status |= {
        "observedGeneration": generation,
        "activeExecutions": active,
        "queuedExecutions": queued,
        "mode": ENDPOINT if spec.get("endpoint") else (spec.get("launch") or {}).get("mode", "Job"),
        "image": image,
    }
    if spec.get("endpoint"):
        del status["image"]
    status |= _found(health)
    for key in ("replicas", "readyReplicas", "selector"):
        status.pop(key, None)
    if replicas is not None:
        status |= {"replicas": replicas[0], "readyReplicas": replicas[1]}
        status["selector"] = f"{group.LABEL_POOL}={runner['metadata']['uid']}"
    if invalid is not None:
        ready = ("False", "InvalidSpec", invalid)
    elif pool_problem is not None:
        ready = ("False", "PoolNotMade", f"The pool cannot be made as the runner says: {pool_problem}")
    elif replicas is not None and not replicas[1]:
        why = f" One has ended, and said: {replica_ended}" if replica_ended else ""
        ready = ("False", "NoReplica", f"None of the {replicas[0]} replicas of the pool is ready.{why}")
    elif spec.get("endpoint") and health is None:
        ready = ("Unknown", "NotLookedAt", "The endpoint has not been looked at yet.")
    elif health is not None and not (health.reachable and health.serving):
        ready = ("False", health.reason, health.message)
    elif spec.get("paused"):
        ready = ("True", "Paused", "The runner takes nothing new; what it has taken goes on.")
    else:
        ready = ("True", "Ready", "The runner takes executions.")
    wanted = [
        ("Ready", *ready),
        ("Reconciling", "False", ready[1], ""),
        ("Stalled", "True" if invalid is not None else "False", ready[1], invalid or ""),
    ]
    current = [item for item in status.get("conditions", []) if item["type"] not in ("CallbacksReady", "Reachable")]
    if spec.get("endpoint"):
        current += [item for item in status.get("conditions", []) if item["type"] == "Reachable"]
        wanted.append(("Reachable", *_reachable(health)))
    if spec.get("stigmer"):
        known = [item for item in status.get("conditions", []) if item["type"] == "CallbacksReady"]
        current += known
        wanted.append(
            ("CallbacksReady", "True", "Configured", "")
            if stigmer_problem is None
            else ("CallbacksReady", "False", "SecretNotUsable", stigmer_problem)
        )
    status["conditions"] = with_conditions(current, wanted, now, generation)
    if not spec.get("endpoint"):
        status.pop("latencyMilliseconds", None)
        status.pop("capabilities", None)
    return status


def _found(health: Health | None) -> Json:
    found: Json = {}
    if health is not None and health.milliseconds is not None:
        found["latencyMilliseconds"] = round(health.milliseconds, 1)
    if health is not None and health.capabilities is not None:
        found["capabilities"] = list(health.capabilities[:MAX_CAPABILITIES])
    return found


def _reachable(health: Health | None) -> tuple[str, str, str]:
    if health is None:
        return "Unknown", "NotLookedAt", "The endpoint has not been looked at yet."
    if health.reachable:
        return "True", "Answers", "The endpoint answers."
    return "False", health.reason, health.message
