"""Reading what the command line names: documents, inputs, secrets. Called by `run` and `validate`."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workflow_runner.dsl.json_text import read_json
from workflow_runner.errors import InvalidInput

MAX_BYTES = 64 * 1024 * 1024
SECRET_PREFIX = "WORKFLOW_SECRET_"  # noqa: S105 - the beginning of variables' names
STANDARD_INPUT = Path("-")


def read_file(path: Path) -> tuple[bytes, str]:
    """The bytes of a file (- is standard input) and its name for messages; raises InvalidInput."""
    try:
        if path == STANDARD_INPUT:
            data, name = sys.stdin.buffer.read(MAX_BYTES + 1), "<stdin>"
        else:
            with path.open("rb") as file:
                data, name = file.read(MAX_BYTES + 1), str(path)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror or error}", code="input.unreadable") from error
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"{name} has more than {MAX_BYTES:,} bytes", code="input.too-large")
    return data, name


def read_input(text: str | None, path: Path | None) -> Any:
    """The workflow's input from `--input` or `--input-file`; {} when there is neither."""
    if text is not None and path is not None:
        raise InvalidInput("--input and --input-file were both given; one of them is enough", code="input.ambiguous")
    if path is not None:
        data, name = read_file(path)
    elif text is not None:
        data, name = text.encode(), "--input"
    else:
        return {}
    return _json(data, name)


def read_secrets(options: Sequence[str], environment: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Secrets by name: WORKFLOW_SECRET_NAME (JSON, else text) from the environment, then `NAME=@FILE` options."""
    secrets = {
        name.removeprefix(SECRET_PREFIX): _json_or_text(value)
        for name, value in environment.items()
        if name.startswith(SECRET_PREFIX)
    }
    for option in options:
        name, separator, value = option.partition("=@")
        if not separator or not name or not value:
            raise InvalidInput(
                "--secret takes NAME=@FILE", code="input.bad-secret", hint="a secret's value is not for the command line"
            )
        secrets[name] = _read_secret(name, Path(value))
    return secrets


def read_secrets_folder(folder: Path) -> dict[str, Any]:
    """Secrets by name, one a file; raises InvalidInput. Hidden files are none, nor is what a volume of Kubernetes keeps
    beside them (`..data`)."""
    try:
        files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".") and path.is_file()]
    except OSError as error:
        raise InvalidInput(f"{folder} cannot be read: {error.strerror or error}", code="input.unreadable") from error
    return {path.name: _read_secret(path.name, path) for path in files}


def _read_secret(name: str, path: Path) -> Any:
    data, _ = read_file(path)
    try:
        return _json_or_text(data.decode().rstrip("\n"))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the secret {name} in {path} is not UTF-8 text", code="input.bad-secret") from error


def _json(data: bytes, name: str) -> Any:
    try:
        return read_json(data)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{name} is not JSON: {error}", code="input.not-json") from error


def _json_or_text(text: str) -> Any:
    try:
        return read_json(text)
    except (ValueError, RecursionError):
        return text
