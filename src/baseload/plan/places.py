"""Where could a model run? Machines that are or would be owned, and instances that clouds rent.

A place is one kind of machine with its accelerators, and what an hour of it costs in each way of
paying that was asked for. What has no price is no place, but is told of.

Not here: how a model is spread over it (`units`), other people's servers (`offers`).
"""

import msgspec

from baseload.plan.catalog.reading import Catalogue
from baseload.plan.catalog.rows import Accelerator, Instance, Link, Row
from baseload.plan.cost.rented import TERM_MONTHS, rental_of
from baseload.plan.hardware.machines import SERVER
from baseload.plan.request import Machine, Request
from baseload.plan.result import Refused, Tenure

FABRIC = "infiniband-hdr"
"""What joins one's own servers: a port of 200 Gb/s for each accelerator."""
PRICE = "owned.accelerator_usd"
"""The setting that says what an accelerator costs, in the place of the catalogue."""
CLOUD_NETWORK = "efa-p5"
"""Whose delay an instance's network is taken to have."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of machine."""

    name: str
    site: str
    """What fails together: a cloud's region, one's own room."""
    cloud: str
    accelerator: Accelerator
    per_machine: int
    network: Link | None
    """Between machines, of each accelerator; None: machines cannot be joined."""
    machines_max: int | None
    usd_hour: dict[Tenure, float]
    """Of one machine, by way of paying; what is owned has no rate."""
    row: Row
    """Whose source and day the price has."""
    instance: Instance | None = None


def places(request: Request, catalogue: Catalogue) -> tuple[list[Place], list[Refused]]:
    """Give all places that a request allows, and what has no price."""
    found: list[Place] = []
    refused: list[Refused] = []
    if "owned" in request.tenures:
        for place in (_own(each, catalogue) for each in _machines(request, catalogue)):
            if place.accelerator.usd is None and PRICE not in request.settings:
                refused.append(_priceless(place))
            else:
                found.append(place)
    if not set(request.tenures) & set(TERM_MONTHS):
        return found, refused
    rows = [row for row in catalogue.instances.values() if _is_wanted(request, row)]
    rented = [_rented(row, request, catalogue) for row in rows]
    able = [place for place in rented if place.usd_hour]
    for place, row in zip(rented, rows, strict=True):
        # That one of many has no rate for one way of paying is worth no word.
        if not place.usd_hour and (row.on_demand_usd_hour is None or not able):
            refused.append(priceless(row.name))
    return found + able, refused


def _machines(request: Request, catalogue: Catalogue) -> tuple[Machine, ...]:
    """Give machines that are or would be owned; none for a plan that names only a cloud.

    Where nothing is said, servers of every accelerator that goes into one.
    """
    if request.hardware or request.clouds or request.region:
        return request.hardware
    return tuple(
        Machine(accelerator=row.name, per_machine=SERVER)
        for row in catalogue.accelerators.values()
        if row.pcie_bytes_s
    )


def _own(machine: Machine, catalogue: Catalogue) -> Place:
    row = catalogue.accelerators[machine.accelerator]
    return Place(
        name=f"own {machine.per_machine}x{row.name}", site="own room", cloud="", accelerator=row,
        per_machine=machine.per_machine, network=catalogue.links[FABRIC],
        machines_max=machine.machines_max, usd_hour={}, row=row,
    )  # fmt: skip


def _is_wanted(request: Request, row: Instance) -> bool:
    is_cloud = not request.clouds or row.cloud in request.clouds
    return is_cloud and request.region in {None, row.region}


def _rented(row: Instance, request: Request, catalogue: Catalogue) -> Place:
    rates = {
        tenure: rental.usd_hour
        for tenure in request.tenures
        if tenure in TERM_MONTHS and (rental := rental_of(row, tenure)) is not None
    }
    each = row.network_bytes_s / row.count
    late = catalogue.links[CLOUD_NETWORK]
    network = msgspec.structs.replace(late, name=f"{row.name}'s network", bytes_s=each)
    return Place(
        name=row.name, site=f"{row.cloud} {row.region}", cloud=row.cloud,
        accelerator=catalogue.accelerators[row.accelerator], per_machine=row.count,
        network=network if each else None, machines_max=None,
        usd_hour=rates, row=row, instance=row,
    )  # fmt: skip


def _priceless(place: Place) -> Refused:
    return msgspec.structs.replace(
        priceless(place.name),
        nearest=f"--hardware with --set {PRICE}=N (0: paid), or --catalog FILE",
    )


def priceless(name: str) -> Refused:
    """Say that something has no price, and where to give one."""
    return Refused(
        name=name, objective="price", wanted="a price", found="none could be read",
        nearest="give yours in a file: --catalog FILE",
    )  # fmt: skip
