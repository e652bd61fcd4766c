"""The socket of an HTTP endpoint: every address, IPv6 and IPv4 where there are both. Used by health, metrics, events."""

from __future__ import annotations

import errno
import socket

from workflow_runner.errors import InvalidInput

_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


def listen(port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one. Raises InvalidInput when the port is taken."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in _NO_IPV6:
                raise port_taken(f"port {port}", error.strerror) from error
    try:
        return socket.create_server(("", port))
    except OSError as error:
        raise port_taken(f"port {port}", error.strerror) from error


def port_taken(address: str, why: str | None) -> InvalidInput:
    """The error for an address that cannot be listened on."""
    return InvalidInput(
        f"{address} cannot be listened on: {why or 'no reason given'}",
        code="settings.port-unusable",
        hint="choose another with GRPC_PORT, HEALTH_PORT, METRICS_PORT or EVENTS_PORT",
    )
