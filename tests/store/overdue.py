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

    def begin(self) -> Callable[[], None]:
        """Wait beside one call; give what is to be called once it has its verdict."""
        loop = asyncio.get_running_loop()

        def ring(turns: int) -> None:
            nonlocal handle
            if turns:
                handle = loop.call_soon(ring, turns - 1)
            else:
                self.count += 1

        def told() -> None:
            handle.cancel()

        handle: asyncio.Handle = loop.call_later(DUE_S, ring, TURNS)
        return told
