"""Every example runs as its head says, and gives what this table says."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests import canaries
from tests.integration.cli.program import EXAMPLES, call

COMMUNICATION = "https://serverlessworkflow.io/spec/1.0.0/errors/communication"

OUTPUTS: list[tuple[str, Any, Any]] = [
    ("fork", {}, {"stock": True, "price": 3, "summary": "2 items for 3"}),
    ("fork", {"items": [3, 4, 5]}, {"stock": True, "price": 12, "summary": "3 items for 12"}),
    ("fork-compete", {}, {"by": "quick"}),
    ("schema", {}, {"legs": 0}),
    ("schema", {"pets": [{"name": "Milou"}, {"name": "Tim", "legs": 2}]}, {"legs": 6}),
    ("timeout", {}, {"status": 408, "where": "/do/0/guard/try/0/both"}),
    ("hello", {}, {"greeting": "Hello, world!"}),
    ("hello", {"name": "Ada"}, {"greeting": "Hello, Ada!"}),
    ("do", {}, {"order": "A-1", "gift": False, "steps": ["received", "packed", "labelled", "sent"]}),
    (
        "do",
        {"order": "B-7", "gift": True},
        {"order": "B-7", "gift": True, "steps": ["received", "packed", "labelled", "wrapped", "sent"]},
    ),
    (
        "set",
        {"width": 3, "height": 4},
        {"shape": "rectangle", "width": 3, "height": 4, "label": "3 by 4", "area": 12, "tags": ["rectangle", "flat"]},
    ),
    ("switch", {"kind": "electronic"}, {"delivery": "a link by mail"}),
    ("switch", {"kind": "physical"}, {"delivery": "a parcel"}),
    ("switch", {"kind": "tea"}, {"delivery": "tea is not sold here"}),
    ("for", {"prices": [10, 20, 70, 5], "budget": 50}, {"total": 30, "bought": [0, 1]}),
    ("for", {}, {"total": 26, "bought": [0, 1, 2]}),
    ("wait", {"pause": {"milliseconds": 1}}, {"waited": True}),
    ("raise", {"age": 20}, {"welcome": True}),
    ("try", {}, {"source": "cache", "because": "Service Unavailable", "where": "/do/0/guard/try/0/fragile"}),
    ("data-flow", {"user": {"name": "Ada", "born": 1815}}, {"name": "Ada", "decades": 21, "document": "data-flow"}),
    ("data-flow", {}, {"name": "Grace", "decades": 12, "document": "data-flow"}),
    ("then", {"number": 6}, {"number": 1, "steps": 8}),
    ("steps", {"passes": 3, "pause": "PT0.01S"}, {"done": 3}),
]


@pytest.mark.parametrize(
    ("name", "given", "output"), OUTPUTS, ids=[f"{name} {json.dumps(given)}" for name, given, _ in OUTPUTS]
)
def test_an_example_gives_what_it_says(name: str, given: Any, output: Any) -> None:
    ended = call("run", EXAMPLES / f"{name}.yaml", "--input", json.dumps(given))
    assert ended.code == 0, ended.err
    assert ended.output == output


def test_the_example_of_raise_faults_with_its_error() -> None:
    ended = call("run", EXAMPLES / "raise.yaml", "--input", '{"age": 12}')
    assert ended.code == 1
    assert ended.problem == {
        "type": "https://example.com/errors/under-age",
        "status": 403,
        "title": "Under Age",
        "detail": "12 is too young",
        "instance": "/do/0/refuse",
    }


def test_the_example_of_schemas_refuses_what_does_not_match() -> None:
    ended = call("run", EXAMPLES / "schema.yaml", "--input", '{"pets": [{"name": "Milou", "legs": "four"}]}')
    assert ended.code == 1
    assert ended.problem == {
        "type": "https://serverlessworkflow.io/spec/1.0.0/errors/validation",
        "status": 400,
        "title": "Validation Error",
        "detail": 'the data do not match input.schema: /pets/0/legs: the value is not of type "integer"',
        "instance": "/input/schema",
    }


def test_the_example_of_secrets_gets_them_from_the_environment() -> None:
    ended = call("run", EXAMPLES / "secrets.yaml", WORKFLOW_SECRET_GREETING_KEY=canaries.WORKFLOW_SECRET)
    assert ended.output == {"length": len(canaries.WORKFLOW_SECRET)}


def test_the_example_of_calls(pets: str) -> None:
    ended = call("run", EXAMPLES / "call-http.yaml", "--input", json.dumps({"base": pets, "id": 7}))
    assert ended.code == 0, ended.err
    assert ended.output == {"status": 200, "order": {"food": {"for": "Milou", "amount": 2}, "example": "call-http"}}


def test_every_example_is_here_and_valid_without_warnings() -> None:
    names = {path.stem for path in EXAMPLES.glob("*.yaml")}
    assert names == {name for name, _, _ in OUTPUTS} | {"call-http", "secrets"}
    ended = call("validate", *sorted(EXAMPLES.glob("*.yaml")))
    assert (ended.code, ended.err) == (0, "")


class _Pets(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path != "/pets/7?verbose=true":
            self._answer(404, {"asked": self.path})
        else:
            self._answer(200, {"id": 7, "name": "Milou", "kind": "dog"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self._answer(200 if self.path == "/orders" else 404, {"food": body, "example": self.headers["x-example"]})

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def pets() -> Iterator[str]:
    """The base address of a server that knows one pet and takes orders."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Pets)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()
