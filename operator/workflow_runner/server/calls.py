"""What every call to a service of ours goes through: who calls, a request id, the log, metrics, errors. Used by grpc_server.py.

The id is the caller's `x-request-id`, or drawn; it is in the log and in the answer's trailers.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import re
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from functools import partial
from typing import Any

import grpc
import grpc.aio
import structlog

from workflow_runner.errors import WorkflowRunnerError
from workflow_runner.hosts.executions import Caller
from workflow_runner.server.authentication import Authenticate
from workflow_runner.server.status import abort, status_of

REQUEST_ID = "x-request-id"
OPEN = ("/grpc.health.v1.Health/",)
"""What probes call, which have no key."""
_ID = re.compile(r"[A-Za-z0-9._:/-]{1,128}")
_NAMES: dict[int, str] = {code.value[0]: code.name for code in grpc.StatusCode}

log = structlog.get_logger(__name__)

Called = Callable[[str, str, float], None]
"""(method, status code's name, seconds)"""
Context = grpc.aio.ServicerContext[Any, Any]

_NOBODY = Caller()
_caller: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")


def caller() -> Caller:
    """Who made the call that is being answered."""
    return _caller.get(_NOBODY)


class CallInterceptor(grpc.aio.ServerInterceptor):
    """See the module's text. `called` is told of every call that has ended."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate
        self._wrapped: dict[str, tuple[Any, Any]] = {}
        """The handler of each method that is served, and what it was made into."""
        self.called: Called = lambda method, code, seconds: None

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the method's handler; an unknown method has none."""
        handler: Any = await continuation(handler_call_details)
        if handler is None:
            return None
        method = str(handler_call_details.method)
        known = self._wrapped.get(method)
        if known is None or known[0] is not handler:
            self._wrapped[method] = known = (handler, self._wrap(method, handler))
        return known[1]

    def _wrap(self, method: str, handler: Any) -> Any:
        options = {"request_deserializer": handler.request_deserializer, "response_serializer": handler.response_serializer}
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(self._streaming(method, handler.stream_stream), **options)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(self._streaming(method, handler.unary_stream), **options)
        return grpc.unary_unary_rpc_method_handler(self._unary(method, handler.unary_unary), **options)

    def _unary(self, method: str, behave: Callable[[Any, Context], Awaitable[Any]]) -> Callable[[Any, Context], Awaitable[Any]]:
        async def answer(request: Any, context: Context) -> Any:
            return await self._call(method, context, partial(behave, request, context))

        return answer

    def _streaming(
        self, method: str, behave: Callable[[Any, Context], AsyncIterator[Any] | Awaitable[None]]
    ) -> Callable[[Any, Context], Awaitable[None]]:
        async def written(request: Any, context: Context) -> None:
            answering: Any = behave(request, context)
            if not hasattr(answering, "__aiter__"):
                await answering  # it writes its messages itself
                return
            # Written here and not yielded: so a caller that goes away ends `behave` at once.
            async with contextlib.aclosing(answering) as messages:
                async for message in messages:
                    await context.write(message)

        async def answer(request: Any, context: Context) -> None:
            await self._call(method, context, partial(written, request, context))

        return answer

    async def _call(self, method: str, context: Context, work: Callable[[], Awaitable[Any]]) -> Any:
        """What `work` gives, where the caller may call; an error of it is the call's status."""
        metadata = context.invocation_metadata() or ()
        began, answered, request_id = time.monotonic(), "OK", _request_id(metadata)
        context.set_trailing_metadata(((REQUEST_ID, request_id),))
        try:
            await self._admit(method, metadata)
            return await work()
        except grpc.aio.AbortError:
            answered = _code_of(context)
            raise
        except asyncio.CancelledError:
            answered = "CANCELLED"
            raise
        except Exception as error:
            status = status_of(error)
            answered = _NAMES[status.code]
            if isinstance(error, WorkflowRunnerError):
                log.info(
                    "a call was refused",
                    method=method,
                    request_id=request_id,
                    status=answered,
                    code=error.code,
                    error=str(error),
                )
            else:
                log.exception("a call met a bug of the workflow runner", method=method, request_id=request_id)
            await abort(context, status, ((REQUEST_ID, request_id),))
        finally:
            seconds = time.monotonic() - began
            self.called(method, answered, seconds)
            if logging.getLogger(__name__).isEnabledFor(logging.DEBUG):
                log.debug("call", method=method, request_id=request_id, status=answered, seconds=round(seconds, 4))

    async def _admit(self, method: str, metadata: Iterable[tuple[str, Any]]) -> None:
        """Whether the caller may call; raises what the authentication raises."""
        if method.startswith(OPEN):
            return
        token = None
        for key, value in metadata:
            if key == "authorization" and isinstance(value, str) and value[:7].lower() == "bearer ":
                token = value[7:].strip()
        _caller.set(await self._authenticate(token))


def _request_id(metadata: Iterable[tuple[str, Any]]) -> str:
    given = next((str(value) for key, value in metadata if key == REQUEST_ID), "")
    return given if _ID.fullmatch(given) else uuid.uuid4().hex


def _code_of(context: Context) -> str:
    """The name of the status that a call was ended with."""
    code: Any = context.code()
    return code.name if isinstance(code, grpc.StatusCode) else _NAMES.get(code, "UNKNOWN")
