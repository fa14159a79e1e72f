"""What is a plan, as data?

What `--json` prints, what `render` and `sim` read, and what terminal and page are drawn from. Every
struct is frozen and says its units in its fields' names.

Not here: how a plan is made (`planning`), how it is shown (`report`).
"""

from typing import Literal

import msgspec

from baseload.plan.load import Load, Objectives
from baseload.plan.speed.layout import Layout

Tenure = Literal["owned", "on_demand", "reserved_1y", "reserved_3y", "spot", "serverless", "api"]
"""How a way is paid for."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A number from the catalogue that a way rests on."""

    what: str
    value: str
    """With its unit, as a person would write it."""
    source: str
    seen: str
    is_verified: bool
    is_stale: bool
    """Older than prices keep."""


class Formula(msgspec.Struct, frozen=True, kw_only=True):
    """One step of how a way's figures came about, for `--explain`."""

    what: str
    formula: str
    """In words: `weights / (bandwidth * efficiency)`."""
    numbers: str
    """The same with numbers in it."""
    result: str


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """What callers get at the planned load, and where it ends."""

    ttft_p50_s: float
    ttft_p95_s: float
    tpot_p50_s: float
    tpot_p95_s: float
    batch: float
    """Calls that a replica works on at once, mean."""
    knee_rps: float
    """The highest load of one replica with which objectives are kept."""
    utilisation: float
    """Load of a replica over its knee."""
    joules_token: float | None = None
    """Energy for each answer token at the wall, PUE included."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """One way to serve the load that keeps all objectives."""

    name: str
    """Unique in a plan, short: `8 x p5.48xlarge, fp8, tp 8, spot`."""
    tenure: Tenure
    hardware: str
    """An instance, accelerator or API by its name in the catalogue."""
    cloud: str = ""
    precision: str = ""
    layout: Layout | None = None
    """None where somebody else decides: an API."""
    accelerators: int = 0
    """Of all replicas, standby included."""
    replicas: int = 0
    """That the load needs."""
    standby: int = 0
    """Replicas beyond those, for the objective that so many may fail."""
    speed: Speed | None = None
    usd_month: float
    usd_horizon: float
    usd_mtok: float
    """For a million tokens, prompts' and answers'."""
    costs: dict[str, float] = {}
    """US dollars a month by kind: capital, power, colocation, staff, compute, tokens, ..."""
    availability: float
    """Part of the time in which enough replicas stand, standby counted."""
    start_s: float | None = None
    """From nothing to the first token: machine, image, weights, warm-up."""
    figures: tuple[Figure, ...] = ()
    formulas: tuple[Formula, ...] = ()


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A way that does not do, with the objective it fails first."""

    name: str
    objective: str
    """`memory`, `ttft_p95_s`, `tpot_p95_s`, `capability`, `price`, ..."""
    wanted: str
    found: str
    nearest: str = ""
    """What would do instead."""
    over: float | None = None
    """By how much it misses, as a part of what was wanted; None where that is no number."""


Role = Literal["base", "hot", "cold", "floor", "peak"]
"""Always on; on and idle until one fails; off until then; on demand below spot; at the peak."""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """One part of the mix."""

    way: str
    role: Role
    replicas: int
    share: float
    """Part of all calls."""
    usd_month: float


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """The cheapest combination that keeps objectives, also when what may fail has failed."""

    shares: tuple[Share, ...]
    usd_month: float
    usd_horizon: float
    availability: float
    is_optimal: bool
    """Whether the solver proved that nothing is cheaper."""
    why: str = ""


class Curve(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a plot."""

    way: str
    x: tuple[float, ...]
    y: tuple[float, ...]


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """Where one way becomes cheaper than another."""

    cheaper_below: str
    cheaper_above: str
    requests_day: float
    usd_month: float


class Lever(msgspec.Struct, frozen=True, kw_only=True):
    """How much one input moves the recommended way's cost."""

    what: str
    low: str
    high: str
    usd_month_low: float
    usd_month_high: float


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """An answer to: what to run, where, and what does it cost?"""

    model: str
    load: Load
    objectives: Objectives
    months: int
    today: str
    ways: tuple[Way, ...]
    """Cheapest first."""
    refused: tuple[Refused, ...]
    mix: Mix | None
    """None where nothing does; `refused` says why."""
    cost_curves: tuple[Curve, ...] = ()
    """US dollars a month over requests a day."""
    ttft_curves: tuple[Curve, ...] = ()
    """95th percentile in seconds over requests a second of one replica, up to its knee and past."""
    tpot_curves: tuple[Curve, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    levers: tuple[Lever, ...] = ()
    notes: tuple[str, ...] = ()
