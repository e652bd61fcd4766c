"""What a log line looks like, and what is never in one."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from workflow_runner import telemetry
from workflow_runner.errors import Unavailable

SECRET = "s3cr3t-pa55-w0rd"


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Logging, structlog and the concealed values belong to the process; give them back."""
    root, structure = logging.getLogger(), structlog.get_config()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**structure)
    telemetry._concealed.clear()
    telemetry._spellings.clear()


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Any:
    """The JSON lines that were written since the last call."""
    telemetry.configure_logging("trace", json=True)
    return lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_says_when_how_grave_who_and_what(lines: Any) -> None:
    logging.getLogger("x.y").info("hello %s", "there", extra={"execution": "ns/name", "count": 3})
    (line,) = lines()
    assert line.pop("time").endswith("Z")
    assert line == {"level": "info", "logger": "x.y", "event": "hello there", "execution": "ns/name", "count": 3}


def test_structlog_and_the_standard_library_end_in_the_same_line(lines: Any) -> None:
    structlog.get_logger("x.y").info("hello there", execution="ns/name", count=3)
    logging.getLogger("x.y").info("hello there", extra={"execution": "ns/name", "count": 3})
    first, second = lines()
    assert {**first, "time": 0} == {**second, "time": 0}


def test_fields_with_the_names_of_ours_and_of_the_records_are_kept_apart(lines: Any) -> None:
    structlog.get_logger("x").warning("hm", name="n", args=[1], level="high", time="late", exception="none")
    (line,) = lines()
    assert (line["name"], line["args"], line["level"]) == ("n", [1], "warn")
    assert (line["field_level"], line["field_time"], line["field_exception"]) == ("high", "late", "none")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("trace", ["trace", "debug", "info", "warn", "error"]),
        ("debug", ["debug", "info", "warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("warn", ["warn", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_levels_are_those_of_the_seeds(level: str, shown: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging(level, json=True)
    log = logging.getLogger("x")
    for number in (telemetry.TRACE, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(number, "x")
    assert [json.loads(line)["level"] for line in capsys.readouterr().err.splitlines()] == shown


def test_an_exception_is_structure_with_causes_and_codes_and_without_locals(lines: Any) -> None:
    def fails() -> None:
        inner = SECRET  # noqa: F841 - what must not be seen
        raise OSError("the socket broke")

    try:
        try:
            fails()
        except OSError as error:
            raise Unavailable("the service is away") from error
    except Unavailable:
        logging.getLogger("x").exception("it failed")
    (line,) = lines()
    outer, cause = line["exception"]
    assert (outer["type"], outer["message"], outer["code"]) == ("Unavailable", "the service is away", "unavailable")
    assert (cause["type"], cause["message"]) == ("OSError", "the socket broke")
    assert cause["frames"][-1].endswith(" fails")
    assert SECRET not in json.dumps(line)


def test_an_exception_group_shows_its_members(lines: Any) -> None:
    structlog.get_logger("x").error("many", exc_info=ExceptionGroup("two", [ValueError("a"), KeyError("b")]))
    (line,) = lines()
    assert [member[0]["type"] for member in line["exception"][0]["exceptions"]] == ["ValueError", "KeyError"]


def test_concealed_values_go_wherever_they_stand(lines: Any) -> None:
    telemetry.conceal(SECRET + "\n")
    telemetry.conceal('two\nlines and a "quote"')
    log = logging.getLogger("x")
    log.info("plain %s", SECRET)
    log.info("in fields", extra={"a": {"b": [f"x{SECRET}y"]}, "encoded": base64.b64encode(SECRET.encode()).decode()})
    log.info("object %r", {"k": 'two\nlines and a "quote"'})
    try:
        raise ValueError(f"cannot parse {SECRET}")
    except ValueError as error:
        log.exception("failed: %s", error)
    text = json.dumps(lines())
    assert SECRET not in text
    assert base64.b64encode(SECRET.encode()).decode().rstrip("=") not in text
    assert "lines and a" not in text
    assert text.count(telemetry.REDACTED) >= 6


def test_a_secret_that_begins_with_another_goes_whole() -> None:
    telemetry.conceal("abcdef")
    telemetry.conceal("abcdef-and-more")
    assert telemetry.redact("abcdef-and-more") == telemetry.REDACTED


def test_a_secret_goes_in_the_spellings_of_uris() -> None:
    telemetry.conceal("pass word/ü?&more")
    for text in ("http://x/pass%20word%2F%C3%BC%3F%26more", "http://x/?q=pass%20word/%C3%BC?&more", "pass word/ü?&more"):
        assert "word" not in telemetry.redact(text)
        assert telemetry.conceals(text)
    assert not telemetry.conceals("http://x/pass")


@pytest.mark.parametrize("shown", ["long-val", "long-value-that-is-a-secret-of", "long-value-that-is-a-secret-of-somebody"])
@pytest.mark.parametrize("cut", ['..."', "...", "…"])
def test_the_beginning_of_a_secret_at_which_a_message_was_cut_off_goes_too(shown: str, cut: str) -> None:
    telemetry.conceal("long-value-that-is-a-secret-of-somebody-else")
    said = f'long ago... string ("{shown}{cut}) cannot be parsed, long-winded as it is...'
    assert telemetry.redact(said) == said.replace(shown, "[redacted]")


def test_the_number_of_concealed_values_is_bounded_and_the_newest_stay() -> None:
    for number in range(telemetry.MOST_SECRETS + 50):
        telemetry.conceal(f"secret-number-{number:05}")
    assert len(telemetry._concealed) == telemetry.MOST_SECRETS
    assert telemetry.redact(f"secret-number-{telemetry.MOST_SECRETS + 49:05}") == telemetry.REDACTED
    assert telemetry.redact("secret-number-00000") == "secret-number-00000"


def test_tokens_that_pass_do_not_push_out_what_lasts() -> None:
    telemetry.conceal("a-secret-that-lasts")
    for number in range(telemetry.MOST_SECRETS + 50):
        telemetry.conceal(f"token-number-{number:05}", passing=True)
    assert len(telemetry._concealed) == telemetry.MOST_SECRETS
    assert telemetry.redact("a-secret-that-lasts") == telemetry.REDACTED
    assert telemetry.redact(f"token-number-{telemetry.MOST_SECRETS + 49:05}") == telemetry.REDACTED


@pytest.mark.parametrize(
    "key",
    ["authorization", "Authorization", "token", "api_key", "apiKey", "API-Key", "password", "x-auth-token", "client_secret"],
)
def test_fields_named_like_credentials_are_not_shown(lines: Any, key: str) -> None:
    logging.getLogger("x").info("call", extra={key: "abc", "headers": {key: ["abc"]}})
    (line,) = lines()
    assert line[key] == line["headers"][key] == telemetry.REDACTED


@pytest.mark.parametrize("key", ["key", "secret", "token_file", "tokens", "secret_name", "author", "keys"])
def test_fields_that_only_sound_alike_are_shown(lines: Any, key: str) -> None:
    logging.getLogger("x").info("call", extra={key: "abc"})
    (line,) = lines()
    assert line[key] == "abc"


@pytest.mark.parametrize(
    "text",
    [
        "sent Bearer abcDEF123.x-y_z with it",
        "authorization: Basic dXNlcjpwYXNz",
        "headers {'authorization': 'abcDEF123'}",
        '{"api_key": "abc DEF 123", "x": 1}',
        "password=abcDEF123&x=1",
        "Metadatum(('authorization', 'abcDEF123'))",
    ],
)
def test_credentials_inside_of_texts_are_taken_out(text: str) -> None:
    cleaned = telemetry.redact(text)
    assert telemetry.REDACTED in cleaned
    for part in ("abcDEF123", "DEF 123", "dXNlcjpwYXNz"):
        assert part not in cleaned


@pytest.mark.parametrize("text", ["the token: expired an hour ago", "invalid password", "basic facts", "ns/name is Running"])
def test_ordinary_sentences_stay_as_they_are(text: str) -> None:
    assert telemetry.redact(text) == text


def test_a_line_is_bounded_whatever_is_logged(lines: Any) -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"deeper": deep}
    wide = {str(number): "x" * 100 for number in range(10_000)}
    logging.getLogger("x").info("%s", "x" * 10_000_000, extra={"deep": deep, "wide": wide})
    (line,) = lines()
    assert len(json.dumps(line)) < 50_000


def test_numbers_that_json_cannot_hold_are_told_as_text(lines: Any) -> None:
    logging.getLogger("x").info("n", extra={"a": float("nan"), "b": [float("-inf")], "c": 10**9999, "d": 2**60, "e": True})
    (line,) = lines()
    assert (line["a"], line["b"], line["d"], line["e"]) == ("nan", ["-inf"], 2**60, True)
    assert line["c"] == "an integer of 33216 bits"


def test_arguments_that_do_not_fit_lose_no_line(lines: Any) -> None:
    # Again, because pytest's own handler, added since, raises.
    telemetry.configure_logging("info", json=True)
    logging.getLogger("x").info("%d apples", "many")
    (line,) = lines()
    assert "apples" in line["event"]
    assert "many" in line["event"]


def test_kopf_grpc_aiohttp_and_warnings_come_the_same_way(lines: Any) -> None:
    for name in ("kopf.objects", "grpc._cython", "aiohttp.server"):
        logging.getLogger(name).warning("x")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old", stacklevel=1)
    assert [line["logger"] for line in lines()] == ["kopf.objects", "grpc._cython", "aiohttp.server", "py.warnings"]


def test_access_logs_are_quiet_unless_debugging(capsys: pytest.CaptureFixture[str]) -> None:
    for level, count in (("info", 0), ("debug", 1)):
        telemetry.configure_logging(level, json=True)
        logging.getLogger("aiohttp.access").info("GET /health")
        assert len(capsys.readouterr().err.splitlines()) == count


def test_configuring_twice_writes_each_line_once(lines: Any) -> None:
    telemetry.configure_logging("info", json=True)
    logging.getLogger("x").info("once")
    assert len(lines()) == 1


def test_text_for_people_has_the_fields_the_exception_and_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("info", json=False)
    telemetry.conceal(SECRET)
    try:
        raise ValueError(f"bad {SECRET}")
    except ValueError:
        logging.getLogger("x").exception("it failed", extra={"execution": "ns/name"})
    text = capsys.readouterr().err
    assert "error it failed" in text
    assert "execution=ns/name" in text
    assert "ValueError: bad [redacted]" in text


NOT_A_PODS = ("structlog", "rich", "kopf", "kubernetes", "prometheus_client", "jwt")


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("workflow_runner.telemetry", (*NOT_A_PODS, "pydantic", "aiohttp", "cryptography")),
        ("workflow_runner.hosts.reporter", (*NOT_A_PODS, "pydantic", "aiohttp", "cryptography")),
        ("workflow_runner.cli.execute", NOT_A_PODS),
    ],
)
def test_a_launched_pod_imports_nothing_heavy(module: str, heavy: tuple[str, ...]) -> None:
    program = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
