"""What do callers of a unit's replicas get, and where is their knee? Followed call by call.

Units are compared with the very same calls: the dice are cast anew from one seed each time. What
was followed once is kept, since instances of several names are the same machine inside.

Not here: a replica's calls (`queueing`), which units are worth following (`choosing`).
"""

from random import Random

import msgspec

from baseload.plan.load import Load, Objectives
from baseload.plan.queueing.arrivals import Draw, draw, split
from baseload.plan.queueing.knee import follow, keeps, knee
from baseload.plan.queueing.latency import Latency
from baseload.plan.units import Key, Unit, key_of

SEED = 20250925
CALLS = 500
"""Calls that are followed at one load."""
IDLE_RPS = 1e-3
SPLIT_MAX = 64
"""Replicas among which a load is divided at most; more are like these."""
TRIES_MAX = 12
LOWER = 0.92
"""Part of a knee that is tried next where calls of the planned load found it too high."""


class Follower:
    """One load; what was followed once is kept."""

    def __init__(self, load: Load, objectives: Objectives) -> None:
        self.load, self.objectives = load, objectives
        self._draws: dict[int, Draw] = {}
        self._knees: dict[Key, float] = {}
        self._latencies: dict[tuple[Key, float], Latency] = {}
        self._parts: dict[int, Load] = {}

    @property
    def knees(self) -> int:
        """How many knees were looked for."""
        return len(self._knees)

    def knows(self, unit: Unit) -> bool:
        """Say whether its knee was looked for."""
        return key_of(unit.build) in self._knees

    def followed(self, unit: Unit) -> Unit:
        """Give the unit with its knee found by following its part of the calls."""
        if (key := key_of(unit.build)) not in self._knees:
            part = self._part(unit.needed(self.load, self.objectives) * unit.replicas)
            self._knees[key] = knee(unit.engine, self._split(part), self.objectives, _dice())
        return msgspec.structs.replace(unit, knee_rps=self._knees[key], is_followed=True)

    def settled(self, unit: Unit) -> tuple[Unit, Latency] | None:
        """Give the unit with a knee that holds at the planned load, and what callers get there.

        A knee was found with other calls than those of the planned load: it is lowered until they
        agree. None where not even a call alone is served well enough.
        """
        unit = self.followed(unit)
        for _ in range(TRIES_MAX):
            if unit.knee_rps <= 0:
                return None
            replicas = unit.needed(self.load, self.objectives) * unit.replicas
            latency = self.at(unit, self.load.rps / replicas)
            if keeps(latency, self.objectives):
                return unit, latency
            unit = msgspec.structs.replace(unit, knee_rps=unit.knee_rps * LOWER)
        return None

    def at(self, unit: Unit, rps: float) -> Latency:
        """Give what callers of one replica get at a rate."""
        key = key_of(unit.build), rps
        if key not in self._latencies:
            part = self._part(round(self.load.rps / rps))
            if part not in self._draws:
                self._draws[part] = draw(self._split(part), CALLS, _dice())
            self._latencies[key] = follow(unit.engine, self._draws[part], rps)
        return self._latencies[key]

    def alone(self, unit: Unit) -> Latency:
        """Give what callers get who meet nobody else."""
        return self.at(unit, IDLE_RPS)

    def _split(self, part: int) -> Load:
        if part not in self._parts:
            self._parts[part] = split(self.load, part)
        return self._parts[part]

    def _part(self, replicas: int) -> int:
        return min(max(1, replicas), SPLIT_MAX)


def _dice() -> Random:
    return Random(SEED)  # noqa: S311 - no secret hangs on it
