"""A Temporal server for the tests of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.servers.temporal import temporal_server


@pytest.fixture
async def temporal() -> AsyncIterator[str]:
    """HOST:PORT of a new server."""
    async with temporal_server() as address:
        yield address
