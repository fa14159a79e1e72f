"""How many joules has each sensor counted since we began, and how many watts is that now?

Sensors that count joules are subtracted from themselves, over the point where a counter begins
anew. Of others, watts are added up over time, by the mean of two readings next to each other. A
reading that fails, or comes late, loses nothing of a counter, and a straight line of watts.

A thread of its own reads the sensors, for a driver may take its time. Not here: whose the joules
are (`energy`), and which sensors there are (`sensors`).
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from threading import Event, Thread
from typing import NamedTuple

from baseload.engines.hardware.looking import host_root
from baseload.engines.sensors import Reading, Sensor, find_sensors

SAMPLE_S = 1.0
"""Between two readings. A package's counter of 262 kJ begins anew after 7 minutes at 600 W."""
GAP_S_MAX = 30.0
"""Watts of which nothing was heard for longer than this are not added up: nobody knows them."""
STALE_S = 10.0
"""For how long a reading is what is true now."""
END_S_MAX = 5.0
"""How long the end waits for a driver that is being asked."""

logger = logging.getLogger("baseload.engines")


class Level(NamedTuple):
    """How one sensor stands."""

    joules: float
    """Since we began."""
    watts: float | None = None
    """Now; None: it does not tell any more."""
    busy: float | None = None


class Tally:
    """One sensor's joules. Time is an argument, in seconds of any clock that does not go back."""

    def __init__(self, range_j: float | None = None) -> None:
        self.joules = 0.0
        self._range_j = range_j
        self._last = Reading()
        self._watts: float | None = None
        self._at: float | None = None
        """When something was last heard."""

    def add(self, reading: Reading, now: float) -> None:
        """Take a reading; one that says nothing is passed over."""
        if reading.joules is None and reading.watts is None:
            return
        if self._at is None:
            self._watts = reading.watts
        elif (passed_s := now - self._at) > 0:
            more = self._counted(reading.joules)
            if more is None:
                more = self._drawn(reading.watts, passed_s)
            self.joules += more
            self._watts = more / passed_s if reading.watts is None else reading.watts
        else:
            return
        self._last, self._at = reading, now

    def level(self, now: float) -> Level:
        """Give how it stands."""
        if self._at is None or now - self._at > STALE_S:
            return Level(self.joules)
        return Level(self.joules, self._watts, self._last.busy)

    def _counted(self, joules: float | None) -> float | None:
        """Give what the counter went on by; None where that cannot be told."""
        before = self._last.joules
        if joules is None or before is None:
            return None
        if joules >= before:
            return joules - before
        if self._range_j is not None and joules <= self._range_j:
            return joules + self._range_j - before
        return None  # Its driver was loaded anew.

    def _drawn(self, watts: float | None, passed_s: float) -> float:
        before = self._last.watts
        if watts is None or before is None or passed_s > GAP_S_MAX:
            return 0.0
        return (watts + before) / 2 * passed_s


Find = Callable[[ExitStack], Sequence[Sensor]]


def _usual(stack: ExitStack) -> Sequence[Sensor]:
    return find_sensors(stack, host_root())


class Meter:
    """Reads this machine's sensors for as long as it runs; looks at them may come on any thread."""

    def __init__(
        self, find: Find = _usual, clock: Callable[[], float] = time.monotonic,
        sample_s: float = SAMPLE_S,
    ) -> None:  # fmt: skip
        self._find, self._clock, self._sample_s = find, clock, sample_s
        self._tallies: dict[str, Tally] = {}
        """Of those sensors that have been read at least once."""
        self._stop = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin to read; a second time does nothing."""
        if self._thread is None:
            self._thread = Thread(target=self._work, name="power", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End it, and wait for END_S_MAX at most. A second time does nothing."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(END_S_MAX)

    def levels(self) -> dict[str, Level]:
        """Give how each sensor stands; empty where there is none.

        A driver that hangs, and the thread with it, leaves joules as they were and no watts.
        """
        now = self._clock()
        return {name: tally.level(now) for name, tally in self._tallies.items()}

    def _work(self) -> None:
        with ExitStack() as stack:
            try:
                sensors = self._find(stack)
            except Exception:  # A driver's own trouble must not end what it is only watched for.
                logger.exception("sensors of power cannot be looked for; there are no joules")
                return
            names = ", ".join(sensor.name for sensor in sensors)
            logger.info("power is read of: %s", names or "nothing, no sensor can be read")
            tallies = {sensor.name: Tally(sensor.range_j) for sensor in sensors}
            while sensors and not self._stop.is_set():
                for sensor in sensors:
                    tallies[sensor.name].add(sensor.read(), self._clock())
                self._tallies = tallies
                self._stop.wait(self._sample_s)
