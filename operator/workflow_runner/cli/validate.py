"""`workflow-runner validate`: says everything that is wrong with documents, and runs nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from workflow_runner.cli.documents import read_file
from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.errors import InvalidInput
from workflow_runner.expressions.documents import read_document

VALID, INVALID = 0, 2


def validate(*files: Annotated[Path, Parameter(help="Documents, YAML or JSON; - is standard input.")]) -> int:
    """Check workflow documents without running them.

    Prints every mistake as file:line:column: code: message. Exits with 0 when all documents are valid,
    else with 2; warnings do not count.
    """
    if not files:
        print("workflow-runner: input.missing: no file was named", file=sys.stderr)
        return INVALID
    code = VALID
    for file in files:
        try:
            source, name = read_file(file)
            workflow, warnings = read_document(source, name)
        except InvalidInput as error:
            print(f"workflow-runner: {error.code}: {error}", file=sys.stderr)
            code = INVALID
            continue
        except DocumentErrors as error:
            for diagnostic in error.diagnostics:
                print(diagnostic, file=sys.stderr)
            code = INVALID
            continue
        for diagnostic in warnings:
            print(diagnostic, file=sys.stderr)
        head = workflow.document
        print(f"{name}: {head.namespace}/{head.name}:{head.version} is valid")
    return code
