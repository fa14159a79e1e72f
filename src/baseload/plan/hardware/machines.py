"""Which machines are meant by `8xh100`, `2x8xh100` or `p5.48xlarge`, and which are there to try?

Hardware is so many machines, each with so many accelerators of one kind, that one replica takes
whole. Clouds rent some of it under names of their own; what has the same accelerators is the same
hardware here. Several machines are joined only where their network carries it: one's own servers of
eight, and instances of `JOINED_BYTES_S` and more.

Not here: what a machine costs (`places`), whether a model fits (`fitting`).
"""

import re
from collections.abc import Iterator

import msgspec

from baseload.config.mistakes import nearest, shown
from baseload.errors import BaseloadError
from baseload.plan.catalog.reading import Catalogue
from baseload.plan.catalog.rows import Accelerator, Instance

SERVER = 8
"""Accelerators of a server that would be bought, where nothing else is said."""
MACHINES_MAX = 4
"""Machines that one replica spans, at most."""
JOINED_BYTES_S = 6e9
"""Of a machine's network, below which a replica is not spread over machines (50 Gb/s)."""
COUNTS = (1, 2, 4, 8)
"""Accelerators of one machine of one's own that are tried."""
COUNT_MAX = 100_000
_WRITTEN = re.compile(r"(?:(\d{1,9})x)?(?:(\d{1,9})x)?([a-z][a-z0-9_.-]*)", re.IGNORECASE)


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """Machines that one replica takes whole."""

    accelerator: Accelerator
    per_machine: int
    machines: int = 1
    instances: tuple[Instance, ...] = ()
    """What clouds rent that is one of these machines."""
    written: str = ""
    """How the person wrote it, where it was by an instance's name."""

    @property
    def accelerators(self) -> int:
        """How many there are in all."""
        return self.per_machine * self.machines

    @property
    def memory_bytes(self) -> int:
        """Of all accelerators."""
        return self.accelerators * self.accelerator.memory_bytes

    @property
    def name(self) -> str:
        """As a person writes it: `8xh100`, `2x8xh100`, `p5.48xlarge`."""
        if self.written:
            return self.written
        joined = f"{self.machines}x" if self.machines > 1 else ""
        return f"{joined}{self.per_machine}x{self.accelerator.name}"


def counts_of(text: str, usual: str) -> tuple[tuple[int, ...], str]:
    """Read `2x8xh100` as (2, 8) and `h100`; raises BaseloadError with how it is usually written."""
    match = _WRITTEN.fullmatch(text.strip())
    if match is None:
        raise BaseloadError(f"`{shown(text)}`: write {usual}")
    counts = tuple(int(count) for count in match.groups()[:2] if count)
    if not all(1 <= count <= COUNT_MAX for count in counts):
        raise BaseloadError(f"`{shown(text)}`: counts go from 1 to {COUNT_MAX:,}")
    return counts, match[3].lower()


def hardware_of(text: str, catalogue: Catalogue) -> Hardware:
    """Read `8xh100`, `2x8xh100` (two machines of eight), `p5.48xlarge` or `2xp5.48xlarge`.

    Raises BaseloadError for what is written otherwise or not in the catalogue.
    """
    counts, name = counts_of(text, "8xh100, 2x8xh100 or p5.48xlarge")
    first, second = (*counts, 1, 1)[:2]
    instance = {row.name.lower(): row for row in catalogue.instances.values()}.get(name)
    if instance is not None:
        if len(counts) > 1:
            what = f"{instance.name} has {instance.count} x {instance.accelerator} in each machine"
            raise BaseloadError(f"`{shown(text)}`: {what}; write {first}x{instance.name}")
        written = f"{first}x{instance.name}" if first > 1 else instance.name
        return msgspec.structs.replace(_rented(instance, first, catalogue), written=written)
    row = {row.name.lower(): row for row in catalogue.accelerators.values()}.get(name)
    if row is None:
        hint = nearest(name, [*catalogue.accelerators, *catalogue.instances])
        raise BaseloadError(f"`{shown(text)}`: no accelerator or instance has this name; {hint}")
    each, machines = (second, first) if len(counts) > 1 else (first, 1)
    return Hardware(accelerator=row, per_machine=each, machines=machines)


def every(catalogue: Catalogue) -> list[Hardware]:
    """Give all hardware that is worth trying, least memory first; what is the same only once."""
    found: dict[tuple[str, int, int], Hardware] = {}
    for each in (*_own(catalogue), *_all_rented(catalogue)):
        key = (each.accelerator.name, each.per_machine, each.machines)
        known = found.get(key, each)
        names = dict.fromkeys((*known.instances, *each.instances))
        found[key] = msgspec.structs.replace(known, instances=tuple(names))
    return sorted(found.values(), key=size_of)


def size_of(hardware: Hardware) -> tuple[int, int, int, str]:
    """Give what makes hardware smaller than another: memory, then accelerators, then machines."""
    return hardware.memory_bytes, hardware.accelerators, hardware.machines, hardware.name


def _own(catalogue: Catalogue) -> Iterator[Hardware]:
    """Give machines of one's own, of what is put into a bus: a CPU's socket is not."""
    for row in catalogue.accelerators.values():
        if not row.pcie_bytes_s:
            continue
        for count in COUNTS:
            yield Hardware(accelerator=row, per_machine=count)
        for machines in range(2, MACHINES_MAX + 1):
            yield Hardware(accelerator=row, per_machine=SERVER, machines=machines)


def _all_rented(catalogue: Catalogue) -> Iterator[Hardware]:
    for row in catalogue.instances.values():
        most = MACHINES_MAX if row.network_bytes_s >= JOINED_BYTES_S else 1
        for machines in range(1, most + 1):
            yield _rented(row, machines, catalogue)


def _rented(row: Instance, machines: int, catalogue: Catalogue) -> Hardware:
    return Hardware(
        accelerator=catalogue.accelerators[row.accelerator], per_machine=row.count,
        machines=machines, instances=(row,),
    )  # fmt: skip
