"""The operator with a thousand ended executions and a hundred running: memory, CPU, and how soon it is back when killed.

The floor is the same operator with nothing to do. `quiet` runs wait for an hour; `busy` ones make two events a second
each. The kill is timed until it is ready again, until every run has its stream to the new operator, and until a change
asked of every run at the moment of the kill (a pause) has been carried out and stands in status.
"""

from __future__ import annotations

import re
import time
from typing import Any

from tests.e2e.cluster import CommandFailed, ensure, release
from tests.e2e.harness.api import GROUP, Api, at_once
from tests.e2e.harness.fleet import SMALL, Usage, execution, finished, namespace_for, phases, runner, usage, wait_phases, writes
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import NAMESPACE, Operator, install
from tests.e2e.harness.waiting import wait_for

Json = dict[str, Any]

FINISHED = 1000
RUNNING = 100
WINDOW_SECONDS = 60.0
SETTLE_SECONDS = 10.0
WANTED_SECONDS = 15.0
QUIET: list[Json] = [{"greet": {"set": {"message": "Hello"}}}, {"until": {"wait": {"hours": 1}}}]
BUSY: list[Json] = [
    {
        "loop": {
            "for": {"each": "number", "in": "${ [range(100000)] }"},
            "do": [{"tick": {"wait": {"seconds": 2}}}, {"count": {"set": {"n": "${ $number }"}}}],
        }
    }
]


def main() -> None:
    cluster = ensure()
    try:
        operator = install(cluster)
        with namespace_for(cluster, "bench-past") as past, namespace_for(cluster, "bench") as present:
            _measure(operator, past, present)
    finally:
        release(cluster)


def _measure(operator: Operator, past: Namespace, present: Namespace) -> None:
    api = Api(past.cluster.kubeconfig)
    operator.kill()
    wait_for(operator.identity, lambda found: len(found) == 1, what="one operator")
    operator.wait_ready()
    _show("nothing to do", *_window(operator))
    _make_finished(operator, api, past)
    _show(f"{FINISHED} ended", *_window(operator))
    present.apply(runner("open", resources=SMALL))
    for name, tasks in (("quiet", QUIET), ("busy", BUSY)):
        api.create_executions(present.name, (_waiting(f"{name}-{number}", tasks) for number in range(RUNNING)))
        wait_phases(api, present.name, {"Running": RUNNING}, seconds=400)
        before = writes(present.cluster, present.name).total()
        first, last = _window(operator)
        made = writes(present.cluster, present.name).total() - before
        _show(f"{FINISHED} ended, {RUNNING} {name}", first, last)
        print(f"  {made / (WINDOW_SECONDS + SETTLE_SECONDS):.1f} API writes a second")
        _recover(operator, api, present, name)
        if name == "quiet":
            at_once(lambda item: _spec(api, item, {"cancelled": True}), api.executions(present.name))
            wait_phases(api, present.name, {"Cancelled": RUNNING}, seconds=120)
            api.call("DELETE", f"{GROUP}/namespaces/{present.name}/workflowexecutions")
            wait_for(lambda: phases(api, present.name).total(), lambda left: not left, what="they are gone", seconds=120)


def _recover(operator: Operator, api: Api, present: Namespace, name: str) -> None:
    runs = api.executions(present.name)
    before = operator.identity()
    begun = time.perf_counter()
    operator.kill()
    at_once(lambda item: _spec(api, item, {"paused": True}), runs)
    asked = time.perf_counter() - begun
    wait_for(operator.identity, lambda found: bool(found) and found[0][0] != before[0][0], what="another operator")
    operator.wait_ready()
    ready = time.perf_counter() - begun
    wait_for(lambda: _streams(operator), lambda open_: open_ >= RUNNING, what="every run is back", seconds=120)
    back = time.perf_counter() - begun
    wait_for(
        lambda: phases(api, present.name), lambda found: found["Paused"] >= RUNNING, what="every run has paused", seconds=120
    )
    paused = time.perf_counter() - begun
    print(f"killed with {RUNNING} {name}: a pause of all asked for by {asked:.1f} s; ready {ready:.1f} s, streams of all back")
    print(f"  {back:.1f} s, all paused in status {paused:.1f} s after the kill (wanted: under {WANTED_SECONDS:.0f})")


def _streams(operator: Operator) -> float:
    """Open Watch streams; 0 while the metrics cannot be read."""
    [pod] = operator.pods()
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:9464/proxy/metrics"
    try:
        text = operator.namespace.cluster.kubectl("get", "--raw", path)
    except CommandFailed:
        return 0.0
    found = re.search(r'^workflow_runner_sink_streams\{method="Watch"\} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def _spec(api: Api, item: Json, spec: Json) -> Json:
    path = f"{GROUP}/namespaces/{item['metadata']['namespace']}/workflowexecutions/{item['metadata']['name']}"
    return api.call("PATCH", path, {"spec": spec}, content_type="application/merge-patch+json")


def _waiting(name: str, tasks: list[Json]) -> Json:
    return execution(name, tasks, runnerRef={"name": "open"})


def _make_finished(operator: Operator, api: Api, past: Namespace) -> None:
    manifest = execution("x", QUIET, input={"text": "x" * 2000})
    document = manifest["spec"]["workflow"]["definition"]
    operator.stop()
    try:
        made = api.create_executions(
            past.name, ({**manifest, "metadata": {"name": f"ended-{number:04}"}} for number in range(FINISHED))
        )
        output = {"text": "x" * 500}
        at_once(lambda ended: api.write_status(ended, finished(ended["metadata"]["name"], document, output)), made)
    finally:
        begun = time.perf_counter()
        operator.start()
        print(f"ready {time.perf_counter() - begun:.1f} s after its start with {FINISHED} ended executions")


def _window(operator: Operator) -> tuple[Usage, Usage]:
    """What it uses after it has settled, and a while later."""
    _until(time.monotonic() + SETTLE_SECONDS)
    first = usage(operator)
    _until(time.monotonic() + WINDOW_SECONDS)
    return first, usage(operator)


def _until(moment: float) -> None:
    wait_for(time.monotonic, lambda now: now >= moment, what="the window's end", seconds=2 * WINDOW_SECONDS)


def _show(what: str, first: Usage, last: Usage) -> None:
    cores = (last.cpu - first.cpu) / WINDOW_SECONDS
    print(f"{what}: {last.process:.0f} MiB (all processes {last.memory:.0f}), {100 * cores:.1f} % of a core")


if __name__ == "__main__":
    main()
