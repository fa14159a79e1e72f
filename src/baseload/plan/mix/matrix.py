"""How is a linear programme with whole numbers written down and solved?

Columns and rows are added one by one, each row with the columns it touches; HiGHS solves it, by way
of SciPy (`scipy.optimize.milp`; Huangfu and Hall, DOI 10.1007/s12532-017-0130-5). SciPy is imported
when something is solved, since only the planner needs it.

Not here: what columns and rows mean (`program`).
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from typing import Any

import msgspec

from baseload.errors import BaseloadError

_OPTIMAL = 0
_INFEASIBLE = 2


class Solution(msgspec.Struct, frozen=True, kw_only=True):
    """What the solver found."""

    values: tuple[float, ...]
    """Of all columns; those of whole numbers are whole."""
    is_optimal: bool
    bound: float
    """What no solution is below."""


class Matrix:
    """Columns with a cost and bounds, and rows that tie them together."""

    def __init__(self) -> None:
        self._costs: list[float] = []
        self._lows: list[float] = []
        self._highs: list[float] = []
        self._whole: list[int] = []
        self._row_lows: list[float] = []
        self._row_highs: list[float] = []
        self._cells: tuple[list[float], list[int], list[int]] = ([], [], [])

    def column(
        self, low: float = 0.0, high: float = inf, cost: float = 0.0, is_whole: bool = False
    ) -> int:
        """Add a column and give its number."""
        self._costs.append(cost)
        self._lows.append(low)
        self._highs.append(high)
        self._whole.append(int(is_whole))
        return len(self._costs) - 1

    def row(self, cells: list[tuple[int, float]], low: float = -inf, high: float = inf) -> None:
        """Add a row: `low <= sum of column * factor <= high`."""
        factors, rows, columns = self._cells
        for column, factor in cells:
            factors.append(factor)
            rows.append(len(self._row_lows))
            columns.append(column)
        self._row_lows.append(low)
        self._row_highs.append(high)

    def costs(self) -> list[tuple[int, float]]:
        """Give the objective as cells of a row."""
        return [(column, cost) for column, cost in enumerate(self._costs) if cost]

    def aim(self, cells: list[tuple[int, float]]) -> None:
        """Make another sum the one to be least."""
        self._costs = [0.0] * len(self._costs)
        for column, cost in cells:
            self._costs[column] = cost

    def solve(self, limit_s: float, is_presolved: bool = False) -> Solution | None:
        """Find the columns with the least cost; None where no columns keep all rows.

        After `limit_s` seconds the best that was found counts. Without presolving, programmes
        of this kind were solved faster more often than not.
        Raises `BaseloadError` where SciPy is missing, or nothing was found.
        """
        optimize, sparse = _scipy()
        shape = (len(self._row_lows), len(self._costs))
        factors, rows, columns = self._cells
        table = sparse.csc_array((factors, (rows, columns)), shape=shape)
        with _hushed():
            found = optimize.milp(
                self._costs,
                integrality=self._whole,
                bounds=optimize.Bounds(self._lows, self._highs),
                constraints=optimize.LinearConstraint(table, self._row_lows, self._row_highs),
                options={"time_limit": limit_s, "mip_rel_gap": 0.0, "presolve": is_presolved},
            )
        if found.status == _INFEASIBLE:
            return None
        if found.x is None:
            raise BaseloadError(f"mix: nothing was found within {limit_s:g} s ({found.message})")
        pairs = zip(found.x.tolist(), self._whole, strict=True)
        values = tuple(float(round(value)) if is_whole else value for value, is_whole in pairs)
        bound = found.fun if found.mip_dual_bound is None else found.mip_dual_bound
        is_optimal = found.status == _OPTIMAL
        return Solution(values=values, is_optimal=is_optimal, bound=float(bound))


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep HiGHS off the standard output, where a plan's JSON may be going.

    It writes there whatever it is told (jump-dev/HiGHS.jl#312), from C++, so that what the number
    1 stands for is changed for all of the process meanwhile.
    """
    sys.stdout.flush()
    try:
        kept = os.dup(1)
    except OSError:
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _scipy() -> tuple[Any, Any]:
    try:
        from scipy import optimize, sparse  # noqa: PLC0415 - an extra, and slow to import
    except ImportError as error:
        raise BaseloadError("the mix needs SciPy: run `pip install 'baseload[plan]'`") from error
    return optimize, sparse
