"""The operator is killed at thirty random moments while a hundred executions come, run and end: nobody notices.

The moments are drawn from a seed, which is printed and may be given: E2E_SEED=…
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.e2e.harness.api import Api
from tests.e2e.harness.fleet import SMALL, phases, runner, story_of, wait_phases
from tests.e2e.harness.kube import Namespace, manifest_of
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.stigmer import Stigmer
from tests.e2e.harness.waiting import wait_for

pytestmark = pytest.mark.stress

EXECUTIONS = 100
KILLS = 30
LONGEST_PAUSE = 5.0
"""Between an operator that is ready, or where it is killed before that its predecessor's end, and its own end."""
BEFORE_READY = 0.25
"""The share of operators that are killed while they start."""
STORY = ["workflow_started", "workflow_validating", "workflow_validated", "workflow_completed"]


def _wait_until(moment: float) -> None:
    wait_for(time.monotonic, lambda now: now >= moment, what="the moment of the next kill")


@pytest.mark.timeout(600)
def test_every_run_ends_right_and_every_story_is_whole(
    stigmer: Stigmer, operator: Operator, namespace: Namespace, case: Path
) -> None:
    seed = int(os.environ.get("E2E_SEED") or random.SystemRandom().randrange(10**6))
    print(f"E2E_SEED={seed}")
    chance = random.Random(seed)
    api = Api(namespace.cluster.kubeconfig)
    stigmer.lend_key(namespace)
    namespace.apply(runner("often", resources=SMALL, stigmer=stigmer.spec))
    waiting = [manifest_of(case / "execution.yaml", f"often-{number}") for number in range(EXECUTIONS)]

    begun = time.monotonic()
    for kill in range(KILLS):
        if chance.random() >= BEFORE_READY:
            operator.wait_ready()
        _wait_until(time.monotonic() + chance.uniform(0, LONGEST_PAUSE))
        # As many come between two kills as are left for each: every kill finds some that begin, run and end.
        share = -(-len(waiting) // (KILLS - kill))
        api.create_executions(namespace.name, waiting[:share])
        del waiting[:share]
        _wait_until(time.monotonic() + chance.uniform(0, 1))
        operator.kill()
    print(f"{KILLS} kills in {time.monotonic() - begun:.0f} s; then {dict(phases(api, namespace.name))}")
    operator.wait_ready()
    wait_phases(api, namespace.name, {"Completed": EXECUTIONS}, seconds=180)
    print(f"all completed after {time.monotonic() - begun:.0f} s")

    pods = Counter(pod["metadata"]["labels"]["workflowrunner.stigmer.ai/execution"] for pod in namespace.list("pods"))
    assert set(pods.values()) == {1}, f"more than one pod: {[name for name, number in pods.items() if number > 1]}"
    repeats = 0
    for execution in api.executions(namespace.name):
        status = execution["status"]
        assert status["output"] == {"total": sum(range(10))}, execution["metadata"]["name"]
        assert (status["attempt"], status["launches"]) == (1, 1), execution["metadata"]["name"]
        told = stigmer.told(status["executionId"], "workflow_completed")
        assert story_of(told) == STORY, execution["metadata"]["name"]
        repeats += len(stigmer.events(status["executionId"])) - len(told)
    print(f"{repeats} events came twice")
