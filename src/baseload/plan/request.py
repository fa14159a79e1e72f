"""What does a person ask of the planner?

One frozen struct that holds everything a plan depends on, the day included: the same request and
the same catalogue give the same plan. `planning.make` takes it, `baseload plan` makes it of its
options.

Not here: what comes back (`result`), reading traces (`traces`), what models there are (`models`).
"""

from pathlib import Path

import msgspec

from baseload.plan.load import Load, Objectives
from baseload.plan.result import Tenure

TENURES: tuple[Tenure, ...] = (
    "owned", "on_demand", "reserved_1y", "reserved_3y", "spot", "serverless", "api",
)  # fmt: skip
MONTHS = 36
WAYS = 10


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine that the person has or would buy."""

    accelerator: str
    """A name among the catalogue's accelerators."""
    per_machine: int
    machines_max: int | None = None
    """How many there are; None: as many as it takes."""


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One question to the planner."""

    model: str
    """A model's name, or the path of a `config.json` or of the folder that holds it."""
    load: Load
    objectives: Objectives
    today: str
    """The day on which prices are judged stale, YYYY-MM-DD."""
    months: int = MONTHS
    """The horizon over which ways are compared."""
    tenures: tuple[Tenure, ...] = TENURES
    """Ways of paying that may be used."""
    clouds: tuple[str, ...] = ()
    """Clouds that may be used, by their names in the catalogue; empty: all."""
    region: str | None = None
    """The only region that may be used; None: each row's own."""
    precision: str | None = None
    """The only precision of weights that may be used; None: whatever the hardware can do."""
    hardware: tuple[Machine, ...] = ()
    """Machines that are or would be owned; empty: the planner looks through all accelerators."""
    settings: dict[str, float] = {}
    """Inputs that take the place of defaults: `owned.pue` to 1.3."""
    catalogue: Path | None = None
    """The person's own rows; None: `baseload-catalog.toml` where there is one."""
    any_model: bool = False
    """Whether other weights than the model's may answer: DeepSeek's own API has newer ones."""
    notes: tuple[str, ...] = ()
    """What whoever read the load knows of it, to be told with the plan."""
    ways_max: int = WAYS
    """How many ways the plan lists, cheapest first."""
