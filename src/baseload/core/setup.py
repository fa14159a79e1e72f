"""What a gate is made from: all that the fleet file says about deciding, and a seed.

It holds no addresses and no keys, so that it may stand at the head of a tape: a gate made from the
same setup, with dice from the same seed, takes the same decisions when it is fed the same events.
"""

import msgspec

from baseload.config.fleet import Model, Overload, Queue
from baseload.config.serving import Batch


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The fleet, reduced to what decisions need."""

    models: dict[str, Model]
    concurrency: dict[str, int]
    """Each backend's calls at once to begin with."""
    ceilings: dict[str, int] = {}
    """What a backend's learnt limit may grow to; where absent, no further than it began."""
    accounts: dict[str, str] = {}
    """Which account a backend belongs to; where absent, one of its own."""
    cold_starts: dict[str, float] = {}
    """How long backends that may be at zero replicas take to come up; absent: they never are."""
    batches: dict[str, Batch] = {}
    """How much backends are given at once that learn it; absent: their limit alone decides."""
    workers: int = 1
    """Processes that share these backends, each with its part of batches and limits already."""
    queue: Queue = Queue()
    overload: Overload = Overload()
    down: tuple[str, ...] = ()
    """Backends that nobody can ask until it is announced that they are up: engines that start."""
    epochs: dict[str, int] = {}
    """How often a backend has become another one under its name, by a reload; absent: never."""
    seed: int = 0
