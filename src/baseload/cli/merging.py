"""How do several workers' numbers become one page?

What is counted is added up; of what is felt the worst is shown, for it is what an operator must
know; a backend that is up for one worker is up. Metrics are not added: each keeps its worker as a
label, so that whoever looks can add them up, and see which worker is different.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import structs
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from baseload.gateway.status import BackendStatus, ModelStatus, Status

_BEST_FIRST = ("up", "probing", "asleep", "open", "down")
_WORST_FIRST = ("red", "yellow", "green")
_ORDERED = ("draining", "drained", "disabled")


class Family(msgspec.Struct, frozen=True, array_like=True):
    """One metric of one process, with all its samples."""

    name: str
    text: str
    kind: str
    unit: str
    samples: list[tuple[str, dict[str, str], float]]


def families_of(registry: CollectorRegistry) -> list[Family]:
    """Give what is counted in this process, as data."""
    return [
        Family(
            one.name, one.documentation, one.type, one.unit,
            [(sample.name, sample.labels, float(sample.value)) for sample in one.samples],
        )
        for one in registry.collect()
    ]  # fmt: skip


def merged_families(by_worker: dict[int, list[Family]]) -> Iterator[Metric]:
    """Give all workers' metrics, each sample with its worker."""
    metrics: dict[str, Metric] = {}
    for index, families in sorted(by_worker.items()):
        for one in families:
            metric = metrics.get(one.name)
            if metric is None:
                metric = metrics[one.name] = Metric(one.name, one.text, one.kind, one.unit)
            for name, labels, value in one.samples:
                metric.add_sample(name, labels | {"worker": str(index)}, value)
    yield from metrics.values()


def merged_status(all_: Sequence[Status], workers: list[str], engines: dict[str, str]) -> Status:
    """Give one status for all; `workers` says of each how it stands."""
    first = all_[0]
    names = [one.name for one in first.backends]
    states = {one.state for one in all_}
    return structs.replace(
        first,
        state=next(state for state in ("draining", "serving", "starting") if state in states),
        uptime_s=max(one.uptime_s for one in all_),
        connections=sum(one.connections for one in all_),
        in_flight=sum(one.in_flight for one in all_),
        waiting=sum(one.waiting for one in all_),
        backends=[
            _backend([one for status in all_ for one in status.backends if one.name == name])
            for name in names
        ],
        models=[_model(model, all_) for model in first.models],
        workers=workers,
        alarms=list(dict.fromkeys(alarm for one in all_ for alarm in one.alarms)),
    ).with_engines(engines)


def _backend(all_: list[BackendStatus]) -> BackendStatus:
    worst = min(all_, key=lambda one: _WORST_FIRST.index(one.level))
    failures = [one.failure for one in all_ if one.failure is not None]
    return structs.replace(
        worst,
        state=_state([one.state for one in all_]),
        in_flight=sum(one.in_flight for one in all_),
        limit=sum(one.limit for one in all_),
        failure=max(failures, key=lambda one: one.at) if failures else None,
        parked=sum(one.parked for one in all_),
        queued_s=max(one.queued_s for one in all_),
        portion=round(sum(one.portion for one in all_) / len(all_), 3),
        order=next((one.order for one in all_ if "open" in one.order), worst.order),
    )


def _state(states: list[str]) -> str:
    for state in (*_ORDERED, *_BEST_FIRST):
        if state in states:
            return state
    return states[0]


def _model(model: ModelStatus, all_: Iterable[Status]) -> ModelStatus:
    is_served = any(
        one.is_served for status in all_ for one in status.models if one.name == model.name
    )
    return structs.replace(model, is_served=is_served)
