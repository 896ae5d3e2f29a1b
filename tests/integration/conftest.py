"""Servers of the world outside, for the integration tests alone."""

from collections.abc import Iterator

import pytest

from tests.support.completions import Completions


@pytest.fixture
def server() -> Iterator[Completions]:
    """Yield a server that answers like a model, or as badly as it is told to."""
    server = Completions()
    yield server
    server.close()
