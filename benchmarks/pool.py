"""Executions a second in Pool mode, against a bare client that makes the same resources and patches their status.

The floor creates the executions and patches the status of each three times, with no operator there; both kinds are created by
the same client, as fast as the API server takes them. An execution is done when the client's watch shows it Completed. Then
executions are created at half of the rate that was reached, and each is timed from its creation until it is seen Completed.
The API server's audit log tells how many writes the operator made.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
from tests.e2e.cluster import ensure, release
from tests.e2e.cluster.cache import REPOSITORY
from tests.e2e.harness.api import GROUP, Api
from tests.e2e.harness.fleet import execution, namespace_for, runner, writes
from tests.e2e.harness.kube import Namespace
from tests.e2e.harness.operator import Operator, install

Json = dict[str, Any]

COUNT = 600
ROUNDS = 3
AT_ONCE = 32
PACED_SECONDS = 15.0
SECONDS = 120.0
WANTED, WANTED_RATE, WANTED_WRITES = 0.4, 110, 4
REPLICAS = 2
ROOM = 1000
ONE_STEP: list[Json] = [{"greet": {"set": {"message": "Hello"}}}]
RIGHTS = REPOSITORY / "tests" / "e2e" / "cases" / "pool" / "rights.yaml"


class Client:
    """One API server over one session: what a program would use that makes many objects."""

    def __init__(self, api: Api, session: aiohttp.ClientSession, namespace: str) -> None:
        self._api = api
        self._session = session
        self._path = f"{api.server}{GROUP}/namespaces/{namespace}/workflowexecutions"

    async def create(self, manifest: Json) -> None:
        async with self._session.post(self._path, json=manifest, ssl=self._api.tls) as response:
            assert response.status == 201, await response.text()
            await response.read()

    async def patch_status(self, name: str, status: Json) -> None:
        headers = {"Content-Type": "application/merge-patch+json"}
        body = json.dumps({"status": status})
        place = f"{self._path}/{name}/status"
        async with self._session.patch(place, data=body, headers=headers, ssl=self._api.tls) as response:
            assert response.status == 200, await response.text()
            await response.read()

    async def clear(self) -> None:
        async with self._session.delete(self._path, ssl=self._api.tls) as response:
            assert response.status == 200, await response.text()
            await response.read()
        while True:
            async with self._session.get(self._path, params={"limit": "1"}, ssl=self._api.tls) as response:
                if not (await response.json())["items"]:
                    return
            await asyncio.sleep(0.2)

    async def watch(self) -> AsyncIterator[Json]:
        """What is changed from now on."""
        async with self._session.get(self._path, params={"limit": "1"}, ssl=self._api.tls) as response:
            version = (await response.json())["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": version}
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        async with self._session.get(self._path, params=query, ssl=self._api.tls, timeout=timeout) as response:
            async for line in response.content:
                event = json.loads(line)
                assert event["type"] != "ERROR", event["object"]
                yield event["object"]


def main() -> None:
    cluster = ensure()
    try:
        operator = install(cluster)
        api = Api(cluster.kubeconfig)
        with namespace_for(cluster, "bench-bare") as bare, namespace_for(cluster, "bench-pool") as pool:
            pool.apply(RIGHTS)
            launch = {"launch": {"mode": "Pool", "replicas": REPLICAS, "concurrency": ROOM}}
            pool.apply({**runner("default"), "spec": {"type": "embedded", **launch}})
            _wait_ready(pool)
            asyncio.run(_measure(operator, api, bare, pool))
    finally:
        release(cluster)


def _wait_ready(pool: Namespace) -> None:
    pool.wait(
        "wfr",
        "default",
        lambda found: (found.get("status") or {}).get("readyReplicas") == REPLICAS,
        f"{REPLICAS} replicas are ready",
        120,
    )


async def _measure(operator: Operator, api: Api, bare: Namespace, pool: Namespace) -> None:
    floors, rates = [], []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        floor, ours = Client(api, session, bare.name), Client(api, session, pool.name)
        await _executions(ours, "warm", 50)
        for number in range(ROUNDS):
            await asyncio.to_thread(operator.stop)
            floors.append(COUNT / await _bare(floor, f"bare-{number}"))
            await asyncio.to_thread(operator.start)
            seconds, _ = await _executions(ours, f"pooled-{number}", COUNT)
            rates.append(COUNT / seconds)
        rate, most = statistics.median(rates), statistics.median(floors)
        spread = ", ".join(f"{one:.0f}" for one in rates)
        print(f"bare client: {most:6.1f} a second, a creation and three status patches each")
        print(f"Pool mode:   {rate:6.1f} executions a second ({spread}; wanted {WANTED_RATE}); {REPLICAS} replicas")
        print(f"ratio        {rate / most:6.2f} (wanted: at least {WANTED})")
        paced = int(rate / 2 * PACED_SECONDS)
        _, times = await _executions(ours, "paced", paced, between=2 / rate)
        cuts = statistics.quantiles(times, n=100)
        print(f"from creation to Completed at half of that rate: p50 {cuts[49] * 1000:.0f} ms, p99 {cuts[98] * 1000:.0f} ms")
    made = 50 + ROUNDS * COUNT + paced
    found = {what: count / made for what, count in writes(pool.cluster, pool.name).items() if count > made / 20}
    print(f"the operator's writes for one execution: {sum(found.values()):.2f} (wanted: at most {WANTED_WRITES})")
    for what, share in sorted(found.items()):
        print(f"  {share:5.2f}  {what}")


async def _bare(client: Client, name: str) -> float:
    """Seconds for all of them."""

    async def one(number: int) -> None:
        await client.create(execution(f"{name}-{number}", ONE_STEP))
        for phase in ("Pending", "Running", "Completed"):
            await client.patch_status(f"{name}-{number}", {"phase": phase, "output": {"message": "Hello"}})

    begun = time.perf_counter()
    await _all(one, COUNT)
    seconds = time.perf_counter() - begun
    await client.clear()
    return seconds


async def _executions(client: Client, name: str, count: int, between: float = 0.0) -> tuple[float, list[float]]:
    """Seconds until all are Completed, and those of each from its creation."""
    created: dict[str, float] = {}
    done: dict[str, float] = {}

    async def follow() -> None:
        async for item in client.watch():
            found = item["metadata"]["name"]
            if found not in done and (item.get("status") or {}).get("phase") == "Completed":
                done[found] = time.perf_counter()
                if len(done) == count:
                    return

    async def one(number: int) -> None:
        if between:
            await asyncio.sleep(max(0.0, begun + number * between - time.perf_counter()))
        created[f"{name}-{number}"] = time.perf_counter()
        await client.create(execution(f"{name}-{number}", ONE_STEP))

    following = asyncio.create_task(follow())
    await asyncio.sleep(0.5)  # the watch shall be there before the first execution
    begun = time.perf_counter()
    try:
        await _all(one, count)
        async with asyncio.timeout(SECONDS):
            await following
    finally:
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following
    await client.clear()
    return max(done.values()) - begun, [done[found] - created[found] for found in done]


async def _all(one: Callable[[int], Awaitable[None]], count: int) -> None:
    """One for each number, so many at a time, in their order."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await one(number)

    await asyncio.gather(*(work() for _ in range(AT_ONCE)))


if __name__ == "__main__":
    main()
