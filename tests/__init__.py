"""Tests of Baseload, one folder a room of the house."""

from hypothesis import HealthCheck, settings

FUZZ = settings(
    max_examples=300,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
"""How properties are tried: the same examples at each run, so that a red test stays red."""
