"""Pods that are killed at any moment: the run goes on where it was, calls come again under the same key, and no number
is used for two events."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter, defaultdict

import pytest
from aiohttp import web
from tests.integration.calls.server import Server, http_server
from tests.integration.snapshots.conftest import Pod, last_of_each_task, story
from tests.servers.sink import Sink

KILLS = 20
PASSES = 30

CALLS = """
do:
  - begin: {set: {total: 0, order: []}}
  - loop:
      for: {in: "[range(30)]"}
      do:
        - book:
            call: http
            with: {method: post, endpoint: '${ "URL/book/\\($item)" }', body: "${ {total, order, seat: $item} }"}
            export: {as: "${ {last: $item} }"}
        - cheap: {for: {each: turn, in: "[range(5)]"}, do: [{spin: {set: "${ . }"}}]}
        - nap: {wait: PT0.01S}
  - guarded:
      try: [{risky: {call: http, with: {method: post, endpoint: URL/risky, body: "${ {total, order} }"}}}]
      catch: {errors: {with: {status: 503}}, retry: {delay: PT0.05S, limit: {attempt: {count: 3}}}}
  - last: {set: "${ {total, order, last: $context.last} }"}
"""

FORK = """
do:
  - both:
      fork:
        branches:
          - left: {for: {in: "[range(8)]"}, do: [{l: {call: http, with: {method: post, endpoint: '${ "URL/l/\\($item)" }'}}}]}
          - right: {for: {in: "[range(8)]"}, do: [{r: {call: http, with: {method: post, endpoint: '${ "URL/r/\\($item)" }'}}}]}
          - slow: {do: [{nap: {wait: PT0.3S}}, {s: {call: http, with: {method: post, endpoint: URL/s}}}]}
  - last: {set: "${ length }"}
"""


class Bookings:
    """Answers with the booking, added to what was sent along. What is risky fails twice."""

    def __init__(self) -> None:
        self._risked = 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/risky":
            self._risked += 1
            if self._risked < 3:
                return web.Response(status=503)
        data = json.loads(await request.read() or b"{}")
        if "seat" in data:
            seat = data.pop("seat")
            data = {"total": data["total"] + seat, "order": [*data["order"], seat]}
        return web.json_response(data)


def the_calls_fit(server: Server) -> None:
    """Each booking was made under one key and with one content, however often; no two shared a key."""
    made = defaultdict(set)
    for seen in server.seen:
        made[seen.path].add((seen.headers["idempotency-key"], seen.body))
    assert {path: len(calls) for path, calls in made.items()} == dict.fromkeys(made, 1)
    assert len({key for calls in made.values() for key, _ in calls}) == len(made)


async def killed(pod: Pod, sink: Sink, server: Server, chance: random.Random, most_calls: int) -> int:
    """Start and kill the pod; the last process lives. How often it was killed."""
    for kills in range(KILLS):
        await pod.start()
        events, calls = len(sink.events) + chance.randint(0, 12), len(server.seen) + chance.randint(1, most_calls)
        by_events = kills > 0 and chance.random() < 0.5

        def moment(events: int = events, calls: int = calls, by_events: bool = by_events) -> bool:
            return len(sink.events) >= events if by_events else len(server.seen) >= calls

        if not await pod.reaches(moment) or pod.happened("workflow_completed"):
            return kills
        await pod.kill()
    await pod.start()
    return KILLS


@pytest.mark.parametrize(("seed", "heard"), [(1, True), (2, False)], ids=["operator-there", "operator-deaf"])
async def test_killed_at_random_moments_a_run_completes_as_if_nothing_had_happened(
    pod: Pod, sink: Sink, seed: int, heard: bool
) -> None:
    sink.acknowledge = heard
    async with http_server(Bookings()) as server:
        pod.runs(CALLS.replace("URL", server.url))
        kills = await killed(pod, sink, server, random.Random(seed), 3)
        sink.acknowledge = True
        assert await pod.ends() == 0, pod.said
        the_calls_fit(server)
        # Only what was under way is done again: nothing that was before it.
        order = [f"/book/{seat}" for seat in range(PASSES)] + ["/risky"]
        assert [order.index(seen.path) for seen in server.seen] == sorted(order.index(seen.path) for seen in server.seen)
    assert kills >= 8
    assert len(server.seen) > PASSES + 3, "no call was ever repeated: the kills came at the wrong moments"
    assert pod.message["output"] == {"total": sum(range(PASSES)), "order": list(range(PASSES)), "last": PASSES - 1}
    events = story(sink)
    assert set(last_of_each_task(events).values()) == {"completed"}
    assert len(last_of_each_task(events)) == 4 + PASSES * (3 + 5) + 1
    told = Counter(event.event_type for event in events)
    assert (told["workflow_started"], told["workflow_validated"], told["task_retried"]) == (1, 1, 2)
    assert events[-1].event_type == "workflow_completed"
    # Only the first process began the run, and everyone after it said so.
    assert [watch.run.continued for watch in sink.watches][:1] == [False]
    assert all(watch.run.continued for watch in sink.watches[1:])
    assert list(pod.snapshots.iterdir()) == []


async def test_a_fork_goes_on_in_all_its_branches(pod: Pod, sink: Sink) -> None:
    async with http_server(Bookings()) as server:
        pod.runs(FORK.replace("URL", server.url))
        await killed(pod, sink, server, random.Random(3), 4)
        assert await pod.ends() == 0, pod.said
        the_calls_fit(server)
        assert {seen.path for seen in server.seen} == {f"/{side}/{n}" for side in "lr" for n in range(8)} | {"/s"}
    assert pod.message["output"] == 3
    events = story(sink)
    assert set(last_of_each_task(events).values()) == {"completed"}


TIGHT = """
do:
  - begin: {set: 0}
  - loop:
      for: {in: "[range(20000)]"}
      do:
        - add: {set: "${ . + $item }"}
        - gate:
            if: "${ $item % 5000 == 4999 }"
            call: http
            with: {method: get, endpoint: URL}
            output: {as: "${ $input }"}
"""


async def test_a_tight_loop_goes_on_at_a_state_of_a_moment_ago_and_under_numbers_of_its_own(pod: Pod, sink: Sink) -> None:
    """Killed in the middle of the passes, or at the gate that no process passes that shall be killed: a fast machine has done
    them all before this one looks."""
    sink.acknowledge = False
    gate = asyncio.Event()

    async def opens(_: web.Request) -> web.StreamResponse:
        await gate.wait()
        return web.json_response({})

    async with http_server(opens) as server:
        pod.runs(TIGHT.replace("URL", server.url))
        for kills in range(3):
            await pod.start()
            events, calls = len(sink.events) + 3000 + kills * 500, len(server.seen)

            def moment(events: int = events, calls: int = calls) -> bool:
                kept = any(pod.snapshots.glob("*.snapshot"))
                return kept and (len(sink.events) >= events or len(server.seen) > calls)

            assert await pod.reaches(moment), pod.said
            await pod.kill()
        gate.set()
        sink.acknowledge = True
        await pod.start()
        assert await pod.ends() == 0, pod.said
    assert pod.message["output"] == sum(range(20000))
    events_told = story(sink)
    assert Counter(event.event_type for event in events_told)["workflow_started"] == 1
    assert last_of_each_task(events_told)["loop[]"] == "completed"
    assert last_of_each_task(events_told)["add[19999]"] == "completed"
