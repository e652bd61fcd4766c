"""What a scenario gives to a host, what a host saw, and what a host is.

A Case is plain data, made from a scenario's steps (steps.py); hosts.py carries it out. A host that comes later (a
durable one) implements Host and is added to `hosts.HOSTS`: scenarios and steps know nothing of hosts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal, Protocol

from workflow_runner.dsl.templates import Json

SERVICE = "http://service.example"
"""Stands in scenarios for the HTTP server of the run."""
SECURE = "https://secure.example"
"""Stands in scenarios for the same server by TLS, which asks clients for a certificate."""
GREETER_PORT = "50051"
"""Stands in scenarios for the port of the gRPC service."""
_HEADER = "document: {dsl: '1.0.3', namespace: tests, name: test, version: '1.0.0'}\n"
_DOES_IO = re.compile(r"(?:^|[\s{,])(?:call|run|resource|authentication|schedule):")


@dataclass(frozen=True)
class Answer:
    """What the HTTP server says once; nothing at all without a status."""

    status: int | None
    body: str = ""
    content_type: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Arrival:
    """An event from outside, which comes when the run listens and the task `after` (any, when empty) has started."""

    event: dict[str, Json]
    after: str = ""


@dataclass
class Case:
    """All that a host needs to run or validate a document."""

    document: str = ""
    beside: list[str] = field(default_factory=list)
    """Other documents, which `run: workflow` may name."""
    input: Json = None
    secrets: dict[str, Json] = field(default_factory=dict)
    answers: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    """By method and path, one after the other; the last one stays."""
    arrivals: list[Arrival] = field(default_factory=list)
    default_catalog: str = ""
    """The path of the runner's own catalog at the server."""
    greeter: bool = False
    client: tuple[str, str] | None = None
    """The name of a client, and of the secret that has its certificate and key; the server is then there by TLS, too."""
    steering: tuple[Literal["pause", "cancel"], str] | None = None
    """What is done when that task has started."""
    validated: bool = False
    """Only validated, not run."""
    scheduled: int = 0
    """So many runs of its schedule are waited for; the output is then the array of theirs. 0 is one run at once."""
    wants: set[str] = field(default_factory=set)
    """What the scenario looks at besides the outcome: "lifecycle", "emitted", "time"."""
    command: bool = False
    """Tagged for the command line, too, which takes half a second a scenario."""

    @property
    def text(self) -> str:
        """The document as it is given to hosts. The `document` part is added at the end, so that lines stay."""
        return with_header(self.document)

    @property
    def does_io(self) -> bool:
        """Whether a host without any connection to the world cannot run it."""
        return bool(self.answers or self.beside or self.greeter or self.client or _DOES_IO.search(self.document))


def with_header(document: str) -> str:
    """A document with the `document` part, where it has none; one in braces is left as it is."""
    if document.lstrip().startswith("{") or re.search(r"^document:", document, re.MULTILINE):
        return document
    return f"{document.rstrip()}\n{_HEADER}"


@dataclass(frozen=True)
class Request:
    """A request as the server got it; header names are in lower case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: dict[str, str]
    body: str
    client: str = ""
    """The name in the certificate of the client that asked by TLS."""


@dataclass(frozen=True)
class Finding:
    """Something that validation said."""

    severity: str
    code: str
    line: int
    column: int


@dataclass
class Observed:
    """What came of a case. `ended` says which of the other members count."""

    ended: Literal["completed", "faulted", "cancelled", "valid", "invalid"]
    output: Json = None
    error: dict[str, Json] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    tasks: list[tuple[str, str]] = field(default_factory=list)
    """What happened to tasks, in order: ("started", "greet"), and ("started", "greet[2]") in a loop."""
    requests: list[Request] = field(default_factory=list)
    emitted: list[Json] = field(default_factory=list)
    lifecycle: list[Json] = field(default_factory=list)
    sink_types: set[str] = field(default_factory=set)
    """The content types of what came to the sinks of events."""
    seconds: float | None = None
    sleeps: list[float] = field(default_factory=list)
    """Only known where time is virtual."""
    authorizations: list[str] = field(default_factory=list)
    """What calls of the gRPC service said."""
    url: str = SERVICE
    """Where the HTTP server was."""


class Host(Protocol):
    """Something that runs documents."""

    name: str
    what: str

    def runs(self, case: Case) -> bool:
        """Whether this host can carry the case out; only the case's data decide."""

    async def observe(self, case: Case) -> Observed:
        """Carry it out."""
