"""What holds for every test of faults."""

import pytest

from baseload.gateway import connection


@pytest.fixture(autouse=True)
def _no_resends(monkeypatch):
    """A warm connection that dies without a word is no stale one here, so that counts are exact."""
    monkeypatch.setattr(connection, "RESEND_S_MAX", 0.0)
