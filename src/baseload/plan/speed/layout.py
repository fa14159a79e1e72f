"""How is one copy of a model spread over accelerators?

Not here: which layouts are worth trying (`units`, `fitting`), what a layout costs in time (`work`).
"""

import msgspec

from baseload.plan.catalog.rows import Accelerator, Link


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """One replica: `tp * pp * dp` accelerators.

    `tp` splits every matrix of attention, `pp` splits layers, `dp` makes as many copies of the
    attention part, each with its own requests and KV cache, over whose accelerators the experts are
    spread. With `ep` whole experts lie on different accelerators, otherwise each expert is split.
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    ep: int = 1
    per_machine: int = 8
    """Accelerators that one machine has; what crosses machines goes over the network."""

    @property
    def accelerators(self) -> int:
        """How many accelerators one replica takes."""
        return self.tp * self.pp * self.dp

    @property
    def machines(self) -> int:
        """How many machines one replica takes."""
        return -(-self.accelerators // self.per_machine)


class Build(msgspec.Struct, frozen=True, kw_only=True):
    """One replica's hardware, and in which precision it works there."""

    accelerator: Accelerator
    layout: Layout
    precision: str
    """Of weights; one that the hardware can do."""
    kv_precision: str = "bf16"
    network: Link | None = None
    """What joins machines, each accelerator by a port of its own; None within one machine."""
