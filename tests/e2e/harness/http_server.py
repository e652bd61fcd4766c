"""An HTTP server on this host that keeps account of who asked for what, and of what was posted. Used by cases whose runs
make calls."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.e2e.cluster import Cluster
from tests.e2e.harness.waiting import wait_for

HELD_SECONDS = 60.0


@dataclass
class HttpServer:
    """Answers every GET and POST with an empty JSON object."""

    address: str = ""
    asked: list[str] = field(default_factory=list)
    """The paths, in order of arrival."""
    posted: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    """Headers, by lower-case names, and bodies."""
    _held: dict[str, threading.Event] = field(default_factory=dict)

    def hold(self, path: str) -> None:
        """From now on whoever asks for this waits until `release`: a run stands where a case wants it."""
        self._held[path] = threading.Event()

    def release(self) -> None:
        """Nobody waits any more."""
        for event in self._held.values():
            event.set()

    def wait_asked(self, path: str, times: int = 1) -> None:
        wait_for(lambda: self.asked.count(path), lambda count: count >= times, what=f"somebody asks for {path}")

    def arrived(self, path: str) -> None:
        """Keeps account of a request, and returns when it may be answered."""
        self.asked.append(path)
        if path in self._held:
            self._held[path].wait(HELD_SECONDS)


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[HttpServer]:
    """The server, where pods reach it."""
    account = HttpServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            account.arrived(self.path)
            with contextlib.suppress(OSError):  # who asked may have been killed
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            account.posted.append(({name.lower(): value for name, value in self.headers.items()}, body))
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """The cases look at `asked`."""

    with ThreadingHTTPServer(("0.0.0.0", 0), Handler) as server:
        account.address = f"http://{cluster.host_gateway}:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield account
        finally:
            account.release()
            server.shutdown()
            thread.join()
