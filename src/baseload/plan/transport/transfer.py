"""How long does it take to move bytes to another site, and what does that cost?

`bytes / (links * bandwidth * efficiency)`. With an efficiency of 1, the default, it is a bound that
no transfer beats. Egress is what a provider takes for each GB (10^9 bytes) that leaves.

Not here: loading weights into accelerators (`loading`), what answers cost on the way (`fabric`).
"""

import msgspec


class Transfer(msgspec.Struct, frozen=True, kw_only=True):
    """A migration's time and egress."""

    size_bytes: float
    bytes_s: float
    seconds: float
    usd: float

    @property
    def hours(self) -> float:
        """The same in hours."""
        return self.seconds / 3600


def transfer(
    size_bytes: float,
    link_bytes_s: float,
    *,
    links: int = 1,
    efficiency: float = 1.0,
    egress_usd_gb: float = 0.0,
) -> Transfer:
    """Move so many bytes over links side by side.

    Raises ValueError if efficiency is not above 0 and at most 1, or a link carries nothing.
    """
    if not 0 < efficiency <= 1:
        raise ValueError(f"an efficiency of {efficiency} is not above 0 and at most 1")
    bytes_s = link_bytes_s * links * efficiency
    if bytes_s <= 0:
        raise ValueError(f"{links} links of {link_bytes_s} bytes a second carry nothing")
    return Transfer(
        size_bytes=size_bytes,
        bytes_s=bytes_s,
        seconds=size_bytes / bytes_s,
        usd=size_bytes / 1e9 * egress_usd_gb,
    )
