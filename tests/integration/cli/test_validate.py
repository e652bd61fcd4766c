"""`workflow-runner validate` as a process: text for people, JSON and SARIF for programs, files, folders, standard input."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import termios
from pathlib import Path
from typing import Any

import pytest
from tests.integration.cli.program import HELLO, PROGRAM, call, environment

WRONG = HELLO + "  - more: {sett: {x: 1}}\n"
WARNED = HELLO + "  - more: {set: {text: 'Hi ${ .name }'}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good document, one with a mistake, one with a warning."""
    (tmp_path / "bad.yaml").write_text(WRONG)
    (tmp_path / "good.yaml").write_text(HELLO)
    (tmp_path / "warned.yml").write_text(WARNED)
    return tmp_path


def test_a_finding_is_shown_with_its_line_a_caret_and_what_to_do(folder: Path) -> None:
    ended = call("validate", folder / "bad.yaml")
    assert ended.code == 2
    assert ended.out == ""
    head, source, caret, hint, count = ended.err.splitlines()
    assert head.startswith(f"{folder}/bad.yaml:4:11: task.no-kind: the task 'more' has none of ")
    assert source == "   4 |   - more: {sett: {x: 1}}"
    assert caret == "     |           ^"
    assert hint == "     = did you mean 'set'?"
    assert count == "1 document: 1 error, 0 warnings"


def test_valid_documents_are_named_and_warnings_do_not_count(folder: Path) -> None:
    ended = call("validate", folder / "good.yaml", folder / "warned.yml")
    assert ended.code == 0
    assert ended.out == f"{folder}/good.yaml: test/hello:1.0.0 is valid\n{folder}/warned.yml: test/hello:1.0.0 is valid\n"
    head, _, caret, *_, count = ended.err.splitlines()
    assert head.startswith(f"{folder}/warned.yml:4:24: expression.embedded: warning: this is text")
    assert caret == "     | " + " " * 23 + "^" * len("'Hi ${ .name }'")
    assert count == "2 documents: 0 errors, 1 warning"


def test_every_file_is_looked_at_and_one_mistake_is_enough(folder: Path) -> None:
    ended = call("validate", folder / "bad.yaml", folder / "missing.yaml", folder / "good.yaml")
    assert ended.code == 2
    assert ended.out == f"{folder}/good.yaml: test/hello:1.0.0 is valid\n"
    assert f"workflow-runner: input.unreadable: {folder}/missing.yaml cannot be read" in ended.err
    assert ended.err.endswith("3 documents: 2 errors, 0 warnings\n")


def test_a_folder_stands_for_the_documents_in_it(folder: Path) -> None:
    (folder / "inner").mkdir()
    (folder / ".hidden").mkdir()
    (folder / "inner" / "one.json").write_text('{"document": 5}')
    (folder / "inner" / "notes.txt").write_text("no document")
    (folder / "inner" / "manifest.yaml").write_text("apiVersion: v1\nkind: ConfigMap\n")
    (folder / ".hidden" / "no.yaml").write_text("no: document")
    ended = call("validate", "--format", "json", folder)
    names = [Path(one["file"]).relative_to(folder).as_posix() for one in ended.output["files"]]
    assert names == ["bad.yaml", "good.yaml", "warned.yml", "inner/one.json"]


def test_a_folder_without_documents_is_a_mistake(tmp_path: Path) -> None:
    ended = call("validate", tmp_path)
    assert ended.code == 2
    assert "has no documents" in ended.err


def test_a_document_may_come_from_standard_input() -> None:
    ended = call("validate", "-", given=WRONG)
    assert ended.code == 2
    assert ended.err.startswith("<stdin>:4:11: task.no-kind: ")


def test_no_file_is_a_mistake() -> None:
    assert call("validate").code == 2


def test_an_unknown_format_is_a_mistake(folder: Path) -> None:
    assert call("validate", "--format", "xml", folder).code == 2


@pytest.mark.parametrize(
    ("body", "column", "excerpt"),
    [
        ("  - 你好: {sett: 1}\n", 9, ("  - 你好: {sett: 1}", " " * 10)),
        ("  - a: {set: {n: '\u202e\u0085x'}, iff: .x}\n", None, None),
    ],
    ids=["wide letters", "letters that turn a terminal around"],
)
def test_what_is_shown_is_aligned_and_harmless(
    tmp_path: Path, body: str, column: int | None, excerpt: tuple[str, str] | None
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(HELLO + body)
    ended = call("validate", path)
    assert all(line.isprintable() for line in ended.err.splitlines())
    if excerpt is not None:
        _, source, caret, *_ = ended.err.splitlines()
        assert source == f"   4 | {excerpt[0]}"
        assert caret == f"     | {excerpt[1]}^"


def test_a_long_line_is_shown_around_the_mistake(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(HELLO + f"  - a: {{set: {{x: '{'y' * 3000}'}}, iff: .x, metadata: {{z: '{'z' * 3000}'}}}}\n")
    ended = call("validate", path)
    _, source, caret, *_ = ended.err.splitlines()
    assert len(source) < 130
    assert source[caret.index("^") :].startswith("iff: .x")


def test_a_terminal_gets_colours_unless_it_does_not_want_them(folder: Path) -> None:
    assert "\033[31mtask.no-kind\033[0m" in on_a_terminal("validate", str(folder / "bad.yaml"))
    assert "\033[" not in on_a_terminal("validate", str(folder / "bad.yaml"), NO_COLOR="1")


def on_a_terminal(*arguments: str, **variables: str) -> str:
    """What the program writes to a terminal."""
    main, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
    process = subprocess.Popen([PROGRAM, *arguments], stderr=terminal, stdout=terminal, env=environment(**variables))
    os.close(terminal)
    written = b""
    try:
        while chunk := os.read(main, 65536):
            written += chunk
    except OSError:  # Linux says so when the other side is closed
        pass
    finally:
        os.close(main)
        process.wait(timeout=60)
    return written.decode()


def test_json_has_everything_a_program_needs(folder: Path) -> None:
    ended = call("validate", "--format", "json", folder, folder / "missing.yaml")
    assert ended.code == 2
    bad, good, warned, missing = ended.output["files"]
    (found,) = bad["diagnostics"]
    assert found.pop("message").startswith("the task 'more' has none of")
    assert found == {
        "severity": "error",
        "code": "task.no-kind",
        "hint": "did you mean 'set'?",
        "line": 4,
        "column": 11,
        "endColumn": 12,
        "pointer": "/do/1/more",
    }
    assert good == {"file": f"{folder}/good.yaml", "valid": True, "workflow": "test/hello:1.0.0", "diagnostics": []}
    assert (warned["valid"], warned["diagnostics"][0]["severity"]) == (True, "warning")
    assert (missing["valid"], missing["diagnostics"][0]["code"]) == (False, "input.unreadable")
    assert (ended.output["errors"], ended.output["warnings"]) == (2, 1)


def test_sarif_has_what_its_schema_wants(folder: Path) -> None:
    (folder / "a b ü.yaml").write_text(WRONG)
    ended = call("validate", "--format", "sarif", folder, folder / "missing.yaml", "-", given=WARNED)
    assert ended.code == 2
    check_sarif(ended.output)
    (run,) = ended.output["runs"]
    found = [(r["ruleId"], r["level"], r["locations"][0]["physicalLocation"]["region"]["startLine"]) for r in run["results"]]
    assert found == [
        ("task.no-kind", "error", 4),
        ("task.no-kind", "error", 4),
        ("expression.embedded", "warning", 4),
        ("expression.embedded", "warning", 4),
    ]
    uris = [artifact["location"]["uri"] for artifact in run["artifacts"]]
    assert uris[0] == f"{folder.as_uri()}/a%20b%20%C3%BC.yaml"
    assert uris[-1] == "%3Cstdin%3E"
    (invocation,) = run["invocations"]
    assert (invocation["executionSuccessful"], invocation["exitCode"]) == (False, 2)
    assert "did you mean 'set'?" in run["results"][0]["message"]["text"]


def test_sarif_of_valid_documents_has_no_results(folder: Path) -> None:
    ended = call("validate", "--format", "sarif", folder / "good.yaml")
    assert ended.code == 0
    check_sarif(ended.output)
    assert ended.output["runs"][0]["results"] == []


def check_sarif(log: Any) -> None:
    """The rules of SARIF 2.1.0 (sections 3.13 to 3.59) for the members that are used here."""
    assert set(log) == {"$schema", "version", "runs"}
    assert log["version"] == "2.1.0"
    for run in log["runs"]:
        assert set(run) <= {"tool", "columnKind", "artifacts", "invocations", "results"}
        assert run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints")
        driver = run["tool"]["driver"]
        assert driver["name"]
        ids = [rule["id"] for rule in driver["rules"]]
        assert len(set(ids)) == len(ids)
        for rule in driver["rules"]:
            assert rule["shortDescription"]["text"]
            assert rule["help"]["text"]
        for artifact in run["artifacts"]:
            assert artifact["location"]["uri"].isascii()
        for invocation in run["invocations"]:
            assert isinstance(invocation["executionSuccessful"], bool)
            for told in invocation["toolExecutionNotifications"]:
                assert told["message"]["text"]
                assert ids[told["associatedRule"]["index"]] == told["associatedRule"]["id"]
        for result in run["results"]:
            assert result["message"]["text"]
            assert result["level"] in ("none", "note", "warning", "error")
            assert ids[result["ruleIndex"]] == result["ruleId"]
            for location in result["locations"]:
                physical = location["physicalLocation"]
                assert (
                    run["artifacts"][physical["artifactLocation"]["index"]]["location"]["uri"]
                    == (physical["artifactLocation"]["uri"])
                )
                region = physical["region"]
                assert region["startLine"] >= 1
                assert region["endLine"] == region["startLine"]
                assert region["endColumn"] > region["startColumn"] >= 1
    json.dumps(log, allow_nan=False)
