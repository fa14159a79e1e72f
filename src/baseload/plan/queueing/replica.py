"""What do calls wait for at one replica? Its engine's turns, followed one by one.

An engine works in turns, as vLLM's V1 scheduler does. In each turn all answers that are being
written get one token each; what is left of the turn's tokens reads waiting prompts in their order,
the last of them perhaps in part. A prompt's first token comes at the end of the turn that reads its
last token. A prompt is let in when a slot is free and the KV cache has room for all of it. When
answers outgrow the cache, the call that came in last is put back to the head of the queue and later
reads again what it had.

Turns in which nobody joins or leaves are not followed: only the context grows in them, so they are
taken together, their time by the rule for an arithmetic series. It is exact where a turn's time
grows in proportion to the context, which it does while the KV cache is read at full bandwidth.

A call that comes to a busy engine misses not only the turn that runs but also the one after, which
is planned by then.

Source of the rules: vLLM's `vllm/v1/core/sched/scheduler.py` (running before waiting, chunked
prefill, the last one in is preempted, nobody is let in by a turn that preempts) with its default
`scheduler_reserve_full_isl`; read 2026-11-26. KV is counted in tokens, not in blocks of 16.

Not here: how long a turn takes (`speed.pace`), when calls arrive (`arrivals`), what their times
mean to callers (`latency`).
"""

from collections import deque
from heapq import heappop, heappush
from math import ceil, inf, sqrt

import msgspec

from baseload.plan.speed.pace import Pace

AHEAD = 1
"""Turns that are planned already when a call comes to a busy engine: it plans one while the one
before it runs. vLLM does so by default since 0.14 (async scheduling, its pull request 31998)."""
ROUNDING = 1e-9
"""Part of a turn by which a sum of turns may miss an arrival."""


class Arrivals(msgspec.Struct, frozen=True, kw_only=True):
    """Calls in order of arrival: when, and how many tokens."""

    at_s: tuple[float, ...]
    prompts: tuple[int, ...]
    """At least 1 each."""
    answers: tuple[int, ...]
    """At least 1 each."""
    cached: float = 0.0
    """Part of each prompt that the prefix cache has: it takes room, and need not be read."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """What became of each call, in order of arrival, and of the replica."""

    first_s: tuple[float, ...]
    """When the first token came; infinite for a call that the cache can never hold."""
    last_s: tuple[float, ...]
    """When the last token came; infinite likewise."""
    written: int
    """Tokens of answers."""
    read: int
    """Tokens of prompts, those read again included."""
    turns: int
    busy_s: float
    """Time with a turn going on."""
    calls_s: float
    """Calls let in, summed over time: over the time, the mean batch."""
    end_s: float
    kv_peak: int
    """Most tokens that the cache held."""
    preempted: int
    """How often a call was put back."""
    refused: int
    """Calls that the cache can never hold, turned away at the door."""


def simulate(pace: Pace, arrivals: Arrivals) -> Run:
    """Follow a replica from its first call to the last token of its last one."""
    return _Replica(pace, arrivals).run()


class _Replica:
    """One engine and its queue. A call is a number: its place in the order of arrival."""

    def __init__(self, pace: Pace, arrivals: Arrivals) -> None:
        self._pace = pace
        self._slots, self._kv_tokens = pace.slots, pace.kv_tokens
        self._turn_tokens = pace.turn_tokens
        self._prompts = arrivals.prompts
        self._cached = arrivals.cached
        count = len(arrivals.at_s)
        self._first = [inf] * count
        self._last = [inf] * count
        self._size = list(arrivals.prompts)
        """Tokens that are read before the call's next token; more after preemption."""
        self._left = list(arrivals.answers)
        """Tokens that were to be written when it was last read."""
        self._to_come = deque(self._entering(arrivals))
        """When a call reaches the scheduler, and its number."""
        self._refused = count - len(self._to_come)
        self._waiting: deque[int] = deque()
        self._running: dict[int, int] = {}
        """Calls let in, in that order; the turn with whose end each ends, 0 while it is read."""
        self._ends: list[tuple[int, int]] = []
        """The same as a heap; entries that `_running` does not confirm are void."""
        self._partial = -1
        """The one call that is read in part, and how much of it is to be read still."""
        self._rest = 0
        self._now = 0.0
        self._planned = 0.0
        """When the next turn was planned: who came later is not in it."""
        self._turn = 0
        self._writing = 0
        self._context = 0
        """Tokens of all answers being written, with their prompts."""
        self._kv = 0
        """Tokens that the cache holds or has set aside for prompts let in."""
        self._kv_peak = self._read = self._written = self._preempted = 0
        self._busy_s = self._calls_s = 0.0

    def _entering(self, arrivals: Arrivals) -> list[tuple[float, int]]:
        calls = zip(arrivals.at_s, arrivals.prompts, arrivals.answers, strict=True)
        return sorted(
            (at + self._pace.call_s(prompt), number)
            for number, (at, prompt, answer) in enumerate(calls)
            if prompt + answer <= self._pace.kv_tokens
        )

    def run(self) -> Run:
        """Take turns until nothing is left."""
        while self._running or self._waiting or self._to_come:
            if not self._running and not self._waiting:
                self._planned = self._now = max(self._now, self._to_come[0][0])
            self._let_arrive()
            if self._partial < 0 and not self._has_room():
                self._stretch()
            else:
                self._take_turn()
        return Run(
            first_s=tuple(self._first), last_s=tuple(self._last), written=self._written,
            read=self._read, turns=self._turn, busy_s=self._busy_s, calls_s=self._calls_s,
            end_s=self._now, kv_peak=self._kv_peak, preempted=self._preempted,
            refused=self._refused,
        )  # fmt: skip

    def _let_arrive(self) -> None:
        """Put those that have come by now into the queue."""
        to_come, planned = self._to_come, self._planned
        while to_come and to_come[0][0] <= planned:
            self._waiting.append(to_come.popleft()[1])

    def _has_room(self) -> bool:
        """Say whether the head of the queue can be let in, beside a token for each answer."""
        if not self._waiting or len(self._running) >= self._slots:
            return False
        return self._kv + self._writing + self._size[self._waiting[0]] <= self._kv_tokens

    def _stretch(self) -> None:
        """Take all turns until somebody leaves, may be let in, or the cache is full."""
        if not self._kv_makes_room():
            self._preempt()
        writing = self._writing
        turns = min(self._next_end() - self._turn, (self._kv_tokens - self._kv) // writing)
        turn_s, context = self._pace.turn_s, self._context / writing
        first_s = turn_s(writing, context, 0, 0.0, 0)
        growth_s = 0.0
        if turns > 1:
            grown_s = turn_s(writing, context + turns - 1, 0, 0.0, 0)
            growth_s = (grown_s - first_s) / (turns - 1)
        comes_s = self._to_come[0][0] if self._to_come and not self._waiting else inf
        until = turns
        if comes_s < inf:
            until = _turns_until(comes_s - self._now, first_s, growth_s) + AHEAD
        turns = min(turns, until)
        last_s = first_s + growth_s * (turns - 1)
        self._pass(turns, turns * (first_s + last_s) / 2, last_s)
        if turns == until and comes_s < inf:
            self._planned = max(self._planned, comes_s)  # Rounding may have missed it.

    def _take_turn(self) -> None:
        """Take one turn that also reads."""
        may_enter = True
        while not self._kv_makes_room():
            self._preempt()
            may_enter = False
        writing, context = self._writing, self._context
        budget, reading, longest = self._turn_tokens - writing, 0, 0
        seen, whole = 0.0, []
        while budget > 0 and (self._partial >= 0 or (may_enter and self._has_room())):
            if self._partial < 0:
                self._let_in()
            number, rest = self._partial, self._rest
            part = min(rest, budget)
            seen += part * (self._size[number] - rest + part / 2)
            reading += part
            longest = max(longest, part)
            budget -= part
            self._rest = rest - part
            if part == rest:
                whole.append(number)
                self._partial = -1
        before = seen / reading if reading else 0.0
        self._read += reading
        mean = context / writing if writing else 0.0
        turn_s = self._pace.turn_s(writing, mean, reading, before, longest)
        self._pass(1, turn_s, turn_s)
        for number in whole:
            self._begin(number)

    def _pass(self, turns: int, time_s: float, last_s: float) -> None:
        """Let turns go by, the last one so long: answers grow, and those that are whole leave."""
        self._planned = self._now + time_s - last_s * AHEAD
        self._now += time_s
        self._busy_s += time_s
        self._calls_s += time_s * len(self._running)
        self._turn += turns
        grown = turns * self._writing
        self._written += grown
        self._context += grown
        self._kv += grown
        self._kv_peak = max(self._kv_peak, self._kv)
        ends, running = self._ends, self._running
        while ends and ends[0][0] <= self._turn:
            end, number = heappop(ends)
            if running.get(number) == end:
                self._writing -= 1
                self._context -= self._size[number] + self._left[number]
                self._leave(number)

    def _let_in(self) -> None:
        """Take the head of the queue, and set its tokens aside."""
        self._partial = number = self._waiting.popleft()
        size = self._size[number]
        # At least the last token is read, as its output is the next one.
        self._rest = size - min(int(self._prompts[number] * self._cached), size - 1)
        self._running[number] = 0
        self._kv += size
        self._kv_peak = max(self._kv_peak, self._kv)

    def _begin(self, number: int) -> None:
        """Give a call that was read its next token."""
        if self._first[number] == inf:
            self._first[number] = self._now
        self._written += 1
        self._left[number] = left = self._left[number] - 1
        if not left:
            self._leave(number)
            return
        self._running[number] = end = self._turn + left
        heappush(self._ends, (end, number))
        self._writing += 1
        self._context += self._size[number]

    def _leave(self, number: int) -> None:
        del self._running[number]
        self._kv -= self._size[number] + self._left[number]
        self._last[number] = self._now

    def _preempt(self) -> None:
        """Put the one that came in last back to the head of the queue; what it had is read anew."""
        number, end = self._running.popitem()
        if number == self._partial:
            self._partial = -1
            self._kv -= self._size[number]
        else:
            left = end - self._turn
            held = self._size[number] + self._left[number] - left
            self._writing -= 1
            self._context -= held
            self._kv -= held
            self._size[number] = held + 1  # The token written last was not in the cache yet.
            self._left[number] = left
        self._waiting.appendleft(number)
        self._preempted += 1

    def _kv_makes_room(self) -> bool:
        """Say whether every answer can have one more token."""
        return self._kv + self._writing <= self._kv_tokens

    def _next_end(self) -> int:
        """Give the turn with whose end the next answer ends."""
        ends, running = self._ends, self._running
        while running.get(ends[0][1]) != ends[0][0]:
            heappop(ends)
        return ends[0][0]


def _turns_until(wait_s: float, first_s: float, growth_s: float) -> int:
    """Give how many turns it takes until so much time has gone by, each longer than the last.

    The sum of n turns is `n * first + growth * n * (n - 1) / 2`; the least whole n is meant.
    """
    if wait_s <= 0:
        return 0
    if growth_s <= ROUNDING * first_s:
        return ceil(wait_s / first_s - ROUNDING)
    middle = first_s / growth_s - 0.5
    return ceil(sqrt(middle * middle + 2 * wait_s / growth_s) - middle - ROUNDING)
