"""What Prometheus sees of counters that replicas share."""

from types import SimpleNamespace

from baseload.gateway.limitmetrics import LimitMetrics
from baseload.store.counters import LocalCounters


def _shown(counters: object) -> dict[str, float]:
    found = LimitMetrics(counters).collect()
    return {sample.name: sample.value for metric in found for sample in metric.samples}


def test_shared_counters_tell_whether_they_share():
    """A double has the numbers and nothing else."""
    double = SimpleNamespace(alone=4, replicas=3, is_well=lambda now: False)

    assert {
        "baseload_limits_alone_calls_total": 4,
        "baseload_limits_shared": 0,
        "baseload_limits_replicas": 3,
    } == _shown(double)


def test_counters_in_memory_have_nothing_to_tell():
    """There is nobody to share with."""
    assert {} == _shown(LocalCounters())
