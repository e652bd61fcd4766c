"""Looking at documents in a child process that can be killed: they are hostile. Called by reconciler.

A document that takes too long or too much memory is refused like any other bad one; the operator goes on.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import time
from collections.abc import Callable
from concurrent.futures import TimeoutError as PoolTimeout
from pathlib import Path
from typing import Any

import structlog
from pebble import ProcessExpired, ProcessPool

from workflow_runner.controller.sources import Source
from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.nodes import InvalidText
from workflow_runner.dsl.text_reader import read_text
from workflow_runner.errors import Internal, InvalidInput
from workflow_runner.expressions.documents import read_document
from workflow_runner.launchers.payload import Payload, pack, spec_digest
from workflow_runner.reconcile.bounds import bounded_error
from workflow_runner.reconcile.observed import Accepted, Refused

Json = dict[str, Any]

SECONDS = 10.0
TRIES = 2
"""The machine may have been busy with something else."""
MEMORY_BYTES = 256 * 1024**2
"""On top of what the child needs before it has looked at anything."""
WORKERS = 1
CHECKS_PER_WORKER = 1000
CONFIGURATION_ERROR = "https://serverlessworkflow.io/spec/1.0.0/errors/configuration"
VALIDATION_ERROR = "https://serverlessworkflow.io/spec/1.0.0/errors/validation"
MAX_MESSAGE = 3500
TOO_COSTLY = "document.too-costly"
Checked = Callable[[str, float], None]
"""(accepted | refused | too-costly, seconds)"""

log = structlog.get_logger(__name__)


class Validator:
    """A small pool of such children. Close it when done."""

    def __init__(self) -> None:
        self._pool = _new_pool()
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
        why, code = "", TOO_COSTLY
        for _ in range(TRIES):
            try:
                future = self._pool.schedule(inspect, args=(source,), timeout=SECONDS)
            except RuntimeError as error:
                self._pool.stop()
                self._pool = _new_pool()
                raise Internal(f"no child can be started that looks at documents: {error}") from error
            try:
                return await asyncio.wrap_future(future)
            except (PoolTimeout, TimeoutError):
                why = f"checking it took longer than {SECONDS:.0f} s"
            except (ProcessExpired, MemoryError):
                why = "checking it took more memory than is allowed"
            except Exception as error:
                # A bug that one document finds must not be tried again for ever, nor keep others from being checked.
                log.exception("a document could not be checked")
                why, code = f"checking it failed: {type(error).__name__}: {error}"[:MAX_MESSAGE], Internal.code
        return _refused("The document cannot be checked", why, code)

    async def warm(self) -> None:
        """Starts a child and has it import what it needs, so that the first document does not wait for that."""
        await self._check(Source("", "warm-up"))

    def close(self) -> None:
        """Ends the children, at work or not."""
        self._pool.stop()
        self._pool.join()


def _new_pool() -> ProcessPool:
    return ProcessPool(
        max_workers=WORKERS,
        max_tasks=CHECKS_PER_WORKER,
        initializer=_limit,
        context=multiprocessing.get_context("forkserver"),
    )


def inspect(source: Source) -> Accepted | Refused:
    """Reads and validates the document as the pod will, and packs it. Runs in the child."""
    try:
        workflow, _ = read_document(source.document, source.file)
        head = workflow.document
        payload = Payload(source.document, _input(source), source.file)
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


def _limit() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _joined(lines: list[str]) -> str:
    text = "\n".join(lines)
    if len(text) <= MAX_MESSAGE:
        return text
    kept = text[:MAX_MESSAGE].rsplit("\n", 1)[0]
    return f"{kept}\n… and {len(lines) - kept.count(chr(10)) - 1} more"


def _refused(title: str, detail: str, code: str, *, instance: str = "", error_type: str = CONFIGURATION_ERROR) -> Refused:
    error = {"type": error_type, "status": 400, "title": title, "detail": detail, "code": code, "instance": instance}
    return Refused(bounded_error(error), detail)
