"""The child process that evaluates programs which may not end by themselves."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from tests.processes import alive, children

from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.programs import EvaluationFailed, program_text
from workflow_runner.expressions.schemas import SchemaRequest
from workflow_runner.hosts.jq_worker import JqWorker


def request(program: str, payload: str = "41") -> JqRequest:
    return JqRequest(program_text(program, ()), payload)


DOUBLING: dict[str, Json] = {
    "$ref": "#/$defs/d0",
    "$defs": {"d60": {}, **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(60)}},
}
"""A schema that takes twice as long with each of its levels."""


@pytest.fixture
async def worker() -> AsyncIterator[JqWorker]:
    """A worker with short limits."""
    worker = JqWorker(timeout=1.0, memory=256 * 1024 * 1024, result_bytes=1024 * 1024)
    yield worker
    await worker.aclose()


@pytest.mark.parametrize(
    ("program", "value"),
    [
        (".", 41),
        ("[range(3)]", [0, 1, 2]),
        ("empty", None),
        ("[nan]", [None]),
        ('"é\\u0000"', "é\0"),
        ('[limit(2; repeat("x"))]', ["x", "x"]),
    ],
)
async def test_it_gives_what_programs_give(worker: JqWorker, program: str, value: Json) -> None:
    assert await worker.evaluate(request(program)) == value


async def test_long_data_go_through(worker: JqWorker) -> None:
    payload = '"' + "x" * 5_000_000 + '"'
    assert await worker.evaluate(request("length", payload)) == 5_000_000


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ('error("no")', "no"),
        (".[]", "Cannot iterate over number"),
        ("1, 2", "more than one value"),
        ("nope", "nope/0 is not defined"),
        ("env", "env cannot be used here"),
        ("def f: f; f", "longer than 1 seconds"),
        ("[range(1e9)]", "longer than 1 seconds|more than 256 MiB"),
        ('"x" * 1000000000', "more than 256 MiB|too much memory"),
        ('"x" * 2000000', "larger than 1 MiB"),
        ('"a" * 40 | test("^(a+)+$b")', "retry-limit-in-match"),
        ("reduce range(5000) as $i (0; [.])", "nested too deeply"),
    ],
)
async def test_a_failure_says_why_and_the_next_program_runs(worker: JqWorker, program: str, said: str) -> None:
    with pytest.raises(EvaluationFailed, match=said):
        await worker.evaluate(request(program))
    assert await worker.evaluate(request(". + 1")) == 42


async def test_who_no_longer_waits_holds_nobody_up(worker: JqWorker) -> None:
    await worker.evaluate(request("."))
    waiting = asyncio.create_task(worker.evaluate(request("def f: f; f")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.wait_for(worker.evaluate(request(". + 1")), 60) == 42


async def test_callers_wait_their_turn_and_get_their_own_answers(worker: JqWorker) -> None:
    answers = await asyncio.gather(*(worker.evaluate(request(f". + {number}")) for number in range(50)))
    assert answers == [41 + number for number in range(50)]


async def test_it_starts_again_after_it_was_killed(worker: JqWorker) -> None:
    before = children()
    await worker.evaluate(request("."))
    (child,) = children() - before
    os.kill(child, signal.SIGKILL)
    with pytest.raises(EvaluationFailed):
        await worker.evaluate(request("."))
    assert await worker.evaluate(request(".")) == 41


async def test_closing_leaves_no_process(worker: JqWorker) -> None:
    before = children()
    await worker.evaluate(request("."))
    assert len(children() - before) == 1
    await worker.aclose()
    assert children() == before


async def test_the_child_knows_nothing_of_the_environment(worker: JqWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKFLOW_SECRET_A", "hush")
    before = children()
    await worker.evaluate(request("."))
    (child,) = children() - before
    assert "hush" not in text_of(f"/proc/{child}/environ")


def test_the_child_ends_by_itself_when_its_parent_is_killed() -> None:
    script = (
        "import asyncio, os, sys\n"
        "from workflow_runner.expressions.evaluate import JqRequest\n"
        "from workflow_runner.hosts.jq_worker import JqWorker\n"
        "async def main():\n"
        "    worker = JqWorker(timeout=0.5)\n"
        "    print(await worker.evaluate(JqRequest('.', '1')), flush=True)\n"
        "    asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), 9)\n"
        "    print(worker._child.pid, flush=True)\n"
        "    await worker.evaluate(JqRequest('def f: f; f', '1'))\n"
        "asyncio.run(main())\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    child = int(ended.stdout.split()[1])
    until(lambda: not alive(child))


def text_of(path: str) -> str:
    return Path(path).read_bytes().decode(errors="replace")


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


class TestSchemas:
    async def test_it_tells_whether_data_match_and_what_is_wrong(self, worker: JqWorker) -> None:
        schema = '{"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"pattern": "^x"}}}'
        assert await worker.evaluate(SchemaRequest(schema, '{"a": "xy"}', False)) is True
        assert await worker.evaluate(SchemaRequest(schema, '{"a": "y"}', False)) is False
        assert await worker.evaluate(SchemaRequest(schema, '{"a": "y"}', True)) == ['/a: the value does not match "^x"']

    @pytest.mark.parametrize(
        ("schema", "payload", "explain", "said"),
        [
            (
                DOUBLING,
                "1",
                False,
                "longer than 1 seconds",
            ),
            ({"pattern": "(.*)*(?!x)\\1y" * 3}, json.dumps("a" * 2000), False, "longer than 1 seconds|False"),
            (
                {"anyOf": [{"items": {"required": ["b"], "properties": {"a": {"type": "integer"}}}}] * 200},
                json.dumps([{"a": "x"}] * 7000),
                True,
                "longer than 1 seconds|more than 256 MiB|too much memory",
            ),
            ({"items": {"$ref": "#"}}, "[" * 100_000 + "]" * 100_000, False, "nested too deeply"),
        ],
        ids=["doubling", "backtracking", "alternatives", "deep data"],
    )
    async def test_hostile_ones_end_and_the_next_is_answered(
        self, worker: JqWorker, schema: dict[str, Json], payload: str, explain: bool, said: str
    ) -> None:
        try:
            answered = str(await worker.evaluate(SchemaRequest(json.dumps(schema), payload, explain)))
        except EvaluationFailed as error:
            answered = str(error)
        assert re.search(said, answered), answered
        assert await worker.evaluate(request(". + 1")) == 42
