"""Providers that misbehave on demand, and what callers and providers must see of it."""

import pytest

pytest.register_assert_rewrite("tests.faults.stage")
