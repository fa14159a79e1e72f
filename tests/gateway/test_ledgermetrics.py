"""What Prometheus sees of the ledger."""

from types import SimpleNamespace
from typing import Any

from baseload.gateway.ledgermetrics import LedgerMetrics


def _shown(**numbers: Any) -> dict[str, float]:
    """Give what is shown of a double of a ledger, which has its numbers and nothing else."""
    plain = {"written": 7, "lost": 2, "pruned": 1, "waiting": 3, "alarm": None}
    found = LedgerMetrics(SimpleNamespace(**(plain | numbers))).collect()
    return {sample.name: sample.value for metric in found for sample in metric.samples}


def test_a_ledger_that_is_well():
    """Its counters and gauges, and no alarm."""
    assert {
        "baseload_ledger_written_rows_total": 7,
        "baseload_ledger_lost_rows_total": 2,
        "baseload_ledger_pruned_rows_total": 1,
        "baseload_ledger_waiting_rows": 3,
        "baseload_ledger_failing": 0,
        "baseload_ledger_failing_since_seconds": 0,
    } == _shown()


def test_a_ledger_that_cannot_be_written():
    """Since when, for a rule that waits a moment before it wakes somebody."""
    shown = _shown(alarm=SimpleNamespace(since=1000.0, reason="full"))

    assert (1, 1000.0) == (
        shown["baseload_ledger_failing"], shown["baseload_ledger_failing_since_seconds"],
    )  # fmt: skip
