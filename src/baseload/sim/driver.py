"""Performs flows on simulated time: the twin of `gateway.driver`.

Where the gateway opens connections, this driver asks a *world*: for an attempt or a relay, what
will be told, and after how long. Everything else is the same on both sides: the flow, the gate,
the notices, the one timer. What both write into their journals must therefore be equal.
"""

from collections.abc import Callable

from baseload.core.facts import Ask, Call, Fact, Relay, Reply, Send, Told, Wait
from baseload.core.flow import Flow, carry
from baseload.core.gate import Gate
from baseload.sim.kernel import Kernel

World = Callable[[Send | Relay, float], tuple[float, Fact]]
"""Given an ask and the time, say after how many seconds which fact is told."""


class Driver:
    """Every call's flow, on one kernel. `journal` records each ask and reply with its time."""

    def __init__(self, kernel: Kernel, gate: Gate, world: World) -> None:
        self.kernel = kernel
        self.gate = gate
        self.journal: list[tuple[float, Ask | Reply]] = []
        self._world = world
        self._flows: dict[int, Flow] = {}
        self._asks: dict[int, Ask] = {}
        self._alarm: float | None = None

    def start(self, call: Call) -> None:
        """Begin a call now."""
        flow = self._flows[call.id] = carry(call, self.gate, self.kernel.now)
        self._take(call, lambda: next(flow))
        self._after_step()

    def cancel(self, call: Call) -> None:
        """Let the caller leave now, wherever the call is; a finished call is left alone."""
        if call.id in self._flows:
            self._tell(call, Fact.GONE)
            self._after_step()

    def announce(self, backend: str, *, is_up: bool) -> None:
        """Tell the gate that a backend came up or went down."""
        self.gate.announce(backend, is_up, self.kernel.now)
        self._after_step()

    def tick(self) -> None:
        """Look at the clock; a look more or less decides nothing."""
        self.gate.tick(self.kernel.now)
        self._after_step()

    def _take(self, call: Call, step: Callable[[], Ask]) -> None:
        """Run the flow to its next ask and let the world answer it."""
        try:
            ask = step()
        except StopIteration as end:
            del self._flows[call.id]
            self._asks.pop(call.id, None)
            self.journal.append((self.kernel.now, end.value))
            return
        self._asks[call.id] = ask
        self.journal.append((self.kernel.now, ask))
        if not isinstance(ask, Wait):
            delay_s, fact = self._world(ask, self.kernel.now)
            self.kernel.at(self.kernel.now + delay_s, lambda: self._answer(call, ask, fact))

    def _answer(self, call: Call, ask: Ask, fact: Fact) -> None:
        if self._asks.get(call.id) is ask:  # A cancelled ask is answered to nobody.
            self._tell(call, fact)
            self._after_step()

    def _tell(self, call: Call, fact: Fact) -> None:
        flow, told = self._flows[call.id], Told(fact, self.kernel.now)
        self._take(call, lambda: flow.send(told))

    def _after_step(self) -> None:
        """Hand out what the gate has to say, and set the one alarm anew."""
        while self.gate.notices:
            call, fact = self.gate.notices.popleft()
            if isinstance(self._asks.get(call.id), Wait):
                self._tell(call, fact)
        due = self.gate.deadline()
        if due is not None and due != self._alarm:
            self._alarm = due
            self.kernel.at(max(due, self.kernel.now), lambda: self._ring(due))

    def _ring(self, due: float) -> None:
        if self._alarm == due:
            self._alarm = None
            self.tick()
