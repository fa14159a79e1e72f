"""Which verdicts come later than a timer of the same event loop, set when they were asked for?

On a busy machine everything is late, timers included, so a bound in milliseconds judges the machine.
Whoever waits for Redis comes later than a timer does, on any machine.
"""

import asyncio
from collections.abc import Callable

DUE_S = 0.01
"""Twice the 5 ms that are promised: event loops round the times of their timers."""
TURNS = 16
"""Turns of the loop after that: the few in which an answer that lies there is still taken."""


class Overdue:
    """Counts them. Made and used inside one event loop."""

    def __init__(self) -> None:
        self.count = 0

    def watch(self, is_over: Callable[[], bool]) -> None:
        """Wait beside one call that has asked, until nobody waits for its verdict any more."""
        asyncio.get_running_loop().call_later(DUE_S, self._ring, is_over, TURNS)

    def _ring(self, is_over: Callable[[], bool], turns: int) -> None:
        if is_over():
            return
        if turns:
            asyncio.get_running_loop().call_soon(self._ring, is_over, turns - 1)
        else:
            self.count += 1
