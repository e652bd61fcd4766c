"""The attributes by which runs are found in Temporal, where its namespace has them (docs/temporal.md). Used by run.py.

A server refuses to start a workflow with attributes that it does not know, and administrators add them: so a client asks
once which ones there are. A server that does not say (Temporal Cloud asks for other rights) gets none.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from weakref import WeakKeyDictionary

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.service import RPCError

EXECUTION_ID = SearchAttributeKey.for_keyword("StigmerExecutionId")
WORKFLOW = SearchAttributeKey.for_keyword("StigmerWorkflow")
KEYS = (EXECUTION_ID, WORKFLOW)

_ASK = timedelta(seconds=5)
_known: WeakKeyDictionary[Client, frozenset[str]] = WeakKeyDictionary()

log = logging.getLogger(__name__)


async def search_attributes(client: Client, execution_id: str, workflow: str) -> TypedSearchAttributes:
    """Those of a run that the client's namespace can search by; `workflow` is `namespace/name:version`."""
    if client not in _known:
        _known[client] = await _registered(client)
    values = {EXECUTION_ID.name: (EXECUTION_ID, execution_id), WORKFLOW.name: (WORKFLOW, workflow)}
    found = [SearchAttributePair(key, value) for name, (key, value) in values.items() if name in _known[client]]
    return TypedSearchAttributes(found)


async def _registered(client: Client) -> frozenset[str]:
    try:
        answer = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), timeout=_ASK
        )
    except RPCError as error:
        log.info("the server does not say which search attributes it has; runs get none", extra={"error": error.message[:200]})
        return frozenset()
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    return frozenset(key.name for key in KEYS if answer.custom_attributes.get(key.name) == keyword)
