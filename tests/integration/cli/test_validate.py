"""`workflow-runner validate` as a process."""

from __future__ import annotations

from pathlib import Path

from tests.integration.cli.program import HELLO, call


def test_valid_documents_are_named_and_warnings_do_not_count(tmp_path: Path) -> None:
    good, warned = tmp_path / "good.yaml", tmp_path / "warned.yaml"
    good.write_text(HELLO)
    warned.write_text(HELLO + "  - more: {set: {text: 'Hi ${ .name }'}}\n")
    ended = call("validate", good, warned)
    assert ended.code == 0
    assert ended.out == f"{good}: test/hello:1.0.0 is valid\n{warned}: test/hello:1.0.0 is valid\n"
    assert ended.err.startswith(f"{warned}:4:24: expression.embedded: warning: ")


def test_every_file_is_looked_at_and_one_mistake_is_enough(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(HELLO)
    bad.write_text(HELLO + "  - more: {emit: {event: {}}}\n")
    ended = call("validate", bad, tmp_path / "missing.yaml", good)
    assert ended.code == 2
    assert ended.out == f"{good}: test/hello:1.0.0 is valid\n"
    first, second = ended.err.splitlines()
    assert first == f"{bad}:4:5: task.not-supported-yet: emit is not supported yet"
    assert "input.unreadable" in second


def test_no_file_is_a_mistake() -> None:
    assert call("validate").code == 2
