"""Runs that were recorded once go on with the code as it is: the same commands, and the same told under the same numbers.

What fails here would strand runs that are under way when a new version comes. A recording is not made anew for that
(record.py).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests import canaries
from tests.replay.record import all_names
from tests.replay.recordings import Object, plain, read, recorded

ROOT = Path(__file__).parents[2]
SEEDS = ("1", "2")
"""Of hashes: at most one of the two is that of the recording, and what depends on the order of a set differs with them."""
SECONDS = 100
"""Both replays of all recordings take ten."""
MOST_BYTES = 2 * 1024 * 1024
_MACHINE = re.compile(
    r"/(?:home|root|tmp|work|Users|usr/lib/python)\b[^\s\"]*|(?<![\d.])\d+@[a-z0-9][a-z0-9.-]+|Traceback \(most"
)


@cache
def _replayed(seed: str) -> dict[str, list[Object]]:
    """What came of each history, by the names of the recordings."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.replay.replaying", *recorded()],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            # Code that does other things may hang in a replay: what came before it is told, the others have failed.
            process.kill()
            said, _ = process.communicate()
    found: dict[str, list[Object]] = {}
    for line in said.splitlines():
        told = json.loads(line)
        found.setdefault(told["name"], []).append(told)
    return found


def _comparable(event: Object) -> Any:
    """An event without its words, which may be put better: those of the runner, and of its errors."""
    error = event.get("error")
    kept = {name: value for name, value in event.items() if name not in ("message", "error")}
    return kept if error is None else kept | {"error": {name: error[name] for name in error if name != "detail"}}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", recorded())
def test_a_recorded_run_replays(name: str, seed: str) -> None:
    recording, replayed = read(name), _replayed(seed).get(name, [])
    assert [each["failure"] for each in replayed] == [None] * len(recording.histories)
    assert [each["differing"] for each in replayed] == [None] * len(recording.histories)
    told = [_comparable(event) for each in replayed for event in each["events"]]
    assert told == [_comparable(event) for event in recording.events]
    assert [event["number"] for event in told] == list(range(1, len(told) + 1))
    assert replayed[-1]["counts"] == recording.counts


def test_every_example_and_story_is_recorded_and_nothing_else() -> None:
    missing = sorted(set(all_names()) - set(recorded()))
    assert missing == [], f"record what is new: python -m tests.replay.record {' '.join(missing)}"
    # What has gone from the examples may still be under way somewhere.
    assert len(recorded()) >= len(all_names())


@pytest.mark.parametrize("name", recorded())
def test_a_recording_has_no_secrets_and_nothing_of_the_machine(name: str) -> None:
    recording = read(name)
    if recording.encrypted:
        told = json.dumps(recording.histories)
    else:
        told = "\n".join([*(text for history in recording.histories for text in plain(history)), json.dumps(recording.events)])
    assert canaries.found_in(told) == []
    assert _MACHINE.findall(told) == []
    assert {identity for history in recording.histories for identity in _identities(history)} <= {"recorder", ""}


def _identities(history: Any) -> list[str]:
    if isinstance(history, list):
        return [found for each in history for found in _identities(each)]
    if isinstance(history, dict):
        own = [history["identity"]] if "identity" in history else []
        return own + [found for each in history.values() for found in _identities(each)]
    return []


def test_recordings_stay_small() -> None:
    assert sum(read(name).path.stat().st_size for name in recorded()) < MOST_BYTES


def test_the_same_recording_gives_the_same_bytes() -> None:
    recording = read(recorded()[0])
    before = recording.path.read_bytes()
    assert recording.compressed() == before
