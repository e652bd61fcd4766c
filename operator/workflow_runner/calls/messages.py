"""Requests and answers as the modules of this package hand them to each other, and faults about them."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from msgspec import Struct
from yarl import URL

from workflow_runner.dsl.problems import CONFIGURATION, Problem, WorkflowFault


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


class Answer(Struct):
    """An answer, whole; `headers` are named as they came, several of one name joined by commas.

    `content_type` is in lower case and without parameters.
    """

    status: int
    reason: str
    headers: dict[str, str]
    content_type: str
    charset: str
    body: bytes


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


def fault(type_: str, detail: str, status: int | None = None) -> WorkflowFault:
    """A WorkflowFault of a standard type."""
    return WorkflowFault(Problem.standard(type_, detail, status=status))
