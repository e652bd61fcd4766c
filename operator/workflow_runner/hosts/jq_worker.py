"""A child process that runs the jq programs and JSON schemas which may not run in a shared process, and can be killed.

Hosts make one `JqWorker` and give its `evaluate` to the interpreter (as `defer` of `expressions.evaluate` and
`expressions.schemas`). The
child is started at the first use, reused, killed when an evaluation takes too long or is abandoned, and
replaced at the next use. Run as a module, this file is the child.

Over the pipes, both ways: a kind of one byte, a length of four bytes, and that many bytes. The parent sends a
program (P) or a schema (S to check, X to have explained what is wrong) and its payload (D); the child answers with
the value as JSON (V) or a failure (E).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import struct
import sys
from collections import OrderedDict
from typing import Any, BinaryIO

from workflow_runner.dsl.templates import Json
from workflow_runner.expressions.evaluate import JqRequest
from workflow_runner.expressions.programs import EvaluationFailed, InvalidProgram, compile_text, dump, single_value
from workflow_runner.expressions.schemas import SchemaRequest
from workflow_runner.expressions.schemas import answer as answer_schema

_HEADER = struct.Struct(">cI")
_CACHED_PROGRAMS = 256
_START_SECONDS = 20.0
_MEBIBYTE = 1024 * 1024


class JqWorker:
    """Evaluates one program at a time in a child process; further callers wait their turn.

    `timeout` is in seconds an evaluation, `memory` in bytes for the child as a whole, `result_bytes` the
    largest result as JSON text. Close it with `aclose`. The default memory is half of what a launched pod has: a
    pod that runs over its limit loses all of its processes, not only the greedy one.
    """

    def __init__(self, *, timeout: float = 10.0, memory: int = 256 * _MEBIBYTE, result_bytes: int = 16 * _MEBIBYTE) -> None:
        self._timeout = timeout
        self._memory = memory
        self._result_bytes = result_bytes
        self._turn = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None

    async def evaluate(self, request: JqRequest | SchemaRequest) -> Json:
        """The value that the program gives, or the answer about the schema. Raises EvaluationFailed."""
        async with self._turn:
            child = await self._started()
            try:
                async with asyncio.timeout(self._timeout):
                    kind, body = await _ask(child, request)
            except TimeoutError as error:
                await self._kill()
                raise EvaluationFailed(f"it took longer than {self._timeout:g} seconds") from error
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                await self._kill()
                raise EvaluationFailed(f"it needed more than {self._memory // _MEBIBYTE} MiB of memory") from error
            except asyncio.CancelledError:
                await self._kill()
                raise
        if kind == b"E":
            raise EvaluationFailed(body.decode(errors="replace"))
        value: Json = json.loads(body)
        return value

    async def aclose(self) -> None:
        """End the child, if there is one. The worker may be used again afterwards."""
        async with self._turn:
            await self._kill()

    async def _started(self) -> asyncio.subprocess.Process:
        if self._child is None or self._child.returncode is not None:
            self._child = child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-m",
                __spec__.name,
                str(self._memory),
                str(self._timeout),
                str(self._result_bytes),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env={name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
                start_new_session=True,  # Ctrl-C on a terminal is for the parent
            )
            try:
                async with asyncio.timeout(_START_SECONDS):
                    await _read(child)  # the child says that it is there
            except (TimeoutError, asyncio.IncompleteReadError) as error:
                await self._kill()
                raise EvaluationFailed("the process that evaluates expressions did not start") from error
            except asyncio.CancelledError:
                await self._kill()
                raise
        return self._child

    async def _kill(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        if child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
        await asyncio.shield(child.wait())
        if child.stdin is not None:
            child.stdin.close()


async def _ask(child: asyncio.subprocess.Process, request: JqRequest | SchemaRequest) -> tuple[bytes, bytes]:
    assert child.stdin is not None  # noqa: S101 - it was started with a pipe
    for kind, text in (_subject(request), (b"D", request.payload)):
        body = text.encode()
        child.stdin.write(_HEADER.pack(kind, len(body)))
        child.stdin.write(body)
    await child.stdin.drain()
    return await _read(child)


def _subject(request: JqRequest | SchemaRequest) -> tuple[bytes, str]:
    if isinstance(request, JqRequest):
        return b"P", request.program
    return (b"X" if request.explain else b"S"), request.schema


async def _read(child: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    assert child.stdout is not None  # noqa: S101 - it was started with a pipe
    kind, length = _HEADER.unpack(await child.stdout.readexactly(_HEADER.size))
    return kind, await child.stdout.readexactly(length)


def _serve(memory: int, timeout: float, result_bytes: int) -> None:
    """The child: answer requests until the pipe is closed."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    programs: OrderedDict[str, Any] = OrderedDict()
    _write(answers, b"V", b"null")
    while (first := _receive(requests)) is not None and (payload := _receive(requests)) is not None:
        # Should the parent be gone, nobody kills this process: the alarm does.
        signal.setitimer(signal.ITIMER_REAL, timeout + 1)
        kind, body = _answer(programs, first[0], first[1].decode(), payload[1].decode(), result_bytes)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _write(answers, kind, body)


def _answer(programs: OrderedDict[str, Any], kind: bytes, program: str, payload: str, result_bytes: int) -> tuple[bytes, bytes]:
    try:
        if kind == b"P":
            compiled = programs.pop(program, None) or compile_text(program)
            programs[program] = compiled
            if len(programs) > _CACHED_PROGRAMS:
                programs.popitem(last=False)
            value = single_value(compiled, payload)
        else:
            value = answer_schema(SchemaRequest(program, payload, kind == b"X"))
        body = dump(value).encode()
    except (EvaluationFailed, InvalidProgram) as error:
        return b"E", str(error).encode(errors="replace")
    except MemoryError:
        return b"E", b"it needed too much memory"
    except RecursionError:
        return b"E", b"its result is nested too deeply"
    if len(body) > result_bytes:
        return b"E", f"its result is larger than {result_bytes // _MEBIBYTE} MiB".encode()
    return b"V", body


def _receive(stream: BinaryIO) -> tuple[bytes, bytes] | None:
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    kind, length = _HEADER.unpack(header)
    return kind, stream.read(length)


def _write(stream: BinaryIO, kind: bytes, body: bytes) -> None:
    stream.write(_HEADER.pack(kind, len(body)))
    stream.write(body)
    stream.flush()


if __name__ == "__main__":
    _serve(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
