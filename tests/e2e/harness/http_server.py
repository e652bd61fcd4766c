"""An HTTP server on this host that keeps account of who asked for what. Used by cases whose runs make calls."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.e2e.cluster import Cluster


@dataclass(frozen=True)
class HttpServer:
    """Answers every GET with an empty JSON object."""

    address: str
    asked: list[str] = field(default_factory=list)
    """The paths, in order of arrival."""


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[HttpServer]:
    """The server, where pods reach it."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """The cases look at `asked`."""

    with ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield HttpServer(f"http://{cluster.host_gateway}:{server.server_port}", asked)
        finally:
            server.shutdown()
            thread.join()
