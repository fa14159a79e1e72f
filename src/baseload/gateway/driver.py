"""Performs flows on the event loop: the twin of `sim.driver`.

A flow asks; the *hands* of its call do: they send, relay and reply, and later tell the driver what
happened. After every step the driver hands out the gate's notices and sets the one timer that the
gate needs. There is no task per call: everything runs in the callbacks of the transports.

One more timer, the sweep, looks at the clocks of calls in flight (first token, stall, deadline).
Hands keep these as plain timestamps, which cost nothing to move at every chunk; the price is that
a clock is noticed up to `SWEEP_S` late.
"""

import asyncio
import logging
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Protocol

from baseload.core.facts import Ask, Call, Fact, Relay, Reply, Send, Told
from baseload.core.flow import Flow, carry
from baseload.core.gate import Gate

SWEEP_S = 0.05
FAILED_CLOCK_S = 1.0
"""When a clock is looked at again after a defect of ours kept it from being minded."""

logger = logging.getLogger("baseload.gateway")


class Hands(Protocol):
    """What performs one call's asks. `due` is when `overdue` wants to be called."""

    call: Call
    flow: Flow
    due: float

    def wait(self) -> None:
        """Keep the caller until the gate gives notice."""

    def send(self, ask: Send) -> None:
        """Make an attempt; tell of it later, never from within."""

    def relay(self, ask: Relay) -> None:
        """Commit the answer to the caller and pass it on."""

    def reply(self, reply: Reply) -> None:
        """End the call. Nothing will be asked any more."""

    def overdue(self, now: float) -> None:
        """Notice that a clock ran out."""


class Driver:
    """Every call in flight, and the gate that decides about them."""

    def __init__(
        self,
        gate: Gate,
        loop: asyncio.AbstractEventLoop,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.gate = gate
        self.clock = clock
        self.journal: list[tuple[float, Ask | Reply]] | None = None
        """Set it to a list to have every ask and reply written down."""
        self._loop = loop
        self._live: dict[int, Hands] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        self._sweep: asyncio.TimerHandle | None = None
        self._is_handing_out = False

    def __len__(self) -> int:
        return len(self._live)

    def start(self, hands: Hands, now: float) -> None:
        """Begin a call; `hands.flow` is made here."""
        call = hands.call
        flow = hands.flow = carry(call, self.gate, now)
        self._live[call.id] = hands
        if self._sweep is None:
            self._sweep = self._loop.call_later(SWEEP_S, self._look)
        self._step(hands, flow, None)

    def tell(self, hands: Hands, told: Told) -> None:
        """Tell a call's flow what happened. A call that has ended is left alone."""
        if hands.call.id in self._live:
            self._step(hands, hands.flow, told)

    def announce(self, backend: str, *, is_up: bool) -> None:
        """Tell the gate that a backend came up or went down."""
        self.gate.announce(backend, is_up, self.clock())
        self._after_step()

    def end_all(self, fact: Fact) -> None:
        """Tell every call the same; for the end of a drain."""
        for hands in list(self._live.values()):
            self.tell(hands, Told(fact, self.clock()))

    def _step(self, hands: Hands, flow: Flow, told: Told | None) -> None:
        ask: Ask | Reply
        try:
            ask = flow.send(told)  # type: ignore[arg-type]  # None is how a generator starts
        except StopIteration as end:
            ask = end.value
            del self._live[hands.call.id]
        if self.journal is not None:
            self.journal.append((self.gate.now, ask))
        if isinstance(ask, Send):
            hands.send(ask)
        elif isinstance(ask, Relay):
            hands.relay(ask)
        elif isinstance(ask, Reply):
            hands.reply(ask)
        else:
            hands.wait()
        gate = self.gate
        if gate.notices or gate.due != self._alarm_at:
            self._after_step()

    def _after_step(self) -> None:
        """Hand out what the gate has to say, and set the timer anew.

        Telling one call can make the gate say more, so this is reached again from within; only the
        outermost goes on, else a thousand notices at once would be a thousand frames deep.
        """
        if self._is_handing_out:
            return
        gate = self.gate
        self._is_handing_out = True
        try:
            while gate.notices:
                call, fact = gate.notices.popleft()
                if (hands := self._live.get(call.id)) is not None:
                    self.tell(hands, Told(fact, self.clock()))
        finally:
            self._is_handing_out = False
        due = gate.due
        if due != self._alarm_at:
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
            self._alarm_at = due
            if due < inf:
                self._alarm = self._loop.call_later(max(due - self.clock(), 0.0), self._ring)

    def _ring(self) -> None:
        """Tick the gate. A timer of coarse resolution may ring early: then it is set anew."""
        self._alarm, self._alarm_at = None, inf
        self.gate.tick(self.clock())
        self._after_step()

    def _look(self) -> None:
        """Look at the clocks of all calls. One that fails must not stop those of the others."""
        self._sweep = self._loop.call_later(SWEEP_S, self._look) if self._live else None
        now = self.clock()
        for hands in [hands for hands in self._live.values() if hands.due <= now]:
            try:
                hands.overdue(now)
            except Exception:
                logger.exception("call %d: its clock could not be minded", hands.call.id)
                hands.due = now + FAILED_CLOCK_S
