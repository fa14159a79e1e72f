"""How long do weights take to load, and a replica to start?

`bytes / bandwidth`, where the bandwidth is the least of what storage gives, what the network
carries, what the buses into the accelerators take and what the engine's loader reaches. A start is
machine, image, weights and warm-up, one after the other, each with its source and, where sources
say a range, its two ends.

Not here: rows of storage (`catalog`), transfers between sites (`transfer`).
"""

import msgspec

from baseload.plan.catalog.rows import Storage

SAFETENSORS_BYTES_S = 65.5e9 / 19.1
"""An engine's ordinary loader: R1-Distill-Qwen-32B in BF16 in 19.1 s from NVMe into one H100
(README.md of github.com/ServerlessLLM/ServerlessLLM, read for planning in September 2026)."""
SERVERLESSLLM_BYTES_S = 65.5e9 / 3.2
"""The same model and machine with ServerlessLLM's format and loader: 3.2 s cold (same source)."""
MACHINE_S = (300.0, 480.0)
"""Until a node of a cloud is there: 5 to 8 minutes, as users of Karpenter say
(github.com/aws/karpenter-provider-aws/issues/3777)."""
WARM_UP_S = 57.0
"""Compiling, capturing graphs and profiling: vLLM 0.24.0, a 7B model, one H200, without weights to
read; own measurement of 2026-11-23. Larger models take longer."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How weights come from storage into one machine's accelerators."""

    storage: Storage
    drives: int = 1
    """Disks that are read side by side (a stripe)."""
    readers: int = 1
    """Machines that read one array at the same time and share what it gives."""
    network_bytes_s: float | None = None
    """One way into the machine, for arrays and object storage; None: never the least."""
    bus_bytes_s: float | None = None
    """PCIe, one way, of one accelerator; None: never the least."""
    accelerators: int = 1
    """Accelerators of the machine, each with a bus of its own."""
    loader_bytes_s: float | None = None
    """What the engine's loader reaches; None: never the least."""


class Loading(msgspec.Struct, frozen=True, kw_only=True):
    """How long, and what the least is."""

    seconds: float
    bytes_s: float
    limit: str
    """`storage`, `network`, `bus` or `loader`."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One part of a start."""

    what: str
    low_s: float
    high_s: float
    source: str


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """From nothing to the first token."""

    parts: tuple[Part, ...]

    @property
    def low_s(self) -> float:
        """The shortest, in seconds."""
        return sum(part.low_s for part in self.parts)

    @property
    def high_s(self) -> float:
        """The longest, in seconds."""
        return sum(part.high_s for part in self.parts)


def load(size_bytes: float, way: Way) -> Loading:
    """Give how long one machine takes to load so many bytes."""
    rates = {"storage": _storage_bytes_s(way)}
    if way.storage.kind != "disk" and way.network_bytes_s is not None:
        rates["network"] = way.network_bytes_s
    if way.bus_bytes_s is not None:
        rates["bus"] = way.bus_bytes_s * way.accelerators
    if way.loader_bytes_s is not None:
        rates["loader"] = way.loader_bytes_s
    limit = min(rates, key=lambda name: rates[name])
    return Loading(seconds=size_bytes / rates[limit], bytes_s=rates[limit], limit=limit)


def _storage_bytes_s(way: Way) -> float:
    """Disks add up, an array is shared, object storage gives each client its own."""
    if way.storage.kind == "disk":
        return way.storage.read_bytes_s * way.drives
    if way.storage.kind == "array":
        return way.storage.read_bytes_s / way.readers
    return way.storage.read_bytes_s


def start(
    loading: Loading,
    *,
    image_s: tuple[float, float, str] = (0.0, 0.0, "the image is on the machine"),
    machine_s: tuple[float, float] = MACHINE_S,
    warm_up_s: float = WARM_UP_S,
    storage: str = "",
) -> Start:
    """Put a start together; `image_s` is shortest, longest and source, (0, 0) if it is there."""
    low, high, source = image_s
    rate = f"bytes / {loading.bytes_s / 1e9:.2f} GB/s of {loading.limit} {storage}".rstrip()
    return Start(
        parts=(
            Part(
                what="machine", low_s=machine_s[0], high_s=machine_s[1],
                source="github.com/aws/karpenter-provider-aws/issues/3777"
                if machine_s == MACHINE_S else "as given",
            ),
            Part(what="image", low_s=low, high_s=high, source=source),
            Part(
                what="weights", low_s=loading.seconds, high_s=loading.seconds,
                source=rate,
            ),
            Part(
                what="warm-up", low_s=warm_up_s, high_s=warm_up_s,
                source="measured on one H200, vLLM 0.24.0, 7B, 2026-11-23"
                if warm_up_s == WARM_UP_S else "as given",
            ),
        )
    )  # fmt: skip
