"""Is a petabyte moved in seconds?

`bytes / bandwidth`, over one port of a good network, and over all ports of a large machine.

Not here: other sizes and links (`moving`).
"""

import msgspec

from baseload.plan.catalog.rows import Instance, Link, Storage
from baseload.plan.claims.claim import Claim, Given, read_in, step
from baseload.plan.cost.terms import GB, SECONDS_HOUR
from baseload.plan.result import Formula
from baseload.plan.transport.transfer import transfer


class Petabyte(msgspec.Struct, frozen=True, kw_only=True):
    """What the claim says, and what it leaves open."""

    port: Link
    machine: Instance
    drive: Storage
    size_bytes: float = 1e15
    seconds: float = 60.0
    """What is still `seconds`."""


def petabyte_claim(it: Petabyte) -> Claim:
    """Give the claim about a petabyte, worked out."""
    port, machine = it.port.bytes_s, it.machine.network_bytes_s
    best = transfer(it.size_bytes, machine)
    needed = it.size_bytes / it.seconds
    return Claim(
        name="A petabyte in seconds",
        says="Data in the order of petabytes moves between sites in seconds.",
        given=(
            Given(what="bytes", value=f"{it.size_bytes / 1e15:g} PB", source="the claim"),
            Given(what="`seconds`", value=f"at most {it.seconds:g} s", source="assumption"),
            Given(what=it.port.name, value=_gigabits(port), source=read_in(it.port)),
            Given(what=f"network of {it.machine.name}", value=_gigabits(machine),
                  source=read_in(it.machine)),
            Given(what=it.drive.name, value=f"{it.drive.read_bytes_s / GB:g} GB/s",
                  source=read_in(it.drive)),
        ),
        steps=(
            _over(it, f"over one port of {it.port.name}", port),
            _over(it, f"over all of {it.machine.name}", machine),
            step(f"bandwidth for {it.seconds:g} s", "bytes / seconds",
                 f"{it.size_bytes:g} / {it.seconds:g}", f"{needed / 1e12:.1f} TB/s"),
            step("ports for that", "bandwidth / port", f"{needed:.3g} / {port:.3g}",
                 f"{needed / port:,.0f}"),
            step("drives that read so fast", "bandwidth / drive",
                 f"{needed:.3g} / {it.drive.read_bytes_s:.3g}",
                 f"{needed / it.drive.read_bytes_s:,.0f}"),
        ),
        verdict="follows if" if best.seconds <= it.seconds else "does not follow",
        because=f"at full speed, with nothing lost, it takes"
        f" {_long(transfer(it.size_bytes, port).seconds)} over one port and"
        f" {_long(best.seconds)} over a whole {it.machine.name}; {it.seconds:g} s take"
        f" {needed / port:,.0f} such ports side by side, and drives behind them at both ends.",
    )  # fmt: skip


def _over(it: Petabyte, what: str, bytes_s: float) -> Formula:
    seconds = transfer(it.size_bytes, bytes_s).seconds
    return step(what, "bytes / bandwidth", f"{it.size_bytes:g} / {bytes_s:.3g}", _long(seconds))


def _gigabits(bytes_s: float) -> str:
    return f"{bytes_s * 8 / GB:,.0f} Gb/s"


def _long(seconds: float) -> str:
    if seconds < SECONDS_HOUR:
        return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
    return f"{seconds / SECONDS_HOUR:.1f} h"
