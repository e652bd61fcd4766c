"""`call: openapi`: finds the operation in its document and makes the request, which `calls.http` sends.

Arguments, from interpreter/tasks/call_openapi.py: `document` (its URI), `operationId`, `parameters`, `output` and
`redirect` (as those of http). Authentication is for the operation; the document has its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import cast

from workflow_runner import telemetry
from workflow_runner.calls.http import HttpCalls
from workflow_runner.calls.messages import UNWRITABLE, fault
from workflow_runner.calls.openapi_documents import (
    LARGEST_DOCUMENT,
    InvalidOpenApi,
    OpenApiDocument,
    UnknownOperation,
    read_openapi_document,
)
from workflow_runner.calls.openapi_requests import request_for
from workflow_runner.calls.resources import Resources
from workflow_runner.dsl.problems import CONFIGURATION, VALIDATION
from workflow_runner.dsl.templates import Json


class OpenApiCalls:
    """Calls operations over one host's http client."""

    def __init__(self, http: HttpCalls, resources: Resources) -> None:
        self._http = http
        self._resources = resources

    async def call(
        self,
        arguments: Mapping[str, Json],
        *,
        idempotency_key: str,
        authentication: Mapping[str, Json] | None = None,
        resource_authentication: Mapping[str, Json] | None = None,
    ) -> Json:
        """Call the operation and give what `output` asks for. Raises WorkflowFault.

        Faults: `configuration` for a document that cannot be used and an operation that it does not have; `validation` for
        parameters that do not fit; for the rest as HttpCalls.call.
        """
        uri = cast("str", arguments["document"])
        identifier = cast("str", arguments["operationId"])
        parameters = cast("Mapping[str, Json]", arguments["parameters"])

        async def read(text: bytes) -> OpenApiDocument:
            return await asyncio.to_thread(read_openapi_document, text, uri)

        try:
            document = await self._resources.get(
                "OpenAPI document", uri, read, largest=LARGEST_DOCUMENT, authentication=resource_authentication
            )
            operation = document.operation(identifier)
        except InvalidOpenApi as error:
            raise fault(CONFIGURATION, f"/with/document: the OpenAPI document cannot be used: {error}") from error
        except UnknownOperation as error:
            raise fault(CONFIGURATION, f"/with/operationId: {error}") from error
        keys = {parameter.name for parameter in operation.parameters if parameter.secret}
        for name in keys:
            telemetry.conceal_all(parameters.get(name), passing=True)
        try:
            request = request_for(operation, parameters)
        except ValueError as error:
            raise fault(VALIDATION, f"/with/parameters: a value cannot be written: {UNWRITABLE}") from error
        found = await self._http.call(
            {
                "method": request.method,
                "uri": request.uri,
                "encoded": True,
                "headers": cast("Json", request.headers),
                "query": {},
                "output": arguments["output"],
                "redirect": arguments["redirect"],
            },
            idempotency_key=idempotency_key,
            content=request.content,
            authentication=authentication,
        )
        if arguments["output"] == "response" and keys:
            headers = cast("dict[str, dict[str, dict[str, Json]]]", found)["request"]["headers"]
            for name in keys:
                headers.pop(name, None)
        return found
