"""`workflow-runner run` as a process: exit codes, what goes where, signals."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests import canaries
from tests.integration.cli.program import EXAMPLES, HELLO, PROGRAM, ROOT, call, environment


@pytest.fixture
def hello(tmp_path: Path) -> Path:
    """A small valid document."""
    path = tmp_path / "hello.yaml"
    path.write_text(HELLO)
    return path


def events_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_output_alone_is_on_standard_output(hello: Path) -> None:
    ended = call("run", hello, "--input", '{"name": "Zoë"}')
    assert (ended.code, ended.out) == (0, '{"greeting": "Hello, Zoë!"}\n')


def test_the_input_may_come_from_a_file_or_from_standard_input(hello: Path, tmp_path: Path) -> None:
    (tmp_path / "input.json").write_text('{"name": "file"}')
    assert call("run", hello, "--input-file", tmp_path / "input.json").output == {"greeting": "Hello, file!"}
    assert call("run", hello, "--input-file", "-", given='{"name": "pipe"}').output == {"greeting": "Hello, pipe!"}


def test_the_document_may_come_from_standard_input() -> None:
    assert call("run", "-", given=HELLO).output == {"greeting": "Hello, world!"}
    ended = call("run", "-", given="do: [")
    assert (ended.code, ended.err) == (2, "<stdin>:2:1: yaml.syntax: " + ended.err.split("yaml.syntax: ")[1])


def test_long_integers_arrive_as_they_were_given(tmp_path: Path) -> None:
    path = tmp_path / "same.yaml"
    path.write_text(HELLO.replace('${ "Hello, \\(.name // "world")!" }', "${ .big.one }"))
    ended = call("run", path, "--input", '{"big": {"one": 12345678901234567890123}}')
    assert ended.out == '{"greeting": 12345678901234567890123}\n'


def test_a_fault_ends_with_its_problem_on_the_last_line(tmp_path: Path) -> None:
    path = tmp_path / "fault.yaml"
    path.write_text(HELLO.replace(".name //", ".name.of.it //"))
    ended = call("run", path, "--input", '{"name": "Ada"}')
    assert (ended.code, ended.out) == (1, "")
    assert ended.problem["type"] == "https://serverlessworkflow.io/spec/1.0.0/errors/expression"
    assert ended.problem["status"] == 400
    assert ended.problem["instance"] == "/do/0/greet"


def test_an_invalid_document_is_told_with_all_its_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(HELLO + "  - greet: {sett: 1}\noutptu: {}\n")
    ended = call("run", path)
    assert (ended.code, ended.out) == (2, "")
    assert [line.split(": ")[:2] for line in ended.err.splitlines()] == [
        [f"{path}:4:5", "task.duplicate-name"],
        [f"{path}:5:1", "property.unknown"],
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "FILE"),
        (["missing.yaml"], "input.unreadable"),
        (["{hello}", "--bogus"], "--bogus"),
        (["{hello}", "--input", "{"], "input.not-json"),
        (["{hello}", "--input", "NaN"], "input.not-json"),
        (["{hello}", "--input", "1", "--input-file", "-"], "input.ambiguous"),
        (["{hello}", "--secret", "A=b"], "input.bad-secret"),
        (["{hello}", "--events", "/nowhere/events"], "input.unwritable"),
    ],
)
def test_wrong_use_exits_with_2_and_says_what(hello: Path, arguments: list[str], said: str) -> None:
    ended = call("run", *(argument.format(hello=hello) if argument == "{hello}" else argument for argument in arguments))
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert "Traceback" not in ended.err


def test_secrets_come_from_files_and_from_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "secrets.yaml"
    path.write_text(
        "document: {dsl: 1.0.3, namespace: test, name: secrets, version: 1.0.0}\nuse: {secrets: [A, B]}\n"
        "do: [{a: {set: {a: '${ $secrets.A.user }', b: '${ $secrets.B | length }'}}}]\n"
    )
    (tmp_path / "b").write_text(f"{canaries.WORKFLOW_SECRET}\n")
    ended = call("run", path, "--secret", f"B=@{tmp_path / 'b'}", WORKFLOW_SECRET_A='{"user": "ada"}')
    assert ended.output == {"a": "ada", "b": len(canaries.WORKFLOW_SECRET)}
    ended = call("run", path, WORKFLOW_SECRET_A='{"user": "ada"}')
    assert ended.code == 1
    assert ended.problem["status"] == 403
    assert "B" in ended.problem["detail"]


def test_events_tell_the_story_in_order(hello: Path, tmp_path: Path) -> None:
    call("run", hello, "--events", tmp_path / "events")
    events = events_of(tmp_path / "events")
    assert [event["eventType"] for event in events] == [
        "workflow_started",
        "workflow_validating",
        "workflow_validated",
        "task_started",
        "task_completed",
        "workflow_completed",
    ]
    assert [event["sequenceNumber"] for event in events] == [str(number) for number in range(1, 7)]
    assert {event["workflowName"] for event in events} == {"hello"}
    assert events[3]["taskReference"] == "/do/0/greet"
    assert events[5]["output"] == {"greeting": "Hello, world!"}


def test_events_may_go_to_standard_output_before_the_output(hello: Path) -> None:
    lines = call("run", hello, "--events", "-").out.splitlines()
    assert json.loads(lines[0])["eventType"] == "workflow_started"
    assert json.loads(lines[-1]) == {"greeting": "Hello, world!"}


def test_progress_is_a_line_an_event_where_nobody_watches(hello: Path) -> None:
    lines = call("run", hello).err.splitlines()
    assert [line.split(" % ")[1] for line in lines][-3:] == [
        "task_started /do/0/greet",
        "task_completed /do/0/greet",
        "workflow_completed",
    ]


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_cancels_the_run(tmp_path: Path, number: signal.Signals) -> None:
    events = tmp_path / "events"
    with subprocess.Popen(
        [PROGRAM, "run", EXAMPLES / "steps.yaml", "--input", '{"pause": "PT1H"}', "--events", events],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        until(lambda: events.exists() and '"taskName": "rest"' in events.read_text())
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert out == b""
    assert b"Traceback" not in err
    assert number.name.encode() in err.splitlines()[-1]
    assert events_of(events)[-1]["eventType"] == "workflow_cancelled"


def test_a_terminal_gets_a_live_table_and_standard_output_stays_clean(hello: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, "run", EXAMPLES / "steps.yaml", "--input", '{"passes": 3, "pause": "PT0.2S"}'],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        env=environment(TERM="xterm-256color", COLUMNS="100"),
    ) as process:
        os.close(theirs)
        drawn = read_terminal(ours)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(out) == {"done": 3}
    last = drawn.rsplit("steps", 1)[0] + drawn
    for part in ("rest", "×3", "✓", "100 %", "completed"):
        assert part in last, part
    assert "task_started" not in drawn


def read_terminal(descriptor: int) -> str:
    """All that is written to a terminal until it is closed."""
    data = b""
    while select.select([descriptor], [], [], 60)[0]:
        try:
            part = os.read(descriptor, 65536)
        except OSError:  # Linux says so when the other end is closed
            break
        if not part:
            break
        data += part
    os.close(descriptor)
    return data.decode(errors="replace")


def test_help_is_help_and_nothing_is_a_mistake() -> None:
    for command in ("run", "validate", "operator", "execute", "crds"):
        assert command in call("--help").out
    assert call("run", "--help").code == 0
    assert call("bogus").code == 2


def test_a_bug_of_ours_exits_with_70(tmp_path: Path) -> None:
    script = (
        "import sys, types\n"
        "from workflow_runner.cli import main\n"
        "module = types.ModuleType('workflow_runner.cli.explode')\n"
        "def explode() -> int: raise ZeroDivisionError('bang')\n"
        "module.explode = explode\n"
        "sys.modules[module.__name__] = module\n"
        "main.COMMANDS['explode'] = 'Fail.'\n"
        "main.main(['explode'])\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=False)
    assert ended.returncode == 70
    assert b"ZeroDivisionError: bang" in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith(b"workflow-runner: internal: ")


def test_running_a_document_imports_no_part_of_the_operator(hello: Path) -> None:
    script = (
        "import sys\n"
        "from workflow_runner.cli.main import call\n"
        f"assert call(['run', {str(hello)!r}]) == 0\n"
        "print(sorted({'kopf', 'kubernetes', 'pydantic', 'grpc'} & set(sys.modules)), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True, cwd=ROOT)
    assert ended.stderr.splitlines()[-1] == b"[]"
