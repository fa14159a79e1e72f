"""What do SkyPilot's price lists say of machines?

SkyPilot publishes one CSV a cloud, made by program from the clouds' own price lists: one line for
each kind of machine and zone (github.com/skypilot-org/skypilot-catalog). Here lines become rows of
the catalogue: the price of a region, and of its zones' spot prices the median, lowest and highest.

Machines with a part of a GPU, without one, or without a price are passed over. So is a machine for
which the list has another number of GPUs than the catalogue: one of them is wrong.

Not here: what to do with the rows (`refreshing`).
"""

import csv
import io
from collections.abc import Iterator, Mapping
from statistics import median

import msgspec

from baseload.config.mistakes import Mistakes, shown
from baseload.errors import FleetFileError
from baseload.plan.catalog.checking import CatalogueError, Fields
from baseload.plan.catalog.rows import Row

COLUMNS = ("InstanceType", "AcceleratorName", "AcceleratorCount", "Price", "SpotPrice", "Region")
"""Columns without which nothing can be done; there are more."""
NEEDED = ("vCPUs", "MemoryGiB")
"""Columns that a machine new to the catalogue needs, too."""
ACCELERATORS = {
    "A10": "a10", "A100": "a100-40", "A100-80GB": "a100-80", "A10G": "a10g", "B200": "b200",
    "B300": "b300", "GB200": "gb200", "H100": "h100", "H200": "h200", "L4": "l4", "L40S": "l40s",
    "MI300X": "mi300x", "RTX PRO Server 6000": "rtx-pro-6000", "T4": "t4", "V100-32GB": "v100-32",
}  # fmt: skip
"""SkyPilot's names of accelerators. It does not tell SXM from PCIe: SXM is meant."""
PRICES = ("Price", "SpotPrice")
LEAST_USD = 1e-6
"""No machine costs less an hour."""
MOST = 1e9
"""Nothing in a list is more."""
GIB = 2**30


class Line(msgspec.Struct, frozen=True):
    """One line: a machine in a zone."""

    number: int
    name: str
    accelerator: str
    count: float
    vcpus: float
    memory_gib: float
    price: float | None
    spot: float | None


class Found(msgspec.Struct, frozen=True):
    """What a list has for the catalogue."""

    instances: dict[str, Fields]
    """Fields by name; of machines in the catalogue only the prices."""
    left_out: tuple[str, ...]
    """Machines that were passed over though they have whole GPUs, with the reason."""


def is_skypilot(text: str) -> bool:
    """Say whether a file is such a list."""
    head = text.lstrip("\ufeff \r\n").partition("\n")[0]
    return "InstanceType" in head and "," in head


def read(
    text: str, file: str, known: Mapping[str, Row], *, cloud: str = "", region: str = ""
) -> Found:
    """Give prices of the machines that are `known`, each in its own region.

    With `cloud` and `region`, machines of that region that are not known become new rows. Raises
    CatalogueError for a list without the columns, and for prices that are none.
    """
    mistakes = Mistakes(file)
    lines: dict[str, list[Line]] = {}
    try:
        for number, fields in _table(text, mistakes):
            name = fields["InstanceType"] or ""
            home = getattr(known[name], "region", "") if name in known else region
            if home and fields["Region"] == home and (line := _line(number, fields, mistakes)):
                lines.setdefault(name, []).append(line)
        mistakes.refuse()
    except FleetFileError as error:
        raise CatalogueError(error.mistakes) from None
    instances: dict[str, Fields] = {}
    left_out: list[str] = []
    for name, of_one in lines.items():
        prices = _prices(of_one)
        if why := _unfit(of_one[0], known.get(name), prices, cloud):
            left_out.append(f"{shown(name)}: {why}")
        else:
            instances[name] = prices if name in known else _new(of_one[0], prices, cloud, region)
    return Found(instances, tuple(left_out))


def _unfit(line: Line, known: Row | None, prices: Fields, cloud: str) -> str:
    """Give why a machine is passed over; empty if it is not."""
    if not prices:
        return "without a price"
    if known is not None:
        count = getattr(known, "count", 0)
        return "" if line.count == count else f"{line.count:g} accelerators, not {count}"
    if not cloud:
        return "not in the catalogue"
    if line.accelerator not in ACCELERATORS:
        return f"{shown(line.accelerator)} is not in the catalogue"
    return "" if "on_demand_usd_hour" in prices else "without a price"


def _prices(lines: list[Line]) -> Fields:
    prices: Fields = {}
    if on_demand := [line.price for line in lines if line.price is not None]:
        prices["on_demand_usd_hour"] = median(on_demand)
    if spot := [line.spot for line in lines if line.spot is not None]:
        prices["spot_usd_hour"] = median(spot)
        prices["spot_range_usd_hour"] = [min(spot), max(spot)]
    return prices


def _new(line: Line, prices: Fields, cloud: str, region: str) -> Fields:
    return {
        "cloud": cloud, "region": region, "accelerator": ACCELERATORS[line.accelerator],
        "count": int(line.count), "vcpus": int(line.vcpus),
        "memory_bytes": int(line.memory_gib * GIB), **prices,
    }  # fmt: skip


# -- lines ---------------------------------------------------------------------------------------


def _table(text: str, mistakes: Mistakes) -> Iterator[tuple[int, Mapping[str, str | None]]]:
    """Give what stands in lines about machines with accelerators, with the lines' numbers."""
    reader = csv.DictReader(io.StringIO(text.lstrip("\ufeff \r\n")))
    try:
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            hint = f"a list of SkyPilot's has {', '.join(COLUMNS)} and more"
            mistakes.add(1, 1, "", f"without the column {', '.join(missing)}", hint)
            return
        for fields in reader:
            if fields["InstanceType"] and fields["AcceleratorName"]:
                yield reader.line_num, fields
    except csv.Error as error:
        mistakes.add(reader.line_num, 1, "", f"not CSV: {error}")


def _line(number: int, fields: Mapping[str, str | None], mistakes: Mistakes) -> Line | None:
    """Read one line; None if it has a part of an accelerator, or something wrong, then noted."""
    values: dict[str, float | None] = {}
    for column in ("AcceleratorCount", *PRICES, *NEEDED):
        text = (fields.get(column) or "").strip()
        try:
            value = float(text) if text else None
        except ValueError:
            value = -1.0
        least = LEAST_USD if column in PRICES else 0.0
        if value is not None and not least <= value < MOST:
            path = f"{shown(fields['InstanceType'] or '')}.{column}"
            what = "price" if column in PRICES else "number"
            mistakes.add(number, 1, path, f"`{shown(text)}` is no {what}")
            return None
        values[column] = value
    count = values["AcceleratorCount"] or 0.0
    if count < 1 or count != int(count):
        return None
    return Line(
        number, fields["InstanceType"] or "", fields["AcceleratorName"] or "", count,
        values["vCPUs"] or 0.0, values["MemoryGiB"] or 0.0, values["Price"], values["SpotPrice"],
    )  # fmt: skip
