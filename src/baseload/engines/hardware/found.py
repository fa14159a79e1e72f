"""What was found on a machine, as data. None is what could not be read, and is never guessed."""

from typing import Literal

import msgspec


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """One GPU, as its driver tells."""

    index: int
    uuid: str
    name: str
    vendor: Literal["NVIDIA", "AMD"]
    memory_bytes: int
    """What the driver has, which is less than what is printed on the box."""
    free_bytes: int
    driver: str
    compute: tuple[int, int] | None = None
    """NVIDIA's compute capability: (9, 0) is Hopper, (8, 9) Ada, (8, 0) A100, (7, 0) V100."""
    watts_max: float | None = None
    numa: int | None = None


class Numa(msgspec.Struct, frozen=True, kw_only=True):
    """One NUMA node."""

    index: int
    cores: int
    memory_bytes: int


class Cpu(msgspec.Struct, frozen=True, kw_only=True):
    """The processor, and how much of it this process may use."""

    model: str
    cores: int
    """That this process may keep busy (`cores.usable_cores`)."""
    features: tuple[str, ...]
    """Those that decide an engine's speed: avx2, avx512f, amx_int8, asimd, sve, …"""
    memory_bytes: int
    """Of the machine or, if that is less, of the control group."""
    numa: tuple[Numa, ...] = ()


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A place where files can be."""

    path: str
    """Where it is mounted."""
    device: str
    kind: Literal["nvme", "ssd", "hdd", "memory", "network", "unknown"]
    size_bytes: int
    free_bytes: int
    read_bytes_s: float | None = None
    """Measured past the page cache; None: not measured."""
    write_bytes_s: float | None = None


class Hardware(msgspec.Struct, frozen=True, kw_only=True):
    """A machine."""

    gpus: tuple[Gpu, ...]
    cpu: Cpu
    disks: tuple[Disk, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be read and why, a line each: no NVML, no ROCm, no RAPL."""
