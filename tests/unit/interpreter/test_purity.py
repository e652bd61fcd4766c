"""The interpreter's own lint rules catch clocks, chance and input/output, wherever they come in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio\n\nasyncio.run\n",
        "import time\n\ntime.time()\n",
        "from time import monotonic\n\nmonotonic()\n",
        "from datetime import UTC, datetime\n\ndatetime.now(UTC)\n",
        "import datetime\n\ndatetime.datetime.now(datetime.UTC)\n",
        "import random\n\nrandom.SystemRandom()\n",
        "import uuid\n\nuuid.uuid4()\n",
        "import secrets\n\nsecrets.token_hex()\n",
        "import os\n\nos.environ\n",
        "from pathlib import Path\n\nPath()\n",
        "import niquests\n\nniquests.get\n",
    ],
    ids=lambda code: code.split("\n")[0],
)
def test_what_a_replay_could_not_repeat_is_refused(code: str) -> None:
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--no-cache",
            "--output-format=concise",
            "--stdin-filename",
            "operator/workflow_runner/interpreter/tasks/new.py",
            "-",
        ],
        input=code,
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )
    assert "TID251" in result.stdout, result.stdout + result.stderr
