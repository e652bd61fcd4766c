"""`validate --format json` and `--format sarif`: what was found as one JSON document, for other programs.

SARIF is the form of OASIS, version 2.1.0, which code hosts and editors take.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from workflow_runner import __version__
from workflow_runner.cli.checked import Checked, counts
from workflow_runner.cli.codes_page import meaning, remedy
from workflow_runner.dsl.diagnostics import Diagnostic
from workflow_runner.errors import InvalidInput

Json = dict[str, Any]


def to_json(checked: Sequence[Checked]) -> Json:
    """`{files: [{file, valid, workflow, diagnostics}], errors, warnings}`; docs/validate.md says what is in them."""
    errors, warnings = counts(checked)
    return {"files": [_file(one) for one in checked], "errors": errors, "warnings": warnings}


def _file(one: Checked) -> Json:
    diagnostics: list[Json] = [
        {
            "severity": found.severity,
            "code": found.code,
            "message": found.message,
            "hint": found.hint or remedy(found.code),
            "line": found.line,
            "column": found.column,
            "endColumn": found.column + one.width(found) if found.line else 0,
            "pointer": found.pointer,
        }
        for found in one.diagnostics
    ]
    if one.trouble is not None:
        code = one.trouble.code
        nowhere = {"line": 0, "column": 0, "endColumn": 0, "pointer": ""}
        message = {"severity": "error", "code": code, "message": one.trouble.message, "hint": one.trouble.hint or remedy(code)}
        diagnostics.append(message | nowhere)
    return {"file": one.name, "valid": one.valid, "workflow": one.workflow, "diagnostics": diagnostics}


def to_sarif(checked: Sequence[Checked], exit_code: int) -> Json:
    """One run in SARIF. A file that cannot be read is a notification of the run; its findings could not be looked for."""
    codes = sorted(
        {found.code for one in checked for found in one.diagnostics} | {trouble.code for _, trouble in _troubled(checked)}
    )
    places = {code: number for number, code in enumerate(codes)}
    run: Json = {
        "tool": {
            "driver": {
                "name": "workflow-runner",
                "version": __version__,
                "rules": [_rule(code) for code in codes],
            }
        },
        "columnKind": "unicodeCodePoints",
        "artifacts": [{"location": {"uri": _uri(one.name)}, "sourceLanguage": _language(one.name)} for one in checked],
        "invocations": [
            {
                "executionSuccessful": not _troubled(checked),
                "exitCode": exit_code,
                "toolExecutionNotifications": [
                    {
                        "level": "error",
                        "message": {"text": str(trouble)},
                        "associatedRule": {"id": trouble.code, "index": places[trouble.code]},
                        "locations": [{"physicalLocation": {"artifactLocation": {"uri": _uri(name)}}}],
                    }
                    for name, trouble in _troubled(checked)
                ],
            }
        ],
        "results": [_result(found, one, number, places) for number, one in enumerate(checked) for found in one.diagnostics],
    }
    return {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}


def _troubled(checked: Sequence[Checked]) -> list[tuple[str, InvalidInput]]:
    return [(one.name, one.trouble) for one in checked if one.trouble is not None]


def _rule(code: str) -> Json:
    return {
        "id": code,
        "shortDescription": {"text": meaning(code)},
        "help": {"text": remedy(code), "markdown": remedy(code)},
        "properties": {"tags": [code.partition(".")[0]]},
    }


def _result(found: Diagnostic, one: Checked, artifact: int, places: dict[str, int]) -> Json:
    physical: Json = {"artifactLocation": {"uri": _uri(one.name), "index": artifact}}
    if found.line:
        physical["region"] = {
            "startLine": found.line,
            "startColumn": found.column,
            "endLine": found.line,
            "endColumn": found.column + one.width(found),
        }
    return {
        "ruleId": found.code,
        "ruleIndex": places[found.code],
        "level": found.severity,
        "message": {"text": found.text},
        "locations": [{"physicalLocation": physical, "logicalLocations": [{"fullyQualifiedName": found.pointer or "/"}]}],
        "properties": {"hint": found.hint or remedy(found.code)},
    }


def _uri(name: str) -> str:
    path = Path(name)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())


def _language(name: str) -> str:
    return "json" if name.endswith(".json") else "yaml"
