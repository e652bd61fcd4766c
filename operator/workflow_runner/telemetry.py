"""Logging for every process of this project; `cli` configures it once, all other modules only log.

Modules log through the standard library or, in the operator, through structlog; both end in one
handler on stderr, which renders a line of JSON (or text for people) and takes out secrets. So do kopf,
grpc, aiohttp and warnings. The rendering is ours and structlog is not imported here: with rich beside it
structlog takes 240 ms to import, which a launched pod would pay at every start.

Levels are those of `LOG_LEVEL`: trace, debug, info, warn, error.
"""

from __future__ import annotations

import base64
import functools
import json as jsonlib
import logging
import math
import os
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any
from urllib.parse import quote

import msgspec.json

TRACE = 5
LEVELS = {"trace": TRACE, "debug": logging.DEBUG, "info": logging.INFO, "warn": logging.WARNING, "error": logging.ERROR}

MOST_TEXT = 8_192
MOST_ITEMS = 100
MOST_DEPTH = 6
MOST_FRAMES = 30
MOST_CAUSES = 5

REDACTED = "[redacted]"
MOST_SECRETS = 1_000
# Shorter values would blot out half of every line, and guard nothing.
SHORTEST_SECRET = 4

# Fields whose values are never shown, whatever is in them: "authorization", "api_key", "apiKey", "x-auth-token", …
_SECRET_KEY = re.compile(
    r"(^|_)(authorization|token|api_?key|passw(or)?d|passphrase|client_secret|credentials?|private_?key|cookie)$"
)
# The same inside of a text: what a library says about the headers or the arguments that it was given.
_SECRET_TEXT = re.compile(
    r"""(?ix)
    (\b(?:bearer|basic)\s+)(?!authentication\s)[A-Za-z0-9._~+/=-]{6,}
    | ((?:\b|_)(?:authorization|token|api[_-]?key|passw(?:or)?d|client_secret)["']?\s*(?:=|["']\s*[:,])\s*)
      (?:"[^"]*"|'[^']*'|[^\s"',;)}\]]+)
    """
)

# How messages show that a longer value was cut off.
_ELLIPSIS = re.compile(r"\.\.\.|…")

# Told apart from fields that a caller passed with `extra=`.
_OF_A_RECORD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName", "fields"}
# The keys of a line that are ours; a field of the same name is shown with "field_" before it.
_OURS = frozenset({"time", "level", "logger", "event", "exception", "stack"})
# What libraries hang on their records that says nothing to a reader, or is an object with everything in it.
_NOT_SHOWN = frozenset({"settings", "k8s_skip", "color_message"})
# Chatter at info that nobody asked for.
_QUIET = ("aiohttp.access", "asyncio", "kubernetes", "httpx", "httpcore", "urllib3")


# Every spelling of a concealed value, and the value it belongs to; oldest first. Read by `redact`, longest first.
_concealed: dict[str, tuple[str, ...]] = {}
_spellings: list[str] = []
_passing: dict[str, None] = {}


def conceal(secret: str, *, passing: bool = False) -> None:
    """Take this value out of everything that is logged or passed through `redact` from now on.

    Its base64 and its spellings in strings and in URIs go too. The newest MOST_SECRETS are kept, and those that are
    `passing`, such as tokens that are good for minutes, make room first; values under SHORTEST_SECRET characters are not
    taken.
    """
    value = secret.strip()
    if len(value) < SHORTEST_SECRET or value in _concealed:
        return
    _concealed[value] = _spelt(value)
    if passing:
        _passing[value] = None
    while len(_concealed) > MOST_SECRETS:
        oldest = next(iter(_passing or _concealed))
        _concealed.pop(oldest, None)
        _passing.pop(oldest, None)
    # Longest first: a secret that begins with another one must go as a whole.
    _spellings[:] = sorted({spelling for spellings in _concealed.values() for spelling in spellings}, key=len, reverse=True)


def conceal_all(value: Any, *, passing: bool = False) -> None:
    """Conceal every text and every number in a JSON value."""
    for text in _texts(value):
        conceal(text, passing=passing)


def _texts(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for item in value.values():
                yield from _texts(item)
        case list():
            for item in value:
                yield from _texts(item)
        case str():
            yield value
        case int() | float() if not isinstance(value, bool):
            yield jsonlib.dumps(value)


def _spelt(value: str) -> tuple[str, ...]:
    """A secret as it may stand in a text."""
    encoded = base64.b64encode(value.encode(errors="surrogatepass")).decode()
    in_uri = {quote(value, safe=safe, errors="surrogatepass") for safe in ("", "/", "!$&'()*+,;=:@/?")}
    return tuple({value, repr(value)[1:-1], jsonlib.dumps(value)[1:-1], encoded.rstrip("="), *in_uri})


def spellings_of(secrets: Any) -> tuple[str, ...]:
    """All that `redact_these` is to take out of a text for the secrets of a JSON value; nothing is kept of them here."""
    values = {text.strip() for text in _texts(secrets)}
    found = {spelling for value in values if len(value) >= SHORTEST_SECRET for spelling in _spelt(value)}
    return tuple(sorted(found, key=lambda spelling: (-len(spelling), spelling)))


def redact_these(text: str, spellings: Sequence[str]) -> str:
    """The text without these; what else is concealed in this process changes nothing."""
    for spelling in spellings:
        text = text.replace(spelling, REDACTED)
    return text


def conceals(text: str) -> bool:
    """Whether a concealed value is in the text."""
    return any(spelling in text for spelling in _spellings)


def redact(text: str) -> str:
    """The text without concealed values, and without what stands where credentials stand."""
    for spelling in _spellings:
        if spelling in text:
            text = text.replace(spelling, REDACTED)
    if _spellings and _ELLIPSIS.search(text) is not None:
        text = _without_beginnings(text)
    return _SECRET_TEXT.sub(lambda found: f"{found[1] or found[2]}{REDACTED}", text)


def _without_beginnings(text: str) -> str:
    """The text without the beginnings of concealed values where it was cut off in one, as jq does in its messages."""
    for spelling in _spellings:
        head = spelling[:SHORTEST_SECRET]
        at = text.find(head)
        while at >= 0 and (cut := _ELLIPSIS.search(text, at)) is not None:
            if spelling.startswith(text[at : cut.start()]):
                text = f"{text[:at]}{REDACTED}{text[cut.start() :]}"
            at = text.find(head, at + 1)
    return text


@functools.lru_cache(maxsize=1000)
def names_a_secret(key: str) -> bool:
    """Whether what goes by this name (of a field, a header) is a credential."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", key).replace("-", "_").lower()
    return _SECRET_KEY.search(words) is not None


def configure_logging(level: str, *, json: bool) -> None:
    """Send every log record of this process to stderr, from `level` up; may be called again.

    `level` is one of LEVELS (KeyError otherwise: settings checks it first); `json` chooses one JSON object a line,
    with `time` (UTC, RFC 3339), `level`, `logger`, `event` and the caller's own fields, over text.
    """
    number = LEVELS[level]
    logging.addLevelName(TRACE, "TRACE")
    handler = StderrHandler()
    handler.setFormatter(JsonFormatter() if json else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(number if number <= logging.DEBUG else max(number, logging.WARNING))
    logging.captureWarnings(True)
    if number > logging.DEBUG:
        # gRPC's C core writes lines of its own to stderr, in between ours.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # A process that logs through structlog has imported it by now; a launched pod never does.
    if structlog := sys.modules.get("structlog"):
        structlog.configure(
            processors=[structlog.stdlib.filter_by_level, structlog.contextvars.merge_contextvars, _to_standard_library],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=False,
        )


def _to_standard_library(_logger: object, _method: str, fields: Any) -> tuple[tuple[str], dict[str, Any]]:
    """structlog's last processor: the event as message, the rest as fields. One extra key, because a field called
    "name" or "args" beside the record's own would be an error."""
    event = str(fields.pop("event", ""))
    options = {key: fields.pop(key) for key in ("exc_info", "stack_info") if key in fields}
    return (event,), {**options, "extra": {"fields": dict(fields)}}


def _level_name(number: int) -> str:
    for name, least in reversed(LEVELS.items()):
        if number >= least:
            return name
    return "trace"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the caller passed beside the message, concealed and cut to size."""
    found = {key: value for key, value in vars(record).items() if key not in _OF_A_RECORD and key not in _NOT_SHOWN}
    found.update(getattr(record, "fields", ()))
    return {
        f"field_{key}" if key in _OURS else str(key): REDACTED if names_a_secret(str(key)) else _plain(value)
        for key, value in found.items()
    }


def _message(record: logging.LogRecord) -> str:
    try:
        text = record.getMessage()
    except (TypeError, ValueError, KeyError):
        # Arguments that do not fit the format: a bug of the caller, and no reason to lose the line.
        text = f"{record.msg} {record.args}"
    return _cut(redact(text))


def _plain(value: object, depth: int = 0) -> Any:
    """A value as JSON can hold it, without secrets, and never larger than the bounds above."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and value.bit_length() <= 64):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, int):
        # Python itself refuses to write out more than 4,300 digits.
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, str):
        return _cut(redact(value))
    if depth < MOST_DEPTH:
        if isinstance(value, Mapping):
            items = list(value.items())[:MOST_ITEMS]
            return {str(key): REDACTED if names_a_secret(str(key)) else _plain(item, depth + 1) for key, item in items}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_plain(item, depth + 1) for item in list(value)[:MOST_ITEMS]]
    return _cut(redact(str(value) if isinstance(value, BaseException) else repr(value)))


def _cut(text: str) -> str:
    return text if len(text) <= MOST_TEXT else f"{text[:MOST_TEXT]}… ({len(text) - MOST_TEXT} more characters)"


def _exception(error: BaseException | None, depth: int = 0) -> list[dict[str, Any]]:
    """An exception and what led to it, outermost first: type, message, code and frames, never a frame's variables."""
    shown: list[dict[str, Any]] = []
    while error is not None and len(shown) < MOST_CAUSES:
        entry: dict[str, Any] = {"type": type(error).__qualname__, "message": _cut(redact(str(error)))}
        if isinstance(code := getattr(error, "code", None), str):
            entry["code"] = code
        entry["frames"] = _frames(error.__traceback__)
        if isinstance(error, BaseExceptionGroup) and depth < MOST_CAUSES:
            entry["exceptions"] = [_exception(member, depth + 1) for member in error.exceptions[:MOST_CAUSES]]
        shown.append(entry)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return shown


def _frames(traceback: TracebackType | None) -> list[str]:
    """The innermost frames, as "file:line function"."""
    frames: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        frames.append(f"{_short(code.co_filename)}:{traceback.tb_lineno} {code.co_name}")
        traceback = traceback.tb_next
    return frames[-MOST_FRAMES:]


def _short(path: str) -> str:
    """A file by its place in its package, not on this machine."""
    for root in ("/site-packages/", "/operator/"):
        _, found, rest = path.rpartition(root)
        if found:
            return rest
    return path


def _error_of(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if isinstance(record.exc_info, tuple) else None


def _clock(record: logging.LogRecord) -> str:
    return f"{_second(int(record.created))}.{int(record.msecs):03d}Z"


@functools.lru_cache(maxsize=2)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class StderrHandler(logging.Handler):
    """Writes to what sys.stderr is at that moment: a live display on a terminal replaces it for a while."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; for logging's own use."""
        try:
            line = self.format(record)
        except (ValueError, TypeError, RecursionError):
            self.handleError(record)
            return
        try:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        except (OSError, ValueError):
            # Nobody reads stderr any more, or it is closed: there is nowhere left to say so.
            return


_ENCODER = jsonlib.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


class JsonFormatter(logging.Formatter):
    """One record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end; for logging's own use."""
        line = {
            "time": _clock(record),
            "level": _level_name(record.levelno),
            "logger": record.name,
            "event": _message(record),
            **{
                (f"field_{key}" if key in ("time", "level", "logger", "event") else key): v
                for key, v in _fields(record).items()
            },
        }
        if (error := _error_of(record)) is not None:
            line["exception"] = _exception(error)
        if record.stack_info:
            line["stack"] = _cut(redact(record.stack_info))
        try:
            return msgspec.json.encode(line).decode()
        except (TypeError, ValueError, OverflowError):  # half of a character, for one
            return _ENCODER.encode(line)


class TextFormatter(logging.Formatter):
    """One record as text for people: a line, then the exception where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The text, without its last line end; for logging's own use."""
        fields = " ".join(f"{key}={value}" for key, value in _fields(record).items())
        head = f"{_clock(record)[11:23]} {_level_name(record.levelno):<5} {_message(record)}"
        lines = [f"{head}  {fields}" if fields else head]
        for entry in _exception(_error_of(record)):
            lines.append(f"  {entry['type']}: {entry['message']}")
            lines.extend(f"    {frame}" for frame in entry["frames"])
        return "\n".join(lines)
