"""Requests and answers as the modules of this package hand them to each other, and faults about them."""

from __future__ import annotations

import json
import ssl
from collections.abc import Awaitable, Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct
from yarl import URL

from workflow_runner import telemetry
from workflow_runner.dsl.problems import CONFIGURATION, Problem, WorkflowFault
from workflow_runner.dsl.templates import Json

if TYPE_CHECKING:
    from multidict import MultiMapping

MOST_COMPARED = 500
_LONGEST_COMPARED = 80

UNWRITABLE = "it has an infinite number or half of a character (a lone surrogate)"
"""What JSON texts may hold and no request can carry."""


class Request(Struct):
    """A request as it is sent; `str` of it says what was asked of whom, for messages.

    `tls` holds a client certificate; `seconds` is for the whole exchange where it is
    not what HttpCalls has, `largest` likewise for the answer.
    """

    method: str
    url: URL
    headers: dict[str, str]
    body: bytes | None
    output: str = "content"
    redirect: bool = False
    tls: ssl.SSLContext | None = None
    seconds: float | None = None
    largest: int | None = None

    def __str__(self) -> str:
        """For messages: without what may be secret."""
        return f"{self.method} {self.url.with_user(None).with_query(None).with_fragment(None)}"

    def __repr__(self) -> str:
        """Likewise: headers and bodies hold credentials."""
        return f"Request({str(self)!r})"


class Answer(Struct):
    """An answer, whole; `content_type` is in lower case and without parameters."""

    status: int
    headers: MultiMapping[str]
    content_type: str
    charset: str
    body: bytes

    def joined_headers(self) -> dict[str, str]:
        """The headers, named as they came; several of one name are joined by commas."""
        found: dict[str, str] = {}
        for name in self.headers:
            found.setdefault(name, ", ".join(self.headers.getall(name)))
        return found

    def __repr__(self) -> str:
        """Without what was answered: that may be a token, or repeat one."""
        return f"Answer({self.status})"


Exchange: TypeAlias = Callable[[Request], Awaitable[Answer]]
"""Sends a request and gives the answer, whatever its status. Raises WorkflowFault."""


def address_of(text: str, what: str = "the endpoint", *, encoded: bool = False) -> URL:
    """An http or https address with a host. Raises WorkflowFault (`configuration`).

    With `encoded` it is taken as it is, and not written in yarl's way, to which `%2C` and `,` are the same.
    """
    try:
        url = URL(text, encoded=encoded)
    except ValueError as error:
        raise fault(CONFIGURATION, f"{what} is not a valid address") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise fault(CONFIGURATION, f"{what} must be an http or https address with a host")
    return url


def closest(name: str, known: Iterable[str]) -> str | None:
    """What somebody may have meant. Comparing takes long: long names, and names beyond the first MOST_COMPARED, are not."""
    from difflib import get_close_matches

    candidates = [one for one in islice(known, MOST_COMPARED) if len(one) <= _LONGEST_COMPARED]
    return next(iter(get_close_matches(name, candidates, 1)), None) if len(name) <= _LONGEST_COMPARED else None


def is_json(media_type: str) -> bool:
    """Whether a media type, with parameters or without, says JSON."""
    kind = media_type.split(";")[0].strip().lower()
    return kind == "application/json" or kind.endswith("+json")


def json_bytes(value: Json) -> bytes:
    """A value as JSON in UTF-8. Raises ValueError for what it cannot be: infinite numbers, and halves of characters."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def fault(type_: str, detail: str, status: int | None = None) -> WorkflowFault:
    """A WorkflowFault of a standard type. What others said in its detail may repeat what they were given: without secrets."""
    return WorkflowFault(Problem.standard(type_, telemetry.redact(detail), status=status))
