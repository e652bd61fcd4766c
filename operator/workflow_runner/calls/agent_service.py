"""Where `call: agent` finds Stigmer: what the host is given by its settings. Apart from calls/agent.py, which needs gRPC."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct


class AgentService(Struct, frozen=True):
    """`endpoint` is HOST:PORT. The key is `api_key`, or in `api_key_file`, which is read for each call; without either no
    `authorization` is sent. Certificates are always verified, against `ca_pem` (PEM) or else the system's roots."""

    endpoint: str
    api_key: str = ""
    use_tls: bool = True
    ca_pem: bytes | None = None
    api_key_file: Path | None = None

    def __repr__(self) -> str:
        """Without the key."""
        return f"AgentService(endpoint={self.endpoint!r}, use_tls={self.use_tls!r})"
