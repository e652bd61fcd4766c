"""`run --listen`, `--event-sink`, `--lifecycle-sink` and `--scheduled`, as processes over sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.integration.calls.server import answering, http_server
from tests.integration.cli.program import PROGRAM, call, environment

HEAD = "document: {dsl: 1.0.3, namespace: test, name: events, version: 1.0.0}\n"
LISTENS = HEAD + "do: [{l: {listen: {to: {one: {with: {type: said}}}, read: envelope}, output: {as: '.[0].data'}}}]\n"
EMITS = HEAD + "do: [{e: {emit: {event: {with: {source: /here, type: said, data: 5}}}, output: {as: .data}}}]\n"


class Running:
    """The program at work, whose output is read line by line."""

    def __init__(self, process: Process) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process, self.out, self.err = process, process.stdout, process.stderr

    async def says(self, pattern: str) -> re.Match[str]:
        """Wait for a line of standard error."""
        async with asyncio.timeout(60):
            while line := (await self.err.readline()).decode():
                if found := re.search(pattern, line):
                    return found
        raise AssertionError(f"it never said {pattern}")

    async def prints(self) -> Any:
        """The next line of standard output, as JSON."""
        async with asyncio.timeout(60):
            return json.loads(await self.out.readline())

    async def ends(self) -> int:
        """Its exit code."""
        async with asyncio.timeout(60):
            await self.err.read()
            return await self.process.wait()

    async def port(self) -> int:
        """Where it takes events."""
        return int((await self.says(r"takes CloudEvents at http://127.0.0.1:(\d+)/"))[1])


@contextlib.asynccontextmanager
async def running(document: Path, *options: str, **variables: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "run", document, *options, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment(**variables)
    )
    try:
        yield Running(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def post(port: int, data: Any, token: str | None = None, **attributes: str) -> int:
    event = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "said", "data": data} | attributes
    headers = {"Content-Type": "application/cloudevents+json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{port}/", json=event, headers=headers) as response,
    ):
        return response.status


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    """Writes a document and gives its file."""

    def write(text: str) -> Path:
        path = tmp_path / "document.yaml"
        path.write_text(text)
        return path

    return write


async def test_an_event_that_is_posted_reaches_the_run(write: Callable[[str], Path]) -> None:
    document = write(LISTENS)
    async with running(document, "--listen", "127.0.0.1:0") as program:
        port = await program.port()
        await program.says("workflow_correlation_started")
        assert await post(port, 5) == 202
        assert await program.prints() == 5
        assert await program.ends() == 0


async def test_the_endpoint_may_need_a_token(write: Callable[[str], Path]) -> None:
    document = write(LISTENS)
    async with running(document, "--listen", "127.0.0.1:0", WORKFLOW_RUNNER_LISTEN_TOKEN="listen-token") as program:
        port = await program.port()
        await program.says("workflow_correlation_started")
        assert await post(port, 5) == 401
        assert await post(port, 6, token="listen-token") == 202
        assert await program.prints() == 6


async def test_a_listening_run_is_cancelled_by_sigint(write: Callable[[str], Path]) -> None:
    document = write(LISTENS)
    async with running(document, "--listen", "127.0.0.1:0") as program:
        await program.says("workflow_correlation_started")
        program.process.send_signal(signal.SIGINT)
        assert await program.ends() == 3


@pytest.mark.parametrize("way", ["option", "environment"])
async def test_what_is_emitted_and_what_happens_goes_to_the_sinks(write: Callable[[str], Path], way: str) -> None:
    document = write(EMITS)
    async with http_server(answering(202)) as events, http_server(answering(202)) as lifecycle:
        options: list[str] = []
        variables: dict[str, str] = {}
        if way == "option":
            options = ["--event-sink", events.url, "--lifecycle-sink", lifecycle.url]
        else:
            variables = {"WORKFLOW_RUNNER_EVENT_SINK": events.url, "WORKFLOW_RUNNER_LIFECYCLE_SINK": lifecycle.url}
        async with running(document, *options, **variables) as program:
            assert await program.prints() == 5
            assert await program.ends() == 0
        assert [json.loads(seen.body)["data"] for seen in events.seen] == [5]
        assert [json.loads(seen.body)["type"].split(".", 2)[2] for seen in lifecycle.seen] == [
            "workflow.started.v1",
            "task.created.v1",
            "task.started.v1",
            "task.completed.v1",
            "workflow.completed.v1",
        ]


async def test_a_sink_that_refuses_an_event_fails_the_task(write: Callable[[str], Path]) -> None:
    document = write(EMITS)
    async with http_server(answering(403)) as events, running(document, "--event-sink", f"{events.url}/?k=secret") as program:
        said = await program.says("^{.*}$")
        problem = json.loads(said[0])
        assert (problem["status"], problem["instance"]) == (403, "/do/0/e")
        assert "secret" not in said[0]
        assert await program.ends() == 1


@pytest.mark.parametrize("kind", ["every: {milliseconds: 20}", "after: PT0.02S", "cron: '* * * * * *'"])
async def test_a_schedule_runs_again_and_again_until_it_is_stopped(write: Callable[[str], Path], kind: str) -> None:
    document = write(f"{HEAD}schedule: {{{kind}}}\ndo: [{{s: {{set: '${{ .n }}'}}}}]\n")
    async with running(document, "--scheduled", "--input", '{"n": 7}') as program:
        assert [await program.prints() for _ in range(2)] == [7, 7]
        program.process.send_signal(signal.SIGINT)
        assert await program.ends() == 3


async def test_a_run_that_faults_does_not_end_the_schedule(write: Callable[[str], Path]) -> None:
    document = write(
        f"{HEAD}schedule: {{after: PT0.01S}}\ndo: [{{r: {{raise: {{error: {{type: 'http://e', status: 500}}}}}}}}]\n"
    )
    async with running(document, "--scheduled") as program:
        for _ in range(2):
            assert json.loads((await program.says("^{.*}$"))[0])["status"] == 500
        program.process.send_signal(signal.SIGTERM)
        assert await program.ends() == 3


async def test_events_start_runs_and_are_their_input(write: Callable[[str], Path]) -> None:
    document = write(
        HEAD + "schedule: {on: {all: [{with: {type: a}}, {with: {type: b, data: '${ .n > 1 }'}}]}}\n"
        "do: [{s: {set: '${ [$workflow.input[0].type, .[1].data.n, length] }'}}]\n"
    )
    async with running(document, "--scheduled", "--listen", "127.0.0.1:0") as program:
        port = await program.port()
        for type_, number in [("a", 0), ("b", 1), ("b", 2), ("b", 3), ("a", 4)]:
            assert await post(port, {"n": number}, type=type_) == 202
        assert sorted([await program.prints() for _ in range(2)]) == [["a", 2, 2], ["b", 4, 2]]
        program.process.send_signal(signal.SIGINT)
        assert await program.ends() == 3


async def test_no_event_is_lost_while_a_run_that_one_started_goes_on(write: Callable[[str], Path]) -> None:
    document = write(
        HEAD + "schedule: {on: {one: {with: {type: said}}}}\ndo: [{w: {wait: PT0.05S}}, {s: {set: '${ .[0].data }'}}]\n"
    )
    async with running(document, "--scheduled", "--listen", "127.0.0.1:0") as program:
        port = await program.port()
        for number in range(20):
            assert await post(port, number) == 202
        assert sorted([await program.prints() for _ in range(20)]) == list(range(20))


async def test_without_the_option_a_document_with_a_schedule_runs_once(write: Callable[[str], Path]) -> None:
    document = write(f"{HEAD}schedule: {{every: PT1H}}\ndo: [{{s: {{set: '${{ 1 }}'}}}}]\n")
    ended = call("run", document)
    assert (ended.code, ended.output) == (0, 1)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--scheduled"], "input.no-schedule"),
        (["--listen", "8080"], "input.bad-address"),
        (["--listen", "127.0.0.1:99999"], "input.bad-address"),
        (["--listen", "192.0.2.1:80"], "input.bad-address"),
        (["--event-sink", "nowhere"], "input.bad-sink"),
        (["--lifecycle-sink", "ftp://x.test/"], "input.bad-sink"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(write: Callable[[str], Path], options: list[str], code: str) -> None:
    document = write(EMITS)
    ended = call("run", document, *options)
    assert ended.code == 2
    assert f"workflow-runner: {code}: " in ended.err


def test_an_input_besides_the_events_that_are_the_input_is_refused(write: Callable[[str], Path]) -> None:
    document = write(f"{HEAD}schedule: {{on: {{any: []}}}}\ndo: []\n")
    ended = call("run", document, "--scheduled", "--input", "1")
    assert (ended.code, "input.ambiguous" in ended.err) == (2, True)
