"""What is a row of the catalogue?

One frozen struct a kind of thing that can be bought, rented or called. Every row says where its
figures were read (`source`), on which day (`seen`), and whether a first-hand source was read
(`verified`). Sizes are bytes, speeds bytes or operations a second, power watts, money US dollars.

Not here: reading files and a user's own rows (`reading`), what things cost over time (`cost`).
"""

from typing import Literal

import msgspec

Precision = Literal["fp32", "bf16", "fp8", "int8", "int4", "fp4"]
"""How weights or the KV cache are kept. `bf16` stands for any 16-bit float: old GPUs take FP16."""

BITS: dict[str, int] = {"fp32": 32, "bf16": 16, "fp8": 8, "int8": 8, "int4": 4, "fp4": 4}


class Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all rows say of themselves."""

    name: str
    source: str
    seen: str
    """The day on which the source said so, YYYY-MM-DD."""
    verified: bool
    """Whether a first-hand source was read; otherwise it is what others wrote."""
    note: str = ""


class Accelerator(Row, frozen=True, kw_only=True):
    """A GPU, an NPU or a CPU socket that runs models. All figures are dense, without sparsity."""

    vendor: str
    memory_bytes: int
    """As the driver reports it, not the marketing figure."""
    bandwidth_bytes_s: float
    flops: dict[str, float]
    """Operations a second by precision (`fp32`, `bf16`, `fp8`, `int8`, `int4`, `fp4`); what is
    missing is not done in hardware."""
    tdp_w: float
    link_bytes_s: float = 0.0
    """One way, per accelerator, to its neighbours in the same machine (NVLink or the like); 0: only
    PCIe."""
    pcie_bytes_s: float = 0.0
    """One way over the bus."""
    usd: float | None = None
    """What one costs to buy, if known."""
    range: dict[str, tuple[float, float]] = {}
    """For figures on which sources disagree: field (`flops.bf16` for a part) to lowest, highest.
    The row's own figure is then the cautious end."""


class Link(Row, frozen=True, kw_only=True):
    """What joins accelerators or machines."""

    kind: Literal["bus", "fabric", "network"]
    """Inside a machine by PCIe; inside by NVLink or the like; between machines."""
    bytes_s: float
    """One way, of one port or per accelerator."""
    latency_s: float


class Storage(Row, frozen=True, kw_only=True):
    """Where weights lie before they are loaded."""

    kind: Literal["disk", "array", "object"]
    read_bytes_s: float
    """Sequential, of one drive, array or client."""
    usd_gib_month: float | None = None


class Instance(Row, frozen=True, kw_only=True):
    """A machine that a cloud rents. Prices are for one machine and one hour."""

    cloud: str
    region: str
    accelerator: str
    """A name among the accelerators."""
    count: int
    """How many accelerators it has."""
    vcpus: int
    memory_bytes: int
    network_bytes_s: float = 0.0
    """One way to other machines, of the whole machine."""
    disk_bytes: int = 0
    """Local NVMe."""
    on_demand_usd_hour: float | None = None
    reserved_1y_usd_hour: float | None = None
    reserved_3y_usd_hour: float | None = None
    spot_usd_hour: float | None = None
    """Typical, in the region."""
    spot_range_usd_hour: tuple[float, float] | None = None
    """Lowest and highest zone."""
    spot_seen: str = ""
    spot_source: str = ""
    """The day on which spot prices were seen, and where, if that was elsewhere than on demand."""
    reserved_seen: str = ""
    reserved_source: str = ""
    """The same of reserved prices."""


class Serverless(Row, frozen=True, kw_only=True):
    """A service that runs code or models only while it is called."""

    cloud: str
    region: str
    accelerator: str | None = None
    run_max_s: float | None = None
    """The longest that one call may take."""
    memory_max_bytes: int | None = None
    usd_call: float = 0.0
    usd_second: float | None = None
    """While it runs: of the largest size, or of one accelerator; None if it is not known."""
    cold_start_s: tuple[float, float] | None = None
    """Shortest and longest that is known, without loading weights."""


class ApiPrice(Row, frozen=True, kw_only=True):
    """What a provider's API charges for a million tokens, now."""

    host: str
    model: str
    input_usd_mtok: float
    cached_usd_mtok: float
    output_usd_mtok: float
    peak_factor: float = 1.0
    """What prices are multiplied by in peak hours."""
    peak_share: float = 0.0
    """Part of the week's hours that are peak."""
