"""How a WorkflowRunner reads in its own status: pure. Called by controller."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from workflow_runner.reconcile.status import with_conditions

Json = dict[str, Any]


def runner_status(
    runner: Json, *, now: datetime, active: int, queued: int, image: str, invalid: str | None, stigmer_problem: str | None
) -> Json:
    """The status of a runner. `invalid` says why its spec cannot be read; `stigmer_problem` why callbacks would fail,
    None as well where it names no Stigmer."""
    spec, generation = runner.get("spec") or {}, int(runner["metadata"].get("generation", 0))
    status: Json = dict(runner.get("status") or {})
    status |= {
        "observedGeneration": generation,
        "activeExecutions": active,
        "queuedExecutions": queued,
        "mode": (spec.get("launch") or {}).get("mode", "Job"),
        "image": image,
    }
    if invalid is not None:
        ready = ("False", "InvalidSpec", invalid)
    elif spec.get("paused"):
        ready = ("True", "Paused", "The runner takes nothing new; what it has taken goes on.")
    else:
        ready = ("True", "Ready", "The runner takes executions.")
    wanted = [
        ("Ready", *ready),
        ("Reconciling", "False", ready[1], ""),
        ("Stalled", "True" if invalid is not None else "False", ready[1], invalid or ""),
    ]
    current = [item for item in status.get("conditions", []) if item["type"] != "CallbacksReady"]
    if spec.get("stigmer"):
        known = [item for item in status.get("conditions", []) if item["type"] == "CallbacksReady"]
        current += known
        wanted.append(
            ("CallbacksReady", "True", "Configured", "")
            if stigmer_problem is None
            else ("CallbacksReady", "False", "SecretNotUsable", stigmer_problem)
        )
    status["conditions"] = with_conditions(current, wanted, now, generation)
    return status
