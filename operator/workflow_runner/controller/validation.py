"""What a run would be made from, looked at before it is accepted. Called by reconciler.

A document that takes too long or too much memory is refused like any other bad one; the operator goes on.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import structlog

from workflow_runner.controller.sources import Source
from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.nodes import InvalidText
from workflow_runner.dsl.text_reader import read_text
from workflow_runner.errors import Internal, InvalidInput
from workflow_runner.expressions.documents import read_document
from workflow_runner.hosts.checks import TOO_COSTLY, Checks, TooCostly
from workflow_runner.launchers.payload import Payload, pack, spec_digest
from workflow_runner.reconcile.bounds import bounded_error
from workflow_runner.reconcile.observed import Accepted, Refused

Json = dict[str, Any]

CONFIGURATION_ERROR = "https://serverlessworkflow.io/spec/1.0.0/errors/configuration"
VALIDATION_ERROR = "https://serverlessworkflow.io/spec/1.0.0/errors/validation"
MAX_MESSAGE = 3500
Checked = Callable[[str, float], None]
"""(accepted | refused | too-costly, seconds)"""

log = structlog.get_logger(__name__)


class Validator:
    """Looks at documents in children that can be killed. Close it when done."""

    def __init__(self) -> None:
        self._checks = Checks()
        self.checked: Checked = lambda result, seconds: None
        """Told of every check."""

    async def check(self, source: Source) -> Accepted | Refused:
        """What `inspect` finds, or a refusal where it twice finds nothing within its limits. Raises Internal where there
        is no child to look at anything: that says nothing about the document."""
        begun = time.monotonic()
        found = await self._check(source)
        if isinstance(found, Accepted):
            result = "accepted"
        else:
            result = "too-costly" if found.error.get("code") == TOO_COSTLY else "refused"
        self.checked(result, time.monotonic() - begun)
        return found

    async def _check(self, source: Source) -> Accepted | Refused:
        try:
            return await self._checks.call(inspect, source)
        except TooCostly as error:
            return _refused("The document cannot be checked", error.message, TOO_COSTLY)
        except Internal:
            raise
        except Exception as error:
            # A bug that one document finds must not be tried again for ever, nor keep others from being checked.
            log.exception("a document could not be checked")
            why = f"checking it failed: {type(error).__name__}: {error}"[:MAX_MESSAGE]
            return _refused("The document cannot be checked", why, Internal.code)

    async def warm(self) -> None:
        """Starts a child and has it import what it needs, so that the first document does not wait for that."""
        await self._check(Source("", "warm-up"))

    def close(self) -> None:
        """Ends the children, at work or not."""
        self._checks.close()


def inspect(source: Source) -> Accepted | Refused:
    """Reads and validates the document as the pod will, and packs it. Runs in the child."""
    try:
        document = _converted(source.document) if isinstance(source.document, bytes) else source.document
        workflow, _ = read_document(document, source.file)
        head = workflow.document
        payload = Payload(document, _input(source), source.file)
        return Accepted(f"{head.namespace}/{head.name}:{head.version}", spec_digest(payload), pack(payload))
    except DocumentErrors as error:
        lines = [str(diagnostic) for diagnostic in error.diagnostics]
        first = error.diagnostics[0]
        return _refused(
            "The document is invalid", _joined(lines), first.code, instance=first.pointer, error_type=VALIDATION_ERROR
        )
    except InvalidInput as error:
        return _refused("The input cannot be used", str(error), error.code)
    except RecursionError:
        return _refused("The document cannot be checked", "it is nested too deeply", "document.too-deep")


def _converted(spec: bytes) -> Json:
    """The document that a workflow of Stigmer's is; raises DocumentErrors. What the converter needs is imported for such
    workflows only."""
    from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.spec_pb2 import WorkflowSpec
    from workflow_runner.stigmer.converter import convert

    return convert(WorkflowSpec.FromString(spec)).document


def _input(source: Source) -> Any:
    """The input, read where it is text; raises InvalidInput."""
    if source.input_text is None:
        return source.input
    try:
        root, complaints = read_text(source.input_text)
    except InvalidText as error:
        raise InvalidInput(f"{source.input_file}:{error.position}: {error}", code="input.not-json") from error
    if complaints:
        first = complaints[0]
        raise InvalidInput(f"{source.input_file}:{first.position}: {first}", code="input.not-json")
    return root.json


def _joined(lines: list[str]) -> str:
    text = "\n".join(lines)
    if len(text) <= MAX_MESSAGE:
        return text
    kept = text[:MAX_MESSAGE].rsplit("\n", 1)[0]
    return f"{kept}\n… and {len(lines) - kept.count(chr(10)) - 1} more"


def _refused(title: str, detail: str, code: str, *, instance: str = "", error_type: str = CONFIGURATION_ERROR) -> Refused:
    error = {"type": error_type, "status": 400, "title": title, "detail": detail, "code": code, "instance": instance}
    return Refused(bounded_error(error), detail)
