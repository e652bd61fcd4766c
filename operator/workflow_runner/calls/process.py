"""`run: shell` and `run: script`: processes of their own, in a group that ends with them. `calls.Calls` has one Processes.

Arguments, from interpreter/tasks/run_process.py: `process` (shell, script), `command`, or `language` with `code` or
`source` (an address), `arguments` (strings, or of a script an object, whose members are variables in it), `environment`
(strings), `stdin` (a string; absent or null: nothing) and `await`. The answer is `{code, stdout, stderr}`, and null where
nobody waits.

A process sees of the runner's environment only what is in INHERITED, and what ProcessRules.environment adds. It may take
ProcessRules.seconds and write LARGEST_OUTPUT bytes. When it has ended, has done too much of either, or its task is cancelled,
whatever is left of its group is killed: SIGTERM first, SIGKILL after TERM_SECONDS. Errors never repeat what was run or what it
wrote.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from msgspec import Struct, field

from workflow_runner.dsl.problems import AUTHORIZATION, CONFIGURATION, RUNTIME, TIMEOUT, VALIDATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json

SECONDS = 3600.0
LARGEST_INPUT = 8 * 1024 * 1024
LARGEST_OUTPUT = 8 * 1024 * 1024
"""Bytes of standard input, and of standard output and error together."""
LARGEST_SCRIPT = 1024 * 1024
TERM_SECONDS = 2.0
MOST_AT_ONCE = 100
"""Processes that tasks wait for, of one host at a time; more wait for their turn, within the time limits of their tasks."""
MOST_DETACHED = 100

REFUSED = "run.process-refused"
"""The code that the detail of a refused process begins with."""

INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "LC_CTYPE", "TMPDIR", "TZ")

_DRAIN_SECONDS = 0.5
"""So long what is left of the group may still write after the process itself has ended."""
_MODULE = re.compile(r"^\s*(?:import\b(?!\s*[(.])|export\b)|^(?:await\b|(?:const|let|var)\b[^;\n]*=\s*await\b)", re.MULTILINE)
_PYTHON_WITH_VARIABLES = (
    "import json, runpy, sys; sys.argv = sys.argv[1:]; variables = json.load(open(sys.argv.pop(), encoding='utf-8')); "
    "runpy.run_path(sys.argv[0], init_globals=variables, run_name='__main__')"
)
_JAVASCRIPT_VARIABLES = "Object.assign(globalThis, JSON.parse(require('node:fs').readFileSync({path}, 'utf8')));\n"


class ProcessRules(Struct, frozen=True):
    """What a host permits: whether there are processes at all, how long one may take, and how many run at the same time.

    `environment` is what a host adds to the environment of every process; what a task declares stands above it. Hosts that
    share `places` share the number, whatever `at_once` is.
    """

    allowed: bool = True
    seconds: float = SECONDS
    at_once: int = MOST_AT_ONCE
    environment: Mapping[str, str] = field(default_factory=dict)
    places: asyncio.Semaphore | None = None

    def __repr__(self) -> str:
        """Without the environment, which may have secrets."""
        return f"ProcessRules(allowed={self.allowed!r}, seconds={self.seconds!r}, at_once={self.at_once!r})"


class Processes:
    """The processes of one host. `source` gets a script's text: its address and its policy are the arguments."""

    def __init__(
        self,
        rules: ProcessRules,
        source: Callable[[str, Mapping[str, Json] | None], Awaitable[bytes]],
    ) -> None:
        self._rules = rules
        self._source = source
        self._places = rules.places or asyncio.Semaphore(rules.at_once)
        self._detached: set[asyncio.Task[None]] = set()

    async def call(self, arguments: Mapping[str, Json], *, resource_authentication: Mapping[str, Json] | None = None) -> Json:
        """Run one process to its end, or begin one that nobody waits for. Raises WorkflowFault.

        Faults: `authorization` 403 where processes are not permitted; `configuration` for a program that is not there or
        arguments that cannot be handed over; `validation` for too large an input; `timeout`; `runtime` for too much output.
        """
        given = cast("dict[str, Any]", arguments)
        what = "the shell command" if given["process"] == "shell" else "the script"
        if not self._rules.allowed:
            raise _fault(AUTHORIZATION, f"{REFUSED}: {what} is not run: this runner permits no processes")
        if "source" in given:
            text = await self._source(given["source"], resource_authentication)
            given = {**given, "code": text.decode(errors="replace")}
        if self._rules.environment:
            given = {**given, "environment": {**self._rules.environment, **given["environment"]}}
        stdin = None if given.get("stdin") is None else given["stdin"].encode(errors="surrogatepass")
        if stdin is not None and len(stdin) > LARGEST_INPUT:
            raise _fault(VALIDATION, f"the standard input of {what} has more than {LARGEST_INPUT:,} bytes")
        if given["await"]:
            async with self._places:
                process = await _begun(given, stdin, what, keep=True)
                return await self._ended(process, what)
        if len(self._detached) >= MOST_DETACHED:
            raise _fault(RUNTIME, f"{what} is not run: {MOST_DETACHED} processes that nobody waits for are running")
        process = await _begun(given, stdin, what, keep=False)
        task = asyncio.create_task(self._detach(process, what), name="detached process")
        self._detached.add(task)
        task.add_done_callback(self._detached.discard)
        return None

    @property
    def left(self) -> bool:
        """Whether there are processes that nobody waits for."""
        return bool(self._detached)

    async def linger(self, seconds: float) -> None:
        """Wait so long at most for the processes that nobody waits for."""
        if self._detached:
            await asyncio.wait(self._detached, timeout=seconds)

    async def close(self) -> None:
        """End what still runs."""
        for task in self._detached:
            task.cancel()
        await asyncio.gather(*self._detached, return_exceptions=True)

    async def _detach(self, process: _Process, what: str) -> None:
        with suppress(WorkflowFault):
            await self._ended(process, what)

    async def _ended(self, process: _Process, what: str) -> Json:
        try:
            async with asyncio.timeout(self._rules.seconds):
                await process.ends()
        except TimeoutError as error:
            raise _fault(TIMEOUT, f"{what} took longer than the {self._rules.seconds:g} s that this runner permits") from error
        finally:
            await process.close()
        if process.too_much:
            raise _fault(RUNTIME, f"{what} wrote more than {LARGEST_OUTPUT:,} bytes")
        return {"code": process.code, "stdout": process.stdout.text, "stderr": process.stderr.text}


class _Output(Struct):
    """One of a process's outputs, as it comes."""

    parts: list[bytes] = field(default_factory=list)
    descriptor: int | None = None

    @property
    def text(self) -> str:
        return b"".join(self.parts).decode(errors="replace")

    def __repr__(self) -> str:
        return f"_Output({len(self.parts)})"


class _Process:
    """A process that has begun, with everything that is to go when it ends."""

    def __init__(self, popen: subprocess.Popen[bytes], folder: str | None, outputs: tuple[int, int] | None) -> None:
        self._popen = popen
        self._folder = folder
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()
        self._exited = False
        self._size = 0
        self.too_much = False
        self.stdout, self.stderr = _Output(), _Output()
        for output, descriptor in zip((self.stdout, self.stderr), outputs or (), strict=False):
            output.descriptor = descriptor
            self._loop.add_reader(descriptor, self._read, output)
        threading.Thread(target=self._watch, name="process", daemon=True).start()

    @property
    def code(self) -> int:
        """The exit code; 128 and the signal's number when a signal ended it, as shells say it."""
        code = self._popen.returncode
        return code if code >= 0 else 128 - code

    async def ends(self) -> None:
        """Return when the process has ended and its outputs are read, or when it wrote too much."""
        while not (self._exited or self.too_much):
            await self._wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                while not self.too_much and (self.stdout.descriptor is not None or self.stderr.descriptor is not None):
                    await self._wait()

    async def close(self) -> None:
        """End what is left of the group, and tidy up. Nothing of it is left afterwards, not even when this is cancelled."""
        try:
            if not self._exited:
                self._signal(signal.SIGTERM)
                with suppress(TimeoutError):
                    async with asyncio.timeout(TERM_SECONDS):
                        while not self._exited:
                            await self._wait()
        finally:
            # Until it is waited for the process keeps its group's number from being given to anybody else.
            self._signal(signal.SIGKILL)
            try:
                with suppress(TimeoutError):
                    async with asyncio.timeout(TERM_SECONDS):
                        while not self._exited:
                            await self._wait()
            finally:
                if self._popen.poll() is None:
                    # It is about to go. Waited for by nobody it would stay in the system's table.
                    threading.Thread(target=self._popen.wait, name="process", daemon=True).start()
                self._tidy()

    def _tidy(self) -> None:
        for output in (self.stdout, self.stderr):
            self._close(output)
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    async def _wait(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _watch(self) -> None:
        """In a thread of its own: wait for the end without taking the process away."""
        with suppress(ChildProcessError):
            os.waitid(os.P_PID, self._popen.pid, os.WEXITED | os.WNOWAIT)
        with suppress(RuntimeError):  # the loop is closed: the whole program ends
            self._loop.call_soon_threadsafe(self._note_exit)

    def _note_exit(self) -> None:
        self._exited = True
        self._changed.set()

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)

    def _read(self, output: _Output) -> None:
        assert output.descriptor is not None  # noqa: S101 - else it is not read
        try:
            part = os.read(output.descriptor, 65536)
        except BlockingIOError:
            return
        except OSError:
            part = b""
        if part:
            self._size += len(part)
            output.parts.append(part)
            if self._size <= LARGEST_OUTPUT:
                return
            self.too_much = True
        self._close(output)
        self._changed.set()

    def _close(self, output: _Output) -> None:
        if output.descriptor is not None:
            self._loop.remove_reader(output.descriptor)
            os.close(output.descriptor)
            output.descriptor = None


async def _begun(given: Mapping[str, Any], stdin: bytes | None, what: str, *, keep: bool) -> _Process:
    """Begin a process, in a thread, since that takes milliseconds. `keep` says whether its output is read."""
    beginning = asyncio.ensure_future(asyncio.to_thread(_begin, given, stdin, what, keep))
    try:
        started = await asyncio.shield(beginning)
    except asyncio.CancelledError:
        while not beginning.done():
            with suppress(asyncio.CancelledError):  # what has begun is ended, however often this is cancelled
                await asyncio.wait([beginning])
        if beginning.exception() is None:
            await _Process(*beginning.result()).close()
        raise
    return _Process(*started)


def _begin(
    given: Mapping[str, Any], stdin: bytes | None, what: str, keep: bool
) -> tuple[subprocess.Popen[bytes], str | None, tuple[int, int] | None]:
    folder: str | None = None
    descriptors: list[int] = []
    try:
        if given["process"] == "shell":
            program = ["/bin/sh", "-c", given["command"], "sh", *given["arguments"]]
        else:
            folder = tempfile.mkdtemp(prefix="workflow-script-")
            program = _script(given, Path(folder))
        source: Any = subprocess.DEVNULL if stdin is None else _file_with(stdin)
        outputs = None
        if keep:
            pipes = [os.pipe(), os.pipe()]
            descriptors = [end for pipe in pipes for end in pipe]
            outputs = (pipes[0][0], pipes[1][0])
            for end in outputs:
                os.set_blocking(end, False)
        try:
            popen = subprocess.Popen(  # noqa: S603 - running what the document says is the task
                program,
                stdin=source,
                stdout=descriptors[1] if keep else subprocess.DEVNULL,
                stderr=descriptors[3] if keep else subprocess.DEVNULL,
                env=_environment(given["environment"]),
                start_new_session=True,
            )
        finally:
            if stdin is not None:
                source.close()
    except BaseException as error:
        for descriptor in descriptors:
            os.close(descriptor)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ValueError):
            raise _fault(
                CONFIGURATION, f"{what} cannot be run: there is a null character in it, or half of a character"
            ) from error
        if isinstance(error, OSError):
            raise _fault(CONFIGURATION, f"{what} cannot be run: {_reason(error)}") from error
        raise
    if keep:
        os.close(descriptors[1])
        os.close(descriptors[3])
    return popen, folder, outputs


def _script(given: Mapping[str, Any], folder: Path) -> list[str]:
    """The command line of a script, whose files are in the folder."""
    code, arguments = given["code"], given["arguments"]
    if len(code) > LARGEST_SCRIPT:
        raise _fault(CONFIGURATION, f"the script has more than {LARGEST_SCRIPT:,} characters")
    variables = folder / "arguments.json"
    if isinstance(arguments, dict):
        variables.write_text(json.dumps(arguments), encoding="utf-8")
    if given["language"] == "python":
        return _python(code, arguments, folder / "script.py", variables)
    node = shutil.which("node")
    if node is None:
        detail = "the script cannot be run: it is in JavaScript, and this runner has no node on its PATH"
        raise _fault(CONFIGURATION, detail)
    # As a module where it uses what only modules have; elsewhere `require` and a `return` at the top are usual.
    file = folder / ("script.mjs" if _MODULE.search(code) else "script.cjs")
    file.write_text(code, encoding="utf-8", errors="surrogatepass")
    if not isinstance(arguments, dict):
        return [node, str(file), *arguments]
    preparation = folder / "arguments.cjs"
    preparation.write_text(_JAVASCRIPT_VARIABLES.format(path=json.dumps(str(variables))), encoding="utf-8")
    return [node, "--require", str(preparation), str(file)]


def _python(code: str, arguments: Any, file: Path, variables: Path) -> list[str]:
    file.write_text(code, encoding="utf-8", errors="surrogatepass")
    interpreter = [sys.executable, "-s", "-B"]
    if not isinstance(arguments, dict):
        return [*interpreter, str(file), *arguments]
    return [*interpreter, "-c", _PYTHON_WITH_VARIABLES, str(file), str(variables)]


def _environment(declared: Mapping[str, str]) -> dict[str, str]:
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    environment.setdefault("PATH", os.defpath)
    for name, value in declared.items():
        if not name or "=" in name:
            raise _fault(CONFIGURATION, f"{name!r:.80} cannot be the name of an environment variable")
        environment[name] = value
    return environment


def _file_with(content: bytes) -> Any:
    """A file that ends with its last user, so that nobody has to feed a pipe."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - whoever asked for it closes it
    file.write(content)
    file.seek(0)
    return file


def _reason(error: OSError) -> str:
    if error.errno == errno.E2BIG:
        return "its arguments and its environment are too long"
    return os.strerror(error.errno) if error.errno else type(error).__name__


def _fault(type_: str, detail: str) -> WorkflowFault:
    return WorkflowFault(Problem.standard(type_, detail))
