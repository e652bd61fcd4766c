"""Data on their way through a real Temporal server: encrypted, in an object store, too large."""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.worker import Replayer, Worker
from tests import canaries
from tests.integration.temporal.payload_workflows import ACTIVITIES, QUEUE, WORKFLOWS
from tests.servers.s3 import BUCKET, KINDS, s3_server, s3_variables
from tests.until import until

from workflow_runner.errors import Unavailable, WorkflowRunnerError
from workflow_runner.hosts.temporal.client import connect
from workflow_runner.hosts.temporal.payloads import data_converter
from workflow_runner.settings.temporal import PayloadSettings, TemporalSettings

MARK = "the-quick-brown-fox "
LARGE: dict[str, Any] = {"zebra": 1, "text": MARK * 262_144}
"""Five megabytes, with words to look for."""


@asynccontextmanager
async def running(address: str, settings: PayloadSettings = PayloadSettings()) -> AsyncIterator[Client]:  # noqa: B008 - frozen
    """A client, and a worker that has made its own."""
    worker_client = await connect(TemporalSettings(address, payloads=settings))
    async with Worker(worker_client, task_queue=QUEUE, workflows=WORKFLOWS, activities=ACTIVITIES):
        yield await connect(TemporalSettings(address, payloads=settings))


async def started(client: Client, name: str, value: Any) -> WorkflowHandle[Any, Any]:
    """A workflow that begins now."""
    return await client.start_workflow(name, value, id=f"{name}-{time.monotonic_ns()}", task_queue=QUEUE)


async def written(handle: WorkflowHandle[Any, Any]) -> bytes:
    """All of a history, as the server has it."""
    history = await handle.fetch_history()
    return b"".join(event.SerializeToString() for event in history.events)


def key(folder: Path, name: str) -> Path:
    """A folder with another key."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(base64.b64encode(os.urandom(32)))
    return folder


def files(folder: Path) -> list[Path]:
    """All files below it."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


async def test_five_megabytes_through_a_folder(temporal: str, tmp_path: Path) -> None:
    store = tmp_path / "objects"
    settings = PayloadSettings(store=store.as_uri())
    async with running(temporal, settings) as client:
        handle = await started(client, "there-and-back", LARGE)
        assert await handle.result() == {"turned": LARGE["text"][::-1]}
        assert len(await written(handle)) < 10_000
        # The input goes on to the activity as it is, and the activity's result is the workflow's: two objects.
        assert len(files(store)) == 2
        small = await started(client, "there-and-back", {"text": "abc"})
        assert await small.result() == {"turned": "cba"}
        assert len(files(store)) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_five_megabytes_through_s3(temporal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    async with s3_server(kind, tmp_path) as url:
        for name, value in s3_variables(url).items():
            monkeypatch.setenv(name, value)
        async with running(temporal, PayloadSettings(store=f"s3://{BUCKET}/runs/of/tests")) as client:
            handles = [await started(client, "there-and-back", LARGE) for _ in range(3)]
            for handle in handles:
                assert await handle.result() == {"turned": LARGE["text"][::-1]}
                assert len(await written(handle)) < 10_000
        assert len(files(tmp_path / BUCKET / "runs" / "of" / "tests" / "sha256")) == 2


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_in_s3_is_not_stored_again_until_it_is_spoilt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async with s3_server(kind, tmp_path) as url:
        for name, value in s3_variables(url).items():
            monkeypatch.setenv(name, value)

        async def stored() -> None:
            await data_converter(PayloadSettings(store=f"s3://{BUCKET}", threshold=10)).encode(["x" * 1000])

        await stored()
        [file] = files(tmp_path / BUCKET / "sha256")
        whole, inode = file.read_bytes(), file.stat().st_ino
        await stored()
        assert file.read_bytes() == whole
        if kind == "localbucket":
            assert file.stat().st_ino == inode, "it was left as it is"
        file.write_bytes(b"cut off")
        await stored()
        assert file.read_bytes() == whole


async def test_s3_without_put_if_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with s3_server("localbucket", tmp_path) as url:
        for name, value in (s3_variables(url) | {"AWS_CONDITIONAL_PUT": "disabled"}).items():
            monkeypatch.setenv(name, value)
        for _ in range(2):
            converter = data_converter(PayloadSettings(store=f"s3://{BUCKET}", threshold=10))
            there = await converter.encode(["x" * 1000])
        assert await converter.decode(there) == ["x" * 1000]


async def test_credentials_that_s3_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with s3_server("nanio", tmp_path) as url:
        for name, value in (s3_variables(url) | {"AWS_SECRET_ACCESS_KEY": canaries.WORKFLOW_SECRET}).items():
            monkeypatch.setenv(name, value)
        payloads = data_converter(PayloadSettings(store=f"s3://{BUCKET}", threshold=10))
        with pytest.raises(WorkflowRunnerError, match="credentials") as caught:
            await payloads.encode(["x" * 1000])
        assert caught.value.code == "payload.store-refused"
        assert canaries.found_in(str(caught.value)) == []


async def test_encrypted_data_are_nowhere_to_be_read(temporal: str, tmp_path: Path) -> None:
    store = tmp_path / "objects"
    settings = PayloadSettings(keys=key(tmp_path / "keys", "a"), store=store.as_uri())
    async with running(temporal, settings) as client:
        large = await started(client, "there-and-back", LARGE)
        assert await large.result() == {"turned": LARGE["text"][::-1]}
        small = await started(client, "there-and-back", {"text": MARK})
        assert await small.result() == {"turned": MARK[::-1]}
        failing = await started(client, "failing", {"text": MARK})
        with pytest.raises(WorkflowFailureError) as caught:
            await failing.result()
        assert isinstance(caught.value.cause, ActivityError)
        assert MARK.strip() in str(caught.value.cause.cause), "who has the keys reads messages"
        kept = b"".join(file.read_bytes() for file in files(store))
        assert len(kept) > 2 * len(LARGE["text"])
        for handle in (large, small, failing):
            kept += await written(handle)
        for text in (MARK.strip(), MARK[::-1].strip(), "zebra", "payload_workflows"):
            assert text.encode() not in kept
        # A worker that replays a history stores nothing twice, encrypted as it is.
        before = files(store)
        replayer = Replayer(workflows=WORKFLOWS, data_converter=data_converter(settings))
        await replayer.replay_workflow(await large.fetch_history())
        assert files(store) == before


async def test_a_history_in_plain_text_shows_what_encryption_hides(temporal: str) -> None:
    async with running(temporal) as client:
        handle = await started(client, "there-and-back", {"text": MARK})
        await handle.result()
        assert MARK.encode() in await written(handle), "the test above would find it"


async def test_keys_are_rotated_under_a_running_worker(temporal: str, tmp_path: Path) -> None:
    folder = key(tmp_path / "keys", "2026-10")
    async with running(temporal, PayloadSettings(keys=folder)) as client:
        old = await started(client, "there-and-back", {"text": "abc"})
        assert await old.result() == {"turned": "cba"}
        key(folder, "2026-11")
        # Another process begins with the new key; the worker that runs finds it when it meets it.
        newer = await connect(TemporalSettings(temporal, payloads=PayloadSettings(keys=folder)))
        new = await started(newer, "there-and-back", {"text": "def"})
        assert await new.result() == {"turned": "fed"}
        assert b"2026-11" in await written(new)
        assert b"2026-10" in await written(old)
        assert await newer.get_workflow_handle(old.id).result() == {"turned": "cba"}


async def test_a_run_waits_for_a_key_that_is_missing(temporal: str, tmp_path: Path) -> None:
    ours, theirs = key(tmp_path / "ours", "a"), key(tmp_path / "theirs", "b")
    async with running(temporal, PayloadSettings(keys=ours)):
        stranger = await connect(TemporalSettings(temporal, payloads=PayloadSettings(keys=theirs)))
        handle = await started(stranger, "there-and-back", {"text": "abc"})

        async def told() -> bool:
            return b"the key 'b', which is not in" in await written(handle)

        await until(told, 30)
        (ours / "b").write_bytes((theirs / "b").read_bytes())
        (theirs / "a").write_bytes((ours / "a").read_bytes())
        assert await handle.result() == {"turned": "cba"}


@pytest.mark.parametrize("name", ["large-result", "large-argument"])
async def test_too_much_without_a_store_fails_the_run_and_says_what_to_set(temporal: str, name: str) -> None:
    async with running(temporal) as client:
        handle = await started(client, name, 3_000_000)
        with pytest.raises(WorkflowFailureError) as caught:
            await handle.result()
        error: BaseException | None = caught.value.cause
        if isinstance(error, ActivityError):
            error = error.cause
        assert isinstance(error, ApplicationError)
        assert error.type == "payload.too-large"
        assert "TEMPORAL_PAYLOAD_STORE" in str(error)
        with pytest.raises(ApplicationError, match="TEMPORAL_PAYLOAD_STORE"):
            await started(client, name, "x" * 3_000_000)


async def test_who_has_no_store_is_told_which_setting_is_missing(temporal: str, tmp_path: Path) -> None:
    async with running(temporal, PayloadSettings(store=(tmp_path / "objects").as_uri())) as client:
        handle = await started(client, "there-and-back", LARGE)
        await handle.result()
        without = await connect(TemporalSettings(temporal))
        with pytest.raises(RuntimeError, match="external storage is not configured"):
            await without.get_workflow_handle(handle.id).result()


async def test_an_object_that_is_gone_or_damaged_is_told(temporal: str, tmp_path: Path) -> None:
    store = tmp_path / "objects"
    settings = PayloadSettings(store=store.as_uri())
    async with running(temporal, settings) as client:
        handle = await started(client, "there-and-back", LARGE)
        await handle.result()
        for file in files(store):
            file.write_bytes(file.read_bytes().replace(b"fox", b"cat").replace(b"xof", b"tac"))
        with pytest.raises(WorkflowRunnerError, match="not what was stored") as damaged:
            await handle.result()
        assert damaged.value.code == "payload.object-damaged"
        for file in files(store):
            file.unlink()
        with pytest.raises(WorkflowRunnerError, match="not in the object store any more") as missing:
            await handle.result()
        assert missing.value.code == "payload.object-missing"


async def test_a_damaged_or_old_object_is_written_anew_when_it_is_stored_again(tmp_path: Path) -> None:
    payloads = data_converter(PayloadSettings(store=tmp_path.as_uri(), threshold=10))
    await payloads.encode(["x" * 1000])
    [file] = files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(b"cut off")
    another = data_converter(PayloadSettings(store=tmp_path.as_uri(), threshold=10))
    await another.encode(["x" * 1000])
    assert file.read_bytes() == whole
    two_days_ago = time.time() - 2 * 86_400
    os.utime(file, (two_days_ago, two_days_ago))
    await data_converter(PayloadSettings(store=tmp_path.as_uri(), threshold=10)).encode(["x" * 1000])
    assert file.stat().st_mtime > two_days_ago + 86_400, "rules that delete go by age"


async def test_many_store_and_read_the_same_at_once(tmp_path: Path) -> None:
    converters = [data_converter(PayloadSettings(store=tmp_path.as_uri(), threshold=10)) for _ in range(4)]
    values = [f"{number} " * 50_000 for number in range(5)]
    there = await asyncio.gather(*(converter.encode(values) for converter in converters for _ in range(3)))
    assert len(files(tmp_path)) == len(values)
    back = await asyncio.gather(*(converter.decode(payloads) for converter in converters for payloads in there))
    assert all(found == values for found in back)


async def test_a_store_that_cannot_be_reached_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_variables("http://127.0.0.1:9").items():
        monkeypatch.setenv(name, value)
    payloads = data_converter(PayloadSettings(store=f"s3://{BUCKET}", threshold=10))
    with pytest.raises(Unavailable, match="TEMPORAL_PAYLOAD_STORE") as caught:
        await payloads.encode(["x" * 1000])
    assert caught.value.code == "payload.store-unavailable"
    assert "Debug source" not in str(caught.value)


async def test_a_store_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[asyncio.StreamWriter] = []

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    for name, value in s3_variables(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}").items():
        monkeypatch.setenv(name, value)
    payloads = data_converter(PayloadSettings(store=f"s3://{BUCKET}", threshold=10))
    try:
        with pytest.raises(Unavailable) as caught:
            await asyncio.wait_for(payloads.encode(["x" * 1000]), 60)
    finally:
        server.close()
        for writer in held:
            writer.transport.abort()
    assert caught.value.code == "payload.store-unavailable"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_bucket_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    async with s3_server(kind, tmp_path) as url:
        for name, value in s3_variables(url).items():
            monkeypatch.setenv(name, value)
        payloads = data_converter(PayloadSettings(store="s3://another-bucket", threshold=10))
        with pytest.raises(Unavailable, match="bucket") as caught:
            await payloads.encode(["x" * 1000])
        assert caught.value.code == "payload.store-unavailable"
