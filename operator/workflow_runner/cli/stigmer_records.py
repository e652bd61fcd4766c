"""Stigmer, as the roles of a Temporal worker ask for it: fills the port hosts.temporal.records. Built by cli.worker."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from pydantic import SecretStr

from workflow_runner.dsl.diagnostics import Diagnostic
from workflow_runner.dsl.templates import Json
from workflow_runner.errors import InvalidInput
from workflow_runner.hosts.checks import Checks
from workflow_runner.proto.ai.stigmer.agentic.workflow.v1.spec_pb2 import WorkflowSpec
from workflow_runner.proto.ai.stigmer.agentic.workflowexecution.v1.api_pb2 import WorkflowExecutionStatus
from workflow_runner.proto.ai.stigmer.workflow.runner.v1.io_pb2 import WorkflowProgressEvent
from workflow_runner.reconcile.live import LiveRun
from workflow_runner.settings import StigmerSettings
from workflow_runner.stigmer.client import CallbackClient, Destination
from workflow_runner.stigmer.converter import ConversionFailed, convert
from workflow_runner.stigmer.keys import read_key
from workflow_runner.stigmer.queries import NotThere, Queries, Wanted
from workflow_runner.stigmer.status import status_of

SECRETS_SECONDS = 30.0
"""So long the secrets of an execution are kept for its next call."""
MOST_SECRETS = 500
"""Executions whose secrets are kept."""


class Made(Struct, frozen=True):
    """Implements hosts.temporal.records.Prepared."""

    document: dict[str, Any]
    input: Json
    plain: dict[str, str]
    secrets: dict[str, str]

    def __repr__(self) -> str:
        """Without values."""
        return f"Made(secrets={sorted(self.secrets)!r})"


class StigmerRecords:
    """Implements hosts.temporal.records.Records. Use it from one event loop, and close it."""

    def __init__(self, settings: StigmerSettings) -> None:
        self._settings = settings
        self._checks = Checks()
        self._queries: Queries | None = None
        self._commands: CallbackClient | None = None
        self._opening = asyncio.Lock()
        self._secrets: OrderedDict[str, tuple[float, dict[str, str]]] = OrderedDict()

    async def prepare(self, execution_id: str) -> Made:
        """What an execution is made from; its document is converted and checked in a child. Raises QueryFailed, QueryRefused,
        NotThere, ConversionFailed, or what Checks.call raises."""
        found = await (await self._asking()).resolve(Wanted("execution", execution_id))
        made = await self._checks.call(_converted, found.spec.SerializeToString(deterministic=True))
        if isinstance(made, list):
            raise ConversionFailed(made)
        secrets = {name: value.get_secret_value() for name, value in found.environment.secrets.items()}
        self._keep(execution_id, secrets)
        triggered: Json = {"trigger_message": found.trigger_message, "trigger_metadata": dict(found.trigger_metadata)}
        return Made(made, triggered, dict(found.environment.values), secrets)

    async def secrets_of(self, execution_id: str) -> Mapping[str, Json]:
        """The secret values of its environment, of half a minute ago at most. Raises as `prepare` does."""
        kept = self._secrets.get(execution_id)
        if kept is not None and time.monotonic() - kept[0] < SECRETS_SECONDS:
            return kept[1]
        found = await (await self._asking()).resolve(Wanted("execution", execution_id))
        secrets = {name: value.get_secret_value() for name, value in found.environment.secrets.items()}
        self._keep(execution_id, secrets)
        return secrets

    async def callback_token(self, execution_id: str) -> bytes:
        """The token of whoever waits; empty where nobody does, or there is no such execution any more."""
        try:
            return (await (await self._asking()).execution(execution_id)).spec.callback_token
        except NotThere:
            return b""

    async def update(self, execution_id: str, status: WorkflowExecutionStatus) -> None:
        """Write a status, by updateStatus. Raises DeliveryFailed or DeliveryRefused."""
        await self._asking()
        assert self._commands is not None  # noqa: S101 - it was opened
        end = WorkflowProgressEvent(workflow_execution_id=execution_id, event_type="the end")
        await self._commands.report(end, status)

    def status_of(self, run: LiveRun, workflow_id: str) -> WorkflowExecutionStatus:
        """A run as updateStatus takes it."""
        return status_of(run, temporal_workflow_id=workflow_id)

    async def close(self) -> None:
        """Close connections and end the child."""
        for connection in (self._queries, self._commands):
            if connection is not None:
                await connection.close()
        await asyncio.to_thread(self._checks.close)

    def _keep(self, execution_id: str, secrets: dict[str, str]) -> None:
        self._secrets[execution_id] = (time.monotonic(), secrets)
        self._secrets.move_to_end(execution_id)
        while len(self._secrets) > MOST_SECRETS:
            self._secrets.popitem(last=False)

    async def _asking(self) -> Queries:
        """The connections, with the key as it is now."""
        async with self._opening:
            settings = self._settings
            key = SecretStr(settings.api_key)
            if settings.api_key_file is not None:
                key = await asyncio.to_thread(read_key, settings.api_key_file)
            destination = Destination(settings.endpoint, key, use_tls=settings.use_tls, api="status")
            if self._queries is None or self._queries.destination != destination:
                former = (self._queries, self._commands)
                self._queries, self._commands = Queries(destination), CallbackClient(destination)
                for connection in former:
                    if connection is not None:
                        await connection.close()
            return self._queries


class NoRecords:
    """Where there is no Stigmer: the role engine alone can do without, until a call needs a secret."""

    async def secrets_of(self, execution_id: str) -> Mapping[str, Json]:
        """Raises InvalidInput."""
        raise InvalidInput(
            f"the secrets of execution {execution_id!r} are not in Temporal, and this worker cannot ask Stigmer for them",
            code="temporal.secrets-unavailable",
            hint="give the worker STIGMER_SERVICE_ENDPOINT and a key, or all workers encryption keys (TEMPORAL_PAYLOAD_KEYS)",
        )


def _converted(spec: bytes) -> dict[str, Any] | list[Diagnostic]:
    """The document that a workflow of Stigmer's is, checked, or what is wrong with it. Runs in the child."""
    try:
        return dict(convert(WorkflowSpec.FromString(spec)).document)
    except ConversionFailed as error:
        return error.diagnostics
