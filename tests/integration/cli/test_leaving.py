"""How the program leaves: what is to be put away is, and no thread of a library has a say any more."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import atexit, threading
from workflow_runner.cli.main import main

atexit.register(print, "put away")
threading.Thread(target=threading.Event().wait).start()
main({arguments})
"""


@pytest.mark.parametrize(("arguments", "code"), [(["crds"], 0), (["validate", "/nowhere"], 2)])
def test_it_leaves_without_the_interpreters_own_end(arguments: list[str], code: int) -> None:
    program = PROGRAM.format(arguments=arguments)
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == code
    assert ended.stdout.endswith("put away\n")
