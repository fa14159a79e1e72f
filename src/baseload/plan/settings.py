"""Which inputs may a person change, and how do they get to where they count?

`--set owned.pue=1.3` changes one field of what owning is reckoned from; a name that is not known is
a mistake, told with the nearest one.

Not here: defaults, and where they come from (`cost`, `mix`).
"""

from typing import TypeVar

import msgspec

from baseload.config.mistakes import nearest
from baseload.errors import BaseloadError
from baseload.plan.cost.owned import Ownership
from baseload.plan.cost.rented import Rental
from baseload.plan.cost.sensitivity import moved
from baseload.plan.mix.option import Demand

S = TypeVar("S", bound=msgspec.Struct)
PLANNED = {
    "months", "servers", "accelerators", "load", "tenure", "usd_hour", "machines",
}  # fmt: skip
"""Fields that the plan itself decides, or that have an option of their own."""
MIXED = ("spot_floor", "kinds_max", "patience_s", "budget_usd_month")
ROOMS: dict[str, tuple[str, ...]] = {
    "owned": tuple(name for name in Ownership.__struct_fields__ if name not in PLANNED),
    "rented": tuple(name for name in Rental.__struct_fields__ if name not in PLANNED),
    "mix": tuple(name for name in Demand.__struct_fields__ if name in MIXED),
}


def require_known(settings: dict[str, float]) -> None:
    """Raise BaseloadError for the first name that nothing listens to."""
    known = [f"{room}.{field}" for room, fields in ROOMS.items() for field in fields]
    for name in settings:
        if name not in known:
            raise BaseloadError(f"--set {name}: no input has this name; {nearest(name, known)}")


def with_settings(base: S, room: str, settings: dict[str, float]) -> S:
    """Give inputs with a person's own values for those of one room."""
    for name, value in settings.items():
        whose, _, field = name.partition(".")
        if whose == room and field in base.__struct_fields__:
            base = moved(base, field, value)
    return base
