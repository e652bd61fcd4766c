"""Dialling a stream again whenever it ends, for as long as the pod lives. Used by reporter.py."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio

from workflow_runner import telemetry

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 4.0
# A refused token is mended by a rotation or by the operator's start, not by asking more often.
FIRST_REFUSED_PAUSE, LONGEST_REFUSED_PAUSE = 1.0, 30.0
STEADY_SECONDS = 3.0
"""A stream that lived this long was a good one: pauses begin anew."""

_REFUSED = ("UNAUTHENTICATED", "PERMISSION_DENIED")


class Dialling:
    """One stream's endless retry, with exponential backoff and full jitter; logs when its trouble changes."""

    def __init__(self, what: str, endpoint: str) -> None:
        self._what = what
        self._endpoint = endpoint
        self._trouble: str | None = None
        self.leaving = False
        """Set when a stream that ends is not to be dialled again."""

    async def again_and_again(self, dial: Callable[[], Awaitable[None]]) -> None:
        """Await `dial` until `leaving`; it ends when its stream ends, whichever way. Cancel to stop at once."""
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began = loop.time()
            trouble = await self._dial(dial)
            if self.leaving:
                return
            failures = 1 if loop.time() - began > STEADY_SECONDS else failures + 1
            first, most = (FIRST_REFUSED_PAUSE, LONGEST_REFUSED_PAUSE) if trouble in _REFUSED else (FIRST_PAUSE, LONGEST_PAUSE)
            await asyncio.sleep(random.uniform(0, min(most, first * 2.0 ** min(failures - 1, 20))))  # noqa: S311 - jitter

    def works(self) -> None:
        """The other side answered."""
        if self._trouble is not None:
            self._trouble = None
            log.info("%s to the operator works again", self._what, extra={"endpoint": self._endpoint})

    async def _dial(self, dial: Callable[[], Awaitable[None]]) -> str:
        try:
            await dial()
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return error.code().name  # the stream has come of age
            return self._failed(error.code().name, error.details() or "")
        except TimeoutError:
            return self._failed("TIMEOUT", "the operator does not answer")
        except OSError as error:
            return self._failed("TOKEN", f"the token file cannot be read: {error.strerror}")
        except Exception:
            log.exception("%s to the operator broke off", self._what)
            return "BUG"
        return "LEFT" if self.leaving else self._failed("CLOSED", "the operator closed the stream")

    def _failed(self, trouble: str, details: str) -> str:
        if trouble != self._trouble:
            self._trouble = trouble
            # An operator that restarts closes streams; that is no reason for a line that looks alarming.
            level = logging.INFO if trouble == "CLOSED" else logging.WARNING
            text = "%s to the operator is interrupted; the run goes on, and it is dialled again"
            log.log(
                level,
                text,
                self._what,
                extra={"endpoint": self._endpoint, "status": trouble, "details": telemetry.redact(details)[:500]},
            )
        return trouble
