"""`workflow-runner conformance`: calls a running implementation of the runner API, and says what it does right and wrong."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlsplit

import yaml
from cyclopts import Parameter

from workflow_runner import telemetry
from workflow_runner.errors import InvalidInput
from workflow_runner.settings import log_level

if TYPE_CHECKING:
    import grpc

    from workflow_runner.runner_checks.profile import Profile
    from workflow_runner.runner_checks.suite import Limits, Result

PASSED, FAILED, CANCELLED = 0, 1, 3
LARGEST_FILE = 1024 * 1024


def conformance(
    endpoint: Annotated[str, Parameter(help="Where the runner listens: grpc://HOST:PORT, or grpcs:// with TLS.")],
    *,
    profile: Annotated[
        Path | None, Parameter(help="Documents for runs, for a runner of another language; see docs/runner-conformance.md.")
    ] = None,
    only: Annotated[
        tuple[str, ...],
        Parameter(
            help="Only this check, such as CANCEL-2, or all of CANCEL. May be repeated.", negative="", show_default=False
        ),
    ] = (),
    token: Annotated[str | None, Parameter(help="@FILE with the bearer token that the runner wants.")] = None,
    tls: Annotated[bool, Parameter(help="TLS, as with grpcs://.", negative=())] = False,
    ca: Annotated[
        Path | None, Parameter(help="The authority (PEM) that vouches for the runner; without it, the system's.")
    ] = None,
    cert: Annotated[Path | None, Parameter(help="A client certificate (PEM); goes with --key.")] = None,
    key: Annotated[Path | None, Parameter(help="Its key (PEM).")] = None,
    callbacks: Annotated[
        str | None,
        Parameter(help="HOST:PORT to listen on for the reports that the runner was told to send there, without TLS."),
    ] = None,
    format: Annotated[  # noqa: A002 - the option's name
        Literal["text", "json", "junit"], Parameter(help="How to say it: text for people, json, or JUnit's XML.")
    ] = "text",
    verbose: Annotated[bool, Parameter(help="As text, tell the calls of checks that pass, too.", negative=())] = False,
    timeout: Annotated[float, Parameter(help="Seconds that an answer may take.")] = 10.0,
    settle: Annotated[float, Parameter(help="Seconds that a run may take to get where it was told to.")] = 40.0,
    within: Annotated[float, Parameter(help="Seconds that everything may take.")] = 900.0,
) -> int:
    """Check a running workflow runner against the runner API.

    Calls it as a caller would, starts short runs on it, pauses and cancels some, and prints a numbered list of what
    passed, failed, or is not offered. Exits with 0 when nothing failed, with 1 otherwise, and with 2 when the command
    line is wrong, nobody answers at the endpoint, or the runner does not know its caller.
    """
    telemetry.configure_logging(log_level(), json=False)
    from workflow_runner.runner_checks import profile as profiles
    from workflow_runner.runner_checks.reports import line, to_json, to_junit, totals
    from workflow_runner.runner_checks.suite import Limits, select

    try:
        chosen = select(only)
    except ValueError as error:
        message = f"--only: there is no check {error.args[0]!r}"
        raise InvalidInput(message, code="input.unknown-check", hint="docs/runner-conformance.md lists them") from error
    for name, seconds in (("--timeout", timeout), ("--settle", settle), ("--within", within)):
        if not 0 < seconds <= 24 * 3600:
            raise InvalidInput(f"{name}: {seconds:g} is no number of seconds above 0, up to a day")
    target, secure = _target(endpoint)
    credentials = _credentials(ca, cert, key) if secure or tls or ca or cert or key else None
    metadata = [("authorization", f"Bearer {_token(token)}")] if token is not None else []
    documents = profiles.DEFAULT if profile is None else _profile(profile)
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")

    def tell(result: Result) -> None:
        if format == "text":
            print(line(result, verbose=verbose, coloured=coloured), flush=True)

    limits = Limits(answer=timeout, settle=settle, total=within)
    try:
        results = asyncio.run(_run(target, credentials, metadata, callbacks, documents, limits, chosen, tell))
    except asyncio.CancelledError:
        print("workflow-runner: cancelled: SIGINT was received", file=sys.stderr)
        return CANCELLED
    if format == "text":
        print(totals(results))
    elif format == "json":
        print(json.dumps(to_json(endpoint, results), indent=2, ensure_ascii=False))
    else:
        print(to_junit(endpoint, results))
    return FAILED if any(result.mark == "fail" for result in results) else PASSED


async def _run(
    target: str,
    credentials: grpc.ChannelCredentials | None,
    metadata: Sequence[tuple[str, str]],
    callbacks: str | None,
    documents: Profile,
    limits: Limits,
    chosen: Sequence[str],
    tell: Callable[[Result], None],
) -> list[Result]:
    from workflow_runner.runner_checks import suite
    from workflow_runner.runner_checks.caller import connected
    from workflow_runner.runner_checks.receiver import receiving

    # Also where whoever started this has SIGINT ignored, as shells do for what they put into the background.
    task = asyncio.current_task()
    assert task is not None  # noqa: S101 - a coroutine runs in one
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, task.cancel)
    async with receiving(callbacks) as receiver, connected(target, credentials, metadata, limits.answer) as caller:
        return await suite.run(caller, documents, limits, only=chosen, tell=tell, receiver=receiver)


def _target(endpoint: str) -> tuple[str, bool]:
    """HOST:PORT, and whether the endpoint's scheme says TLS. Raises InvalidInput."""
    text = endpoint if "://" in endpoint else f"grpc://{endpoint}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if (
        not host
        or not port
        or parts.scheme not in ("grpc", "grpcs")
        or parts.path.strip("/")
        or parts.query
        or "@" in parts.netloc
    ):
        message = f"{endpoint!r:.200} is no endpoint of a runner"
        raise InvalidInput(message, code="input.bad-endpoint", hint="write grpc://HOST:PORT, or grpcs://HOST:PORT for TLS")
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}", parts.scheme == "grpcs"


def _credentials(ca: Path | None, cert: Path | None, key: Path | None) -> grpc.ChannelCredentials:
    import grpc

    if (cert is None) != (key is None):
        raise InvalidInput("--cert and --key go together", code="input.bad-certificate")
    read = [_read(path) if path is not None else None for path in (ca, key, cert)]
    for path, content in zip((ca, key, cert), read, strict=True):
        if content is not None and b"-----BEGIN " not in content:
            raise InvalidInput(f"{path} is no PEM file", code="input.bad-certificate")
    return grpc.ssl_channel_credentials(read[0], read[1], read[2])


def _token(text: str) -> str:
    """The token of a file; it is concealed from now on. Raises InvalidInput."""
    if not text.startswith("@"):
        raise InvalidInput("--token is not @FILE", code="input.bad-token", hint="write the token into a file and name that")
    token = _read(Path(text[1:])).decode("ascii", "replace").strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInput(f"{text[1:]} holds no token", code="input.bad-token", hint="one line of printable ASCII")
    telemetry.conceal(token)
    return token


def _profile(path: Path) -> Profile:
    from workflow_runner.runner_checks import profile as profiles

    try:
        content = yaml.safe_load(_read(path))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} cannot be read as YAML: {error}", code="input.bad-profile") from error
    return profiles.read(content, lambda name: _read(path.parent / name).decode("utf-8", "replace"), str(path))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise InvalidInput(message, code="input.unreadable") from error
    if len(content) > LARGEST_FILE:
        raise InvalidInput(f"{path} has more than {LARGEST_FILE} bytes", code="input.too-large")
    return content
