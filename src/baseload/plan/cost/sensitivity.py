"""Which input moves a cost the most?

Each input alone is moved to a low and a high value, all others stay: the data of a tornado. It says
nothing of inputs that move together.

It works for any function of a frozen struct, so for a whole plan as well as for one bill.

Not here: drawing it (`report`), which low and high are likely (the caller knows).
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from baseload.plan.cost.terms import check
from baseload.plan.result import Lever

WHOLE = 1000.0
"""From where on a value is shown without decimals; smaller ones with three digits."""
S = TypeVar("S", bound=msgspec.Struct)


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Between which values an input is moved."""

    field: str
    """Its name in the struct; a dot leads into a struct inside: `own.usd_kwh`."""
    low: float
    high: float
    what: str = ""
    """As a person would call it; the field's name where absent."""
    unit: str = ""


def levers(base: S, usd_month: Callable[[S], float], spans: Iterable[Span]) -> tuple[Lever, ...]:
    """Give what each input does to a cost, the strongest first.

    `usd_month` gives US dollars a month for a struct of inputs. Raises ValueError for a field that
    the struct does not have.
    """
    found = [_lever(base, usd_month, span) for span in spans]
    return tuple(sorted(found, key=_swing, reverse=True))


def valued(base: msgspec.Struct, field: str) -> Any:
    """Give an input by its name."""
    value: Any = base
    for part in field.split("."):
        is_there = isinstance(value, msgspec.Struct) and part in value.__struct_fields__
        check(is_there, f"{field}: {type(value).__name__} has no `{part}`")
        value = getattr(value, part)
    return value


def moved(base: S, field: str, value: float) -> S:
    """Give the struct with one input changed; a whole number where the input is one."""
    old = valued(base, field)
    name, _, rest = field.partition(".")
    if rest:
        return msgspec.structs.replace(base, **{name: moved(getattr(base, name), rest, value)})
    is_whole = isinstance(old, int) and not isinstance(old, bool)
    return msgspec.structs.replace(base, **{name: round(value) if is_whole else value})


def _lever(base: S, usd_month: Callable[[S], float], span: Span) -> Lever:
    check(span.low <= span.high, f"{span.field}: low is above high")
    low, high = (moved(base, span.field, value) for value in (span.low, span.high))
    return Lever(
        what=span.what or span.field,
        low=_shown(valued(low, span.field), span.unit),
        high=_shown(valued(high, span.field), span.unit),
        usd_month_low=usd_month(low),
        usd_month_high=usd_month(high),
    )


def _shown(value: float, unit: str) -> str:
    number = f"{value:,.0f}" if abs(value) >= WHOLE else f"{value:.3g}"
    return f"{number} {unit}".rstrip()


def _swing(lever: Lever) -> float:
    return abs(lever.usd_month_high - lever.usd_month_low)
