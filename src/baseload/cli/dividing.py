"""What part of the fleet's bounds is each worker's, when nobody counts for all of them?

Calls at once to a backend, places in the line and connections are each process's own, so every
worker gets an equal part, rounded up for what costs little. Limits of keys and models are counted
together where `store.counters` says so (Redis); where each process counts for itself, every worker
gets an equal part of these, rounded down: a limit may be reached early, and is not exceeded.
"""

from math import ceil

from msgspec import structs

from baseload.config.fleet import Fleet
from baseload.config.tenancy import Key, Limits
from baseload.gateway.preparing import URL_CONCURRENCY

ALONE = "memory:"
"""How `store.counters` begins where each process counts for itself."""


def counts_alone(fleet: Fleet) -> bool:
    """Say whether each process counts limits for itself."""
    return fleet.store.counters.startswith(ALONE)


def concurrency_of(fleet: Fleet, slots: dict[str, int], workers: int) -> dict[str, int]:
    """Give each backend's calls at once in one of so many workers."""
    whole = {
        name: slots.get(name) or backend.concurrency or URL_CONCURRENCY
        for name, backend in fleet.backends.items()
    }
    return {name: ceil(number / workers) for name, number in whole.items()}


def part_of(fleet: Fleet, workers: int) -> Fleet:
    """Give the fleet as one of so many workers serves it."""
    fleet = structs.replace(
        fleet,
        queue=structs.replace(fleet.queue, size=ceil(fleet.queue.size / workers)),
        inbound=structs.replace(
            fleet.inbound, connections=ceil(fleet.inbound.connections / workers)
        ),
    )
    if not counts_alone(fleet):
        return fleet
    keys = tuple(part_of_key(key, workers) for key in fleet.keys)
    models = {
        name: structs.replace(
            model, limits=structs.replace(model.limits, **_parts(model.limits, workers))
        )
        for name, model in fleet.models.items()
    }
    return structs.replace(fleet, keys=keys, models=models)


def part_of_key(key: Key, workers: int) -> Key:
    """Give a key as one of so many workers counts it."""
    per_model = {
        name: structs.replace(limits, **_parts(limits, workers))
        for name, limits in key.per_model.items()
    }
    return structs.replace(key, **_parts(key, workers), per_model=per_model)


def _parts(limits: Limits, workers: int) -> dict[str, float | int]:
    """Give one worker's part of each limit that there is; one of anything is the least."""
    parts: dict[str, float | int] = {}
    for name in Limits.__struct_fields__:
        whole = getattr(limits, name)
        if whole is not None:
            parts[name] = max(1, whole // workers) if isinstance(whole, int) else whole / workers
    return parts
