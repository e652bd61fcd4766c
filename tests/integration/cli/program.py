"""The installed program as a process, for the tests of this folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tests import canaries

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
PROGRAM = Path(sys.executable).parent / "workflow-runner"

HELLO = """\
document: {dsl: 1.0.3, namespace: test, name: hello, version: 1.0.0}
do:
  - greet: {set: {greeting: '${ "Hello, \\(.name // "world")!" }'}}
"""


class Ended(NamedTuple):
    """How a call of the program ended."""

    code: int
    out: str
    err: str

    @property
    def output(self) -> Any:
        """Standard output as JSON."""
        return json.loads(self.out)

    @property
    def problem(self) -> Any:
        """The last line of standard error as JSON."""
        return json.loads(self.err.splitlines()[-1])


def environment(**variables: str) -> dict[str, str]:
    """This process's environment without secrets of workflows, and with more variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WORKFLOW_SECRET_")} | variables


def call(*arguments: str | Path, given: str | bytes | None = None, **variables: str) -> Ended:
    """Call the program and wait for its end; `given` is its standard input."""
    ended = subprocess.run(
        [PROGRAM, *arguments],
        input=given.encode() if isinstance(given, str) else given or b"",
        capture_output=True,
        timeout=120,
        check=False,
        cwd=ROOT,
        env=environment(**variables),
    )
    out, err = ended.stdout.decode(), ended.stderr.decode()
    assert canaries.found_in(out + err) == [], "no secret is printed"
    return Ended(ended.returncode, out, err)
