"""Compiles the text of a `.proto` to descriptors, in a process of its own (calls/protoc_child.py); `calls.grpc` uses it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from pathlib import Path

from workflow_runner.calls.messages import fault
from workflow_runner.dsl.problems import CONFIGURATION, WorkflowFault

LARGEST_PROTO = 1024 * 1024
"""The most bytes of a `.proto`."""

LARGEST_DESCRIPTORS = 4 * 1024 * 1024
"""The most bytes of what it is compiled to, with what it imports; likewise of what a server's reflection tells."""

_SECONDS = 10
_MEMORY = 256 * 1024 * 1024
_AT_ONCE = 2
_MOST_SAID = 500
_CHILD = Path(__file__).with_name("protoc_child.py")
_SOURCE = re.compile(r"/proc/self/fd/[0-9]+")


class Compiler:
    """Starts compilers for one host, two at a time."""

    def __init__(self, *, seconds: float = _SECONDS) -> None:
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._seconds = seconds

    async def compile(self, text: bytes) -> bytes:
        """A serialized FileDescriptorSet, imports first. Raises WorkflowFault (`configuration`), with what protoc says."""
        async with self._places:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                str(_CHILD),
                str(_MEMORY),
                str(_SECONDS),
                str(LARGEST_DESCRIPTORS),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={},
                start_new_session=True,  # Ctrl-C on a terminal is for the parent
            )
            try:
                async with asyncio.timeout(self._seconds):
                    compiled, said = await child.communicate(text)
            except TimeoutError as error:
                raise _unusable(f"compiling it took longer than {self._seconds:g} s") from error
            finally:
                if child.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        child.kill()
                    await asyncio.shield(child.wait())
        if child.returncode == 0:
            return compiled
        words = _SOURCE.sub("service.proto", said.decode(errors="replace")).strip()
        if child.returncode != 1 or not words:
            words = "it needs too much time or memory to compile"
        shown = "; ".join(words.splitlines())
        raise _unusable(f"{shown[:_MOST_SAID]} (of imports only google/protobuf/… can be used)")


def _unusable(why: str) -> WorkflowFault:
    return fault(CONFIGURATION, f"/with/proto: the proto cannot be used: {why}")
