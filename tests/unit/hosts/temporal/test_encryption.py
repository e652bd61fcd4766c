"""Keys in a folder, what they do to payloads, and how they are changed while the process runs."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.failure.v1 import Failure
from tests.until import until

from workflow_runner.errors import InvalidInput, Temporary, WorkflowRunnerError
from workflow_runner.hosts.temporal.encryption import Encryption, KeyFolder
from workflow_runner.hosts.temporal.payloads import data_converter
from workflow_runner.settings.temporal import PayloadSettings

PLAIN = Payload(metadata={"encoding": b"json/plain"}, data=b'"the quick brown fox"')


def put_key(folder: Path, name: str, secret: bytes | None = None) -> str:
    """A new key; its text."""
    text = base64.b64encode(secret or os.urandom(32)).decode()
    (folder / name).write_text(f"{text}\n")
    return text


def codec(folder: Path, same_from: int | None = None) -> Encryption:
    """A codec of a process that starts now."""
    return Encryption(KeyFolder(folder), same_from=same_from)


async def encoded(codec: Encryption, payload: Payload = PLAIN) -> Payload:
    """The payload, encrypted."""
    [found] = await codec.encode([payload])
    return found


async def decoded(codec: Encryption, payload: Payload) -> Payload:
    """The payload, decrypted."""
    [found] = await codec.decode([payload])
    return found


@pytest.mark.parametrize("size", [0, 20, 300_000], ids=["nothing", "little", "much"])
async def test_what_is_encrypted_is_not_to_be_read_and_comes_back(tmp_path: Path, size: int) -> None:
    put_key(tmp_path, "2026-11")
    payload = Payload(metadata={"encoding": b"json/plain"}, data=b"brown fox " * size)
    there = await encoded(codec(tmp_path), payload)
    assert there.metadata["encoding"] == b"binary/encrypted"
    assert there.metadata["encryption-key-id"] == b"2026-11"
    assert b"brown fox" not in there.SerializeToString()
    assert b"json/plain" not in there.SerializeToString()
    assert await decoded(codec(tmp_path), there) == payload


async def test_plain_payloads_stay_readable(tmp_path: Path) -> None:
    put_key(tmp_path, "a")
    assert await decoded(codec(tmp_path), PLAIN) == PLAIN


async def test_equal_data_differ_except_those_that_go_to_the_store(tmp_path: Path) -> None:
    put_key(tmp_path, "a")
    assert await encoded(codec(tmp_path)) != await encoded(codec(tmp_path))
    assert await encoded(codec(tmp_path, 10)) == await encoded(codec(tmp_path, 10))
    assert await encoded(codec(tmp_path, 10_000)) != await encoded(codec(tmp_path, 10_000))
    other = Payload(metadata={"encoding": b"json/plain"}, data=b'"another brown fox."')
    assert (await encoded(codec(tmp_path, 10), other)).data[:12] != (await encoded(codec(tmp_path, 10))).data[:12]


@pytest.mark.parametrize("change", ["data", "key id", "cut off"])
async def test_changed_data_are_refused(tmp_path: Path, change: str) -> None:
    secret = put_key(tmp_path, "a")
    (tmp_path / "b").write_text(secret)  # the same key under another name, which is bound too
    there = await encoded(codec(tmp_path))
    if change == "data":
        there.data = there.data[:-1] + bytes([there.data[-1] ^ 1])
    elif change == "cut off":
        there.data = there.data[:8]
    else:
        there.metadata["encryption-key-id"] = b"a"
    with pytest.raises(InvalidInput) as caught:
        await decoded(codec(tmp_path), there)
    assert caught.value.code == "payload.key-wrong"


async def test_another_key_of_the_same_name_is_told_by_its_id(tmp_path: Path) -> None:
    put_key(tmp_path, "team-key")
    there = await encoded(codec(tmp_path))
    secret = put_key(tmp_path, "team-key")
    with pytest.raises(InvalidInput, match="'team-key'") as caught:
        await decoded(codec(tmp_path), there)
    assert caught.value.code == "payload.key-wrong"
    assert secret not in repr(caught.value.__dict__)


async def test_the_last_name_encrypts_and_all_decrypt(tmp_path: Path) -> None:
    put_key(tmp_path, "2026-10")
    old = await encoded(codec(tmp_path))
    put_key(tmp_path, "2026-11")
    new = await encoded(codec(tmp_path))
    assert (old.metadata["encryption-key-id"], new.metadata["encryption-key-id"]) == (b"2026-10", b"2026-11")
    assert await decoded(codec(tmp_path), old) == await decoded(codec(tmp_path), new) == PLAIN


@pytest.mark.parametrize("how", ["file", "link", "secret"])
async def test_current_chooses(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    if how == "secret":  # as the kubelet lays out a Secret
        (folder / "..2026").mkdir()
        (folder / "..data").symlink_to("..2026")
        for name, text in {"a": base64.b64encode(b"1" * 32), "b": base64.b64encode(b"2" * 32), "current": b"a\n"}.items():
            (folder / "..2026" / name).write_bytes(text)
            (folder / name).symlink_to(f"..data/{name}")
    else:
        put_key(folder, "a")
        put_key(folder, "b")
        if how == "file":
            (folder / "current").write_text("a\n")
        else:
            (folder / "current").symlink_to("a")
    assert (await encoded(codec(folder))).metadata["encryption-key-id"] == b"a"


async def test_a_missing_key_is_named_and_found_once_it_is_there(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
        put_key(folder, "a", b"1" * 32)
    running = codec(ours)
    put_key(theirs, "b", b"2" * 32)
    there = await encoded(codec(theirs))
    with pytest.raises(Temporary, match="'b'") as caught:
        await decoded(running, there)
    assert caught.value.code == "payload.key-missing"
    assert str(ours) in str(caught.value)
    put_key(ours, "b", b"2" * 32)

    async def found() -> bool:
        try:
            return await decoded(running, there) == PLAIN
        except Temporary:
            return False

    await until(found)


async def test_a_folder_that_is_spoilt_later_leaves_the_keys(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put_key(tmp_path, "a")
    running = codec(tmp_path)
    there = await encoded(running)
    (tmp_path / "b").write_text("no key")
    missing = Payload(metadata={"encoding": b"binary/encrypted", "encryption-key-id": b"b"}, data=b"x" * 40)

    async def looked() -> bool:
        with pytest.raises(Temporary):
            await decoded(running, missing)
        return "those from before stay" in caplog.text

    await until(looked)
    assert await decoded(running, there) == PLAIN


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "no key in"),
        ({"a": "not base64!"}, "base64"),
        ({"a": base64.b64encode(b"short").decode()}, "5 bytes"),
        ({"a b": base64.b64encode(b"1" * 32).decode()}, "name"),
        ({"a": base64.b64encode(b"1" * 32).decode(), "current": "z"}, "'z'"),
        ({"current": "a"}, "no key in"),
    ],
    ids=["none", "no-base64", "short", "name", "current", "only-current"],
)
def test_keys_that_cannot_be_used(tmp_path: Path, files: dict[str, str], said: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InvalidInput, match=said) as caught:
        KeyFolder(tmp_path)
    assert caught.value.code == "payload.keys-unusable"
    assert "head -c 32" in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(WorkflowRunnerError, match="No such file") as caught:
        data_converter(PayloadSettings(keys=tmp_path / "none"))
    assert caught.value.code == "payload.keys-unusable"


async def test_failures_say_nothing_outside_of_what_is_encrypted(tmp_path: Path) -> None:
    put_key(tmp_path, "a")
    converter, failure = data_converter(PayloadSettings(keys=tmp_path)), Failure()
    try:
        raise InvalidInput("the quick brown fox", code="input.x") from ValueError("a lazy dog")
    except InvalidInput as error:
        await converter.encode_failure(error, failure)
    written = failure.SerializeToString()
    assert b"fox" not in written
    assert b"dog" not in written
    assert b"test_encryption" not in written
    again = await converter.decode_failure(failure)
    assert "the quick brown fox" in str(again)
    assert "a lazy dog" in str(again.__cause__)
