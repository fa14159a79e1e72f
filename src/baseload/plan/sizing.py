"""How many units does a load take, and what does that cost? From a unit to a way.

    units    = load / (replicas * knee * utilisation), rounded up
    standby  = units that may fail
    cost     = that of all of them, by owning or renting

Latencies are those of a replica at its part of the load while nothing has failed and standby is
idle, so they are what is left when it is needed. Availability counts failures of accelerators alone
(`mix.reserve`); a machine that failed is away until another has started, or, owned, was repaired.

Not here: which unit (`units`), other people's servers (`offers`), what goes together (`mix`).
"""

from datetime import date

import msgspec

from baseload.plan.catalog.reading import Catalogue
from baseload.plan.catalog.rows import Serverless
from baseload.plan.cost.owned import Ownership, owned
from baseload.plan.cost.power import joules_token, load_of, watts
from baseload.plan.cost.rented import Rental, lost_share, rental_of, rented
from baseload.plan.cost.serverless import Functions, cold_share, functions_of, serverless
from baseload.plan.cost.terms import DAYS_MONTH, SECONDS_HOUR, Bill
from baseload.plan.evidence import figures_of, formulas_of
from baseload.plan.load import Load
from baseload.plan.mix.reserve import availability, replica_availability
from baseload.plan.queueing.latency import Latency
from baseload.plan.request import Request
from baseload.plan.result import Refused, Speed, Tenure, Way
from baseload.plan.settings import with_settings
from baseload.plan.transport.loading import SAFETENSORS_BYTES_S, Start
from baseload.plan.transport.loading import Way as Loaded
from baseload.plan.transport.loading import load as load_weights
from baseload.plan.transport.loading import start as start_of
from baseload.plan.units import Unit, split_of

REPAIR_HOURS = 24.0
"""Until an owned machine is back. Assumption: a part is on site, a technician comes next day."""
DISK, STORE = "nvme-gen4", "s3"
"""Where weights lie: on the disk of an owned machine, but in object storage for a rented one, whose
disks are empty when it comes."""
COLD_MAX = 0.05
"""Part of calls that may meet a cold start where 95 of 100 must be fast."""


class Sized(msgspec.Struct, frozen=True, kw_only=True):
    """A way, and what the mix must know of it."""

    way: Way
    unit: Unit
    units: int
    """That the load needs."""
    start_s: float
    idle_usd_month: float
    """A unit that is held but off."""
    stands: float
    """Part of the time in which one unit stands."""
    busy: float
    """Load of its accelerators, 0 to 1, as power is reckoned with."""
    short: Refused | None = None
    """Where there are too few machines for the whole load: a part of a mix, but no way."""


def sized(
    unit: Unit, tenure: Tenure, latency: Latency, request: Request, catalogue: Catalogue
) -> Sized | Refused:
    """Give the way to serve the whole load with one kind of unit."""
    load, objectives = request.load, request.objectives
    units = unit.needed(load, objectives)
    every = units + objectives.survive
    name = name_of(unit, tenure)
    short = _short(name, unit, every, request)
    start = starting(unit, tenure, catalogue)
    start_s = (start.low_s + start.high_s) / 2
    if tenure == "serverless" and (cold := _cold(name, unit, request, every, start_s)):
        return cold
    busy = load_of(latency.batch * unit.replicas / unit.accelerators)
    bill, idle = _billed(unit, tenure, request, every, busy)
    away_hours = REPAIR_HOURS if tenure == "owned" else start_s / SECONDS_HOUR
    stands = replica_availability(unit.accelerators, away_hours)
    if tenure == "spot":
        stands *= 1.0 - lost_share(rental_for(unit, tenure, request, 1, start_s))
    way = Way(
        name=name, tenure=tenure, hardware=unit.place.row.name, cloud=unit.place.cloud,
        precision=unit.build.precision, layout=unit.build.layout,
        accelerators=every * unit.accelerators, replicas=units * unit.replicas,
        standby=objectives.survive * unit.replicas,
        speed=_speed(unit, latency, request, units, busy),
        usd_month=bill.usd_month, usd_horizon=bill.usd_horizon,
        usd_mtok=bill.usd_mtok(tokens_month(load)), costs=bill.costs,
        availability=availability(stands, units, every), start_s=start_s,
        figures=figures_of(unit, tenure, date.fromisoformat(request.today)),
    )  # fmt: skip
    way = msgspec.structs.replace(way, formulas=formulas_of(way, unit, units, request, start))
    return Sized(
        way=way, unit=unit, units=units, start_s=start_s, idle_usd_month=idle,
        stands=stands, busy=busy, short=short,
    )  # fmt: skip


def _short(name: str, unit: Unit, every: int, request: Request) -> Refused | None:
    """Say that there are fewer machines than it takes, and what they would do for."""
    most, wanted = unit.place.machines_max, every * unit.machines
    if most is None or wanted <= most:
        return None
    left = most // unit.machines - request.objectives.survive
    less = f" or --rps {left * unit.rps(request.objectives):.3g}" if left > 0 else ""
    fewer = (
        " or --survive 0" if (every - request.objectives.survive) * unit.machines <= most else ""
    )
    return Refused(
        name=name, objective="machines", wanted=_machines(wanted), found=_machines(most),
        nearest=f"{_machines(wanted)}{less}{fewer}", over=wanted / most - 1,
    )  # fmt: skip


def _machines(count: int) -> str:
    return f"{count} machine{'' if count == 1 else 's'}"


def name_of(unit: Unit, tenure: Tenure) -> str:
    """Give a way's name: what, in which precision, split how, paid how."""
    split = split_of(unit.build.layout)
    paid = "" if tenure == "owned" else f", {tenure.replace('_', ' ')}"
    return f"{unit.place.name}, {unit.build.precision}, {split}{paid}"


def tokens_month(load: Load) -> float:
    """Give tokens of a month, prompts' and answers'."""
    return load.requests_day * DAYS_MONTH * (load.prompt + load.answer)


def starting(unit: Unit, tenure: Tenure, catalogue: Catalogue) -> Start:
    """Give how long a unit takes from nothing to its first token."""
    place = unit.place
    weights = unit.fit.weights_bytes * min(unit.build.layout.accelerators, place.per_machine)
    storage = catalogue.storage[DISK if tenure == "owned" else STORE]
    loading = load_weights(
        weights,
        Loaded(
            storage=storage, bus_bytes_s=place.accelerator.pcie_bytes_s or None,
            accelerators=min(unit.build.layout.accelerators, place.per_machine),
            loader_bytes_s=SAFETENSORS_BYTES_S,
        ),
    )  # fmt: skip
    if tenure == "owned":  # The machine is there.
        return start_of(loading, machine_s=(0.0, 0.0), storage=storage.name)
    if isinstance(place.row, Serverless):
        return start_of(
            loading, machine_s=place.row.cold_start_s or (0.0, 0.0), storage=storage.name
        )
    return start_of(loading, storage=storage.name)


def usd_month_of(unit: Unit, tenure: Tenure, request: Request, units: int, busy: float) -> Bill:
    """Give what so many units cost, by kind; owned ones at a load of 0 to 1."""
    if tenure == "owned":
        return owned(owned_inputs(unit, request, units, busy))
    if tenure == "serverless":
        use = functions(unit, request, units, 0.0)
        costs = {kind: usd * units for kind, usd in serverless(use).costs.items()}
        return Bill(costs=costs, months=float(request.months))
    return rented(rental_for(unit, tenure, request, units))


def fixed_and_each(sized: Sized, request: Request) -> tuple[float, float]:
    """Give what a way costs a month whatever its size, and what each unit adds."""
    every = sized.units + request.objectives.survive
    if sized.way.tenure != "owned":
        return 0.0, sized.way.usd_month / every
    one, two = (
        usd_month_of(sized.unit, "owned", request, count, sized.busy).usd_month for count in (1, 2)
    )
    return max(0.0, 2 * one - two), two - one


def rental_for(
    unit: Unit, tenure: Tenure, request: Request, units: int, start_s: float | None = None
) -> Rental:
    """Give all that renting so many units depends on."""
    assert unit.place.instance is not None
    machines = float(units * unit.machines)
    rental = rental_of(unit.place.instance, tenure, machines, float(request.months))
    assert rental is not None, f"{unit.place.name} has no rate for {tenure}"
    if start_s is not None:
        rental = msgspec.structs.replace(rental, start_s=start_s)
    return with_settings(rental, "rented", request.settings)


def functions(unit: Unit, request: Request, units: int, start_s: float) -> Functions:
    """Give one serverless instance's part of the calls; each keeps its instance awake by itself."""
    row = unit.place.row
    assert isinstance(row, Serverless)
    load, objectives = request.load, request.objectives
    run_s = objectives.ttft_p95_s + load.answer * objectives.tpot_p95_s
    use = functions_of(row, load.requests_day / units, run_s, 0.0)
    assert use is not None, "places have a price"
    return msgspec.structs.replace(use, start_s=start_s, months=float(request.months))


def _cold(name: str, unit: Unit, request: Request, units: int, start_s: float) -> Refused | None:
    use = functions(unit, request, units, start_s)
    if (cold := cold_share(use)) <= COLD_MAX:
        return None
    return Refused(
        name=name, objective="ttft_p95_s", wanted=f"{request.objectives.ttft_p95_s:g} s",
        found=f"{use.start_s:.0f} s for the {cold:.0%} of calls that meet a cold start",
        nearest="an instance that is always up",
    )  # fmt: skip


def _billed(
    unit: Unit, tenure: Tenure, request: Request, units: int, busy: float
) -> tuple[Bill, float]:
    """Give the bill of all units, and what one of them costs while it is off."""
    bill = usd_month_of(unit, tenure, request, units, busy)
    if tenure == "owned":
        return bill, (bill.usd_month - bill.costs["power"]) / units
    return bill, bill.usd_month / units if tenure.startswith("reserved") else 0.0


def owned_inputs(unit: Unit, request: Request, units: int, busy: float) -> Ownership:
    """Give all that owning so many units depends on."""
    accelerator = unit.place.accelerator
    base = Ownership(
        accelerator_usd=accelerator.usd or 0.0, tdp_w=accelerator.tdp_w,
        accelerators=unit.place.per_machine, servers=units * unit.machines,
        months=float(request.months), load=busy,
    )  # fmt: skip
    return with_settings(base, "owned", request.settings)


def _speed(unit: Unit, latency: Latency, request: Request, units: int, busy: float) -> Speed:
    load = request.load
    settings = with_settings(Ownership(accelerator_usd=0.0, tdp_w=0.0), "owned", request.settings)
    share = unit.accelerators / settings.accelerators
    it_w = unit.accelerators * watts(unit.place.accelerator.tdp_w, busy) + settings.rest_w * share
    return Speed(
        ttft_p50_s=latency.ttft_p50_s, ttft_p95_s=latency.ttft_p95_s,
        tpot_p50_s=latency.tpot_p50_s, tpot_p95_s=latency.tpot_p95_s,
        batch=latency.batch, knee_rps=unit.knee_rps,
        utilisation=load.rps / (units * unit.replicas * unit.knee_rps),
        joules_token=joules_token(units * it_w, load.rps * load.answer, settings.pue),
    )  # fmt: skip
