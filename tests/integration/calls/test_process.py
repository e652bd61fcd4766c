"""Shell commands and scripts as real processes."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration.calls.server import answering, http_server
from tests.processes import alive, children
from tests.until import until

from workflow_runner.calls import Calls, process
from workflow_runner.calls.process import INHERITED, LARGEST_INPUT, LARGEST_OUTPUT, LARGEST_SCRIPT, ProcessRules
from workflow_runner.dsl.problems import Problem, WorkflowFault
from workflow_runner.dsl.templates import Json


@pytest.fixture
async def calls() -> AsyncIterator[Calls]:
    made = Calls()
    yield made
    await made.close()


def shell(command: str, *arguments: str, stdin: str | None = None, wait: bool = True, **environment: str) -> dict[str, Json]:
    return {
        "process": "shell",
        "await": wait,
        "command": command,
        "arguments": [*arguments],
        "environment": {**environment},
        "stdin": stdin,
    }


def script(language: str, code: str, arguments: Json = None, **environment: str) -> dict[str, Json]:
    return {
        "process": "script",
        "await": True,
        "language": language,
        "code": code,
        "arguments": [] if arguments is None else arguments,
        "environment": {**environment},
    }


async def run(calls: Calls, arguments: dict[str, Json]) -> Any:
    return await asyncio.wait_for(calls.call("process", arguments, idempotency_key="k"), 30)


async def refused(calls: Calls, arguments: dict[str, Json]) -> Problem:
    with pytest.raises(WorkflowFault) as caught:
        await run(calls, arguments)
    return caught.value.problem


async def ended(pid: int) -> None:
    await until(lambda: not alive(pid))


async def number_in(path: Path) -> int:
    await until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())  # noqa: ASYNC240 - a test may


async def test_a_command_gets_arguments_environment_and_standard_input(calls: Calls) -> None:
    answer = await run(calls, shell('cat; echo "$1|$2|$A"; echo err >&2; exit 3', "a b", "*", stdin="in\n", A="x y"))
    assert answer == {"code": 3, "stdout": "in\na b|*|x y\n", "stderr": "err\n"}


async def test_without_standard_input_there_is_an_end_at_once(calls: Calls) -> None:
    assert (await run(calls, shell("cat")))["stdout"] == ""


async def test_a_process_sees_nothing_of_the_runners_environment_but_a_few_names(calls: Calls) -> None:
    os.environ["WORKFLOW_SECRET_TEST"] = "hidden"
    try:
        names = {line.partition("=")[0] for line in (await run(calls, shell("env", DECLARED="1")))["stdout"].splitlines()}
    finally:
        del os.environ["WORKFLOW_SECRET_TEST"]
    assert names - {"PWD", "SHLVL", "_"} <= {*INHERITED, "DECLARED"}
    assert {"PATH", "DECLARED"} <= names


async def test_a_signal_is_told_as_shells_tell_it(calls: Calls) -> None:
    assert (await run(calls, shell("kill -9 $$")))["code"] == 128 + signal.SIGKILL


async def test_output_that_is_no_text_is_given_all_the_same(calls: Calls) -> None:
    assert (await run(calls, shell(r"printf 'a\377b'")))["stdout"] == "a\ufffdb"


async def test_much_output_on_both_sides_does_not_block(calls: Calls) -> None:
    answer = await run(calls, shell("head -c 1000000 /dev/zero | tr '\\0' x; head -c 1000000 /dev/zero | tr '\\0' y >&2"))
    assert (answer["stdout"], answer["stderr"]) == ("x" * 1_000_000, "y" * 1_000_000)


async def test_input_that_nobody_reads_does_not_block(calls: Calls) -> None:
    assert (await run(calls, shell("echo done", stdin="x" * 1_000_000)))["stdout"] == "done\n"


async def test_too_much_output_ends_the_group(calls: Calls, tmp_path: Path) -> None:
    problem = await refused(calls, shell(f"echo $$ > {tmp_path}/pid; yes"))
    assert problem.type.endswith("/runtime")
    assert f"{LARGEST_OUTPUT:,} bytes" in str(problem.detail)
    assert not alive(await number_in(tmp_path / "pid"))


async def test_too_much_input_is_refused(calls: Calls) -> None:
    problem = await refused(calls, shell("cat", stdin="x" * (LARGEST_INPUT + 1)))
    assert problem.type.endswith("/validation")


async def test_after_its_time_a_process_and_its_children_are_killed(tmp_path: Path) -> None:
    calls = Calls(processes=ProcessRules(seconds=0.5))
    stubborn = f"trap '' TERM; echo $$ > {tmp_path}/pid; sleep 60 & echo $! > {tmp_path}/child; wait; sleep 60"
    problem = await refused(calls, shell(stubborn))
    assert (problem.status, problem.detail) == (408, "the shell command took longer than the 0.5 s that this runner permits")
    assert not alive(await number_in(tmp_path / "pid"))
    await ended(await number_in(tmp_path / "child"))  # nobody has waited for it


STUBBORN = "trap '' TERM; sleep 60 & wait; sleep 60"


async def cancelled_again_and_again(running: asyncio.Task[Any]) -> None:
    while not running.done():
        running.cancel()
        await asyncio.sleep(0)


async def test_cancelled_often_while_it_begins_a_process_is_ended(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    begin, begins, may_begin = process._begin, threading.Event(), threading.Event()

    def slowly(*arguments: Any) -> Any:
        begins.set()
        may_begin.wait(10)
        return begin(*arguments)

    monkeypatch.setattr(process, "_begin", slowly)
    before = children()
    running = asyncio.create_task(calls.call("process", shell(STUBBORN), idempotency_key="k"))
    await until(begins.is_set)
    for _ in range(10):
        running.cancel()
        await asyncio.sleep(0)
    may_begin.set()
    await cancelled_again_and_again(running)
    await until(lambda: children() == before)


async def test_cancelled_often_while_it_ends_a_process_is_waited_for(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is in a hurry cancels again, and a machine may be slow to end what was killed."""
    ends, kill, goes_on = process._Process.ends, os.killpg, asyncio.Event()

    async def noted(self: process._Process) -> None:
        goes_on.set()
        await ends(self)

    monkeypatch.setattr(process._Process, "ends", noted)
    monkeypatch.setattr(os, "killpg", lambda *which: threading.Timer(0.3, kill, which).start())
    before = children()
    running = asyncio.create_task(calls.call("process", shell(STUBBORN), idempotency_key="k"))
    await goes_on.wait()
    await cancelled_again_and_again(running)
    assert children() > before
    del running
    await until(lambda: children() == before)
    await asyncio.sleep(0)
    gc.collect()  # what was not waited for complains when it goes


async def test_a_process_may_end_by_itself_when_it_is_told_to(tmp_path: Path) -> None:
    calls = Calls(processes=ProcessRules(seconds=0.5))
    await refused(calls, shell(f"trap 'echo bye > {tmp_path}/bye; exit' TERM; sleep 60 & wait"))
    assert (tmp_path / "bye").read_text() == "bye\n"


async def test_what_a_command_leaves_behind_is_ended(calls: Calls, tmp_path: Path) -> None:
    answer = await run(
        calls, shell(f"sleep 60 & echo $! > {tmp_path}/quiet; (sleep 60 >/dev/null 2>&1 & echo $! > {tmp_path}/q2); echo done")
    )
    assert answer == {"code": 0, "stdout": "done\n", "stderr": ""}
    for name in ("quiet", "q2"):
        await ended(await number_in(tmp_path / name))


async def test_a_cancelled_call_kills_its_group(calls: Calls, tmp_path: Path) -> None:
    task = asyncio.create_task(run(calls, shell(f"echo $$ > {tmp_path}/pid; sleep 60; true")))
    pid = await number_in(tmp_path / "pid")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not alive(pid)


async def test_calls_that_are_cancelled_while_they_begin_leave_nothing(calls: Calls, tmp_path: Path) -> None:
    for number in range(20):
        task = asyncio.create_task(run(calls, shell(f"echo $$ > {tmp_path}/{number}; sleep 60; true")))
        for _ in range(number):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    begun = [int(path.read_text()) for path in tmp_path.iterdir() if path.read_text()]  # noqa: ASYNC240 - a test may
    assert [pid for pid in begun if alive(pid)] == []


async def test_processes_run_at_the_same_time(calls: Calls, tmp_path: Path) -> None:
    """Each waits for the other's file."""
    wait = "while [ ! -e {0}/{2} ]; do sleep 0.02; done"
    one, two = (f"touch {tmp_path}/{me}; {wait.format(tmp_path, me, other)}" for me, other in (("a", "b"), ("b", "a")))
    answers = await asyncio.gather(run(calls, shell(one)), run(calls, shell(two)))
    assert [answer["code"] for answer in answers] == [0, 0]


async def test_a_python_script_has_its_arguments(calls: Calls) -> None:
    code = "import sys, os\nprint(sys.argv[1:], os.environ['A'], sys.stdin.read() == '')"
    assert (await run(calls, script("python", code, ["a", "b"], A="x")))["stdout"] == "['a', 'b'] x True\n"


async def test_a_map_of_arguments_are_a_python_scripts_variables(calls: Calls) -> None:
    code = "import sys\nprint(name, items[1], sys.argv[1:], __name__)"
    answer = await run(calls, script("python", code, {"name": "ü", "items": [1, {"a": 2}]}))
    assert answer == {"code": 0, "stdout": "ü {'a': 2} [] __main__\n", "stderr": ""}


async def test_a_python_script_that_fails_says_its_own_line(calls: Calls) -> None:
    each: list[Json] = [[], {"a": 1}]
    for arguments in each:
        answer = await run(calls, script("python", "x = 1\nraise ValueError(x)", arguments))
        assert answer["code"] == 1
        assert 'script.py", line 2' in answer["stderr"]


async def test_javascript_as_a_module_and_as_a_script(calls: Calls) -> None:
    module = "import { readFileSync } from 'node:fs';\nconsole.log(process.argv.slice(2), process.env.A, typeof readFileSync)"
    assert (await run(calls, script("javascript", module, ["a"], A="x")))["stdout"] == "[ 'a' ] x function\n"
    awaiting = "const one = await Promise.resolve(1);\nconsole.log(one)"
    assert (await run(calls, script("javascript", awaiting)))["stdout"] == "1\n"
    common = "const fs = require('node:fs');\nconsole.log(typeof fs.readFileSync, process.argv.length);\nreturn"
    assert (await run(calls, script("javascript", common)))["stdout"] == "function 2\n"


@pytest.mark.parametrize("beginning", ["", "import 'node:fs';\n"], ids=["script", "module"])
async def test_a_map_of_arguments_are_a_javascript_scripts_variables(calls: Calls, beginning: str) -> None:
    answer = await run(
        calls, script("javascript", f"{beginning}console.log(name, items[1].a)", {"name": "ü", "items": [1, {"a": 2}]})
    )
    assert answer == {"code": 0, "stdout": "ü 2\n", "stderr": ""}


async def test_without_node_javascript_is_a_clear_error(calls: Calls) -> None:
    path, os.environ["PATH"] = os.environ["PATH"], "/nowhere"
    try:
        problem = await refused(calls, script("javascript", "1"))
    finally:
        os.environ["PATH"] = path
    assert (problem.type.rpartition("/")[2], problem.status) == ("configuration", 400)
    assert "no node on its PATH" in str(problem.detail)


async def test_scripts_leave_no_files(calls: Calls) -> None:
    def left() -> list[str]:
        return [name for name in os.listdir(tempfile.gettempdir()) if name.startswith("workflow-script-")]

    before = left()
    answer = await run(calls, script("python", "import sys, pathlib; print(pathlib.Path(sys.argv[0]).parent)"))
    assert not Path(answer["stdout"].strip()).exists()  # noqa: ASYNC240 - a test may
    assert (await refused(calls, script("python", "x" * (LARGEST_SCRIPT + 1)))).type.endswith("/configuration")
    assert [name for name in left() if name not in before] == []


async def test_a_script_may_be_fetched(calls: Calls, tmp_path: Path) -> None:
    given = script("python", "")
    del given["code"]
    async with http_server(answering(body="print('fetched')", content_type="text/x-python")) as server:
        assert (await run(calls, given | {"source": f"{server.url}/s.py"}))["stdout"] == "fetched\n"
    (tmp_path / "s.py").write_text("print('read')")
    assert (await run(calls, given | {"source": f"file://{tmp_path}/s.py"}))["stdout"] == "read\n"
    problem = await refused(calls, given | {"source": f"file://{tmp_path}/none.py"})
    assert problem.type.endswith("/configuration")


async def test_where_processes_are_not_permitted_none_begins(tmp_path: Path) -> None:
    calls = Calls(processes=ProcessRules(allowed=False))
    problem = await refused(calls, shell(f"touch {tmp_path}/ran"))
    assert (problem.type.rpartition("/")[2], problem.status) == ("authorization", 403)
    assert problem.detail == "run.process-refused: the shell command is not run: this runner permits no processes"
    assert list(tmp_path.iterdir()) == []  # noqa: ASYNC240 - a test may


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (shell("echo\0"), "null character"),
        (shell("true") | {"environment": {"A=B": "1"}}, "'A=B' cannot be the name"),
        (shell("true") | {"environment": {"": "1"}}, "cannot be the name"),
        (shell("true", "x" * 3_000_000), "too long"),
    ],
    ids=["null", "name with =", "no name", "too long"],
)
async def test_what_cannot_be_handed_over_is_a_configuration_error(calls: Calls, arguments: dict[str, Json], said: str) -> None:
    problem = await refused(calls, arguments)
    assert problem.type.endswith("/configuration")
    assert said in str(problem.detail)


async def test_a_process_that_nobody_waits_for_runs_on_and_ends_with_its_host(tmp_path: Path) -> None:
    calls = Calls()
    assert await run(calls, shell(f"echo $$ > {tmp_path}/pid; sleep 60; true", wait=False)) is None
    pid = await number_in(tmp_path / "pid")
    assert alive(pid)
    await calls.close()
    assert not alive(pid)


async def test_lingering_ends_with_the_last_of_them(tmp_path: Path) -> None:
    calls = Calls()
    await run(calls, shell(f"sleep 0.2; echo 1 > {tmp_path}/done", wait=False))
    await asyncio.wait_for(calls.linger(60), 30)
    assert (tmp_path / "done").exists()
    await calls.close()


async def test_only_so_many_run_that_nobody_waits_for(calls: Calls) -> None:
    calls = Calls()
    for _ in range(100):
        await run(calls, shell("sleep 60", wait=False))
    assert "100 processes" in str((await refused(calls, shell("sleep 60", wait=False))).detail)
    await calls.close()


async def test_processes_leave_no_descriptors(calls: Calls) -> None:
    await run(calls, shell("true"))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        await run(calls, shell("echo a; echo b >&2", stdin="x"))
        await run(calls, script("python", "print(1)"))
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
