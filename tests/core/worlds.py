"""Small fleets and calls for tests of `core`."""

from collections.abc import Iterator
from itertools import count
from random import Random

from baseload.config.fleet import Model, Queue, Target
from baseload.core.facts import Call, Fact, Told
from baseload.core.gate import Gate
from baseload.core.setup import Setup


def model(*tiers: dict[str, int], weights: dict[str, str] | None = None, **fields) -> Model:
    """Give a model named `m`; each tier says its backends and their shares."""
    known = weights or {}
    return Model(
        name="m",
        tiers=tuple(
            {
                name: Target(
                    backend=name, model=f"m-at-{name}", share=share, weights=known.get(name)
                )
                for name, share in tier.items()
            }
            for tier in tiers
        ),
        **fields,
    )


def gate(
    *tiers: dict[str, int], limit: int = 2, size: int = 4, wait_s: float = 5.0, **fields
) -> Gate:
    """Give a gate for one model whose backends all have the same limit."""
    names = {name for tier in tiers for name in tier}
    return Gate(
        Setup(
            models={"m": model(*tiers, **fields)},
            concurrency=dict.fromkeys(sorted(names), limit),
            queue=Queue(size=size, wait_s=wait_s),
        ),
        Random(7),
    )


def calls(deadline: float = 1000.0) -> Iterator[Call]:
    """Give calls for `m`, one after the other."""
    return (Call(number, "m", deadline) for number in count(1))


def fail(of: Gate, call: Call, fact: Fact, now: float, **fields) -> Fact:
    """Have an attempt fail; give what the gate makes of it."""
    told = Told(fact, now, **fields)
    of.heard(call, told)
    return of.again(call, told)


def permits_out(of: Gate) -> dict[str, int]:
    """Give the permits that are out, by backend."""
    return {name: seat.in_flight for name, seat in sorted(of.seats.items())}
