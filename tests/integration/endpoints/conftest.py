"""The processes of tests/integration/serve are the runners."""

from __future__ import annotations

from tests.integration.serve.conftest import kept, serve, served, state

__all__ = ["kept", "serve", "served", "state"]
