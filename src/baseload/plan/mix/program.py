"""Which replicas, on in which period, keep the demand at the least cost?

The rules of `option` as a linear programme with whole numbers. For each option o and period p:
`held[o]` and `on[o,p]` are counts; `flow[g,p]` is the part of the period's load that goes to the
options whose calls cost the same. Capacities are parts of the period's load too, and cut at 1: what
can take all of it need not be told from what can take more, and rows stay well scaled.

What any s replicas take with them when they fail is the sum of the s largest that are on. With
`there[o,j,p]` = 1 where at least j replicas are on, that sum is the least of
`s * level + sum of max(0, capacity * there - level)` (linear programming duality), so that it can
be written in rows. With one failure, options of the same capacity share a `there`. No count needs
to be above what takes the whole load and survives s failures by itself, which bounds every column.

Not here: columns and the solver (`matrix`), what to give up where nothing does (`nearest`).
"""

from math import ceil, inf

from baseload.plan.mix.answer import Answer, Part, answer_of
from baseload.plan.mix.matrix import Matrix, Solution
from baseload.plan.mix.option import (
    MONTH_S,
    Demand,
    Option,
    call_share,
    is_cold_reserve,
    is_meant,
    may_serve,
    may_stand_in,
)

Cells = list[tuple[int, float]]
NEAR = 1e-9
"""What rounding adds to a quotient that is whole."""


class Program:
    """One demand on some options, as columns and rows.

    Options whose calls cost the same and that the same bounds mean share one flow.

    `give` names a demand that may give way: `load`, `spot_floor`, `kinds_max` or `bounds`; then
    that is what is brought as near as it can be, instead of the cost.
    """

    def __init__(self, options: tuple[Option, ...], demand: Demand, give: str = "") -> None:
        self.options = options
        self.demand = demand
        self.give = give
        self.matrix = Matrix()
        self.held: dict[int, int] = {}
        self.on: dict[tuple[int, int], int] = {}
        self.flow: dict[tuple[int, int], int] = {}
        self._used: list[int] = []
        self._busy = [p for p, period in enumerate(demand.periods) if period.rps > 0]
        self._groups = self._alike()
        self._knob = self._add_knob()
        self._add_counts()
        self._add_flows()
        for period in self._busy:
            self._add_failures(period)
            self._add_floor(period)
        self._add_bounds()
        self._add_kinds()
        self._add_budget()
        self._aim()

    # -- columns ----------------------------------------------------------------------------

    def _add_knob(self) -> int | None:
        """Add the column of what may give way: how much of it is kept, or missed."""
        if self.give in {"load", "spot_floor", "bounds"}:
            return self.matrix.column(0.0, 1.0)
        return None

    def _part(self, o: int, p: int) -> float:
        """Give a replica's capacity as a part of the period's load, 1 at most."""
        rps = self.demand.periods[p].rps
        return min(1.0, self.options[o].replica_rps / rps) if rps > 0 else 1.0

    def _most(self, o: int, p: int) -> int:
        """Give how many replicas can be of use in a period."""
        option = self.options[o]
        is_idle = self.demand.periods[p].rps <= 0
        does = not is_idle and may_stand_in(option, self.demand)
        useful = ceil(1.0 / self._part(o, p) - NEAR) + self.demand.survive if does else 0
        return min(option.most, max(option.on_min, useful))

    def _add_counts(self) -> None:
        for o, option in enumerate(self.options):
            off = option.usd_month_off
            counts = range(len(self.demand.periods))
            most = [self._most(o, p) for p in counts]
            for p in counts:
                cost = self.demand.periods[p].hours_share * (option.usd_month - off)
                self.on[o, p] = self.matrix.column(option.on_min, most[p], cost, is_whole=True)
            if off > 0 or is_cold_reserve(option, self.demand):
                held = self.matrix.column(option.on_min, max(most), off, is_whole=True)
                self.held[o] = held
                for p in counts:
                    self.matrix.row([(held, 1.0), (self.on[o, p], -1.0)], low=0.0)

    def _add_flows(self) -> None:
        """Add one flow for all options whose calls cost the same and that the same bounds mean."""
        for p in self._busy:
            period = self.demand.periods[p]
            calls = period.rps * period.hours_share * MONTH_S
            for group, members in enumerate(self._groups):
                cost = calls * self.options[members[0]].usd_request
                flow = self.matrix.column(0.0, 1.0, cost)
                self.flow[group, p] = flow
                cells = [(self.on[o, p], self._part(o, p)) for o in members]
                self.matrix.row([*cells, (flow, -1.0)], low=0.0)
            every = [(self.flow[group, p], 1.0) for group in range(len(self._groups))]
            self._at_least(every, 1.0, is_exact=True)

    def _alike(self) -> list[list[int]]:
        groups: dict[tuple[float, ...], list[int]] = {}
        for o in self._serving():
            option = self.options[o]
            meant = (is_meant(option, bound) for bound in self.demand.bounds)
            groups.setdefault((option.usd_request, *meant), []).append(o)
        return list(groups.values())

    def _serving(self) -> list[int]:
        return [o for o, option in enumerate(self.options) if may_serve(option, self.demand)]

    # -- rows -------------------------------------------------------------------------------

    def _at_least(self, cells: Cells, load: float, is_exact: bool = False) -> None:
        """Ask that a sum is so much of the load, or of what is left of it where load gives way."""
        if self.give == "load" and self._knob is not None:
            cells = [*cells, (self._knob, -load)]
            load = 0.0
        self.matrix.row(cells, low=load, high=load if is_exact else inf)

    def _ready(self, p: int, without: str | None = None) -> Cells:
        """Give what can take load when something has failed: on, or off and soon there."""
        return [
            (self.held[o] if is_cold_reserve(option, self.demand) else on, self._part(o, p))
            for (o, q), on in self.on.items()
            if q == p
            for option in (self.options[o],)
            if may_stand_in(option, self.demand) and option.site != without
        ]

    def _add_failures(self, p: int) -> None:
        if self.demand.survive_site:
            for site in sorted({option.site for option in self.options}):
                self._at_least(self._ready(p, without=site), 1.0)
        # Who survives a site survives each replica in it.
        if self.demand.survive > int(self.demand.survive_site):
            self._at_least([*self._ready(p), *self._largest(p)], 1.0)

    def _largest(self, p: int) -> Cells:
        """Give, with a minus, what the largest replicas that are on can take."""
        count = self.demand.survive
        level = self.matrix.column(0.0, 1.0)
        lost: Cells = [(level, -float(count))]
        shared: dict[float, int] = {}
        for o, option in enumerate(self.options):
            part, most = self._part(o, p), self._most(o, p)
            if not may_stand_in(option, self.demand):
                continue
            for j in range(1, min(count, most) + 1):
                there = shared.get(part) if count == 1 else None
                if there is None:
                    there = shared[part] = self.matrix.column(0.0, 1.0, is_whole=True)
                    over: Cells = []
                    if count > 1:
                        above = self.matrix.column(0.0, 1.0)
                        lost.append((above, -1.0))
                        over = [(above, 1.0)]
                    self.matrix.row([(level, 1.0), *over, (there, -part)], low=0.0)
                self.matrix.row([(there, most - j + 1.0), (self.on[o, p], -1.0)], low=1.0 - j)
        return lost

    def _add_floor(self, p: int) -> None:
        if not (floor := self.demand.spot_floor):
            return
        steady = [o for o in self._serving() if not self.options[o].is_spot]
        cells = [(self.on[o, p], self._part(o, p)) for o in steady]
        if self.give == "spot_floor" and self._knob is not None:
            self.matrix.row([*cells, (self._knob, -floor)], low=0.0)
        else:
            self._at_least(cells, floor)

    def _add_bounds(self) -> None:
        shares = call_share(self.demand)
        for bound in self.demand.bounds:
            cells = [
                (flow, shares[p])
                for (group, p), flow in self.flow.items()
                if is_meant(self.options[self._groups[group][0]], bound)
            ]
            if bound.low > 0:
                self._add_bound(cells, bound.low, 1.0)
            if bound.high < 1:
                self._add_bound(cells, bound.high, -1.0)

    def _add_bound(self, cells: Cells, edge: float, sign: float) -> None:
        cells = [(column, sign * share) for column, share in cells]
        if self._knob is None or self.give == "spot_floor":
            self.matrix.row(cells, low=sign * edge)
        elif self.give == "load":
            self.matrix.row([*cells, (self._knob, -sign * edge)], low=0.0)
        else:
            self.matrix.row([*cells, (self._knob, 1.0)], low=sign * edge)

    def _add_kinds(self) -> None:
        most = self.demand.kinds_max
        if most is None or (most >= len(self.options) and self.give != "kinds_max"):
            return
        for o in range(len(self.options)):
            used = self.matrix.column(0.0, 1.0, is_whole=True)
            self._used.append(used)
            for p in range(len(self.demand.periods)):
                self.matrix.row([(used, self._most(o, p)), (self.on[o, p], -1.0)], low=0.0)
            if (held := self.held.get(o)) is not None:
                highest = max(self._most(o, p) for p in range(len(self.demand.periods)))
                self.matrix.row([(used, highest), (held, -1.0)], low=0.0)
        if self.give != "kinds_max":
            self.matrix.row([(used, 1.0) for used in self._used], high=most)

    def _add_budget(self) -> None:
        if (budget := self.demand.budget_usd_month) is not None:
            self.matrix.row(self.matrix.costs(), high=budget)

    def _aim(self) -> None:
        if self.give == "bounds" and self._knob is not None:
            self.matrix.aim([(self._knob, 1.0)])
        elif self._knob is not None:
            self.matrix.aim([(self._knob, -1.0)])
        elif self.give == "kinds_max":
            self.matrix.aim([(used, 1.0) for used in self._used])

    # -- what came of it --------------------------------------------------------------------

    def kept(self, solution: Solution) -> float:
        """Give what became of the demand that may give way: a part of the load, the floor, ..."""
        if self.give == "kinds_max":
            return sum(solution.values[used] for used in self._used)
        assert self._knob is not None
        return solution.values[self._knob]

    def parts(self, solution: Solution) -> tuple[Part, ...]:
        """Read the counts."""
        every = range(len(self.demand.periods))
        flows = self._flows(solution)
        found = []
        for o, option in enumerate(self.options):
            on = tuple(round(solution.values[self.on[o, p]]) for p in every)
            held = round(solution.values[self.held[o]]) if o in self.held else max(on)
            if held:
                rps = tuple(flows.get((o, p), 0.0) for p in every)
                found.append(Part(option=option.name, held=held, on=on, rps=rps))
        return tuple(found)

    def _flows(self, solution: Solution) -> dict[tuple[int, int], float]:
        """Give calls a second of each option: those that are alike are filled one by one."""
        flows: dict[tuple[int, int], float] = {}
        for (group, p), column in self.flow.items():
            left = max(0.0, solution.values[column]) * self.demand.periods[p].rps
            able = [o for o in self._groups[group] if solution.values[self.on[o, p]] > 0.5]
            for o in able:
                can = round(solution.values[self.on[o, p]]) * self.options[o].replica_rps
                flows[o, p] = min(left, can) if o != able[-1] else left
                left -= flows[o, p]
        return flows


def solve(
    options: tuple[Option, ...], demand: Demand, limit_s: float, is_presolved: bool = False
) -> Answer | None:
    """Find the cheapest mix; None where no mix keeps the demand.

    Raises `BaseloadError` where SciPy is missing, or nothing was found in time.
    """
    program = Program(options, demand)
    if (solution := program.matrix.solve(limit_s, is_presolved)) is None:
        return None
    parts = program.parts(solution)
    return answer_of(parts, options, demand, solution.is_optimal, solution.bound)
