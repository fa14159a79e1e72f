"""Is a backend in trouble, how badly, and why?

A traffic light for each backend. It turns worse at once when evidence says so, and better one step
at a time, after a while in which no evidence as bad has come: a light that flickers sends the load
to and fro and makes trouble of its own. Since a red backend gets little traffic, and no traffic
brings no evidence, it is time that leads back to green, at announced moments. On reaching green all
is forgotten, so an old failure can never turn the light again by itself.

Evidence is how calls ended lately, how long first tokens take compared with what is usual, how long
the provider kept calls in its own queue, and what a look at the engine showed. A look that is too
old proves nothing, good or bad: stale telemetry may not halt what still answers.

Sources: hysteresis and the demand for a least number of samples follow TigerBeetle's fault
detector; saturation as the worst resource, with calls sent since the last look counted in, follows
llm-d; the thresholds for errors and pings are the fleet file's.

Not here: which calls go elsewhere because of it (`routing`), and single dead backends (`breaker`).
"""

from enum import IntEnum
from math import inf

from baseload.config.fleet import Overload
from baseload.core.facts import Sight
from baseload.core.pace import Pace

HOLD_S = 2.0
"""Time without evidence as bad as the level before it gets one step better."""
WINDOW_S = 5.0
SLOT_S = 0.5
SLOTS = int(WINDOW_S / SLOT_S)
OUTCOMES_MIN = 10
ERRORS_MIN_RED = 3
ERRORS_MIN_YELLOW = 2
YELLOW_SHARE = 0.5
"""Where yellow begins, as a share of a threshold for red."""
PARKED_MIN = 3
PARKED_SHARE = 0.5
"""More than this share of calls queued at the provider, and the backend is busy."""
QUEUED_WEIGHT = 0.3
"""Weight of the newest call in the average time in the provider's queue."""
STRAIN_YELLOW = 2.0
STRAIN_RED = 4.0
RISE_S_MIN = 0.2
"""Strain below this many seconds is nobody's trouble: 10 ms may become 40."""
RISE_SHARE = 0.5
"""Part of an objective for first tokens that they may rise by, where a backend has one: an engine
that works on sixty calls is slower for each than one that works on one, and no worse for it."""
SIGHT_AGE_S_MAX = 10.0
KV_YELLOW = 0.85
KV_RED = 0.95
WAITING_YELLOW = 0.5
WAITING_RED = 2.0
"""Calls waiting in an engine, for each that it runs."""
WAITING_MIN_YELLOW = 2
WAITING_MIN_RED = 4


class Level(IntEnum):
    """How a backend does. Yellow: send less. Red: send nothing that can go elsewhere."""

    GREEN = 0
    YELLOW = 1
    RED = 2


GREEN, YELLOW, RED = Level


OUTCOME, ERROR, PARKED, SWIFT = range(4)
"""What the window counts; swift is a first token without a queue before it."""


class _Window:
    """Counts of the last seconds, in slots that are reused; `sums` are theirs together."""

    __slots__ = ("_current", "_ring", "_slot", "sums")

    def __init__(self) -> None:
        self._slot = 0
        self.clear()

    def clear(self) -> None:
        """Forget all."""
        self._ring = [[0, 0, 0, 0] for _ in range(SLOTS)]
        self._current = self._ring[self._slot % SLOTS]
        self.sums = [0, 0, 0, 0]

    def count(self, what: int, now: float) -> None:
        """Count one more, after what is too old by `now` has been forgotten."""
        slot = int(now / SLOT_S)
        if slot != self._slot:
            for old in range(max(self._slot, slot - SLOTS) + 1, slot + 1):
                self._ring[old % SLOTS] = [0, 0, 0, 0]
            self._slot = slot
            self._current = self._ring[slot % SLOTS]
            self.sums = [sum(column) for column in zip(*self._ring, strict=True)]
        self._current[what] += 1
        self.sums[what] += 1


class Detector:
    """One backend's light. Every method that takes `now` is an event.

    `reason` says in a few words what turned it, for operators. `deadline` is when it changes by
    itself, or infinity. `queued_s` is the recent time in the provider's own queue.
    """

    __slots__ = (
        "_level_until",
        "_look_s",
        "_looked_at",
        "_sight",
        "_sight_in_flight",
        "_sight_until",
        "_window",
        "deadline",
        "level",
        "pace",
        "queued_s",
        "reason",
        "rise_s_min",
        "thresholds",
    )

    def __init__(self, thresholds: Overload, pace: Pace) -> None:
        self.thresholds = thresholds
        self.pace = pace
        self.level = GREEN
        self.reason = ""
        self.rise_s_min = RISE_S_MIN
        self.queued_s = 0.0
        self._window = _Window()
        self._sight: Sight | None = None
        self._sight_in_flight = 0
        self._looked_at = -inf
        self._look_s = 0.0
        """Time between two looks."""
        self.deadline = self._level_until = self._sight_until = inf

    def aim(self, first_token_s: float | None) -> None:
        """Judge strain by an objective from now on; None: as backends that have none."""
        share_s = RISE_S_MIN if first_token_s is None else first_token_s * RISE_SHARE
        self.rise_s_min = max(RISE_S_MIN, share_s)

    # -- events ------------------------------------------------------------------------------

    def ended(self, is_error: bool, now: float) -> None:
        """Hear that a call ended, well or badly; what was the caller's doing is not told here."""
        if now >= self.deadline:
            self.settle(now)
        window = self._window
        window.count(OUTCOME, now)
        if not is_error:
            return  # Never evidence of trouble, however bad the rest of the window is.
        window.count(ERROR, now)
        outcomes, errors, _, _ = window.sums
        if outcomes < OUTCOMES_MIN:
            return
        rate, red_rate = errors / outcomes, self.thresholds.error_rate
        if rate > red_rate and errors >= ERRORS_MIN_RED:
            level = RED
        elif rate > red_rate * YELLOW_SHARE and errors >= ERRORS_MIN_YELLOW:
            level = YELLOW
        else:
            return
        self._turn(level, f"{rate * 100:.0f} % of {outcomes} calls failed", now)

    def first_token(
        self, prompt_tokens: int, first_token_s: float, queued_s: float, now: float
    ) -> None:
        """Hear that a call had its first token, and how long the provider queued it before."""
        if now >= self.deadline:
            self.settle(now)
        pace = self.pace
        pace.add(prompt_tokens, first_token_s, now)
        self.queued_s += (queued_s - self.queued_s) * QUEUED_WEIGHT
        # Both the average and the newest call must be slow: one call is noise, and an average
        # still speaks of the past when calls have become fast again.
        if pace.newest > STRAIN_YELLOW:
            self._judge_strain(now)
        if queued_s > self.thresholds.queued_s * YELLOW_SHARE:
            self._judge_queue(queued_s, now)
        elif queued_s <= 0.0:
            self._window.count(SWIFT, now)

    def parked(self, now: float) -> None:
        """Hear that a call is queued at the provider: it shows signs of life, but has no token."""
        if now >= self.deadline:
            self.settle(now)
        self._window.count(PARKED, now)
        _, _, parked, swift = self._window.sums
        if parked >= PARKED_MIN and parked > (parked + swift) * PARKED_SHARE:
            self._turn(YELLOW, f"{parked} calls queued at the provider", now)

    def saw(self, sight: Sight, in_flight: int, now: float) -> None:
        """Take what a look at the backend showed while `in_flight` of our calls were there."""
        if now >= self.deadline:
            self.settle(now)
        if now >= sight.at + SIGHT_AGE_S_MAX or sight.at < self._looked_at:
            return
        # What a look shows stands until the next one is due.
        self._look_s = min(sight.at - self._looked_at, SIGHT_AGE_S_MAX - HOLD_S)
        if self._looked_at == -inf:
            self._look_s = 0.0
        self._looked_at = sight.at
        if sight.kv_usage is not None or sight.waiting is not None:
            self._sight, self._sight_in_flight = sight, in_flight
            self._sight_until = sight.at + SIGHT_AGE_S_MAX
            self._announce()
        self._judge_sight(sight, now)

    def settle(self, now: float) -> None:
        """Become what time alone makes of it; between two deadlines this changes nothing."""
        while now >= self._level_until:
            if self.level is RED:
                self.level = YELLOW
                self._level_until += HOLD_S
            else:
                self._forget()
        if now >= self._sight_until:
            self._sight, self._sight_until = None, inf
        self._announce()

    def reset(self) -> None:
        """Forget what was: the backend is a new process. What is usual for it is kept."""
        self._forget()
        self._sight, self._sight_until = None, inf
        self._announce()

    # -- queries -----------------------------------------------------------------------------

    def saturation(self, in_flight: int, limit: int) -> float:
        """Say how full the backend is by its worst resource: 0 is idle, from 1 on it is full.

        With a fresh sight, our calls sent since it was taken count as if it had shown them.
        """
        worst = in_flight / limit
        sight = self._sight
        if sight is None:
            return worst
        if sight.kv_usage is not None and sight.kv_usage > worst * KV_RED:
            worst = sight.kv_usage / KV_RED
        if sight.waiting is not None:
            since = in_flight - self._sight_in_flight
            running = sight.running or 0
            if sight.slots:
                worst = max(worst, (running + sight.waiting + since) / sight.slots)
            elif sight.waiting:  # With none waiting, there is room for we know not how many.
                worst = max(worst, (sight.waiting + since) / max(running, 1))
        return worst

    def tells(self) -> bool:
        """Say whether it has told lately how much it works on, and how much waits."""
        sight = self._sight
        return sight is not None and sight.running is not None and sight.waiting is not None

    # -- within ------------------------------------------------------------------------------

    def _forget(self) -> None:
        self.level, self.reason = GREEN, ""
        self._level_until = inf
        self.queued_s = 0.0
        self._window.clear()
        self.pace.forget()

    def _judge_strain(self, now: float) -> None:
        pace = self.pace
        strain = min(pace.strain(), pace.newest)
        if strain >= STRAIN_YELLOW and pace.rise_s > self.rise_s_min:
            level = RED if strain >= STRAIN_RED else YELLOW
            self._turn(level, f"first token {pace.strain():.1f}x as usual", now)

    def _judge_queue(self, queued_s: float, now: float) -> None:
        red_s = self.thresholds.queued_s
        lasting_s = min(self.queued_s, queued_s)
        if lasting_s > red_s * YELLOW_SHARE:
            level = RED if lasting_s > red_s else YELLOW
            self._turn(level, f"queued {self.queued_s:.1f} s at the provider", now)

    def _judge_sight(self, sight: Sight, now: float) -> None:
        hold_s = HOLD_S + self._look_s
        if sight.kv_usage is not None and sight.kv_usage > KV_YELLOW:
            level = RED if sight.kv_usage > KV_RED else YELLOW
            self._turn(level, f"KV cache {sight.kv_usage * 100:.0f} % full", now, hold_s)
        if (waiting := sight.waiting) is not None:
            places = sight.slots or sight.running or 1
            if waiting >= WAITING_MIN_RED and waiting > places * WAITING_RED:
                self._turn(RED, f"{waiting} waiting", now, hold_s)
            elif waiting >= WAITING_MIN_YELLOW and waiting > places * WAITING_YELLOW:
                self._turn(YELLOW, f"{waiting} waiting", now, hold_s)
        if sight.ping_s is not None and sight.ping_s > self.thresholds.latency_s:
            self._turn(RED, f"ping took {sight.ping_s:.2f} s", now, hold_s)

    def _turn(self, level: Level, reason: str, now: float, hold_s: float = HOLD_S) -> None:
        """Take evidence of `level`; what is less bad than the light already is changes nothing."""
        if level < self.level:
            return
        until = now + hold_s
        if level > self.level or until >= self._level_until:
            self.level, self.reason = level, reason
            self._level_until = until
            self._announce()

    def _announce(self) -> None:
        self.deadline = min(self._level_until, self._sight_until)
