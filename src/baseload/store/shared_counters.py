"""How do replicas share limits, so that no call ever waits for it longer than a few milliseconds?

Each replica keeps count of what it has granted itself, and Redis of what all have. A call's ask is
sent there with whatever has changed here since the last step; one step is out at a time, and what
comes meanwhile goes with the next one. So Redis sees one order of events from each replica, and a
busy replica takes few steps for many calls.

An answer that is not there in time is not waited for: the call is decided here, by this replica's
part of what was left (`core.share`). News is absolute (*so much did I use in that slice*), never
*so much more*: whatever a late, lost or repeated step has done is put right by the next one, and a
Redis that lost its memory gets it back. A step that was given up on carries the number of an epoch
that is over, and is not taken any more if it arrives after all.

Slices are those of Redis' clock. What is known of it here is never ahead of it.

Not here: the script (`lua/step.lua`), and when Redis is left alone (`core.fuse`).
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import chain
from math import inf
from time import monotonic, time

from baseload.core.card import SLICES, SPAN, day_of
from baseload.core.fuse import OPEN_S_MAX, Fuse
from baseload.core.past import Spent
from baseload.core.quota import WINDOW_S, Hold, Quota, Verdict
from baseload.core.share import Shares
from baseload.store.news import Cast, News
from baseload.store.redis_wire import (
    TROUBLES,
    Answer,
    RedisWire,
    Result,
    verdict_of_result,
)
from baseload.store.steps import Ask, Step, Then

STEP_S_MAX = 0.004
"""How long a call waits: a promise of 5 ms, less what a timer may ring late."""
GRACE_TURNS = 4
"""Turns of the event loop after that: where it was we who were late, the answer lies there."""
STALL_S = 0.025
"""A step that is out for so long will not be answered soon: that is no moment any more."""
SILENCE_S_MAX = 1.0
"""A step without an answer for so long is given up, and its connection dropped."""
FLUSH_S = 0.01
"""Where no call takes the news along, it goes by itself after so long."""
BEAT_S = 0.1
"""How often it is looked at whether a step is due: to renew the lease, or to look after Redis."""
SETTLE_S = OPEN_S_MAX + SILENCE_S_MAX
"""How long after Redis is back its sums are not gone by: until all have told what they used."""
LEASE_S = 5.0
"""A replica that is silent for so long is dead, and its calls in flight count no more."""
ASKS_MAX = 64
"""Asks in one step: Redis does nothing else meanwhile, for about a millisecond."""
WAITING_MAX = 1024
"""Calls that wait for a step; the next is decided here at once."""
LAST_STEPS_MAX = 512
"""Steps at the end, until all news is told."""
LOG_GAP_S = 5.0
"""How often it is logged at most that Redis is left alone."""

logger = logging.getLogger("baseload.store")


class SharedCounters:
    """Limits of all replicas. Made and used inside one event loop."""

    def __init__(
        self,
        wire: RedisWire,
        where: str,
        spent: Spent | None = None,
        replicas: int = 1,
        window_s: float = WINDOW_S,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.fuse = Fuse()
        self.quota = Quota(window_s, spent, time())
        """What this replica has granted, whoever decided it."""
        self.replicas = replicas
        self.alone = 0
        """Calls that were decided without Redis."""
        self._wire, self._where, self._clock = wire, where, clock
        self._loop = asyncio.get_running_loop()
        self._offset_s = time() - clock()
        """From our clock to Redis', as far as is known."""
        self._epoch = int(time() * 1000)
        self._news = News(self.quota, spent)
        self._shares = Shares(window_s)
        self._waiting: deque[Ask] = deque()
        self._out: Step | None = None
        self._sent_at = clock()
        self._shared_from = -inf
        """Until then this replica goes by its own part, though Redis answers."""
        self._task: asyncio.Task[None] | None = None
        self._alarm: asyncio.Handle | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._logged_at = -LOG_GAP_S

    # -- what calls ask ----------------------------------------------------------------------

    def reserve(self, hold: Hold, then: Then) -> Verdict | None:
        """Set aside; give the verdict, or None and call with it within `STEP_S_MAX`.

        Who has settled meanwhile is not told any more.
        """
        now = self._clock()
        if not self.is_well(now) or len(self._waiting) >= WAITING_MAX:
            return self._decide(hold, now)
        self._waiting.append(Ask(hold, then, now))
        if self._out is None:
            self._send(now)
        elif self._alarm is None:
            self._ring()
        return None

    def grant(self, hold: Hold) -> Verdict | None:
        """Grant nothing without asking all replicas."""
        return None

    def settle(self, hold: Hold, tokens: int, usd: float) -> None:
        """Give back what was not used; Redis hears of it with the next step."""
        if hold.is_settled:
            return
        self.quota.settle(hold, tokens, usd, self._clock() + self._offset_s)
        self._mark(hold)

    # -- start and stop ----------------------------------------------------------------------

    async def start(self) -> None:
        """Begin; a server that is away is left to be found later."""
        self._send(self._clock())
        await self._wait()
        self._look()

    async def close(self) -> None:
        """Tell the last news and leave."""
        if self._beat is not None:
            self._beat.cancel()
        await self._wait()
        for _ in range(LAST_STEPS_MAX):
            if not self._news or not self.fuse.is_whole:
                break
            if self._out is None:
                self._send(self._clock())
            await self._wait()
        for timer in (self._flush, self._alarm):
            if timer is not None:
                timer.cancel()
        if self._task is not None:
            self._task.cancel()
        self._give_up(is_last=True)
        if self.fuse.is_whole and self._out is None:
            try:
                async with asyncio.timeout(SILENCE_S_MAX):
                    await self._wire.leave()
            except TROUBLES as error:
                logger.info("counters at %s: could not take leave: %s", self._where, error)
        await self._wire.close()

    async def _wait(self) -> None:
        """Wait until no step is out, for as long as one may be."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=SILENCE_S_MAX)

    # -- steps -------------------------------------------------------------------------------

    def _send(self, now: float) -> None:
        """Send what waits and what is new, as one step."""
        waiting, asks, cast = self._waiting, list[Ask](), Cast()
        at = now + self._offset_s
        gone = int(at / self.quota.slice_s) - SPAN
        while waiting and len(asks) < ASKS_MAX:
            ask = waiting.popleft()
            if ask.is_over:
                continue
            asks.append(ask)
            for scope in ask.hold.scopes:
                card = self.quota.card(scope, gone, at)
                cast.place(scope.name, card)
                self._news.meet(scope.name, card)
        puts, is_whole_news = self._news.take(cast, at)
        places = cast.places
        payload = [
            self._epoch, int(LEASE_S * 1000), self.quota.slice_s * 1e6, SLICES, cast.limits(), puts,
            [
                (ask.hold.tokens, ask.hold.usd, [places[one.name] for one in ask.hold.scopes])
                for ask in asks
            ],
        ]  # fmt: skip
        self._sent_at = now
        self._out = step = Step(asks, list(places), is_whole_news, now)
        self._task = self._loop.create_task(self._take(step, payload))
        if self._alarm is None:
            self._alarm = self._loop.call_later(STEP_S_MAX, self._ring)

    async def _take(self, step: Step, payload: list[object]) -> None:
        try:
            async with asyncio.timeout(SILENCE_S_MAX):
                answer = await self._wire.step(step.names, payload)
        except TROUBLES as error:
            self._lost(step, str(error) or "it does not answer")
        except Exception:
            logger.exception("counters at %s: a step could not be taken", self._where)
            self._lost(step, "a defect of ours")
        else:
            self._hear(step, answer)

    def _hear(self, step: Step, answer: Answer) -> None:
        """Take in what a step came to, and go on to the next."""
        now = self._clock()
        self._out = None
        least = 1 if self.is_well(now) else self.replicas  # Some may not be back yet.
        self.replicas = max(answer.replicas, least)
        self._offset_s = answer.now_us / 1e6 - now
        self._mind_fuse(step, now)
        for ask, result in zip(step.asks, answer.results, strict=True):
            self._judge(ask, result, step, answer.slice, now)
        is_whole = self.fuse.is_whole
        if self._waiting or (not is_whole and (step.is_whole_news or self._news.has_backlog)):
            self._send(now)
        elif self._news:
            self._flush_soon()

    def _mind_fuse(self, step: Step, now: float) -> None:
        """Note whether an answer was in time; one that all was told with may take as it likes."""
        was_whole = self.fuse.is_whole
        if not was_whole and step.is_whole_news:
            return
        if step.is_late:
            self.fuse.late(now)
            self._say_if(was_whole, "it answers too slowly")
            return
        self.fuse.answered()
        if not was_whole:
            self._shared_from = now + SETTLE_S
            logger.info("counters at %s: back; limits are shared again soon", self._where)

    def _judge(self, ask: Ask, result: Result, step: Step, index: int, now: float) -> None:
        """Tell a call what Redis says; if it was decided here meanwhile, Redis is put right."""
        hold, at = ask.hold, now + self._offset_s
        if ask.is_over:
            if not result.shorts:
                for scope in hold.scopes:
                    self._news.mark(scope.name, index)
            return
        ask.is_decided = True
        verdict = verdict_of_result(hold, result, step.names, at, self.quota.slice_s)
        if verdict.is_granted:
            self.quota.note(hold, index, at, verdict)
        for scope, row in zip(hold.scopes, result.rows, strict=True):
            if (card := self.quota.find(scope.name)) is not None:
                card.roll(day_of(at))
                self._shares.learn(
                    scope.name, card, row.requests, row.tokens, row.in_flight, row.usd_day,
                    row.usd_month, now, step.is_late,
                )  # fmt: skip
        self._tell(ask, verdict)

    def _lost(self, step: Step, why: str) -> None:
        """Give a step up. Nobody knows whether it was taken, so all there is will be told again."""
        now, was_whole = self._clock(), self.fuse.is_whole
        self._out = None
        self._epoch += 1
        self._news.tell_all()
        self.fuse.failed(now)
        self._say_if(was_whole, why)
        waiting, self._waiting = self._waiting, deque()
        for ask in [*step.asks, *waiting]:
            self._decide_and_tell(ask, now)

    # -- without Redis -----------------------------------------------------------------------

    def _decide(self, hold: Hold, now: float) -> Verdict:
        """Decide by this replica's part of each limit."""
        self.alone += 1
        is_moment = self.is_well(now)
        at, quota = now + self._offset_s, self.quota
        gone = int(at / quota.slice_s) - SPAN
        for scope in hold.scopes:
            card = quota.card(scope, gone, at)
            card.roll(day_of(at))
            self._shares.narrow(card, scope, hold.tokens, now, self.replicas, is_moment)
        verdict = quota.reserve(hold, at, at)
        if verdict.is_granted:
            self._mark(hold)
            for scope in hold.scopes:
                self._shares.lend(scope.name, hold.tokens)
        return verdict

    def is_well(self, now: float) -> bool:
        """Whether Redis answers, or at worst is late for a moment."""
        step = self._out
        is_stuck = step is not None and step.is_late and now - step.sent_at > STALL_S
        return self.fuse.is_whole and not is_stuck and now >= self._shared_from

    def _decide_and_tell(self, ask: Ask, now: float) -> None:
        if not ask.is_over:
            ask.is_decided = True
            self._tell(ask, self._decide(ask.hold, now))

    def _tell(self, ask: Ask, verdict: Verdict) -> None:
        try:
            ask.then(verdict)
        except Exception:
            logger.exception("a call could not be told of its limits")

    def _mark(self, hold: Hold) -> None:
        """Note what a hold has changed, if it was granted."""
        if hold.cards is None:
            return
        for scope, cell in zip(hold.scopes, hold.cells, strict=True):
            self._news.mark(scope.name, cell[0])
        self._flush_soon()

    # -- clocks ------------------------------------------------------------------------------

    def _ring(self, turns: int = GRACE_TURNS) -> None:
        """Mind the time of whoever waits longest: the step that is out, or a call behind it."""
        self._alarm = None
        if turns == GRACE_TURNS and (left_s := self._patience_s()) > STEP_S_MAX / 8:
            if left_s < inf:
                self._alarm = self._loop.call_later(left_s, self._ring)
        elif turns:
            self._alarm = self._loop.call_soon(self._ring, turns - 1)
        else:
            self._give_up()
            self._ring()

    def _patience_s(self) -> float:
        """Give for how long the next is still to be waited for; infinite if nobody waits."""
        step, due = self._out, inf
        if step is not None and not step.is_late:
            due = step.sent_at
        for ask in chain(step.asks if step is not None else (), self._waiting):
            if not ask.is_over:  # They stand in the order in which they came.
                due = min(due, ask.asked_at)
                break
        return due + STEP_S_MAX - self._clock()

    def _give_up(self, *, is_last: bool = False) -> None:
        """Decide here what has waited long enough; at the end, all that waits."""
        now, step = self._clock(), self._out
        due = inf if is_last else now - STEP_S_MAX * 7 / 8
        if step is not None and step.sent_at <= due:
            step.is_late = True
        for ask in [*(step.asks if step is not None else ()), *self._waiting]:
            if ask.asked_at <= due:
                self._decide_and_tell(ask, now)

    def _look(self) -> None:
        """Send what is due without any call: the lease's renewal, a look after Redis."""
        self._beat = self._loop.call_later(BEAT_S, self._look)
        now = self._clock()
        due = self._sent_at + LEASE_S / 4 if self.fuse.is_whole else self.fuse.deadline
        if self._out is None and now >= due:
            self._send(now)

    def _flush_soon(self) -> None:
        if self._flush is None and self._out is None and self.fuse.is_whole:
            self._flush = self._loop.call_later(FLUSH_S, self._flush_now)

    def _flush_now(self) -> None:
        self._flush = None
        if self._out is None and self._news and self.fuse.is_whole:
            self._send(self._clock())

    def _say_if(self, was_whole: bool, why: str) -> None:
        """Log that Redis is left alone, unless that was said a moment ago."""
        now = self._clock()
        if was_whole and not self.fuse.is_whole and now - self._logged_at >= LOG_GAP_S:
            self._logged_at = now
            logger.warning(
                "counters at %s: %s; meanwhile each of %d replicas counts its own share",
                self._where, why, self.replicas,
            )  # fmt: skip
