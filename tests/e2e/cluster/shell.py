"""Run commands and say what is going on. Every other module of this package calls it.

A command runs in its own process group, so that an interrupt (Ctrl-C, SIGTERM) ends it together with
everything that it started before the clean-up goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_STARTED = time.monotonic()


class ClusterError(Exception):
    """The end-to-end cluster cannot be had; the message says what to do about it."""


class CommandFailed(ClusterError):
    """A command ended with an error, or took too long."""


def progress(message: str) -> None:
    print(f"[{time.monotonic() - _STARTED:4.0f}s] {message}", file=sys.stderr, flush=True)


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str | Path | None = None,
    timeout: float = 60,
    show: bool = False,
) -> str:
    """The command's standard output. `stdin` is a text or a file's path; `env` is added to our own
    environment; `show` passes standard error on, for commands that report their own progress."""
    command = [str(part) for part in argv]
    with open(stdin if isinstance(stdin, Path) else os.devnull, "rb") as file:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            stdin=subprocess.PIPE if isinstance(stdin, str) else file,
            stdout=subprocess.PIPE,
            stderr=None if show else subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    try:
        out, err = process.communicate(stdin if isinstance(stdin, str) else None, timeout=timeout)
    except subprocess.TimeoutExpired as error:
        _end(process)
        raise CommandFailed(f"{' '.join(command)}: no answer within {timeout:.0f} s") from error
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        raise CommandFailed(f"{' '.join(command)} failed with {process.returncode}:\n{(err or out or '').strip()[-4000:]}")
    return out


def succeeds(argv: Sequence[str | Path], *, env: Mapping[str, str] | None = None, timeout: float = 60) -> bool:
    try:
        run(argv, env=env, timeout=timeout)
    except (CommandFailed, OSError):
        return False
    return True


def _end(process: subprocess.Popen[str]) -> None:
    """Ask the whole group to end, and insist after five seconds."""
    for what in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, what)
        except ProcessLookupError:
            return
        try:
            process.communicate(timeout=5)
            return
        except subprocess.TimeoutExpired:
            continue
