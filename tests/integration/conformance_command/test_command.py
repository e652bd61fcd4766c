"""`workflow-runner conformance` as a process, against the DAG runner of examples/runners as a process."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import grpc
import grpc.aio
import pytest
from examples.runners.dag import dag_runner
from examples.runners.dag.dag_runner import Runs
from tests.integration.cli.program import PROGRAM, ROOT, Ended, call, environment
from tests.integration.conformance_command.right_runners import asks_for_a_token
from tests.integration.conformance_command.runners import DAG, KEY, served
from tests.integration.conformance_command.wrong_runners import CannotResume
from tests.servers.tls import Authority

from workflow_runner.runner_checks.requirements import REQUIREMENTS

PROFILE = DAG / "conformance.yaml"


@pytest.fixture(scope="module")
def dag() -> Iterator[str]:
    """The example as its README starts it: grpc://HOST:PORT."""
    with subprocess.Popen(
        [sys.executable, DAG / "dag_runner.py", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        try:
            yield f"grpc://{process.stdout.readline().split()[-1]}"
        finally:
            process.terminate()
            assert process.wait(30) == 0


async def program(*arguments: str | Path, **variables: str) -> Ended:
    """The program, beside a server in the test's own event loop."""
    return await asyncio.to_thread(call, *arguments, **variables)


def test_the_example_passes_with_its_own_documents(dag: str) -> None:
    ended = call("conformance", dag, "--profile", PROFILE)
    assert ended.code == 0, ended.out
    lines = ended.out.splitlines()
    assert lines[-1] == f"{len(REQUIREMENTS)} checks: 56 passed, 0 failed, 9 not offered"
    numbered = [line.split() for line in lines[:-1] if line[:3].strip()]
    assert [int(words[0]) for words in numbered] == list(range(1, len(REQUIREMENTS) + 1))
    not_offered = [words[3] for words in numbered if words[1:3] == ["not", "offered"]]
    assert not_offered == [
        "OFFER-5",
        "EXECUTE-9",
        "START-9",
        *(f"CALLBACK-{number}" for number in range(1, 5)),
        "FACE-1",
        "FACE-2",
    ]
    assert "because   UNIMPLEMENTED: ai.stigmer.workflow.runner.v1.WorkflowRunnerCommandController" in ended.out


def test_documents_of_another_language_fail_and_are_told(dag: str) -> None:
    """The default documents are those of the workflow language, which this runner does not speak."""
    ended = call("conformance", dag, "--only", "execute-1", "--only", "START-3")
    assert ended.code == 1
    assert ended.out.splitlines()[0] == f"  8  fail         EXECUTE-1  {REQUIREMENTS['EXECUTE-1'].text}"
    assert "asked     WorkflowExecutionService/Execute(workflow_execution_id='conformance-" in ended.out
    assert "expected  workflow_completed as the last event" in ended.out
    assert "came      [] and then INVALID_ARGUMENT: tasks: there are none" in ended.out
    assert ended.out.splitlines()[-1] == "2 checks: 1 passed, 1 failed, 0 not offered"


def test_json_has_what_was_asked_and_what_came(dag: str) -> None:
    ended = call("conformance", dag, "--profile", PROFILE, "--only", "CANCEL", "--format", "json")
    assert ended.code == 0
    said = ended.output
    assert (said["target"], said["passed"], said["failed"], said["notOffered"]) == (dag, 7, 0, 0)
    first = said["checks"][0]
    assert (first["requirement"], first["must"], first["result"]) == ("CANCEL-1", True, "pass")
    assert first["sentence"] == first["expected"] == REQUIREMENTS["CANCEL-1"].text
    # In the order of their ends: the listening and the cancelling go on together.
    asked = {each["call"].partition("(")[0]: each["answer"] for each in first["asked"]}
    assert set(asked) == {
        "WorkflowExecutionService/ExecuteAsync",
        "WorkflowExecutionService/CancelExecution",
        "WorkflowRunnerQueryController/Subscribe",
    }
    assert "workflow_cancelled] and then OK" in asked["WorkflowRunnerQueryController/Subscribe"]


def test_verbose_tells_the_calls_of_what_passes(dag: str) -> None:
    ended = call("conformance", dag, "--profile", PROFILE, "--only", "CANCEL-3", "--verbose")
    assert ended.code == 0
    assert "asked     WorkflowExecutionService/CancelExecution(execution_id='conformance-nobody-has-this-id'" in ended.out
    assert "→ NOT_FOUND: there is no execution" in ended.out


async def test_junit_has_a_case_for_each_check() -> None:
    async with served(lambda runs: dag_runner.server_for(CannotResume(runs), None)) as address:
        ended = await program("conformance", address, "--profile", PROFILE, "--only", "OFFER", "--format", "junit")
    assert ended.code == 1
    suite = ElementTree.fromstring(ended.out)
    assert suite.attrib | {"time": ""} == {
        "name": f"runner conformance of {address}",
        "tests": "7",
        "failures": "1",
        "skipped": "2",
        "errors": "0",
        "time": "",
    }
    cases = {case.attrib["name"].split()[0]: case for case in suite}
    failure = cases["OFFER-2"].find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "expected both, or neither; came UNIMPLEMENTED: ResumeExecution"
    assert cases["OFFER-5"].find("skipped") is not None
    assert cases["OFFER-7"].find("skipped") is not None
    assert not list(cases["OFFER-1"])


async def test_a_token_opens_the_door_and_is_never_printed(tmp_path: Path) -> None:
    """The server quotes it in what it says to those whom it does not know."""
    (tmp_path / "token").write_text(f"{KEY}\n")
    (tmp_path / "other").write_text("another-key-of-nobody")
    async with served(asks_for_a_token) as address:
        without = await program("conformance", address)
        wrong = await program("conformance", address, "--token", f"@{tmp_path}/other")
        right = await program(
            "conformance", address, "--profile", PROFILE, "--only", "OFFER-5", "--verbose", "--token", f"@{tmp_path}/token"
        )
    assert without.code == 2
    assert without.err.startswith("workflow-runner: auth.unauthenticated: the runner does not know its caller: UNAUTHENTICATED")
    assert "(name a file with its token: --token @FILE)" in without.err
    assert wrong.code == 2
    assert "(check the token)" in wrong.err
    assert right.code == 0, right.out
    assert "another-key-of-nobody" not in wrong.err
    assert KEY not in right.out + right.err


@pytest.mark.parametrize("mutual", [False, True], ids=["TLS", "mTLS"])
async def test_tls_with_an_authority_and_a_client_certificate(tmp_path: Path, *, mutual: bool) -> None:
    authority, stranger = Authority(), Authority()
    pair, client = authority.server(), authority.client("caller")
    for name, content in {
        "ca.pem": authority.certificate,
        "stranger.pem": stranger.certificate,
        "cert.pem": client.certificate,
        "key.pem": client.key,
    }.items():
        (tmp_path / name).write_text(content)
    credentials = grpc.ssl_server_credentials(
        [(pair.key.encode(), pair.certificate.encode())], authority.certificate.encode() if mutual else None, mutual
    )
    runs = Runs()
    server = dag_runner.build(runs)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    certificate = ("--cert", tmp_path / "cert.pem", "--key", tmp_path / "key.pem") if mutual else ()
    asked = ("conformance", f"grpcs://127.0.0.1:{port}", "--profile", PROFILE, "--only", "OFFER-1", "--timeout", "2")
    try:
        right = await program(*asked, "--ca", tmp_path / "ca.pem", *certificate)
        wrong = await program(*asked, "--ca", tmp_path / "stranger.pem", *certificate)
        bare = await program(*asked, "--ca", tmp_path / "ca.pem")
    finally:
        await server.stop(0)
        await runs.close()
    assert right.code == 0, right.out + right.err
    assert wrong.code == 2
    assert wrong.err.startswith("workflow-runner: unavailable: ")
    assert "SSL" in wrong.err, "it says why"
    assert bare.code == (2 if mutual else 0)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["http://127.0.0.1:9090"], "input.bad-endpoint"),
        (["grpc://127.0.0.1"], "input.bad-endpoint"),
        (["grpc://key@127.0.0.1:9090"], "input.bad-endpoint"),
        (["127.0.0.1:99999"], "input.bad-endpoint"),
        (["127.0.0.1:1", "--only", "CANCEL-99"], "input.unknown-check"),
        (["127.0.0.1:1", "--token", "plain-words"], "input.bad-token"),
        (["127.0.0.1:1", "--token", "@{folder}/empty"], "input.bad-token"),
        (["127.0.0.1:1", "--token", "@{folder}/nothing"], "input.unreadable"),
        (["127.0.0.1:1", "--ca", "{folder}/empty"], "input.bad-certificate"),
        (["127.0.0.1:1", "--cert", "{folder}/empty"], "input.bad-certificate"),
        (["127.0.0.1:1", "--timeout", "0"], "input.invalid"),
        (["127.0.0.1:1", "--callbacks", "nowhere"], "input.bad-address"),
        (["127.0.0.1:1", "--profile", "{folder}/empty"], "input.bad-profile"),
        (["127.0.0.1:1", "--profile", "{folder}/broken.yaml"], "input.bad-profile"),
        (["127.0.0.1:1", "--profile", "{folder}/missing.yaml"], "input.unreadable"),
    ],
)
def test_a_wrong_command_line_asks_nobody(tmp_path: Path, arguments: list[str], code: str) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "broken.yaml").write_text("succeeds: [")
    (tmp_path / "missing.yaml").write_text("{succeeds: {file: none.yaml}, fails: {text: a}, long: {text: b}}")
    ended = call("conformance", *(word.format(folder=tmp_path) for word in arguments))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"workflow-runner: {code}: "), ended.err
    assert "plain-words" not in ended.err


def test_the_program_is_cancelled_by_a_signal(dag: str) -> None:
    with subprocess.Popen(
        [PROGRAM, "conformance", dag, "--profile", PROFILE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("  1  pass")
        process.send_signal(2)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert err == "workflow-runner: cancelled: SIGINT was received\n"


def test_json_of_the_program_is_one_document(dag: str) -> None:
    ended = call("conformance", dag, "--format", "json", "--only", "OFFER-1")
    assert json.loads(ended.out)["checks"][0]["number"] == 1
