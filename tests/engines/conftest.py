"""Fixtures for the tests of engines."""

import pytest

from tests.engines.engine_kit import States
from tests.needs import need_the_engine


@pytest.fixture
def states():
    return States()


@pytest.fixture(scope="session")
def real_engine():
    """Skip, or fail where skipping is not allowed, when the real engine is not installed."""
    need_the_engine()
