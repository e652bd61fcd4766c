"""What a local run gets from elsewhere: functions and workflows, checked, as the calls "function" and "workflow" ask for.

`effects.LocalEffects` has one. Workflows that nobody waits for run beside the run that started them and end with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from msgspec import Struct

from workflow_runner.calls import Calls
from workflow_runner.dsl.catalogs import address_in
from workflow_runner.dsl.diagnostics import DocumentErrors
from workflow_runner.dsl.nodes import InvalidText
from workflow_runner.dsl.problems import CONFIGURATION, RUNTIME, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json
from workflow_runner.dsl.text_reader import read_text
from workflow_runner.expressions.documents import read_function
from workflow_runner.interpreter.outcome import Faulted, Outcome

if TYPE_CHECKING:
    from workflow_runner.calls.agent_service import AgentService
    from workflow_runner.calls.process import ProcessRules
    from workflow_runner.hosts.jq_pool import JqPool
    from workflow_runner.hosts.library import Library

LARGEST_FUNCTION = 1024 * 1024
MOST_DETACHED = 100
LINGER_SECONDS = 10.0
"""So long the end of a run waits for what it started and did not wait for."""

_logger = logging.getLogger(__name__)


class HostOptions(Struct, frozen=True):
    """What a host has besides the document, and what it permits.

    Without a `library` no other workflow is known; `default_catalog` is the address of the catalog that documents need not
    define; `processes` None is all that there is by default. Without `agents` no agent can be asked. Runs that have a `jq`
    share its children; without one each has a child of its own.
    """

    library: Library | None = None
    default_catalog: str | None = None
    processes: ProcessRules | None = None
    agents: AgentService | None = None
    jq: JqPool | None = None

    def __repr__(self) -> str:
        """Without the address, which may have credentials."""
        return f"HostOptions(processes={self.processes!r})"


class DetachedRun(Protocol):
    """What `local.LocalRun` is here."""

    def pause(self, reason: str = "") -> None:
        """Hold it."""

    def resume(self) -> None:
        """Let it go on."""

    def cancel(self, reason: str = "") -> None:
        """End it."""

    async def run(self) -> Outcome:
        """Run it to its end."""


Start = Callable[[Mapping[str, Json], Json, str], DetachedRun]
"""Makes a run of a document with an input; the third argument is its id."""


class Elsewhere:
    """Functions and workflows for one run. `start` makes the runs that nobody waits for; a host without
    one starts them itself, from the definition."""

    def __init__(self, calls: Calls, options: HostOptions, start: Start | None = None) -> None:
        self._calls = calls
        self._library = options.library
        self._default_catalog = options.default_catalog
        self._start = start
        self._detached: dict[asyncio.Task[None], DetachedRun] = {}

    async def function(self, arguments: Mapping[str, Json], authentication: Mapping[str, Json] | None) -> Json:
        """The definition of a function: `{"uri", "name"}`, or `{"default": {"name", "version"}, "name"}`. Raises
        WorkflowFault."""
        given = cast("dict[str, Any]", arguments)
        uri = given.get("uri")
        if uri is None:
            if self._default_catalog is None:
                detail = f"the function {given['name']!r} is not run: this runner has no default catalog"
                raise WorkflowFault(Problem.standard(CONFIGURATION, detail))
            uri = address_in(self._default_catalog, given["default"]["name"], given["default"]["version"])

        async def read(text: bytes) -> Json:
            return await asyncio.to_thread(_checked, text, given["name"])

        return await self._calls.document("function", uri, read, largest=LARGEST_FUNCTION, authentication=authentication)

    async def workflow(self, arguments: Mapping[str, Json], key: str) -> Json:
        """A document, `{"namespace", "name", "version"}`; with `start` it is run here, and the answer is null."""
        given = cast("dict[str, Any]", arguments)
        if self._library is None:
            detail = f"the workflow {given['namespace']}/{given['name']} is not run: this runner knows no other workflows"
            raise WorkflowFault(Problem.standard(CONFIGURATION, detail, status=404))
        definition = await self._library.find(given["namespace"], given["name"], given["version"])
        if "start" not in given or self._start is None:
            return definition
        if len(self._detached) >= MOST_DETACHED:
            detail = f"the workflow is not run: {MOST_DETACHED} that nobody waits for are running"
            raise WorkflowFault(Problem.standard(RUNTIME, detail))
        run = self._start(definition, given["start"]["input"], key[:32])
        task = asyncio.create_task(_observed(run, f"{given['namespace']}/{given['name']}"), name="detached run")
        self._detached[task] = run
        task.add_done_callback(self._detached.pop)
        return None

    def pause(self, reason: str) -> None:
        """Hold the runs that nobody waits for, too."""
        for run in self._detached.values():
            run.pause(reason)

    def resume(self) -> None:
        """Let them go on."""
        for run in self._detached.values():
            run.resume()

    @property
    def left(self) -> bool:
        """Whether something goes on that nobody waits for."""
        return bool(self._detached) or self._calls.left

    async def linger(self) -> None:
        """Wait LINGER_SECONDS at most for what nobody waits for."""
        waiting: list[Awaitable[object]] = [self._calls.linger(LINGER_SECONDS)]
        if self._detached:
            waiting.append(asyncio.wait(self._detached, timeout=LINGER_SECONDS))
        await asyncio.gather(*waiting)

    async def close(self) -> None:
        """End what still runs."""
        for run in self._detached.values():
            run.cancel("the run that started it has ended")
        await asyncio.gather(*self._detached, return_exceptions=True)


async def _observed(run: DetachedRun, name: str) -> None:
    """Nobody waits for it, so its failure is told in the log."""
    try:
        outcome = await run.run()
    except Exception:
        _logger.exception("the detached workflow %s ended by a bug of the workflow runner", name)
        return
    if isinstance(outcome, Faulted):
        _logger.warning("the detached workflow %s failed with %s (%s)", name, outcome.problem.type, outcome.problem.status)


def _checked(text: bytes, name: str) -> Json:
    """The definition of a function, as JSON, when it is one."""
    try:
        root, complaints = read_text(text)
        if complaints:
            raise complaints[0]
        read_function(root.json, name)
    except (InvalidText, DocumentErrors) as error:
        detail = f"the definition of the function {name!r} cannot be used: {error}"
        raise WorkflowFault(Problem.standard(CONFIGURATION, detail)) from error
    return root.json
