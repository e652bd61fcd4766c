"""`call: agent`: an agent execution at Stigmer, made, followed to its end, and answered with what the agent said.

`calls.Calls` makes one AgentCalls for a host that was given an AgentService. Arguments, from interpreter/tasks/call_agent.py:
`agent`, `scope`, `org`, `message`, `env`, `model`, `temperature`, `output`, and `seconds` where there is a time limit; the
variables that are secret come apart, as the policies of authentication do.

The execution is named for the call's idempotency key and looked for before it is made, so that a call that is made
again follows the one that is there. Its state is heard by `subscribe` where Stigmer has that, and asked for by `get`
besides: a stream that misses the end, or breaks, costs time and nothing else.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

import grpc
import grpc.aio
from google.protobuf.message import Message
from msgspec import Struct, field

from workflow_runner import telemetry
from workflow_runner.calls.agent_service import AgentService
from workflow_runner.calls.grpc import STATUS, trusted_roots
from workflow_runner.calls.messages import fault
from workflow_runner.dsl.nodes import escape
from workflow_runner.dsl.problems import COMMUNICATION, CONFIGURATION, RUNTIME, TIMEOUT, VALIDATION
from workflow_runner.dsl.templates import Json
from workflow_runner.proto.ai.stigmer.agentic.agent.v1.api_pb2 import Agent
from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1 import enum_pb2 as words
from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1.api_pb2 import AgentExecution
from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1.io_pb2 import (
    AgentExecutionId,
    AgentExecutionList,
    ListAgentExecutionsRequest,
)
from workflow_runner.proto.ai.stigmer.agentic.agentexecution.v1.spec_pb2 import AgentExecutionSpec, ExecutionConfig
from workflow_runner.proto.ai.stigmer.commons.apiresource.apiresourcekind import api_resource_kind_pb2 as kinds
from workflow_runner.proto.ai.stigmer.commons.apiresource.io_pb2 import ApiResourceId, ApiResourceReference
from workflow_runner.proto.ai.stigmer.commons.apiresource.metadata_pb2 import ApiResourceMetadata

TOTAL_SECONDS = 300.0
"""For a call of a task that has no time limit."""

MOST_SECONDS = 24 * 3600.0
REQUEST_SECONDS = 15.0
"""For one request to Stigmer, of the few that a call takes."""

ATTEMPTS = 5
"""How often a request is made that Stigmer does not answer; and streams that break one after the other."""

ABANDON_SECONDS = 5.0
"""For ending an agent execution that nobody waits for any more."""

LARGEST_MESSAGE = 8 * 1024 * 1024
MOST_SAID = 2_000
"""Characters of what Stigmer says went wrong."""

TEMPERATURE = "workflowrunner.stigmer.ai/temperature"
"""The annotation with the temperature, for which Stigmer's API has no field."""

_AGENTS = "/ai.stigmer.agentic.agent.v1.AgentQueryController/"
_COMMANDS = "/ai.stigmer.agentic.agentexecution.v1.AgentExecutionCommandController/"
_QUERIES = "/ai.stigmer.agentic.agentexecution.v1.AgentExecutionQueryController/"
_API_VERSION, _KIND = "agentic.stigmer.ai/v1", "AgentExecution"
_ID_PREFIXES = ("agt-", "agt_")
_MOST_FORMER = 100
_TERMINAL = frozenset({words.EXECUTION_COMPLETED, words.EXECUTION_FAILED, words.EXECUTION_CANCELLED})
_AGAIN = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.CANCELLED,  # by a proxy on the way: our own cancellation is no status
    }
)
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", LARGEST_MESSAGE),
    ("grpc.max_send_message_length", LARGEST_MESSAGE),
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.primary_user_agent", "workflow-runner"),
]

_logger = logging.getLogger(__name__)
_M = TypeVar("_M", bound=Message)


class _Method(Struct, Generic[_M], frozen=True):
    path: str
    answer: type[_M]


_FIND_AGENT = _Method(f"{_AGENTS}getByReference", Agent)
_CREATE = _Method(f"{_COMMANDS}create", AgentExecution)
_DELETE = _Method(f"{_COMMANDS}delete", AgentExecution)
_GET = _Method(f"{_QUERIES}get", AgentExecution)
_LIST = _Method(f"{_QUERIES}list", AgentExecutionList)
_SUBSCRIBE = _Method(f"{_QUERIES}subscribe", AgentExecution)


class _Failed(Struct, frozen=True):
    """What Stigmer answered instead: returned and not raised, so that nothing raised later carries gRPC's own error,
    whose frames hold the key, as its context."""

    code: grpc.StatusCode
    details: str

    def __repr__(self) -> str:
        """Without what was said: it may quote what it was given."""
        return "_Failed()"


class _Asked(Struct):
    """One call. `execution_id` is known as soon as there is an execution; `begun` before that."""

    agent: str
    tag: str
    deadline: float
    output: str
    begun: bool = False
    execution_id: str = ""

    @property
    def remaining(self) -> float:
        """Seconds to the deadline, by the event loop's clock."""
        return max(self.deadline - asyncio.get_running_loop().time(), 0.0)

    def __repr__(self) -> str:
        """Without what the document says."""
        return f"_Asked(begun={self.begun is True})"


class _Pauses(Struct):
    """Pauses that double, each drawn from its upper half, in seconds."""

    first: float
    most: float
    taken: int = field(default=0)

    def next(self) -> float:
        whole = min(self.most, self.first * 2.0 ** min(self.taken, 30))
        self.taken += 1
        return random.uniform(whole / 2, whole)  # noqa: S311 - jitter, not a secret


class AgentCalls:
    """A client for agent calls over one connection, opened at the first call."""

    def __init__(
        self,
        service: AgentService,
        *,
        total_seconds: float = TOTAL_SECONDS,
        request_seconds: float = REQUEST_SECONDS,
        retry_seconds: tuple[float, float] = (0.25, 5.0),
        look_seconds: tuple[float, float] = (2.0, 30.0),
    ) -> None:
        """`retry_seconds` are the first and the longest pause after a failure, `look_seconds` between two questions after the
        state."""
        telemetry.conceal(service.api_key)
        self._service, self._key = service, service.api_key
        self._total, self._request, self._retry, self._look = total_seconds, request_seconds, retry_seconds, look_seconds
        self._channel: grpc.aio.Channel | None = None
        self._left = False
        self._streams = True
        """Whether Stigmer has `subscribe`, as far as is known."""

    def leave(self) -> None:
        """Agents go on with what they were asked: calls that are cancelled from now on will be made again."""
        self._left = True

    async def close(self) -> None:
        """Close the connection."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def call(
        self, arguments: Mapping[str, Json], *, idempotency_key: str, environment: Mapping[str, Json] | None = None
    ) -> Json:
        """Ask the agent, and give what it said. Raises WorkflowFault.

        `environment` is a resolved policy whose members are the variables that are secret. Faults: `configuration` for an agent
        that is not there; `runtime` for one that failed or was cancelled at Stigmer; `timeout`; by calls.grpc.STATUS for what
        Stigmer answers. When the caller is cancelled, and when time is over, the agent execution is deleted, if Stigmer can
        be reached.
        """
        given = cast("Mapping[str, Any]", arguments)
        seconds = min(max(float(given.get("seconds", self._total)), 0.0), MOST_SECONDS)
        tag = "call-" + hashlib.sha256(idempotency_key.encode()).hexdigest()[:32]
        asked = _Asked(given["agent"], tag, asyncio.get_running_loop().time() + seconds, given["output"])
        await self._read_key()
        try:
            async with asyncio.timeout(seconds):
                secret = {} if environment is None else cast("Mapping[str, Json]", environment["members"])
                execution = await self._execution(asked, given, secret)
                execution = await self._followed(asked, execution)
        except BaseException as error:
            if isinstance(error, TimeoutError | asyncio.CancelledError):
                await self._abandon(asked)
            if isinstance(error, TimeoutError):
                raise fault(TIMEOUT, f"the agent {asked.agent!r:.100} has not answered within {seconds:g} s") from None
            raise
        return _answer(asked, execution)

    async def _execution(self, asked: _Asked, given: Mapping[str, Any], secret: Mapping[str, Json]) -> AgentExecution:
        """The execution of this call: the one that is there already, or a new one."""
        variables = _environment(given["env"], secret)
        agent_id = await self._agent_id(asked, given)
        pauses = _Pauses(*self._retry)
        for attempt in range(1, ATTEMPTS + 1):
            former = await self._former(asked)
            live = [execution for execution in former if execution.status.phase not in _LOST]
            if live:
                asked.begun, asked.execution_id = True, live[0].metadata.id
                return live[0]
            request = _request(f"{asked.tag}-{len(former) + 1}", asked.tag, agent_id, given)
            for name, value in variables.items():
                request.spec.runtime_env[name].value = value[0]
                request.spec.runtime_env[name].is_secret = value[1]
            asked.begun = True
            made = await self._once(_CREATE, request, asked)
            if isinstance(made, AgentExecution):
                asked.execution_id = made.metadata.id
                return made
            again = made.code in _AGAIN or made.code is grpc.StatusCode.ALREADY_EXISTS
            if not again or attempt == ATTEMPTS:
                raise self._fault(asked, "the agent execution was not made", made)
            await asyncio.sleep(pauses.next())
        raise AssertionError  # the last attempt returns or raises

    async def _agent_id(self, asked: _Asked, given: Mapping[str, Any]) -> str:
        name: str = given["agent"]
        if name.startswith(_ID_PREFIXES):
            return name
        reference = ApiResourceReference(scope=given["scope"], org=given["org"], kind=kinds.agent, slug=name)
        found = await self._answered(_FIND_AGENT, reference, asked)
        if isinstance(found, Agent):
            return found.metadata.id
        if found.code is grpc.StatusCode.UNIMPLEMENTED:
            return name  # a Stigmer that takes names where it takes ids, or says what is wrong itself
        if found.code is grpc.StatusCode.NOT_FOUND:
            code = "call.unknown-agent"
            detail = f"{code}: Stigmer has no agent {name!r:.100} of scope {given['scope']}: {found.details}"
            raise fault(CONFIGURATION, detail.rstrip(": "), 404)
        raise self._fault(asked, "the agent could not be looked up", found)

    async def _former(self, asked: _Asked) -> list[AgentExecution]:
        """The executions that were made for this call, newest first."""
        found = await self._answered(_LIST, ListAgentExecutionsRequest(page_size=_MOST_FORMER, tags=[asked.tag]), asked)
        if isinstance(found, AgentExecutionList):
            # Asked for by tag; whether that was looked at is not taken for granted.
            mine = [execution for execution in found.entries if asked.tag in execution.metadata.tags]
            return sorted(mine, key=lambda execution: _number(execution.metadata.name), reverse=True)
        if found.code is grpc.StatusCode.UNIMPLEMENTED:
            return []
        raise self._fault(asked, "former agent executions could not be looked up", found)

    async def _followed(self, asked: _Asked, execution: AgentExecution) -> AgentExecution:
        """The execution at its end."""
        streams, broken = self._streams, 0
        pauses, looks = _Pauses(*self._retry), _Pauses(*self._look)
        while execution.status.phase not in _TERMINAL:
            if streams:
                async with self._updates(asked) as stream:
                    ended = await self._heard(asked, stream)
                if isinstance(ended, AgentExecution):
                    return ended
                if ended.code is grpc.StatusCode.UNIMPLEMENTED:
                    self._streams = streams = False
                elif ended.code not in _AGAIN and ended.code is not grpc.StatusCode.OK:
                    raise self._fault(asked, "the agent execution cannot be followed", ended)
                else:
                    broken += 1
                    streams = broken < ATTEMPTS
                    await asyncio.sleep(pauses.next())
            else:
                await asyncio.sleep(looks.next())
            execution = await self._state(asked)
        return execution

    async def _state(self, asked: _Asked) -> AgentExecution:
        state = await self._answered(_GET, AgentExecutionId(value=asked.execution_id), asked)
        if isinstance(state, _Failed):
            raise self._fault(asked, "the state of the agent execution cannot be read", state)
        return state

    @asynccontextmanager
    async def _updates(self, asked: _Asked) -> AsyncIterator[Any]:
        call: Any = self._open().unary_stream(
            _SUBSCRIBE.path, request_serializer=_written, response_deserializer=AgentExecution.FromString
        )(AgentExecutionId(value=asked.execution_id), timeout=asked.remaining, metadata=self._metadata())
        try:
            yield call
        finally:
            call.cancel()

    async def _heard(self, asked: _Asked, stream: Any) -> AgentExecution | _Failed:
        """What the stream said last: the execution at its end, or how the stream ended without it."""
        looks = _Pauses(*self._look)
        while True:
            reading = asyncio.ensure_future(_read(stream))
            try:
                while not reading.done():
                    await asyncio.wait([reading], timeout=looks.next())
                    if not reading.done():
                        # Nothing for a while: the stream may have missed the end.
                        state = await self._state(asked)
                        if state.status.phase in _TERMINAL:
                            return state
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            update = reading.result()
            if isinstance(update, _Failed) or update.status.phase in _TERMINAL:
                return update

    async def _answered(self, method: _Method[_M], request: Message, asked: _Asked) -> _M | _Failed:
        """Ask, in up to ATTEMPTS attempts, what may be asked twice."""
        pauses = _Pauses(*self._retry)
        for _ in range(ATTEMPTS - 1):
            answer = await self._once(method, request, asked)
            if not isinstance(answer, _Failed) or answer.code not in _AGAIN:
                return answer
            await asyncio.sleep(pauses.next())
        return await self._once(method, request, asked)

    async def _once(self, method: _Method[_M], request: Message, asked: _Asked | None) -> _M | _Failed:
        seconds = self._request if asked is None else min(self._request, asked.remaining)
        call: Any = self._open().unary_unary(
            method.path, request_serializer=_written, response_deserializer=method.answer.FromString
        )
        try:
            return cast("_M", await call(request, timeout=seconds, metadata=self._metadata()))
        except grpc.aio.AioRpcError as error:
            return _failed(error)
        except Exception as error:  # noqa: BLE001 - such as a key that no header can hold: the call's trouble only
            return _Failed(grpc.StatusCode.UNAUTHENTICATED, f"the request cannot be made: {type(error).__name__}")

    async def _abandon(self, asked: _Asked) -> None:
        """End an execution that nobody waits for any more, where that is possible."""
        if not asked.begun or self._left:
            return
        try:
            async with asyncio.timeout(ABANDON_SECONDS):
                if not asked.execution_id:
                    # Whether it was made is not known.
                    found = await self._once(_LIST, ListAgentExecutionsRequest(page_size=1, tags=[asked.tag]), None)
                    mine = (
                        [] if isinstance(found, _Failed) else [one for one in found.entries if asked.tag in one.metadata.tags]
                    )
                    asked.execution_id = mine[0].metadata.id if mine else ""
                if asked.execution_id:
                    ended = await self._once(_DELETE, ApiResourceId(value=asked.execution_id), None)
                    if isinstance(ended, _Failed) and ended.code is not grpc.StatusCode.NOT_FOUND:
                        said = f"{ended.code.name}: {ended.details}"
                        _logger.warning("the agent execution %s goes on at Stigmer: %s", asked.execution_id, said)
        except TimeoutError:
            _logger.warning("the agent execution %s may go on at Stigmer: it did not answer", asked.execution_id or asked.tag)

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            service = self._service
            if service.use_tls:
                credentials = grpc.ssl_channel_credentials(service.ca_pem or trusted_roots())
                self._channel = grpc.aio.secure_channel(service.endpoint, credentials, _OPTIONS)
            else:
                self._channel = grpc.aio.insecure_channel(service.endpoint, _OPTIONS)
        return self._channel

    async def _read_key(self) -> None:
        """Know the key as it is now. Raises WorkflowFault (`configuration`)."""
        file = self._service.api_key_file
        if file is None:
            return
        try:
            self._key = (await asyncio.to_thread(file.read_text)).strip()
        except (OSError, ValueError):
            raise fault(CONFIGURATION, "the file with Stigmer's API key cannot be read") from None
        telemetry.conceal(self._key)

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        key = self._key
        return (("authorization", f"Bearer {key}"),) if key else ()

    def _fault(self, asked: _Asked, what: str, failed: _Failed) -> Exception:
        type_, status = STATUS.get(failed.code, (COMMUNICATION, 500))
        which = f" (agent {asked.agent!r:.100}{f', execution {asked.execution_id}' if asked.execution_id else ''})"
        said = f": {failed.details}" if failed.details else ""
        return fault(type_, f"{what}{which}: Stigmer at {self._service.endpoint} answered {failed.code.name}{said}", status)


_LOST = frozenset({words.EXECUTION_FAILED, words.EXECUTION_CANCELLED})
"""Phases that no call can be answered from: a repeated one asks the agent again."""


async def _read(stream: Any) -> AgentExecution | _Failed:
    try:
        update = await stream.read()
    except grpc.aio.AioRpcError as error:
        return _failed(error)
    return _Failed(grpc.StatusCode.OK, "") if update is grpc.aio.EOF else cast("AgentExecution", update)


def _failed(error: grpc.aio.AioRpcError) -> _Failed:
    details = (error.details() or "").replace("\n", " ")
    return _Failed(error.code(), telemetry.redact(details)[:MOST_SAID])


def _written(message: Message) -> bytes:
    return message.SerializeToString()


def _number(name: str) -> int:
    """Which of a call's executions it is, by its name."""
    last = name.rpartition("-")[2]
    return int(last) if last.isascii() and last.isdigit() else 0


def _request(name: str, tag: str, agent_id: str, given: Mapping[str, Any]) -> AgentExecution:
    temperature = given["temperature"]
    return AgentExecution(
        api_version=_API_VERSION,
        kind=_KIND,
        metadata=ApiResourceMetadata(
            name=name,
            slug=name,
            org=given["org"],
            tags=[tag],
            annotations={} if temperature is None else {TEMPERATURE: json.dumps(temperature)},
        ),
        spec=AgentExecutionSpec(
            agent_id=agent_id,
            message=given["message"],
            execution_config=ExecutionConfig(model_name=given["model"]) if given["model"] else None,
        ),
    )


def _environment(plain: Mapping[str, Json], secret: Mapping[str, Json]) -> dict[str, tuple[str, bool]]:
    """Values of variables and whether each is secret; a text is taken as it is, anything else as JSON."""
    found: dict[str, tuple[str, bool]] = {}
    whole = secret.get("*")
    if "*" in secret:
        if not isinstance(whole, dict):
            raise fault(VALIDATION, "/with/env: it must be an object, and its expression gave another kind of value")
        secret = whole
    for values, hidden in ((plain, False), (secret, True)):
        for name, value in values.items():
            if value is None:
                raise fault(VALIDATION, f"/with/env/{escape(name):.100}: it has no value (null)")
            found[name] = (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False), hidden)
    return found


def _answer(asked: _Asked, execution: AgentExecution) -> Json:
    """The task's raw output. Raises WorkflowFault for an execution that did not complete."""
    status = execution.status
    which = f"the agent {asked.agent!r:.100} (execution {execution.metadata.id or asked.execution_id})"
    if status.phase == words.EXECUTION_CANCELLED:
        raise fault(RUNTIME, f"{which} was cancelled at Stigmer")
    if status.phase == words.EXECUTION_FAILED:
        raise fault(RUNTIME, f"{which} failed: {status.error[:MOST_SAID] or 'Stigmer gave no reason'}")
    said = [message.content for message in status.messages if message.type == words.MESSAGE_AI and message.content]
    if asked.output == "content":
        return said[-1] if said else None
    return {
        "id": execution.metadata.id or asked.execution_id,
        "message": said[-1] if said else None,
        "messages": cast("list[Json]", [_message(message) for message in status.messages]),
        "startedAt": status.started_at or None,
        "completedAt": status.completed_at or None,
    }


def _message(message: Any) -> Json:
    kind = words.MessageType.Name(message.type) if message.type in words.MessageType.values() else ""
    return {"type": kind.removeprefix("MESSAGE_").lower(), "content": message.content, "timestamp": message.timestamp or None}
