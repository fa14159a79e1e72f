"""Which loads does a week have, and for how long?

A mix needs a few levels of load with their hours. A day's shape is assumed from its mean and its
busiest hour; a trace longer than a day says both, and no more of it is used.

Not here: reading traces (`traces`).
"""

from itertools import pairwise

from baseload.plan.load import Load
from baseload.plan.mix.option import Period

EDGES = (1 / 24, 8 / 24, 16 / 24, 1.0)
"""Where levels end, in parts of a day's hours from the busiest on."""


def periods_of(load: Load) -> tuple[Period, ...]:
    """Give four levels that have a load's busiest hour and its mean.

    The shape between is assumed, for want of a trace: the load at the part x of hours, busiest
    first, falls as (1 - x) ** (1 / day_factor - 1), whose mean is `day_factor`. Hours after the
    busiest are scaled so that the mean holds; it is at least that of the busiest hour alone.
    """
    factor = min(1.0, load.day_factor)
    if factor >= 1.0:
        return (Period(load.rps, 1.0),)
    first = EDGES[0]
    rest = max(0.0, factor - first) / (1.0 - first) ** (1.0 / factor) / factor
    levels = [Period(load.rps, first)]
    for begin, end in pairwise(EDGES):
        below = (1.0 - begin) ** (1.0 / factor) - (1.0 - end) ** (1.0 / factor)
        level = min(1.0, rest * factor * below / (end - begin))
        levels.append(Period(load.rps * level, end - begin))
    return tuple(levels)
