"""Runs that no example has, for record: what happens to a run from outside, and what it does when it goes on for long."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from temporalio import activity
from temporalio.worker import Worker
from tests import canaries
from tests.integration.calls.server import answering, http_server
from tests.integration.temporal.runs import Followed, Setting, worker_processes
from tests.servers.temporal import SHORT_HISTORIES
from tests.until import until

from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.hosts.library import Library
from workflow_runner.hosts.temporal import names
from workflow_runner.interpreter.events import EventType
from workflow_runner.interpreter.outcome import Cancelled, Completed, Outcome
from workflow_runner.settings.temporal import PayloadSettings


@dataclass(frozen=True)
class Story:
    """How one is told, with what arguments of the server, and whether its data are encrypted."""

    run: Any
    """`async (Setting) -> Followed`, when the run has ended."""
    server: tuple[str, ...] = ()
    encrypted: bool = False

    def payloads(self, keys: Path) -> PayloadSettings:
        """What becomes of its data."""
        return PayloadSettings(keys) if self.encrypted else PayloadSettings()


async def _to_its_end(
    here: Setting, text: str, input_: Any = None, expected: Outcome | None = None, **options: Any
) -> Followed:
    async with here.running(text, input_, **options) as run:
        outcome = await run.outcome()
        assert expected is None or outcome == expected, outcome
    return run


async def _paused(here: Setting) -> Followed:
    text = "do: [{one: {set: {a: 1}}}, {w: {wait: PT1S}}, {two: {set: {b: '${ .a + 1 }'}}}]"
    async with here.running(text) as run:
        await run.told(EventType.TASK_STARTED, "w")
        run.run.pause("for a while")
        await run.told(EventType.WORKFLOW_PAUSED)
        run.run.resume()
        assert await run.outcome() == Completed({"b": 2})
    return run


async def _paused_in_a_fork(here: Setting) -> Followed:
    text = """
        do:
          - f:
              fork:
                branches:
                  - a: {do: [{aw: {wait: PT1S}}, {as: {set: {a: 1}}}]}
                  - b: {do: [{bw: {wait: PT2S}}, {bs: {set: {b: 1}}}]}
        """
    async with here.running(text) as run:
        await run.told(EventType.TASK_STARTED, "bw")
        run.run.pause("for a while")
        await run.told(EventType.WORKFLOW_PAUSED)
        run.run.resume()
        await run.outcome()
    return run


async def _cancelled(here: Setting, text: str, task: str) -> Followed:
    async with here.running(text) as run:
        await run.told(EventType.TASK_STARTED, task)
        run.run.cancel("it is enough")
        assert await run.outcome() == Cancelled("it is enough")
    return run


async def _cancelled_in_a_wait(here: Setting) -> Followed:
    return await _cancelled(here, "do: [{f: {fork: {branches: [{a: {wait: PT1H}}, {b: {do: [{c: {wait: PT1H}}]}}]}}}]", "c")


async def _cancelled_in_a_call(here: Setting) -> Followed:
    async def never(request: web.Request) -> web.StreamResponse:
        await until(lambda: request.transport is None or request.transport.is_closing(), 60)
        return web.Response()

    async with http_server(never) as server:
        text = f"do: [{{c: {{call: http, with: {{method: get, endpoint: '{server.url}/'}}}}}}]"
        async with here.running(text) as run:
            await until(lambda: bool(server.seen))
            run.run.cancel("it is enough")
            assert await run.outcome() == Cancelled("it is enough")
        return run


async def _continued_in_a_fork(here: Setting) -> Followed:
    async with http_server(answering(200, "{}", "application/json")) as server:
        get = f"{{call: http, with: {{method: get, endpoint: '{server.url}/'}}, output: {{as: $input}}}}"
        branch = f"{{for: {{each: i, in: .list}}, do: [{{get: {get}}}, {{w: {{wait: {{milliseconds: 50}}}}}}]}}"
        text = f"do: [{{f: {{fork: {{branches: [{{a: {branch}}}, {{b: {branch}}}]}}}}}}]"
        run = await _to_its_end(here, text, {"list": [1, 2, 3, 4]})
    assert len(await run.histories()) > 1
    return run


async def _continued_in_a_listen(here: Setting) -> Followed:
    async with http_server(answering(200, "{}", "application/json")) as server:
        get = f"{{call: http, with: {{method: get, endpoint: '{server.url}/'}}}}"
        text = f"""
            do:
              - l:
                  listen: {{to: {{any: [{{with: {{type: said}}}}], until: '${{ length == 5 }}'}}}}
                  foreach: {{item: e, do: [{{c: {get}}}]}}
            """
        async with here.running(text) as run:
            await run.told(EventType.CORRELATION_STARTED)
            handle = here.client.get_workflow_handle(names.run_id(run.execution_id))
            for n in range(5):
                event = {"specversion": "1.0", "id": str(n), "source": "urn:test", "type": "said", "data": {"n": n}}
                await handle.signal(names.EVENT, event)
            assert await run.outcome() == Completed([{"n": n} for n in range(5)])
    assert len(await run.histories()) > 1
    return run


async def _retried(here: Setting) -> Followed:
    text = """
        do:
          - t:
              try: [{x: {raise: {error: {type: 'https://e.test/', status: 500}}}}]
              catch:
                retry:
                  delay: {milliseconds: 20}
                  backoff: {exponential: {}}
                  jitter: {from: {milliseconds: 1}, to: {milliseconds: 200}}
                  limit: {attempt: {count: 4}}
                do: [{s: {set: {gave: up}}}]
        """
    return await _to_its_end(here, text, expected=Completed({"gave": "up"}))


async def _lost_worker(here: Setting) -> Followed:
    released = False

    async def answer(_: web.Request) -> web.StreamResponse:
        await until(lambda: released, 60)
        return web.json_response({"n": 1})

    address, queue = here.client.service_client.config.target_host, str(uuid.uuid4())
    async with http_server(answer) as server:
        call = f"{{call: http, with: {{method: post, endpoint: '{server.url}/'}}}}"
        text = f"do: [{{c: {call}}}, {{s: {{set: {{a: '${{ .n }}'}}}}}}]"
        async with here.following(text, execution_id=queue, queue=queue) as run:
            async with worker_processes(address, queue):
                await until(lambda: bool(server.seen), 60)
            released = True
            async with worker_processes(address, queue):
                assert await run.outcome(120) == Completed({"a": 1})
        assert len(server.seen) == 2
    return run


async def _long_loop(here: Setting) -> Followed:
    text = "do: [{l: {for: {each: i, in: .list}, do: [{s: {set: '${ {list, text} }'}}]}}, {e: {set: {done: true}}}]"
    run = await _to_its_end(here, text, {"list": list(range(500)), "text": "x" * 50_000}, Completed({"done": True}))
    [history] = await run.histories()
    assert names.BREATHE in history.to_json()
    return run


async def _deferred(here: Setting) -> Followed:
    text = """
        do:
          - s: {set: {all: '${ [range(5)] }'}}
          - f: {fork: {branches: [{a: {set: {a: '${ [limit(3; repeat(1))] }'}}}, {b: {set: {b: '${ [range(2)] }'}}}]}}
          - t:
              try: [{bad: {set: {x: '${ [range(3)] | error("no") }'}}}]
              catch: {do: [{c: {set: {caught: true}}}]}
        """
    return await _to_its_end(here, text, expected=Completed({"caught": True}))


async def _secrets(here: Setting) -> Followed:
    text = """
        document: {dsl: '1.0.3', namespace: tests, name: test, version: '1.0.0'}
        use: {secrets: [key]}
        do:
          - s: {set: {made: '${ "key " + $secrets.key }'}}
          - w: {wait: {milliseconds: 50}}
        """
    made = Completed({"made": f"key {canaries.WORKFLOW_SECRET}"})
    return await _to_its_end(here, text, expected=made, secrets={"key": canaries.WORKFLOW_SECRET})


CHILD = "document: {dsl: '1.0.3', namespace: tests, name: child, version: '1.0.0'}\ndo: [{w: {wait: {milliseconds: 50}}}]\n"


async def _detached(here: Setting) -> Followed:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "child.yaml").write_text(CHILD)
        text = (
            "do: [{r: {run: {await: false, workflow: {namespace: tests, name: child, version: '1.0.0'}}}}, {s: {set: {a: 1}}}]"
        )
        return await _to_its_end(here, text, expected=Completed({"a": 1}), host=HostOptions(library=Library([Path(folder)])))


async def _activity(here: Setting) -> Followed:
    @activity.defn(name="double")
    async def double(n: int) -> int:
        return 2 * n

    queue = str(uuid.uuid4())
    async with Worker(here.client, task_queue=queue, activities=[double]):
        text = "do: [{d: {call: activity, with: {activity: double, input: 21}}}]"
        return await _to_its_end(here, text, expected=Completed(42), activity_queue=queue)


async def _timed_out(here: Setting) -> Followed:
    text = """
        do:
          - t:
              try: [{w: {wait: PT1H, timeout: {after: {milliseconds: 100}}}}]
              catch: {errors: {with: {status: 408}}, do: [{s: {set: {late: true}}}]}
        """
    return await _to_its_end(here, text, expected=Completed({"late": True}))


async def _many_branches(here: Setting) -> Followed:
    branches = ", ".join(f"{{b{n}: {{do: [{{w{n}: {{wait: {{milliseconds: {60 - 3 * n}}}}}}}]}}}}" for n in range(12))
    return await _to_its_end(here, f"do: [{{f: {{fork: {{branches: [{branches}]}}}}}}]")


_Told = Callable[[Setting], Awaitable[Followed]]
_SIMPLE: dict[str, _Told] = {
    "paused": _paused,
    "paused-in-a-fork": _paused_in_a_fork,
    "cancelled-in-a-wait": _cancelled_in_a_wait,
    "cancelled-in-a-call": _cancelled_in_a_call,
    "retried-with-jitter": _retried,
    "lost-worker": _lost_worker,
    "long-loop": _long_loop,
    "deferred-jq": _deferred,
    "detached-workflow": _detached,
    "activity": _activity,
    "timed-out": _timed_out,
    "many-branches": _many_branches,
}

STORIES: dict[str, Story] = {
    **{f"stories/{name}": Story(told) for name, told in _SIMPLE.items()},
    "stories/continued-in-a-fork": Story(_continued_in_a_fork, SHORT_HISTORIES),
    "stories/continued-in-a-listen": Story(_continued_in_a_listen, SHORT_HISTORIES),
    "stories/secrets": Story(_secrets, encrypted=True),
}
"""By name."""
