"""Many connections at the same moment end no process; gRPC would end it, if it were given a certificate with each of them."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import sys
from pathlib import Path

import pytest
from tests.servers.tls import Authority

AT_ONCE, EACH = 32, 100
OWN = """
from workflow_runner.server.tls import new_authority, server_credentials
credentials = server_credentials(new_authority(), ["localhost"])
"""
FILES = """
from pathlib import Path
from workflow_runner.server.grpc_server import file_credentials
from workflow_runner.settings import TlsFiles
credentials = file_credentials(TlsFiles(Path("CERTIFICATE"), Path("KEY"), None))
"""
PROGRAM = """
import asyncio, grpc.aio
{credentials}
async def serve():
    server = grpc.aio.server()
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    print(port, flush=True)
    await asyncio.Event().wait()
asyncio.run(serve())
"""


@pytest.mark.parametrize("which", ["the operator's own", "files"])
async def test_a_thousand_handshakes_end_no_process(which: str, tmp_path: Path) -> None:
    pair = Authority().server()
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    certificate.write_text(pair.certificate)
    key.write_text(pair.key)
    made = OWN if which != "files" else FILES.replace("CERTIFICATE", str(certificate)).replace("KEY", str(key))
    # In a process of its own, which may end by a signal.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM.format(credentials=made), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        port = int(await asyncio.wait_for(process.stdout.readline(), 60))
        shaken = sum(await asyncio.gather(*(_shake(port) for _ in range(AT_ONCE))))
        assert process.returncode is None, f"it has ended after {shaken} handshakes"
        assert shaken == AT_ONCE * EACH
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _shake(port: int) -> int:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    done = 0
    for _ in range(EACH):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.transport.abort()
            done += 1
    return done
