"""Stigmer's agents for tests: a real gRPC server with the few methods that `call: agent` uses.

In a test's own event loop: `async with AgentServer(...) as stigmer`. Executions stand still until the test ends them, or end at
once where `answers` says what agents say.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Self

import grpc
import grpc.aio

from workflow_runner.proto.ai.stigmer.agentic.agent.v1 import query_pb2_grpc as agent_query
from workflow_runner.proto.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1 import command_pb2_grpc as execution_command
from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1 import enum_pb2 as words
from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1 import query_pb2_grpc as execution_query
from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution, AgentMessage
from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1.io_pb2 import AgentExecutionList
from workflow_runner.proto.ai.stigmer.commons.apiresource import enum_pb2 as owners

Context = grpc.aio.ServicerContext[Any, Any]
TERMINAL = (words.EXECUTION_COMPLETED, words.EXECUTION_FAILED, words.EXECUTION_CANCELLED)


@dataclass
class AgentServer(
    agent_query.AgentQueryControllerServicer,
    execution_command.AgentExecutionCommandControllerServicer,
    execution_query.AgentExecutionQueryControllerServicer,
):
    """The server, which knows the agents in `agents`: (scope, slug) → id."""

    api_key: str = field(repr=False)
    tls: tuple[bytes, bytes] | None = None
    """Private key and certificate chain, PEM; plaintext without."""
    agents: dict[tuple[int, str], str] = field(default_factory=lambda: {(owners.organization, "reviewer"): "agt-1"})
    answers: Callable[[AgentExecution], str] | None = None
    unimplemented: set[str] = field(default_factory=set)
    failures: dict[str, list[grpc.StatusCode]] = field(default_factory=dict)
    """What the next calls of a method are answered with, first to last."""
    mute: bool = False
    """Streams never say anything."""
    blind: int = 0
    """How many calls of `list` do not see anything yet."""
    unfiltered: bool = False
    """`list` does not look at tags."""
    hold: asyncio.Event | None = None
    """`create` makes the execution at once and answers when this is set."""
    listen: str = "127.0.0.1:0"
    executions: dict[str, AgentExecution] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    streams: int = 0
    """How many are open."""
    _server: grpc.aio.Server | None = None
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def __aenter__(self) -> Self:
        await self.up()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.down()

    async def up(self) -> None:
        """Listen; on the same port as before."""
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        agent_query.add_AgentQueryControllerServicer_to_server(self, server)
        execution_command.add_AgentExecutionCommandControllerServicer_to_server(self, server)
        execution_query.add_AgentExecutionQueryControllerServicer_to_server(self, server)
        if self.tls is None:
            port = server.add_insecure_port(self.listen)
        else:
            port = server.add_secure_port(self.listen, grpc.ssl_server_credentials([self.tls]))
        self.listen = f"127.0.0.1:{port}"
        await server.start()
        self._server = server

    async def down(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(grace=None)

    async def getByReference(self, request: Any, context: Context) -> Agent:
        """Find an agent."""
        await self._called("getByReference", context)
        found = self.agents.get((request.scope, request.slug))
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such agent")
        agent = Agent(kind="Agent")
        agent.metadata.id = found or ""
        return agent

    async def create(self, request: AgentExecution, context: Context) -> AgentExecution:
        """Keep an execution; names are taken once."""
        await self._called("create", context)
        if any(one.metadata.name == request.metadata.name for one in self.executions.values()):
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "the name is taken")
        made = AgentExecution()
        made.CopyFrom(request)
        made.metadata.id = f"aex-{len(self.executions) + len(self.deleted) + 1}"
        made.status.phase = words.EXECUTION_PENDING
        self.executions[made.metadata.id] = made
        await self._tell()
        if self.hold is not None:
            await self.hold.wait()
        if self.answers is not None:
            await self.end(made.metadata.id, self.answers(made))
        return made

    async def delete(self, request: Any, context: Context) -> AgentExecution:
        """Forget an execution."""
        await self._called("delete", context)
        gone = self.executions.pop(request.value, None)
        if gone is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such execution")
        self.deleted.append(request.value)
        await self._tell()
        return gone or AgentExecution()

    async def get(self, request: Any, context: Context) -> AgentExecution:
        """The state of an execution."""
        await self._called("get", context)
        found = self.executions.get(request.value)
        if found is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such execution")
        return found or AgentExecution()

    async def list(self, request: Any, context: Context) -> AgentExecutionList:
        """Executions by tag."""
        await self._called("list", context)
        if self.blind:
            self.blind -= 1
            return AgentExecutionList()
        wanted = set() if self.unfiltered else set(request.tags)
        return AgentExecutionList(entries=[one for one in self.executions.values() if wanted <= set(one.metadata.tags)])

    async def subscribe(self, request: Any, context: Context) -> AsyncIterator[AgentExecution]:
        """The state of an execution as it changes."""
        await self._called("subscribe", context)
        self.streams += 1
        await self._tell()
        try:
            while True:
                async with self._changed:
                    state = AgentExecution()
                    state.CopyFrom(self.executions[request.value])
                if not self.mute:
                    yield state
                    if state.status.phase in TERMINAL:
                        return
                async with self._changed:
                    await self._changed.wait()
        finally:
            self.streams -= 1

    async def end(self, execution: str, text: str = "", *, phase: int = words.EXECUTION_COMPLETED, error: str = "") -> None:
        """Bring an execution to its end, with something that the agent said."""
        status = self.executions[execution].status
        status.messages.append(AgentMessage(type=words.MESSAGE_HUMAN, content=self.executions[execution].spec.message))
        status.messages.append(AgentMessage(type=words.MESSAGE_AI, content="Let me see."))
        status.messages.append(AgentMessage(type=words.MESSAGE_TOOL, content="{}"))
        status.messages.append(AgentMessage(type=words.MESSAGE_AI, content=text))
        status.error, status.completed_at = error, "2026-01-01T00:00:00Z"
        status.phase = phase  # type: ignore[assignment]  # the enum's numbers are its values
        await self._tell()

    async def until(self, holds: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until something holds that changes with calls; TimeoutError otherwise."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(holds)

    async def _called(self, method: str, context: Context) -> None:
        self.called.append(method)
        await self._tell()
        if method in self.unimplemented:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not here")
        authorization = str(dict(context.invocation_metadata() or ()).get("authorization", ""))
        if authorization != f"Bearer {self.api_key}":
            # It quotes what it was given, as careless servers do.
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, f"bad credentials: {_bare(authorization)}")
        waiting = self.failures.get(method)
        if waiting:
            await context.abort(waiting.pop(0), f"told to, {_bare(authorization)}")

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _bare(authorization: str) -> str:
    """The key alone."""
    return authorization.removeprefix("Bearer ")
