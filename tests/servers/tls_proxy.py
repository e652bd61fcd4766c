"""TLS in front of a server that has none: what comes in is passed on as it is."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator

from tests.until import until


@contextlib.asynccontextmanager
async def tls_proxy(target: str, context: ssl.SSLContext) -> AsyncIterator[str]:
    """HOST:PORT of a proxy to the HOST:PORT `target`, for HTTP/2."""
    host, _, port = target.rpartition(":")
    context.set_alpn_protocols(["h2"])
    open_: set[asyncio.StreamWriter] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        both = {writer, far_writer}
        open_.update(both)
        await asyncio.gather(pass_on(reader, far_writer), pass_on(far_reader, writer))
        open_.difference_update(both)

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=context)
    try:
        yield f"localhost:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in open_:
            writer.close()
        await server.wait_closed()
        await until(lambda: not open_)  # each connection ends by itself, now that both its sides are closed
