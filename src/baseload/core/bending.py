"""How much of its share does a backend get just now?

A tree in the wind bends before it breaks: a backend that shows strain gives away part of its share
at once, and takes it back in steps once the strain has been gone for a while. Down is quick because
every call sent to an overloaded backend makes it worse; up is slow because a backend that gets all
its calls back in one moment falls over again.

Not here: what strain is (`pressure` only puts the signs that it is given on one scale), and who
gets the part that was given away (`routing`).
"""

from math import inf

from baseload.core.overload import RED, YELLOW, Level

STEP = 0.25
"""Coarse, so that noise in the evidence does not move the split at every look."""
YELLOW_PORTION = 0.5
STRAIN_MIN = 0.8
"""Fuller than this, a backend's answers slow down long before it refuses any."""
HOLD_S = 3.0
"""How long a portion stays after the last evidence for it: about a first token and a look."""
STEP_S = 1.0


class Bend:
    """The part of its share that one backend gets, from 0 to 1 in quarters.

    `portion` is that part, `deadline` when it next changes by itself, or infinity.
    """

    __slots__ = ("deadline", "portion")

    def __init__(self) -> None:
        self.portion = 1.0
        self.deadline = inf

    def press(self, target: float, now: float) -> None:
        """Hear evidence that the backend should get at most the part `target` (0 to 1).

        Less than now takes effect at once. Evidence for just this portion keeps it for another
        `HOLD_S`; evidence for a larger one does not hinder the way up.
        """
        self.settle(now)
        if target >= 1.0:
            return
        step = target // STEP * STEP
        if step <= self.portion:
            self.portion = max(step, 0.0)
            self.deadline = now + HOLD_S

    def settle(self, now: float) -> None:
        """Become what time alone makes of it: one step up at each deadline that has passed."""
        while now >= self.deadline:
            self.portion += STEP
            self.deadline = self.deadline + STEP_S if self.portion < 1.0 else inf


def pressure(level: Level, queued_s: float, queued_s_red: float, saturation: float) -> float:
    """Say which part of its share a backend should get at most, from what is known of it.

    `queued_s` is how long calls wait in the provider's own queue, `queued_s_red` where that counts
    as red (over 0), `saturation` the used part of its worst resource; the worse of the two bends.
    """
    if level is RED:
        return 0.0
    strain = max(saturation, queued_s / queued_s_red)
    if strain <= STRAIN_MIN:
        bent = 1.0
    else:
        lost = (min(strain, 1.0) - STRAIN_MIN) / (1.0 - STRAIN_MIN)
        bent = 1.0 - lost * (1.0 - YELLOW_PORTION)
    return min(bent, YELLOW_PORTION) if level is YELLOW else bent
