"""Performs flows on the event loop: the twin of `sim.driver`.

A flow asks; the *hands* of its call do: they send, hedge, relay and reply, and later tell the
driver what happened. After every step the driver hands out the gate's notices and sets the one
timer that the gate needs. There is no task per call: everything runs in the callbacks of the
transports.

One more timer, the sweep, looks at the clocks of calls in flight (first token, stall, deadline).
Hands keep these as plain timestamps, which cost nothing to move at every chunk; the price is that
a clock is noticed up to `SWEEP_S` late. How late the sweep itself comes is how late everything
comes here, so it is kept for whoever wants to know.

Everything that the gate and the flows are fed passes through here, in order; a *tape* may have it.
"""

import asyncio
import logging
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import Protocol

from baseload.core.facts import (
    Ask,
    Call,
    Fact,
    Hedge,
    Relay,
    Reply,
    Reserve,
    Send,
    Sight,
    Told,
    Wait,
)
from baseload.core.flow import Flow, carry
from baseload.core.gate import Gate
from baseload.core.setup import Setup

SWEEP_S = 0.05
TIMER_S_MIN = 0.001
"""Loops round to milliseconds: a timer that rings early would ring again until it is time."""
TIMER_NOISE_S = 1e-6
"""What sums of floats may be off by."""
FAILED_CLOCK_S = 1.0
"""When a clock is looked at again after a defect of ours kept it from being minded."""

LAG_DECAY = 0.997
"""What is left of the longest lag after a sweep: half of it after some twelve seconds."""

logger = logging.getLogger("baseload.gateway")


class Tape(Protocol):
    """Whoever writes down what the gate and the flows are fed, and what comes of it."""

    def began(self, call: Call, now: float) -> None:
        """A call came."""

    def told(self, call_id: int, told: Told) -> None:
        """A flow was told something."""

    def announced(self, backend: str, is_up: bool, now: float) -> None:
        """A backend came up or went down."""

    def saw(self, backend: str, sight: Sight, now: float) -> None:
        """A look at a backend showed something."""

    def ticked(self, now: float) -> None:
        """The gate's timer rang."""

    def ordered(self, backend: str, is_open: bool, now: float) -> None:
        """An operator closed a backend, or opened it."""

    def reconfigured(self, setup: Setup, now: float) -> None:
        """The fleet became another one."""

    def asked(self, call_id: int, ask: Ask | Reply) -> None:
        """A flow asked for something, or ended."""


class Hands(Protocol):
    """What performs one call's asks. `due` is when `overdue` wants to be called."""

    call: Call
    flow: Flow
    due: float

    def reserve(self) -> Told | None:
        """Set aside a part of the key's limits; give what came of it, or None to tell it later."""

    def wait(self) -> None:
        """Keep the caller until the gate gives notice. Attempts are left."""

    def send(self, ask: Send) -> None:
        """Make an attempt; tell of it later, never from within. Others are left."""

    def hedge(self, ask: Hedge) -> None:
        """Make a second attempt beside the first."""

    def relay(self, ask: Relay) -> None:
        """Commit the answer to the caller and pass it on."""

    def reply(self, reply: Reply) -> None:
        """End the call. Nothing will be asked any more."""

    def overdue(self, now: float) -> None:
        """Notice that a clock ran out."""

    def withdraw(self, backend: str) -> None:
        """Give up what is out at a backend and could go on elsewhere."""


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
        self.tape: Tape | None = None
        self.lag_s = self.lag_max_s = 0.0
        """How late the last sweep came, and the latest of late; seconds."""
        self.loop = loop
        self._live: dict[int, Hands] = {}
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at = inf
        self._sweep: asyncio.TimerHandle | None = None
        self._sweep_at = 0.0
        self._is_handing_out = False

    def __len__(self) -> int:
        return len(self._live)

    def start(self, hands: Hands, now: float) -> None:
        """Begin a call; `hands.flow` is made here."""
        call = hands.call
        if self.tape is not None:
            self.tape.began(call, now)
        flow = hands.flow = carry(call, self.gate, now)
        self._live[call.id] = hands
        if self._sweep is None:
            self._sweep_at = now + SWEEP_S
            self._sweep = self.loop.call_later(SWEEP_S, self._look)
        self._step(hands, flow, None)

    def tell(self, hands: Hands, told: Told) -> None:
        """Tell a call's flow what happened. A call that has ended is left alone."""
        if hands.call.id in self._live:
            if self.tape is not None:
                self.tape.told(hands.call.id, told)
            self._step(hands, hands.flow, told)

    def announce(self, backend: str, *, is_up: bool) -> None:
        """Tell the gate that a backend came up or went down."""
        now = self.clock()
        if self.tape is not None:
            self.tape.announced(backend, is_up, now)
        self.gate.announce(backend, is_up, now)
        self._after_step()

    def observe(self, backend: str, sight: Sight) -> None:
        """Tell the gate what a look at a backend showed."""
        now = self.clock()
        if self.tape is not None:
            self.tape.saw(backend, sight, now)
        self.gate.observe(backend, sight, now)
        self._after_step()

    def order(self, backend: str, *, is_open: bool) -> None:
        """Tell the gate that an operator closed a backend, or opened it."""
        now = self.clock()
        if self.tape is not None:
            self.tape.ordered(backend, is_open, now)
        self.gate.order(backend, is_open, now)
        self._after_step()

    def withdraw(self, backend: str) -> None:
        """Give up attempts and answers at a backend, but for those that nobody else could take."""
        for hands in list(self._live.values()):
            if hands.call.id in self._live:
                hands.withdraw(backend)

    def reconfigure(self, setup: Setup) -> None:
        """Tell the gate that the fleet is another one now."""
        now = self.clock()
        if self.tape is not None:
            self.tape.reconfigured(setup, now)
        self.gate.reconfigure(setup, now)
        self._after_step()

    def end_all(self, fact: Fact) -> None:
        """Tell every call the same; for the end of a drain."""
        self._is_handing_out = True  # A permit that comes back now must let nobody in.
        try:
            for hands in list(self._live.values()):
                self.tell(hands, Told(fact, self.clock()))
        finally:
            self._is_handing_out = False
        self._after_step()

    def _step(self, hands: Hands, flow: Flow, told: Told | None) -> None:
        ask: Ask | Reply
        try:
            ask = flow.send(told)  # type: ignore[arg-type]  # None is how a generator starts
        except StopIteration as end:
            ask = end.value
            del self._live[hands.call.id]
        if self.journal is not None:
            self.journal.append((self.clock(), ask))
        if self.tape is not None:
            self.tape.asked(hands.call.id, ask)
        kind = type(ask)
        if kind is Send:
            hands.send(ask)  # type: ignore[arg-type]
        elif kind is Relay:
            hands.relay(ask)  # type: ignore[arg-type]
        elif kind is Reply:
            hands.reply(ask)  # type: ignore[arg-type]
        else:
            self._do_rarer(hands, ask)
        gate = self.gate
        if gate.notices or gate.due != self._alarm_at:
            self._after_step()

    def _do_rarer(self, hands: Hands, ask: Ask | Reply) -> None:
        kind = type(ask)
        if kind is Wait:
            hands.wait()
        elif kind is Hedge:
            hands.hedge(ask)  # type: ignore[arg-type]
        elif kind is Reserve and (told := hands.reserve()) is not None:
            self.tell(hands, told)  # Counted in this process: there is nothing to wait for.

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
                self._alarm = self.loop.call_later(max(due - self.clock(), 0.0), self._ring)

    def _ring(self) -> None:
        """Tick the gate. A timer of coarse resolution may ring early: then it is set anew."""
        now = self.clock()
        if self.gate.due - now > TIMER_NOISE_S:
            self._alarm = self.loop.call_later(max(self.gate.due - now, TIMER_S_MIN), self._ring)
            self._alarm_at = self.gate.due
            return
        self._alarm, self._alarm_at = None, inf
        if self.tape is not None:
            self.tape.ticked(now)
        self.gate.tick(now)
        self._after_step()

    def _look(self) -> None:
        """Look at the clocks of all calls. One that fails must not stop those of the others."""
        self._sweep = self.loop.call_later(SWEEP_S, self._look) if self._live else None
        now = self.clock()
        self.lag_s = lag_s = max(now - self._sweep_at, 0.0)
        self.lag_max_s = max(lag_s, self.lag_max_s * LAG_DECAY)
        self._sweep_at = now + SWEEP_S
        for hands in [hands for hands in self._live.values() if hands.due <= now]:
            try:
                hands.overdue(now)
            except Exception:
                logger.exception("call %d: its clock could not be minded", hands.call.id)
                hands.due = now + FAILED_CLOCK_S
