"""How long do bytes take: from each kind of storage into a machine, and over each link elsewhere?

Loading: `bytes / bandwidth` of what is slowest. Storage is taken at its row's speed, drives side by
side; beside that stands what an engine's loader makes of it, because a loader that was measured at
3.4 GB/s gains nothing from drives that read 56. Where several machines load at once, each reads its
own part, and an array is shared among them. A start from nothing is put together around it.

Moving: `bytes / bandwidth` of links at full speed, a bound that no transfer beats, and what a
cloud takes for bytes that leave it.

Not here: the formulas (`loading`, `transfer`), networks inside a replica (`spanning`), what a cloud
allows a machine to read from disks that it attaches.
"""

import msgspec

from baseload.plan.catalog.reading import Catalogue
from baseload.plan.catalog.rows import Link, Storage
from baseload.plan.cost.rented import Rental
from baseload.plan.hardware.machines import Hardware
from baseload.plan.places import CLOUD_NETWORK
from baseload.plan.sizing import DISK, STORE
from baseload.plan.transport.loading import (
    MACHINE_S,
    SAFETENSORS_BYTES_S,
    SERVERLESSLLM_BYTES_S,
    Start,
    Way,
    load,
    start,
)
from baseload.plan.transport.transfer import transfer

DRIVES = (1, 8)
"""Drives of one kind that are read side by side."""
LOADERS = {"safetensors": SAFETENSORS_BYTES_S, "serverlessllm": SERVERLESSLLM_BYTES_S}
"""What loaders reached, each measured into one H100 (`loading`)."""
USUAL = "safetensors"
IMAGE_S = (
    0.0, 101.0,
    "none if it is there; else 5.6 GB in one run on Azure (kaito-project/kaito#2325, 2026-09-07)",
)  # fmt: skip
EGRESS_USD_GB = Rental(usd_hour=0.0).egress_usd_gb
"""The rate of AWS' first 10 TB (`cost.rented`); larger amounts cost less for each GB."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """From one kind of storage into one machine."""

    storage: str
    kind: str
    drives: int
    is_verified: bool
    """Whether a first-hand source was read for the storage's speed."""
    seconds: float
    """With a loader that is never the slowest."""
    bytes_s: float
    limit: str
    """`storage`, `network` or `bus`."""
    loader_s: dict[str, float]
    """The same with a measured loader, by its name."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """To another site, over links of one kind."""

    link: str
    links: int
    bytes_s: float
    is_verified: bool
    seconds: float


class Moving(msgspec.Struct, frozen=True, kw_only=True):
    """All times of so many bytes."""

    what: str
    size_bytes: float
    hardware: str
    """Empty if none was named: then storage alone is the limit."""
    machines: int
    machine_bytes: float
    """That one machine loads."""
    loads: tuple[Load, ...]
    """Fastest first."""
    storage: str
    """From which the start loads."""
    start: Start | None
    """None where bytes are named, but nothing that they are loaded into."""
    sent: tuple[Sent, ...]
    """Fastest first."""
    egress_usd_gb: float
    egress_usd: float


class Cargo(msgspec.Struct, frozen=True, kw_only=True):
    """What is moved, and where to."""

    what: str
    size_bytes: float
    machine_bytes: float
    machines: int = 1
    hardware: Hardware | None = None
    is_weights: bool = True
    """Whether it is something that a replica starts with."""


def moving(
    cargo: Cargo,
    catalogue: Catalogue,
    *,
    storage: str | None = None,
    links: int = 1,
    egress_usd_gb: float = EGRESS_USD_GB,
) -> Moving:
    """Give how long so many bytes take from everywhere to everywhere.

    `storage` names the row that a start loads from; None: the machine's own disk if it has one.
    """
    loads = [
        loaded(cargo, row, drives)
        for row in catalogue.storage.values()
        for drives in (DRIVES if row.kind == "disk" else (1,))
    ]
    store = catalogue.storage[storage or usual_storage(cargo.hardware)]
    return Moving(
        what=cargo.what, size_bytes=cargo.size_bytes,
        hardware=cargo.hardware.name if cargo.hardware else "",
        machines=cargo.machines, machine_bytes=cargo.machine_bytes,
        loads=tuple(sorted(loads, key=lambda each: each.seconds)),
        storage=store.name, start=starting(cargo, store) if cargo.is_weights else None,
        sent=sent(cargo, catalogue, links), egress_usd_gb=egress_usd_gb,
        egress_usd=transfer(cargo.size_bytes, 1.0, egress_usd_gb=egress_usd_gb).usd,
    )  # fmt: skip


def loaded(cargo: Cargo, row: Storage, drives: int = 1) -> Load:
    """Give how long one machine loads its part from one kind of storage."""
    way = _way(cargo, row, drives)
    fast = load(cargo.machine_bytes, way)
    slow = {
        name: load(
            cargo.machine_bytes, msgspec.structs.replace(way, loader_bytes_s=bytes_s)
        ).seconds
        for name, bytes_s in LOADERS.items()
    }
    return Load(
        storage=row.name, kind=row.kind, drives=drives, is_verified=row.verified,
        seconds=fast.seconds, bytes_s=fast.bytes_s, limit=fast.limit, loader_s=slow,
    )  # fmt: skip


def starting(cargo: Cargo, row: Storage) -> Start:
    """Give a start with weights on one kind of storage, and the usual loader."""
    way = msgspec.structs.replace(_way(cargo, row, 1), loader_bytes_s=LOADERS[USUAL])
    is_there = cargo.hardware is not None and not cargo.hardware.instances
    return start(
        load(cargo.machine_bytes, way), image_s=IMAGE_S, storage=row.name,
        machine_s=(0.0, 0.0) if is_there else MACHINE_S,
    )  # fmt: skip


def usual_storage(hardware: Hardware | None) -> str:
    """Give where weights lie: on the machine's disk if it has one."""
    if hardware is None or not hardware.instances:
        return DISK
    return DISK if hardware.instances[0].disk_bytes else STORE


def sent(cargo: Cargo, catalogue: Catalogue, links: int = 1) -> tuple[Sent, ...]:
    """Give how long all bytes take over each kind of network, so many links side by side.

    The whole network of an instance that was named is among them, once.
    """
    kinds = [(row, links) for row in catalogue.links.values() if row.kind == "network"]
    own = own_network(cargo.hardware, catalogue)
    if own is not None and cargo.hardware is not None:
        kinds.append((own, cargo.hardware.per_machine))
    found = []
    for row, count in kinds:
        done = transfer(cargo.size_bytes, row.bytes_s, links=count)
        found.append(
            Sent(
                link=row.name, links=count, bytes_s=done.bytes_s, is_verified=row.verified,
                seconds=done.seconds,
            )
        )  # fmt: skip
    return tuple(sorted(found, key=lambda each: (each.seconds, each.link)))


def own_network(hardware: Hardware | None, catalogue: Catalogue) -> Link | None:
    """Give the part of an instance's network that each of its accelerators has; None if unknown.

    Its delay is that of the catalogue's link for clouds, as plans take it (`places`).
    """
    if hardware is None or not hardware.instances:
        return None
    row = hardware.instances[0]
    if not row.network_bytes_s:
        return None
    return msgspec.structs.replace(
        catalogue.links[CLOUD_NETWORK], name=f"{row.name}'s own", verified=row.verified,
        bytes_s=row.network_bytes_s / row.count,
    )  # fmt: skip


def _way(cargo: Cargo, row: Storage, drives: int) -> Way:
    hardware = cargo.hardware
    network = hardware.instances[0].network_bytes_s if hardware and hardware.instances else 0.0
    return Way(
        storage=row, drives=drives, readers=cargo.machines, network_bytes_s=network or None,
        bus_bytes_s=(hardware.accelerator.pcie_bytes_s or None) if hardware else None,
        accelerators=hardware.per_machine if hardware else 1,
    )  # fmt: skip
