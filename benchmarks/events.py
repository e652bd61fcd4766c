"""Progress events of launched pods: how many a second go through the sink to Stigmer and into status, and how late they are.

Pods that do nothing but `set` tell as much as the operator takes; what arrives at the receiver, a process on this machine, is
counted. The floor is one client that makes the same calls to the same receiver, as many at a time as there are pods: the
events of one run go one after the other. Then pods make events at about half of that rate, and each event is timed from its
making until the receiver has it, and until a watch shows it in status.
"""

from __future__ import annotations

import asyncio
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc.aio
from benchmarks.receiver import Receiver, receiver
from benchmarks.relay import event
from tests.e2e.cluster import Cluster, ensure, release
from tests.e2e.harness.api import GROUP, Api
from tests.e2e.harness.fleet import SMALL, execution, namespace_for, runner, wait_phases
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import install
from tests.e2e.harness.stigmer import API_KEY, Stigmer

from workflow_runner.proto.ai.stigmer.workflow.runner.v1 import command_pb2_grpc
from workflow_runner.server.tls import Authority, new_authority, serving_certificate

Json = dict[str, Any]

FLOOD_RUNS, FLOOD_PASSES = 8, 30_000
BARE_CALLS = 10_000
PACED_RUNS, PACED_SECONDS = 20, 20.0
EVENTS_A_PASS = 4
"""A wait and a set: each begins and ends."""


def main() -> None:
    cluster = ensure()
    try:
        install(cluster)
        authority = new_authority()
        certificate = serving_certificate(authority, [cluster.host_gateway, "localhost"])
        with receiver("0.0.0.0", certificate) as there, namespace_for(cluster, "bench-events") as namespace:
            _prepare(cluster, namespace, there, authority)
            _measure(Api(cluster.kubeconfig), namespace, there, authority)
    finally:
        release(cluster)


def _prepare(cluster: Cluster, namespace: Namespace, there: Receiver, authority: Authority) -> None:
    nowhere = Path()  # it writes nothing down
    stigmer = Stigmer(f"{cluster.host_gateway}:{there.port}", nowhere, authority.certificate.decode(), nowhere, nowhere)
    stigmer.lend_key(namespace)
    namespace.apply(runner("default", resources=SMALL, stigmer=stigmer.spec))


def _measure(api: Api, namespace: Namespace, there: Receiver, authority: Authority) -> None:
    floor = BARE_CALLS / asyncio.run(_bare(there.port, authority))
    there.arrivals()
    passes: list[Json] = [{"loop": {"for": {"in": f"[range({FLOOD_PASSES})]"}, "do": [{"add": {"set": "${ $item }"}}]}}]
    api.create_executions(namespace.name, [execution(f"flood-{number}", passes) for number in range(FLOOD_RUNS)])
    wait_phases(api, namespace.name, {"Completed": FLOOD_RUNS}, seconds=300)
    arrived = sorted(_until_silence(there))
    rate = len(arrived) / (arrived[-1] - arrived[0])
    made = FLOOD_RUNS * FLOOD_PASSES * 2
    print(f"bare calls    {floor:8,.0f} a second")
    print(f"{FLOOD_RUNS} pods        {rate:8,.0f} events a second with the receiver ({rate / floor:.2f} of the bare calls);")
    print(f"              {len(arrived):,} of {made:,}: a pod that is faster than the operator leaves superseded ones out")
    pause = EVENTS_A_PASS * PACED_RUNS / (rate / 2)
    steps: list[Json] = [{"nap": {"wait": f"PT{pause:.3f}S"}}, {"count": {"set": {"n": "${ $item }"}}}]
    slow: list[Json] = [{"loop": {"for": {"in": f"[range({int(PACED_SECONDS / pause)})]"}, "do": steps}}]
    with _seen(api, namespace) as ages:
        api.create_executions(namespace.name, [execution(f"paced-{number}", slow) for number in range(PACED_RUNS)])
        wait_phases(api, namespace.name, {"Completed": FLOOD_RUNS + PACED_RUNS}, seconds=300)
    found = there.arrivals()
    # The middle: at both ends not all of the pods are at work.
    begun, ended = min(moment for moment, _ in found), max(moment for moment, _ in found)
    quarter = (ended - begun) / 4
    middle = [age for moment, age in found if begun + quarter < moment < ended - quarter]
    print(f"{PACED_RUNS} pods, {len(middle) / (2 * quarter):,.0f} events a second: with the receiver after {_cuts(middle)}")
    print(f"              in status after {_cuts([age for moment, age in ages if begun + quarter < moment < ended - quarter])}")


def _until_silence(there: Receiver) -> list[float]:
    """The moments of all arrivals: those that were made before an end come after it, too."""
    moments: list[float] = []
    while new := there.arrivals():
        moments += [moment for moment, _ in new]
        time.sleep(1.0)
    return moments


def _cuts(ages: list[float]) -> str:
    cuts = statistics.quantiles(ages, n=100)
    return f"{cuts[49]:.0f} ms, p99 {cuts[98]:.0f} ms"


async def _bare(port: int, authority: Authority) -> float:
    """Seconds for all of them."""
    waiting = [event(0, number + 1) for number in range(BARE_CALLS)]
    credentials = grpc.ssl_channel_credentials(authority.certificate)
    async with grpc.aio.secure_channel(f"localhost:{port}", credentials) as channel:
        stub = command_pb2_grpc.WorkflowRunnerCommandControllerStub(channel)

        async def one() -> None:
            while waiting:
                await stub.ReportProgress(waiting.pop(), timeout=10, metadata=(("authorization", f"Bearer {API_KEY}"),))

        start = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(FLOOD_RUNS)))
        return time.perf_counter() - start


@contextmanager
def _seen(api: Api, namespace: Namespace) -> Iterator[list[tuple[float, float]]]:
    """(moment, age in milliseconds of the newest thing that it tells) of every status that a watch shows meanwhile."""
    ages: list[tuple[float, float]] = []
    path = f"{GROUP}/namespaces/{namespace.name}/workflowexecutions"
    over = threading.Event()

    def watch() -> None:
        for item in api.watch(path, seconds=300):
            now = datetime.now(UTC)
            tasks = (item.get("status") or {}).get("tasks") or []
            moments = [task[key] for task in tasks for key in ("startTime", "completionTime") if key in task]
            if moments:
                ages.append((now.timestamp(), (now - datetime.fromisoformat(max(moments))).total_seconds() * 1000))
            if over.is_set():
                return

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield ages
    finally:
        over.set()


if __name__ == "__main__":
    main()
