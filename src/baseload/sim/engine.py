"""How does one engine behave that works in turns: what it writes, reads, and throws out?

A model of what vLLM, SGLang and llama.cpp have in common, and no proof of any of them. In each turn
an engine writes one token for every answer that is under way, and reads a piece of the oldest
prompts. How long a turn takes depends on how much that is, and beyond some number of calls it takes
longer still, as where memory is short or kernels are made for less. Every call takes room in a
cache, for its prompt when it is let in and for each token of its answer. When there is none left,
the newest call is thrown out and has to be read again from its beginning.

It is always well, and watches no clocks: what goes wrong at backends is `provider`'s.
"""

from collections import OrderedDict
from heapq import heappop, heappush
from math import exp
from random import Random

import msgspec

from baseload.core.facts import DONE, FIRST_TOKEN, Fact, Relay, Send, Sight, Told
from baseload.sim.driver import Tell
from baseload.sim.kernel import Kernel
from baseload.sim.provider import Answer

LUCK_S = 1.0
"""How long a fast or slow spell lasts."""


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine's turns cost, and what it holds. Times are seconds."""

    turn_s: float = 0.02
    """A turn in which next to nothing is done."""
    call_s: float = 0.0002
    """More for each answer that is under way."""
    crowd: int = 1_000_000
    """Answers beyond which turns take longer still."""
    crowd_s: float = 0.0
    """How much longer, for each answer beyond."""
    read_s: float = 0.00005
    """More for each token of a prompt."""
    chunk: int = 2048
    """Tokens of prompts that are read in one turn."""
    slots: int = 256
    kv_tokens: int = 10_000_000
    noise: float = 0.0
    """Standard deviation of the logarithm of a spell's speed."""


class _Running:
    """One attempt at the engine."""

    __slots__ = ("answer", "ask", "has_begun", "joined", "left", "said", "tell")

    def __init__(self, ask: Send, tell: Tell, answer: Answer) -> None:
        self.ask: Send | Relay = ask
        self.tell, self.answer = tell, answer
        self.said = 0
        """Tokens of its answer before it was let in this time."""
        self.left = 0
        """Tokens that have to be read before it goes on."""
        self.joined: int | None = None
        """The turn since which it writes."""
        self.has_begun = False


class Engine:
    """One engine behind one backend; `machine` may be changed while it runs."""

    def __init__(self, name: str, kernel: Kernel, rng: Random, machine: Machine) -> None:
        self.name, self.machine = name, machine
        self.made_tokens = self.preemptions = 0
        self.used = 0
        """Tokens in its cache."""
        self._kernel, self._rng = kernel, rng
        self._waiting: OrderedDict[int, _Running] = OrderedDict()
        self._reading: OrderedDict[int, _Running] = OrderedDict()
        self._writing: OrderedDict[int, _Running] = OrderedDict()
        self._ends: list[tuple[int, int, _Running]] = []
        self._turn = 0
        self._is_turning = False
        self._luck, self._luck_until = 1.0, 0.0

    # -- what the world asks -----------------------------------------------------------------

    def begin(self, ask: Send | Relay, tell: Tell, answer: Answer) -> None:
        """Take an attempt, or go on with the one whose first token was told just now."""
        call_id = ask.call.id
        if isinstance(ask, Relay):
            running = self._writing[call_id]
            running.ask, running.tell = ask, tell
            return
        self._waiting[call_id] = _Running(ask, tell, answer)
        if not self._is_turning:
            self._is_turning = True
            self._kernel.at(self._kernel.now, self._begin_turn)

    def cancel(self, ask: Send | Relay) -> None:
        """Hear a caller hang up."""
        call_id = ask.call.id
        for place in (self._waiting, self._reading, self._writing):
            running = place.get(call_id)
            if running is not None and running.ask is ask:
                del place[call_id]
                if place is not self._waiting:
                    self.used -= self._holds(running)

    def look(self) -> Sight:
        """Show what it tells of itself."""
        return Sight(
            self._kernel.now,
            kv_usage=min(self.used / self.machine.kv_tokens, 1.0),
            waiting=len(self._waiting),
            running=len(self._reading) + len(self._writing),
            kv_tokens=self.machine.kv_tokens,
            made_tokens=self.made_tokens,
            preemptions=self.preemptions,
        )

    # -- turns -------------------------------------------------------------------------------

    def _begin_turn(self) -> None:
        self._let_in()
        if not (self._reading or self._writing):
            self._is_turning = False
            return
        machine, writing, read = self.machine, len(self._writing), 0
        for running in self._reading.values():
            part = min(running.left, machine.chunk - read)
            running.left -= part
            read += part
        takes_s = machine.turn_s + machine.call_s * writing + machine.read_s * read
        takes_s += machine.crowd_s * max(writing - machine.crowd, 0)
        self._kernel.at(self._kernel.now + takes_s * self._spell(), self._end_turn)

    def _end_turn(self) -> None:
        self._turn += 1
        self.made_tokens += len(self._writing)
        self.used += len(self._writing)
        while self._ends and self._ends[0][0] <= self._turn:
            _, call_id, running = heappop(self._ends)
            if self._writing.get(call_id) is running and running.joined is not None:
                self.used -= self._holds(running)
                del self._writing[call_id]
                running.answer.said = running.answer.whole
                self._tell(running, DONE)
        for call_id, running in list(self._reading.items()):
            if running.left == 0:
                del self._reading[call_id]
                self._write(call_id, running)
        while self.used > self.machine.kv_tokens and len(self._reading) + len(self._writing) > 1:
            self._throw_out()
        self._begin_turn()

    def _write(self, call_id: int, running: _Running) -> None:
        self._writing[call_id] = running
        running.joined = self._turn
        left = running.answer.whole - running.said
        heappush(self._ends, (self._turn + max(left, 1), call_id, running))
        if not running.has_begun:
            running.has_begun = True
            self._tell(running, FIRST_TOKEN)

    def _let_in(self) -> None:
        machine = self.machine
        while self._waiting and len(self._reading) + len(self._writing) < machine.slots:
            call_id, running = next(iter(self._waiting.items()))
            needs = running.ask.call.prompt_tokens + running.said
            is_empty = not (self._reading or self._writing)
            if self.used + needs > machine.kv_tokens and not is_empty:
                return
            del self._waiting[call_id]
            running.left = needs
            self.used += needs
            self._reading[call_id] = running

    def _throw_out(self) -> None:
        """Throw the newest call out; it waits at the front, and begins anew."""
        place = self._reading or self._writing
        call_id, running = place.popitem()
        self.used -= self._holds(running)
        running.said, running.joined = self._said(running), None
        self.preemptions += 1
        self._waiting[call_id] = running
        self._waiting.move_to_end(call_id, last=False)

    def _said(self, running: _Running) -> int:
        since = 0 if running.joined is None else self._turn - running.joined
        return running.said + since

    def _holds(self, running: _Running) -> int:
        return running.ask.call.prompt_tokens + self._said(running)

    def _spell(self) -> float:
        now = self._kernel.now
        if self.machine.noise and now >= self._luck_until:
            self._luck = exp(self._rng.gauss(0.0, self.machine.noise))
            self._luck_until = now + LUCK_S
        return self._luck

    def _tell(self, running: _Running, fact: Fact) -> None:
        call = running.ask.call
        tokens = call.prompt_tokens + running.answer.whole if fact is DONE else 0
        running.tell(Told(fact, self._kernel.now, 0.0, self.name, 0.0, tokens))
