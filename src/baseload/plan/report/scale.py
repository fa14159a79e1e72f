"""Where does a value lie on an axis, and which values deserve a tick?

Ticks are 1, 2 or 5 times a power of ten, as people count. An axis is linear, or logarithmic where
values span so much that small ones would lie on the line of zero.

Not here: drawing (`draw`), which values are shown (`plots`).
"""

from collections.abc import Iterable
from math import ceil, floor, inf, isfinite, log10
from typing import NamedTuple

STEPS = (1, 2, 5)
LOG_FROM = 20.0
"""The largest over the smallest from which on an axis is logarithmic."""
LOG_ROOM = 1.15
"""How much room a logarithmic axis leaves at both ends, as a factor."""
TICKS_MAX = 60


class Scale(NamedTuple):
    """An axis from its lowest to its highest value."""

    low: float
    high: float
    is_log: bool = False

    def part(self, value: float) -> float:
        """Give how far along the axis a value lies: 0 at the low end, 1 at the high one."""
        if self.is_log:
            if value <= 0:
                return -1.0
            return (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def holds(self, value: float) -> bool:
        """Say whether a value lies on the axis."""
        return self.low <= value <= self.high

    def ticks(self, wanted: int) -> tuple[float, ...]:
        """Give about so many round values on the axis, lowest first."""
        return _log_ticks(self, wanted) if self.is_log else _linear_ticks(self, wanted)


def fitted(values: Iterable[float], *, is_log: bool | None = None, top: float = inf) -> Scale:
    """Give an axis for values, from zero unless logarithmic; what is above `top` is cut off.

    Without being told, it is logarithmic where the largest is more than `LOG_FROM` times the
    smallest that is above zero. Without values it goes from 0 to 1.
    """
    known = [value for value in values if isfinite(value)]
    above = [value for value in known if value > 0]
    if not above:
        return Scale(0.0, 1.0)
    low, high = min(above), min(max(above), top)
    if is_log if is_log is not None else high > LOG_FROM * low:
        return Scale(low / LOG_ROOM, max(high, low) * LOG_ROOM, is_log=True)
    step = _step(high, 6)
    return Scale(0.0, step * ceil(high / step - 1e-9))


def _step(span: float, wanted: int) -> float:
    """Give the round step that makes at most so many parts of a span."""
    rough = span / wanted
    power = 10.0 ** floor(log10(rough))
    return power * next((step for step in STEPS if step * power >= rough * (1 - 1e-9)), 10)


def _linear_ticks(scale: Scale, wanted: int) -> tuple[float, ...]:
    step = _step(scale.high - scale.low, wanted)
    first = ceil(scale.low / step - 1e-9)
    last = floor(scale.high / step + 1e-9)
    return tuple(number * step for number in range(first, min(last, first + TICKS_MAX) + 1))


def _log_ticks(scale: Scale, wanted: int) -> tuple[float, ...]:
    powers = range(floor(log10(scale.low)), ceil(log10(scale.high)) + 1)
    found: tuple[float, ...] = ()
    for steps in ((1, 2, 5), (1, 3), (1,)):
        found = tuple(
            step * 10.0**power
            for power in powers
            for step in steps
            if scale.holds(step * 10.0**power)
        )
        if len(found) <= wanted:
            return found
    return found[:: ceil(len(found) / wanted)]
