"""A pod's secrets: a folder as Kubernetes mounts it."""

from __future__ import annotations

from pathlib import Path

import pytest

from workflow_runner.cli.documents import read_secrets_folder
from workflow_runner.errors import InvalidInput


def test_the_visible_files_of_a_folder_are_secrets_and_nothing_else(tmp_path: Path) -> None:
    kept = tmp_path / "..2026_11_21"
    kept.mkdir()
    (tmp_path / "..data").symlink_to(kept.name)
    for name, text in {"TEXT": "a b\n", "JSON": '{"a": [1]}', "number": "5", "quoted": '"5"', "empty": ""}.items():
        (kept / name).write_text(text)
        (tmp_path / name).symlink_to(f"..data/{name}")
    (tmp_path / ".hidden").write_text("no")
    (tmp_path / "folder").mkdir()
    assert read_secrets_folder(tmp_path) == {"JSON": {"a": [1]}, "TEXT": "a b", "empty": "", "number": 5, "quoted": "5"}


@pytest.mark.parametrize(("name", "data", "code"), [("BAD", b"\xff\xfe", "input.bad-secret"), (None, b"", "input.unreadable")])
def test_a_secret_that_cannot_be_read_is_named_and_not_shown(tmp_path: Path, name: str | None, data: bytes, code: str) -> None:
    folder = tmp_path if name else tmp_path / "nowhere"
    if name:
        (folder / name).write_bytes(data)
    with pytest.raises(InvalidInput, match=name or "nowhere") as refusal:
        read_secrets_folder(folder)
    assert refusal.value.code == code
