"""Volumes that are full, damaged or somebody else's; settings that only pods have; and secrets, which nobody sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.integration.calls.server import answering, http_server
from tests.integration.snapshots.conftest import Pod
from tests.servers.sink import Sink

INVALID = 2
NAPS = "do: [{a: {set: 1}}, {nap: {wait: PT0.2S}}, {nap2: {wait: PT0.5S}}, {b: {set: '${ . + 1 }'}}]"


async def begun(pod: Pod) -> list[Path]:
    """A pod that was killed with two states on its volume, oldest first."""
    pod.runs(NAPS)
    await pod.start()
    assert await pod.reaches(lambda: len(list(pod.snapshots.glob("*.snapshot"))) == 2)
    await pod.kill()
    return sorted(pod.snapshots.iterdir(), key=lambda file: json.loads(file.read_bytes().split(b"\n")[0])["serial"])


@pytest.mark.parametrize("largest_file", [0, 500])
async def test_a_full_disk_does_not_fail_the_run_and_is_told_once(pod: Pod, largest_file: int) -> None:
    # No program here needs the child process for jq: it would leave half compiled modules behind.
    items = list(range(20))
    pod.runs(f"do: [{{a: {{for: {{in: '{items}'}}, do: [{{b: {{set: '{'x' * 1000}'}}}}, {{w: {{wait: PT0.02S}}}}]}}}}]")
    await pod.start(largest_file=largest_file)
    assert await pod.ends() == 0
    lines = [json.loads(line) for line in pod.said.splitlines() if line.startswith("{")]
    assert [line["code"] for line in lines if line["level"] == "warn"] == ["snapshot.unwritable"]
    assert "x" * 1000 not in pod.said


async def test_a_volume_that_cannot_be_written_at_all_is_no_hindrance_either(pod: Pod) -> None:
    (pod.folder / "volume").write_text("a file")
    pod.runs(NAPS)
    await pod.start()
    assert await pod.ends() == 0
    assert pod.said.count("snapshot.unwritable") == 1


async def test_a_damaged_state_falls_back_to_the_one_before(pod: Pod) -> None:
    _, newer = await begun(pod)
    newer.write_bytes(newer.read_bytes()[:-10])
    await pod.start()
    assert await pod.ends() == 0
    assert pod.message["output"] == 2
    assert pod.said.count("snapshot.damaged") == 1


async def test_a_state_that_is_damaged_through_and_through_ends_the_run_with_its_code(pod: Pod, sink: Sink) -> None:
    for file in await begun(pod):
        file.write_bytes(b"rubbish")
    before = len(sink.batches)
    await pod.start()
    assert await pod.ends() == INVALID
    assert pod.message["phase"] == "Failed"
    assert pod.message["error"]["code"] == "snapshot.damaged"
    assert "spec.runId" in pod.message["error"]["detail"]
    assert len(sink.batches) == before


async def test_the_state_of_another_document_is_not_gone_on_from(pod: Pod) -> None:
    await begun(pod)
    pod.runs("do: [{a: {set: 1}}, {other: {wait: PT0.5S}}]")
    await pod.start()
    assert await pod.ends() == INVALID
    assert pod.message["error"]["code"] == "snapshot.foreign"


async def test_the_time_limit_of_the_pods_settings_ends_the_run(pod: Pod) -> None:
    pod.variables["WORKFLOW_RUNNER_TIMEOUT_SECONDS"] = "0.2"
    pod.runs("do: [{nap: {wait: PT1H}}]")
    await pod.start()
    assert await pod.ends() == 1
    assert pod.message["error"]["status"] == 408


async def test_another_run_on_the_same_volume_makes_its_calls_under_keys_of_its_own(pod: Pod) -> None:
    async with http_server(answering(200, "1", "application/json")) as server:
        pod.runs(f"do: [{{c: {{call: http, with: {{method: post, endpoint: '{server.url}/x'}}}}}}]")
        for run_id in ("first", "second"):
            pod.variables["WORKFLOW_RUNNER_RUN_ID"] = run_id
            await pod.start()
            assert await pod.ends() == 0
        assert len({seen.headers["idempotency-key"] for seen in server.seen}) == 2


SECRETS = {
    "TEXT": "hunter2 ünd more?",
    "OBJECT": '{"user": {"password": "correct-horse"}, "pin": 271828}',
    "PLAIN": "s3cr3t-no-json-and-rather-long\n",
}
SPELLED = ("hunter2", "correct-horse", "271828", "s3cr3t")


def hidden(pod: Pod, sink: Sink) -> None:
    """No secret is in what the pod logged, in its last words, or in what its events say of errors."""
    told = [event.SerializeToString().decode(errors="replace") for event in sink.events]
    for text in (pod.said, json.dumps(pod.message), (pod.folder / "termination").read_text(), *told):
        assert [secret for secret in SPELLED if secret in text] == []


@pytest.fixture
def with_secrets(pod: Pod) -> Pod:
    """As Kubernetes mounts them: names are links to `..data`, itself a link."""
    folder = pod.folder / "secrets"
    (folder / "..2026_11_21").mkdir(parents=True)
    (folder / "..data").symlink_to("..2026_11_21")
    for name, text in SECRETS.items():
        (folder / "..2026_11_21" / name).write_text(text)
        (folder / name).symlink_to(f"..data/{name}")
    (folder / ".hidden").write_text("not a secret")
    pod.variables["WORKFLOW_RUNNER_SECRETS_FOLDER"] = str(folder)
    pod.variables["LOG_LEVEL"] = "trace"
    return pod


async def test_secrets_are_what_their_files_say(with_secrets: Pod, sink: Sink) -> None:
    async with http_server(answering(200, "null", "application/json")) as server:
        with_secrets.runs(
            f"""
            use: {{secrets: [TEXT, OBJECT, PLAIN]}}
            do:
              - c:
                  call: http
                  with:
                    method: post
                    endpoint: {server.url}/x
                    body: '${{ [$secrets.TEXT, $secrets.OBJECT.user.password, $secrets.OBJECT.pin, $secrets.PLAIN] }}'
              - bye: {{set: done}}
            """
        )
        await with_secrets.start()
        assert await with_secrets.ends() == 0, with_secrets.said
        assert json.loads(server.seen[0].body) == [
            "hunter2 ünd more?",
            "correct-horse",
            271828,
            "s3cr3t-no-json-and-rather-long",
        ]
    hidden(with_secrets, sink)


ERROR = "{type: 'https://e.test/', status: 500, title: '${ $secrets.TEXT }', detail: '${ $secrets.OBJECT | tojson }'}"


@pytest.mark.parametrize(
    "task",
    [
        f"raise: {{error: {ERROR}}}",
        "call: http\n    with: {method: get, endpoint: '${ \"URL/\\($secrets.TEXT | @uri)?key=\\($secrets.PLAIN)\" }'}",
        "set: '${ error(\"no: \\($secrets.TEXT) \\($secrets.PLAIN)\") }'",
        "set: '${ $secrets.PLAIN | tonumber }'",
    ],
    ids=["raised", "called", "evaluated", "converted"],
)
async def test_no_error_shows_a_secret(with_secrets: Pod, sink: Sink, task: str) -> None:
    async with http_server(answering(500, "hunter2 ünd more? said no")) as server:
        task = task.replace("URL", server.url)
        with_secrets.runs(f"use: {{secrets: [TEXT, OBJECT, PLAIN]}}\ndo:\n- a:\n    {task}\n")
        await with_secrets.start()
        assert await with_secrets.ends() == 1, with_secrets.said
    hidden(with_secrets, sink)


async def test_an_output_with_a_secret_goes_where_the_author_sent_it_and_not_into_the_termination_message(
    with_secrets: Pod, sink: Sink
) -> None:
    with_secrets.runs("use: {secrets: [PLAIN]}\ndo: [{a: {set: {key: '${ $secrets.PLAIN }'}}}]")
    await with_secrets.start()
    assert await with_secrets.ends() == 0
    assert "output" not in with_secrets.message
    output: Any = next(batch.output_json for batch in sink.batches if batch.output_json)
    assert json.loads(output) == {"key": "s3cr3t-no-json-and-rather-long"}


async def test_secrets_that_cannot_be_read_end_the_run_and_say_so(pod: Pod) -> None:
    pod.variables["WORKFLOW_RUNNER_SECRETS_FOLDER"] = str(pod.folder / "nowhere")
    pod.runs(NAPS)
    await pod.start()
    assert await pod.ends() == INVALID
    assert pod.message["error"]["code"] == "input.unreadable"
