"""The parts of the DSL that this version knows but cannot run: their names, so that typing mistakes in them are
found and the message can say "not supported yet" rather than "unknown". `read_tasks` uses this table.
"""

from __future__ import annotations

from collections.abc import Mapping

CALL_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "asyncapi": (
        "document",
        "channel",
        "operation",
        "server",
        "protocol",
        "message",
        "subscription",
        "authentication",
    ),
    "grpc": ("proto", "service", "method", "arguments"),
    "openapi": ("document", "operationId", "parameters", "authentication", "output", "redirect"),
    "a2a": ("agentCard", "server", "method", "parameters"),
    "mcp": ("protocolVersion", "method", "parameters", "timeout", "transport", "client"),
}
"""The arguments of each built-in function but `http`; any other name is a function of the author's."""
