"""Three hundred executions at once, and a thousand that have ended: one small operator carries them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.harness.api import Api, at_once
from tests.e2e.harness.fleet import SMALL, finished, runner, usage, wait_phases, writes
from tests.e2e.harness.kube import Namespace, manifest_of
from tests.e2e.harness.operator import Operator
from tests.e2e.harness.waiting import wait_for

pytestmark = pytest.mark.stress

EXECUTIONS = 300
LIMIT = 20
FINISHED = 1000
RUNNING = 60
MEMORY_LIMIT = 768
"""MiB, as the chart has it."""
MOST_WRITES = 11.0
"""An execution; one that neither waits in line nor for a place on a node needs six."""


@pytest.mark.timeout(900)
def test_three_hundred_at_once(operator: Operator, namespace: Namespace, case: Path) -> None:
    before, used = operator.identity(), usage(operator)
    api = Api(namespace.cluster.kubeconfig)
    namespace.apply(runner("open"))
    namespace.apply(runner("narrow", limits={"maxConcurrentExecutions": LIMIT}))
    manifests = [
        manifest_of(
            case / "execution.yaml",
            f"run-{number:03}",
            input={"name": f"number {number}"},
            runnerRef={"name": "narrow" if number % 3 == 0 else "open"},
        )
        for number in range(EXECUTIONS)
    ]
    begun = time.monotonic()
    api.create_executions(namespace.name, manifests)
    applied = time.monotonic()
    wait_phases(api, namespace.name, {"Completed": EXECUTIONS}, seconds=600)
    ended = time.monotonic()

    for number, execution in enumerate(sorted(api.executions(namespace.name), key=lambda item: item["metadata"]["name"])):
        assert execution["status"]["output"] == {"message": f"Hello, number {number}"}
    assert len(namespace.list("jobs")) == EXECUTIONS
    wait_for(
        lambda: [item for item in api.executions(namespace.name) if item["metadata"].get("finalizers")],
        lambda held: not held,
        what="no finalizer is left",
    )
    after = usage(operator)
    assert operator.identity() == before
    assert after.memory < MEMORY_LIMIT / 2
    print(f"{EXECUTIONS} applied in {applied - begun:.1f} s, completed in {ended - begun:.0f} s")
    print(f"operator: {after.memory:.0f} MiB (process {after.process:.0f}), {after.cpu - used.cpu:.1f} s of CPU")
    if namespace.cluster.engine is None:
        return  # somebody's own cluster, whose audit log is not ours to read
    counts = writes(namespace.cluster, namespace.name)
    each = counts.total() / EXECUTIONS
    print(f"{each:.2f} writes an execution: {dict(counts)}")
    assert each <= MOST_WRITES


@pytest.mark.timeout(600)
def test_a_thousand_that_have_ended_are_no_burden(
    operator: Operator, new_namespace: Callable[[], Namespace], case: Path
) -> None:
    past, present = new_namespace(), new_namespace()
    api = Api(past.cluster.kubeconfig)
    manifest = manifest_of(case / "execution.yaml", input={"name": "x" * 2000})
    document = manifest["spec"]["workflow"]["definition"]
    operator.stop()
    try:
        made = api.create_executions(
            past.name,
            ({**manifest, "metadata": {"name": f"ended-{number:04}"}} for number in range(FINISHED)),
        )
        output = {"message": "x" * 500}
        at_once(lambda ended: api.write_status(ended, finished(ended["metadata"]["name"], document, output)), made)
    finally:
        begun = time.monotonic()
        operator.start()
    print(f"ready {time.monotonic() - begun:.1f} s after its start, with {FINISHED} ended executions")
    before = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in api.executions(past.name)}

    present.apply(runner("open", resources=SMALL))
    first = present.start(case / "execution.yaml", "first", input={"name": "Ada"})
    first.wait_phase("Completed", seconds=20)

    waiting = [manifest_of(case / "waiting.yaml", f"waiting-{number}") for number in range(RUNNING)]
    api.create_executions(present.name, waiting)
    wait_phases(api, present.name, {"Running": RUNNING}, seconds=240)
    at_work = usage(operator)
    print(f"operator with {FINISHED} ended and {RUNNING} running: {at_work.memory:.0f} MiB")
    assert at_work.memory < MEMORY_LIMIT / 2

    # Killed, it finds all of them again: each hears of its cancel at once.
    operator.kill()
    begun = time.monotonic()
    cancelled = [present.execution(f"waiting-{number}") for number in range(0, RUNNING, 20)]
    for execution in cancelled:
        execution.patch(cancelled=True)
    operator.wait_ready()
    for execution in cancelled:
        execution.wait_phase("Cancelled", seconds=30)
    print(f"cancelled runs had heard it {time.monotonic() - begun:.1f} s after the kill")
    assert {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in api.executions(past.name)} == before
    present.kubectl("delete", "wfe", "--all", "--wait=false")
