"""Chance, as far as decisions need it: drivers bring the dice, so that a seed repeats a run."""

from typing import Protocol


class Dice(Protocol):
    """What is needed of `random.Random`."""

    def random(self) -> float:
        """Give a number from 0 up to 1."""

    def uniform(self, a: float, b: float) -> float:
        """Give a number from `a` to `b`."""
