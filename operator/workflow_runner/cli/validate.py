"""`workflow-runner validate`: says everything that is wrong with documents, and runs nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from workflow_runner.cli.checked import check_all

VALID, INVALID = 0, 2


def validate(
    *files: Annotated[Path, Parameter(help="Documents, YAML or JSON, or folders of them; - is standard input.")],
    format: Annotated[  # noqa: A002 - the option's name
        Literal["text", "json", "sarif"],
        Parameter(help="How to say it: text for people, json, or sarif (2.1.0) for code hosts and editors."),
    ] = "text",
) -> int:
    """Check workflow documents without running them.

    As text every finding is file:line:column: code: message with its line of source, on standard error; json and sarif
    go to standard output. Exits with 0 when all documents are valid, and with 2 when one is not, or cannot be read;
    warnings do not count.
    """
    if not files:
        print("workflow-runner: input.missing: no file was named", file=sys.stderr)
        return INVALID
    if format == "text":
        from workflow_runner.cli.report_text import TextReport

        report, checked = TextReport(sys.stdout, sys.stderr), []
        for one in check_all(files):
            report.tell(one)
            checked.append(one)
        report.close(checked)
        return VALID if all(one.valid for one in checked) else INVALID
    from workflow_runner.cli.report_json import to_json, to_sarif

    checked = list(check_all(files))
    code = VALID if all(one.valid for one in checked) else INVALID
    print(json.dumps(to_sarif(checked, code) if format == "sarif" else to_json(checked), indent=2, ensure_ascii=False))
    return code
