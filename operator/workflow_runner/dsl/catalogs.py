"""Where the definition of a function lies: names of cataloged functions, and the addresses that go with them.

`read_functions` reads names with it, `interpreter.tasks.call_function` and a host's default catalog make addresses. A
catalog has each function in `functions/NAME/VERSION/function.yaml`. Pages of GitHub and GitLab are turned into the
addresses of the files that they show.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, urlsplit, urlunsplit

DEFAULT = "default"
"""The catalog that needs no definition: the runner's own."""

_CATALOGED = re.compile(r"([^\s:@/?#]+):([^\s:@/?#]+)@([^\s:@/?#]+)")
_DEFINITIONS = (".yaml", ".yml", ".json")
_FILE = "function.yaml"


class Cataloged(NamedTuple):
    """`NAME:VERSION@CATALOG`."""

    name: str
    version: str
    catalog: str


def cataloged(call: str) -> Cataloged | None:
    """The function of a catalog that a `call` names, or None when it names none."""
    match = _CATALOGED.fullmatch(call)
    return None if match is None else Cataloged(*match.groups())


def is_address(call: str) -> bool:
    """Whether a `call` names a function by its address."""
    return call.startswith(("https://", "http://"))


def address_in(catalog: str, name: str, version: str) -> str:
    """The address of a function's definition in the catalog at this address."""
    return _raw(catalog, f"functions/{quote(name)}/{quote(version, safe='+')}/{_FILE}", None)


def address_of(function: str) -> str:
    """The address of the definition of a function that is called by its address.

    What ends in .yaml, .yml or .json is the definition, anything else the folder that has it in `function.yaml`. `@REF`
    at the end of a page of GitHub or GitLab is a branch, tag or commit.
    """
    if urlsplit(function).path.endswith(_DEFINITIONS):
        return _raw(function, "", None)
    folder, at, reference = function.rpartition("@")
    if not at or "/" in reference or _host(function) not in ("github.com", "gitlab.com"):
        folder, reference = function, ""
    return _raw(folder, _FILE, reference or None)


def _host(address: str) -> str:
    return (urlsplit(address).hostname or "").removeprefix("www.")


def _raw(address: str, file: str, reference: str | None) -> str:
    """The address of a file below a folder, or of the file itself where `file` is empty."""
    parts = urlsplit(address)
    steps = [step for step in parts.path.split("/") if step]
    if _host(address) == "github.com" and len(steps) >= 2:
        owner, repository, *rest = steps
        if reference is None:
            named = rest[:1] in (["tree"], ["blob"], ["raw"]) and len(rest) > 1
            reference, rest = (f"refs/heads/{rest[1]}", rest[2:]) if named else ("HEAD", rest)
        path = [owner, repository.removesuffix(".git"), reference, *rest]
        return urlunsplit((parts.scheme, "raw.githubusercontent.com", "/" + "/".join([*path, file] if file else path), "", ""))
    if "-" in steps and steps[steps.index("-") + 1 : steps.index("-") + 2] in (["tree"], ["blob"], ["raw"]):
        steps[steps.index("-") + 1] = "raw"
        if reference is not None and len(steps) > steps.index("-") + 2:
            steps[steps.index("-") + 2] = reference
    elif _host(address) == "gitlab.com" and len(steps) >= 2:
        steps = [*steps[:2], "-", "raw", reference or "HEAD", *steps[2:]]
    path_text = "/" + "/".join([*steps, file] if file else steps)
    return urlunsplit((parts.scheme, parts.netloc, path_text, parts.query, ""))
