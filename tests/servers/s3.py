"""Servers that speak S3, with a bucket, for tests of object stores. Both keep an object as a file.

nanio checks who calls and takes every object anew; localbucket asks nobody, and knows put-if-absent (If-None-Match).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
from tests import canaries
from tests.servers.temporal import free_port
from tests.until import until

BUCKET = "payloads"
KINDS = ("nanio", "localbucket")
_ACCESS_KEY = "tests"


@contextlib.asynccontextmanager
async def s3_server(kind: str, folder: Path) -> AsyncIterator[str]:
    """Its URL; `s3_variables` tells clients of it. Objects are files below `folder`/BUCKET."""
    (folder / BUCKET).mkdir(parents=True)
    port = free_port()
    program = shutil.which(kind, path=str(Path(sys.executable).parent)) or shutil.which(kind)
    assert program is not None, f"{kind} is not installed: make install"
    arguments = {
        "nanio": ("serve", "--host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder)),
        "localbucket": ("--host", "127.0.0.1", "--port", str(port), str(folder)),
    }
    process = await asyncio.create_subprocess_exec(
        program,
        *arguments[kind],
        env=os.environ | {"NANIO_ACCESS_KEY": _ACCESS_KEY, "NANIO_SECRET_KEY": canaries.S3_SECRET},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession() as session:

            async def answers() -> bool:
                assert process.returncode is None, f"{kind} ended at once"
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(url):
                        return True
                return False

            await until(answers, 60)
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def s3_variables(url: str) -> dict[str, str]:
    """The environment variables by which clients find the server, and are let in."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": canaries.S3_SECRET,
    }
