"""Performs flows on simulated time: the twin of `gateway.driver`.

Where the gateway opens connections, this driver asks a *world*, which tells later what happened.
Everything else is the same on both sides: the flow, the gate, the notices, the one timer. What both
write into their journals must therefore be equal.
"""

from collections.abc import Callable
from typing import Protocol

from baseload.core.facts import (
    GRANTED,
    WITHDRAWN,
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
    Watch,
)
from baseload.core.flow import Flow, carry
from baseload.core.gate import Gate
from baseload.core.setup import Setup
from baseload.core.tape import Packer
from baseload.sim.kernel import Kernel

Tell = Callable[[Told], None]
"""What a world calls, at the time of which it tells."""


class World(Protocol):
    """Stands in for backends and the network."""

    def begin(self, ask: Send | Relay, tell: Tell) -> None:
        """Begin an attempt or a relay; tell later, never from within."""

    def cancel(self, ask: Send | Relay) -> None:
        """Nobody wants any more of it. What is told of it from now on is not heard."""


class Driver:
    """Every call's flow, on one kernel. `journal` records each ask and reply with its time."""

    def __init__(self, kernel: Kernel, gate: Gate, world: World) -> None:
        self.kernel = kernel
        self.gate = gate
        self.journal: list[tuple[float, Ask | Reply]] | None = []
        """Set it to None where a long run would fill the memory."""
        self.tape: Packer | None = None
        """Set it before the first event to have all of them written down."""
        self.on_reply: Callable[[Reply], None] = lambda _reply: None
        self.on_reserve: Callable[[Call, float], Told] = lambda _call, now: Told(GRANTED, now)
        """What keys' limits say of a call; here nothing is limited unless somebody says so."""
        self._world = world
        self._flows: dict[int, Flow] = {}
        self._out: dict[int, list[Send | Relay]] = {}
        """What each call has out in the world: one attempt, two, or a relay."""
        self._alarm: float | None = None

    def __len__(self) -> int:
        return len(self._flows)

    def start(self, call: Call) -> None:
        """Begin a call now."""
        if self.tape is not None:
            self.tape.began(call, self.kernel.now)
        flow = self._flows[call.id] = carry(call, self.gate, self.kernel.now)
        self._out[call.id] = []
        self._take(call, lambda: next(flow))
        self._after_step()

    def cancel(self, call: Call) -> None:
        """Let the caller leave now, wherever the call is; a finished call is left alone."""
        if call.id in self._flows:
            self._tell(call, Told(Fact.GONE, self.kernel.now))
            self._after_step()

    def announce(self, backend: str, *, is_up: bool) -> None:
        """Tell the gate that a backend came up or went down."""
        if self.tape is not None:
            self.tape.announced(backend, is_up, self.kernel.now)
        self.gate.announce(backend, is_up, self.kernel.now)
        self._after_step()

    def observe(self, backend: str, sight: Sight) -> None:
        """Tell the gate what a look at a backend showed."""
        if self.tape is not None:
            self.tape.saw(backend, sight, self.kernel.now)
        self.gate.observe(backend, sight, self.kernel.now)
        self._after_step()

    def order(self, backend: str, *, is_open: bool) -> None:
        """Tell the gate that an operator closed a backend, or opened it."""
        if self.tape is not None:
            self.tape.ordered(backend, is_open, self.kernel.now)
        self.gate.order(backend, is_open, self.kernel.now)
        self._after_step()

    def withdraw(self, backend: str) -> None:
        """Give up attempts and answers at a backend, but for those that nobody else could take."""
        for out in list(self._out.values()):
            for ask in [ask for ask in out if ask.target.backend == backend]:
                if self.gate.can_move(ask.call, backend):
                    self._answer(ask.call, ask, Told(WITHDRAWN, self.kernel.now, 0.0, backend))

    def reconfigure(self, setup: Setup) -> None:
        """Tell the gate that the fleet is another one now."""
        if self.tape is not None:
            self.tape.reconfigured(setup, self.kernel.now)
        self.gate.reconfigure(setup, self.kernel.now)
        self._after_step()

    def tick(self) -> None:
        """Look at the clock; a look more or less decides nothing."""
        if self.tape is not None:
            self.tape.ticked(self.kernel.now)
        self.gate.tick(self.kernel.now)
        self._after_step()

    def _take(self, call: Call, step: Callable[[], Ask]) -> None:
        """Run the flow to its next ask, and begin in the world what it asks for."""
        ask: Ask | Reply
        try:
            ask = step()
        except StopIteration as end:
            ask = end.value
        if self.journal is not None:
            self.journal.append((self.kernel.now, ask))
        if self.tape is not None:
            self.tape.asked(call.id, ask)
        if isinstance(ask, Watch):
            return
        if isinstance(ask, Hedge):
            self._begin(call, ask.send)
            return
        if isinstance(ask, Reserve):
            self._tell(call, self.on_reserve(call, self.kernel.now))
            return
        self._cancel_all(call)
        if isinstance(ask, Send | Relay):
            self._begin(call, ask)
        elif isinstance(ask, Reply):
            del self._flows[call.id], self._out[call.id]
            self.on_reply(ask)

    def _begin(self, call: Call, ask: Send | Relay) -> None:
        self._out[call.id].append(ask)
        self._world.begin(ask, lambda told: self._answer(call, ask, told))

    def _cancel_all(self, call: Call) -> None:
        out = self._out[call.id]
        while out:
            self._world.cancel(out.pop())

    def _answer(self, call: Call, ask: Send | Relay, told: Told) -> None:
        out = self._out.get(call.id, [])
        if not any(ask is one for one in out):
            return  # A cancelled ask is answered to nobody.
        if told.fact is Fact.FIRST_TOKEN:
            out.remove(ask)
            self._cancel_all(call)  # The other of two attempts; this one goes on as a relay.
        elif told.fact not in {Fact.PARKED, Fact.LATE}:
            out.remove(ask)
        self._tell(call, told)
        self._after_step()

    def _tell(self, call: Call, told: Told) -> None:
        if self.tape is not None:
            self.tape.told(call.id, told)
        flow = self._flows[call.id]
        self._take(call, lambda: flow.send(told))

    def _after_step(self) -> None:
        """Hand out what the gate has to say, and set the one alarm anew."""
        while self.gate.notices:
            call, fact = self.gate.notices.popleft()
            if call.id in self._flows:
                self._tell(call, Told(fact, self.kernel.now))
        due = self.gate.deadline()
        if due is not None and due != self._alarm:
            self._alarm = due
            self.kernel.at(max(due, self.kernel.now), lambda: self._ring(due))

    def _ring(self, due: float) -> None:
        if self._alarm == due:
            self._alarm = None
            self.tick()
