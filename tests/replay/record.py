"""Records runs for test_replay: `python -m tests.replay.record [NAME…]`, without names all that there are no recordings of.

A name is that of an example's case (`tasks/fork`), of a story (`stories/…`, stories.py) or of an invocation (`invocations/…`,
invocations.py). Each runs on a development server, as the tests of the examples do it, and its histories are written down with
what it told, without the names of this machine.

Record what is new only. A recording is never made anew: it stands for runs that are under way somewhere, and which the next
version has to go on with. Where a change would break it, the old behaviour is kept for old runs (`workflow.patched`), or the
new one comes with a new version of workers. So this program refuses to write over a file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

from tests.integration.examples.cases import Case, cases
from tests.integration.examples.test_examples import SECRETS, send, world_for
from tests.integration.temporal.runs import Followed, Setting, setting
from tests.integration.temporal.topology import topology
from tests.replay.invocations import INVOCATIONS
from tests.replay.recordings import FOLDER, Recording, key_folder, path_of
from tests.replay.stories import STORIES, Story
from tests.servers.temporal import shared_temporal_server, temporal_server

from workflow_runner.cli.host import host_options
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.event_endpoint import admitting, listen_at, serve_events
from workflow_runner.hosts.snapshots import event_to_json
from workflow_runner.hosts.temporal.limits import needing_encryption
from workflow_runner.interpreter.outcome import Completed, Faulted


def all_names() -> list[str]:
    """What there is to be recorded."""
    return sorted([*(case.name for case in cases()), *STORIES, *INVOCATIONS])


async def _record(name: str) -> Recording:
    if name in INVOCATIONS:
        return await _invocation(name)
    with tempfile.TemporaryDirectory() as folder:
        keys = key_folder(Path(folder))
        if name in STORIES:
            return await _story(name, STORIES[name], keys)
        [case] = [case for case in cases() if case.name == name]
        return await _example(case, keys)


async def _story(name: str, story: Story, keys: Path) -> Recording:
    here = await setting(await shared_temporal_server(*story.server), story.payloads(keys))
    return await _written(name, here, await story.run(here))


async def _example(case: Case, keys: Path) -> Recording:
    workflow, _ = read_document(case.document.read_text(), case.document.name)
    story = Story(None, encrypted=needing_encryption(workflow) is not None)
    here = await setting(await shared_temporal_server(), story.payloads(keys))
    async with world_for(case.input) as given:
        running = here.running(
            case.document.read_text(), json.loads(given), host=host_options(case.document, environment={}), secrets=SECRETS
        )
        endpoint = await serve_events(await listen_at("127.0.0.1", 0), admitting(here.bus.offer, None))
        sending = asyncio.create_task(send(case.events, endpoint.port))
        try:
            async with running as run:
                outcome = await run.outcome()
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            await endpoint.close()
    if case.faults:
        assert isinstance(outcome, Faulted), outcome
        assert outcome.problem.to_dict() == case.expected
    else:
        assert outcome == Completed(case.expected)
    return await _written(case.name, here, run)


async def _invocation(name: str) -> Recording:
    id_ = name.rpartition("/")[2]
    async with temporal_server() as address, topology(address) as place:
        await INVOCATIONS[name](place, id_)
        history = await place.invocation(id_).fetch_history()
    return Recording(name, id_, False, [], [0] * 5, [_nameless(history.to_json_dict())])


async def _written(name: str, here: Setting, run: Followed) -> Recording:
    counts = run.run.counts
    return Recording(
        name,
        run.execution_id,
        here.payloads.keys is not None,
        [event_to_json(number, event) for number, event in run.events],
        [counts.started, counts.completed, counts.failed, counts.skipped, counts.retried],
        [_nameless(history.to_json_dict()) for history in await run.histories()],
    )


def _nameless(value: Any) -> Any:
    """A history without what tells of this machine: processes, hosts, paths in stack traces. A replay needs none of it."""
    if isinstance(value, list):
        return [_nameless(each) for each in value]
    if not isinstance(value, dict):
        return value
    found = {name: _nameless(each) for name, each in value.items() if name not in ("stackTrace", "workerVersion")}
    if "identity" in found:
        found["identity"] = "recorder"
    if found.get("kind") == "TASK_QUEUE_KIND_STICKY":
        found["name"] = "sticky"
    return found


async def _main(wanted: list[str]) -> None:
    for name in wanted:
        recording = await _record(name)
        recording.write()
        events = sum(len(history["events"]) for history in recording.histories)
        print(f"{name}: {len(recording.histories)} histories, {events} events, {recording.path.stat().st_size} bytes")


def _wanted() -> list[str]:
    parser = argparse.ArgumentParser(prog="python -m tests.replay.record", description="Record runs for tests/replay.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of an example's case, a story, or an invocation")
    named = parser.parse_args().names
    if unknown := sorted(set(named) - set(all_names())):
        parser.error(f"there is no {unknown[0]!r}; there are: {', '.join(all_names())}")
    if there := [name for name in named if path_of(name).exists()]:
        place = path_of(there[0]).relative_to(FOLDER.parents[2])
        parser.error(f"{place} is there: a recording stands for runs under way, and is not made anew")
    return named or [name for name in all_names() if not path_of(name).exists()]


if __name__ == "__main__":
    asyncio.run(_main(_wanted()))
