"""Side effects of tasks, one module a protocol; hosts reach them through `Calls`.

A protocol's module takes the arguments that the interpreter made (all JSON), gives the task's raw
output, and raises WorkflowFault for whatever went wrong outside. Nothing of a protocol is imported
before the first call that needs it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from workflow_runner.calls.imports import imported
from workflow_runner.dsl.problems import CONFIGURATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json

if TYPE_CHECKING:
    from workflow_runner.calls.addresses import AddressRules
    from workflow_runner.calls.agent import AgentCalls
    from workflow_runner.calls.agent_service import AgentService
    from workflow_runner.calls.grpc import GrpcCalls
    from workflow_runner.calls.http import HttpCalls
    from workflow_runner.calls.openapi import OpenApiCalls
    from workflow_runner.calls.process import Processes, ProcessRules
    from workflow_runner.calls.resources import Resources

_T = TypeVar("_T")


async def _as_it_is(text: bytes) -> bytes:
    return text


class Calls:
    """The connections of one host. Close it when no call is running any more."""

    def __init__(
        self,
        addresses: AddressRules | None = None,
        processes: ProcessRules | None = None,
        agents: AgentService | None = None,
    ) -> None:
        self._agent_service = agents
        self._agents: AgentCalls | None = None
        self._process_rules = processes
        self._processes: Processes | None = None
        self._addresses = addresses
        self._http: HttpCalls | None = None
        self._resources: Resources | None = None
        self._openapi: OpenApiCalls | None = None
        self._grpc: GrpcCalls | None = None

    async def call(
        self,
        protocol: str,
        arguments: Mapping[str, Json],
        *,
        idempotency_key: str,
        authentication: Mapping[str, Json] | None = None,
        resource_authentication: Mapping[str, Json] | None = None,
    ) -> Json:
        """Carry out one call. Raises WorkflowFault; every call ends by its own deadline.

        `authentication` is a policy with all values (`interpreter.authentication.resolved`), `resource_authentication`
        one for getting the document that an openapi or grpc call needs. The protocol "authorization"
        tells what it comes to, for `$authorization`: `{"scheme", "parameter"}`, or null for a certificate.
        """
        match protocol:
            case "http":
                http = await self._http_calls()
                return await http.call(arguments, idempotency_key=idempotency_key, authentication=authentication)
            case "authorization":
                http = await self._http_calls()
                found = None if authentication is None else await http.authenticator.authorization(authentication)
                return None if found is None else {"scheme": found.scheme, "parameter": found.parameter}
            case "openapi" | "grpc":
                described = await (self._openapi_calls() if protocol == "openapi" else self._grpc_calls())
                return await described.call(
                    arguments,
                    idempotency_key=idempotency_key,
                    authentication=authentication,
                    resource_authentication=resource_authentication,
                )
            case "agent":
                agents = await self._agent_calls()
                return await agents.call(arguments, idempotency_key=idempotency_key, environment=authentication)
            case "activity":
                code = "call.no-temporal"
                detail = f"{code}: the activity {arguments['activity']!r:.100} is not called: this runner does not use Temporal"
                raise WorkflowFault(Problem.standard(CONFIGURATION, detail))
            case "process":
                return await self._running().call(arguments, resource_authentication=resource_authentication)
            case _:
                detail = f"this runner has no calls by the protocol '{protocol}'"
                raise WorkflowFault(Problem.standard(CONFIGURATION, detail))

    async def document(
        self,
        kind: str,
        uri: str,
        read: Callable[[bytes], Awaitable[_T]],
        *,
        largest: int,
        authentication: Mapping[str, Json] | None = None,
    ) -> _T:
        """What `read` makes of a document at an address (resources.Resources.get). Raises WorkflowFault."""
        _, resources = await self._resources_over_http()
        return await resources.get(kind, uri, read, largest=largest, authentication=authentication)

    @property
    def left(self) -> bool:
        """Whether there are processes that nobody waits for."""
        return self._processes is not None and self._processes.left

    def leave(self) -> None:
        """Calls that are broken off from now on will be made again: what others do for them is left to them."""
        if self._agents is not None:
            self._agents.leave()

    async def linger(self, seconds: float) -> None:
        """Wait so long at most for the processes that nobody waits for."""
        if self._processes is not None:
            await self._processes.linger(seconds)

    def _running(self) -> Processes:
        if self._processes is None:
            from workflow_runner.calls import process

            async def source(uri: str, authentication: Mapping[str, Json] | None) -> bytes:
                return await self.document(
                    "script", uri, _as_it_is, largest=process.LARGEST_SCRIPT, authentication=authentication
                )

            self._processes = process.Processes(self._process_rules or process.ProcessRules(), source)
        return self._processes

    async def _http_calls(self) -> HttpCalls:
        if self._http is None:
            module = await imported("workflow_runner.calls.http")
            self._http = self._http or module.HttpCalls(addresses=self._addresses)
        return self._http

    async def _openapi_calls(self) -> OpenApiCalls:
        if self._openapi is None:
            http, resources = await self._resources_over_http()
            module = await imported("workflow_runner.calls.openapi")
            self._openapi = self._openapi or module.OpenApiCalls(http, resources)
        return self._openapi

    async def _grpc_calls(self) -> GrpcCalls:
        if self._grpc is None:
            http, resources = await self._resources_over_http()
            module = await imported("workflow_runner.calls.grpc")
            self._grpc = self._grpc or module.GrpcCalls(http.authenticator, resources, addresses=self._addresses)
        return self._grpc

    async def _agent_calls(self) -> AgentCalls:
        if self._agent_service is None:
            code = "call.no-stigmer"
            detail = (
                f"{code}: no agent is asked: this runner was not told where Stigmer is. STIGMER_SERVICE_ENDPOINT and"
                " STIGMER_SERVICE_API_KEY say so to `workflow-runner run` and `serve`; launched pods never have the key"
            )
            raise WorkflowFault(Problem.standard(CONFIGURATION, detail))
        if self._agents is None:
            module = await imported("workflow_runner.calls.agent")
            self._agents = self._agents or module.AgentCalls(self._agent_service)
        return self._agents

    async def _resources_over_http(self) -> tuple[HttpCalls, Resources]:
        http = await self._http_calls()
        if self._resources is None:
            module = await imported("workflow_runner.calls.resources")
            self._resources = self._resources or module.Resources(http)
        return http, self._resources

    async def close(self) -> None:
        """Close the connections, and end processes that nobody waits for."""
        if self._processes is not None:
            await self._processes.close()
            self._processes = None
        if self._grpc is not None:
            await self._grpc.close()
            self._grpc = None
        if self._agents is not None:
            await self._agents.close()
            self._agents = None
        self._openapi = self._resources = None
        if self._http is not None:
            await self._http.close()
            self._http = None
