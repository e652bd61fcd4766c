"""A document as YAML text that every reader understands alike: whatever may be taken for something else is in quotes."""

from __future__ import annotations

import re
from typing import Any

import yaml

from workflow_runner.dsl.templates import Json

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:[-./][A-Za-z0-9_]+)*")
_WIDTH = 2**31
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def to_yaml(document: Json) -> str:
    """The text; members stay in their order, and texts on one line."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH, default_flow_style=False)


class _Dumper(yaml.SafeDumper):
    """Texts in quotes unless they are plain words; no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
    if _PLAIN.fullmatch(value) is not None and value.lower() not in _WORDS:
        style = None
    elif not value.replace("\n", "").isprintable():
        style = '"'  # control characters and the line breaks of Unicode are escaped
    else:
        style = "|" if "\n" in value else "'"  # PyYAML takes " where these cannot hold the text
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
