"""What a run has besides its document, by environment and options: for the commands that run documents."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from workflow_runner import telemetry
from workflow_runner.cli.documents import STANDARD_INPUT
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.elsewhere import HostOptions
from workflow_runner.settings import StigmerSettings, host_settings


def host_options(
    file: Path | None = None,
    workflows: Sequence[Path] = (),
    environment: Mapping[str, str] = os.environ,
    *,
    stigmer: StigmerSettings | None = None,
) -> HostOptions:
    """Raises InvalidInput. Other workflows are found beside the document's `file` and in the folders `workflows`, in these
    with all that is below them; without a file, as in a launched pod, there are none. Agents are those of `stigmer`, which a
    launched pod has not: its key belongs in no pod."""
    settings = host_settings(environment)
    for folder in workflows:
        if not folder.is_dir():
            raise InvalidInput(f"--workflows {folder} is no folder", code="input.unreadable")
    library = rules = agents = None
    if file is not None:
        from workflow_runner.hosts.library import Library  # a pod does not wait for it

        library = Library([] if file == STANDARD_INPUT else [file.parent], workflows)
    if stigmer is not None:
        from workflow_runner.calls.agent_service import AgentService

        telemetry.conceal(stigmer.api_key)
        agents = AgentService(stigmer.endpoint, stigmer.api_key, stigmer.use_tls, api_key_file=stigmer.api_key_file)
    if not settings.processes or settings.process_seconds is not None:
        from workflow_runner.calls.process import SECONDS, ProcessRules

        rules = ProcessRules(allowed=settings.processes, seconds=settings.process_seconds or SECONDS)
    return HostOptions(library=library, default_catalog=settings.default_catalog, processes=rules, agents=agents)


def shared_processes(options: HostOptions) -> HostOptions:
    """With one number of processes for all runs together."""
    from workflow_runner.calls.process import ProcessRules

    rules = options.processes or ProcessRules()
    return replace(options, processes=replace(rules, places=asyncio.Semaphore(rules.at_once)))
