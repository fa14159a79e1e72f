"""How much is one engine given at once: calls, tokens in its cache, prompts that it reads?

Three bounds, beside the permits of its account. *Calls* at once are learnt (`knee`) from what the
engine writes between two looks. *Tokens*: every call takes room in the engine's KV cache for its
prompt and its answer. One that finds no room there throws another one out in the middle of its
answer, which then has to be computed again; so a call waits here until there is room for it.
*Prompts being read*: while a long one is read, nobody's first token comes. So only so many tokens
of prompts are under way at once, as are read within part of the time that callers are patient.

An answer that comes whole may tell no first token. Its prompt counts as read after as long as all
prompts that are there take, by the engine's speed so far, and after that part of the time at least.

An engine that has no call takes any: whether it is too large is for the engine to say, and nobody
may wait for room that will never be there.

How long an answer becomes nobody knows. Callers allow far more than is used, and to keep room for
all of it would leave most of a cache empty; the mean alone would be too little for half of them. So
a call is expected to need what answers take lately and one mean deviation more, never more than its
caller allows (or than calls take for what they say, where that is no bound). And not all need their
most at the same time: some end while others are young. What counts is the highest sum that will
come about, if each goes on at the engine's speed up to its expected end. What is wrong with all
this is absorbed by a part of the cache that is kept free, and by more of it should the engine throw
calls out all the same.

Prompts that begin alike share room in a cache; here each counts in full, since which of them share
is the engine's secret. Whoever knows better says so with `batch.kv_tokens`.

Sources: an engine's reading in chunks beside its writing is what Sarathi-Serve made known; metering
before the engine works with any engine, and keeps order among callers where it can still be kept.
Room by mean and deviation is how TCP chooses its timeouts; to look for the highest sum to come is
known from LightLLM's scheduler, inside an engine.

Not here: who waits, and who may pass (`desk`).
"""

from collections import deque
from math import inf

from baseload.config.serving import Batch
from baseload.core.facts import Call, Sight
from baseload.core.knee import Knee, Window
from baseload.core.limits import AdaptiveLimit
from baseload.core.outlook import Outlook

WINDOW_S_MIN = 0.9
"""Windows are at least so long, for looks come each second or so."""
WINDOW_S_MAX = 10.0
TURNS_MIN = 16
"""An engine writes in turns, a token for each call: so many make a window, that halves of turns
count for little. A slow engine's windows end after WINDOW_S_MAX all the same."""
KV_SHARE = 0.95
"""Part of the cache that is given out: answers end at the border of a block, and some are longer
than usual."""
KV_SHARE_MIN = 0.5
KV_CUT = 0.9
"""What is left of that part when the engine throws calls out."""
KV_GROWTH_PER_S = 0.001
"""How quickly it grows again: a tenth in less than two minutes."""
ANSWERS_MIN = 8
"""Answers that were seen whole before they say anything of those to come."""
ANSWER_WEIGHT = 1 / 16
PROGRESS = 0.9
"""Part of what a call can have written by now that is counted on: speeds differ."""
PATIENCE_S = 2.0
"""What callers find quick, where no objective is given: to wait longer is felt as waiting."""
PATIENCE_SHARE = 0.5
"""Part of that time that prompts before one's own may take to read."""
PREFILL_TOKENS = 8192
"""Tokens of prompts at once until it is known how fast the engine reads: what vLLM gives one turn
on large GPUs (its `max_num_batched_tokens`)."""
PREFILL_TOKENS_MIN = 512
"""Less than what engines read in one go (llama.cpp's batch here) makes reading slower for all."""
SPEED_TOKENS = 1024
"""Tokens read after which the speed of reading is looked at."""
SPEED_WEIGHT = 1 / 4


class Filled:
    """What one attempt takes of an engine. `need` is its prompt and the answer that is expected."""

    __slots__ = ("began_at", "filling", "is_reading", "need", "prompt_tokens", "read_by")

    def __init__(self, filling: "Filling", need: int, prompt_tokens: int) -> None:
        self.filling = filling
        self.need = need
        self.prompt_tokens = prompt_tokens
        self.began_at = inf
        """When it had its first token; infinite before it."""
        self.is_reading = True
        """It has had no first token yet."""
        self.read_by = inf
        """When it is taken to be read, whatever is heard of it."""


class Filling:
    """What one engine has been given. The gate alone changes it, by events."""

    __slots__ = (
        "_answer",
        "_answers",
        "_area",
        "_busy_s",
        "_deviation",
        "_each_per_s",
        "_firsts",
        "_late",
        "_live",
        "_moved_at",
        "_outlook",
        "_over",
        "_preemptions",
        "_read",
        "_saw_at",
        "_speed",
        "_summed",
        "_unheard",
        "_window",
        "batch",
        "calls",
        "knee",
        "kv_out",
        "kv_share",
        "kv_told",
        "limit",
        "most",
        "prefill_tokens",
        "reading",
        "tokens_per_s",
        "workers",
    )  # fmt: skip

    def __init__(self, batch: Batch, limit: AdaptiveLimit | None, workers: int = 1) -> None:
        """`limit` is what follows the knee; None: it is not this engine's alone.

        So many `workers` share the engine, each with an equal part; `batch` is one's part already.
        """
        self.workers = workers
        self.calls = 0
        self.kv_out = 0
        """Room that the calls in flight are expected to take, in tokens."""
        self.reading = 0
        """Tokens of prompts that were sent and have no first token."""
        self.kv_told: int | None = None
        """This worker's part of the tokens that the engine says its cache holds."""
        self.kv_share = KV_SHARE
        self.knee: Knee | None = None
        """None: nothing is known of the engine's rate, and the limit alone decides."""
        self.tokens_per_s = self._each_per_s = 0.0
        """What it wrote in the last window: in all, and for each call."""
        self._live: set[Filled] = set()
        self._outlook: Outlook | None = None
        """Of the calls as they stand since the last event; None: not asked for yet."""
        self._unheard: deque[Filled] = deque()
        """Calls being read whose first token may never be told."""
        self._area = self._moved_at = 0.0
        """Calls times seconds since the window began, up to the last change."""
        self._firsts = self._late = 0
        self._window: tuple[float, float] | None = None
        """When the window began, and the engine's total at that time."""
        self._summed: float | None = None
        self._saw_at = 0.0
        self._preemptions: int | None = None
        self._answers = 0
        self._answer = self._deviation = 0.0
        self._over = 1.0
        """How many times what callers say answers take that are longer, and the others once."""
        self._read = 0
        self._busy_s = self._speed = 0.0
        self.limit: AdaptiveLimit | None = None
        self.most = 0
        """What the limit may be at most, whatever the knee says."""
        self.judge_by(batch, limit)

    def judge_by(self, batch: Batch, limit: AdaptiveLimit | None) -> None:
        """Take other bounds from now on, and learn anew."""
        self.let_go()
        self.batch, self.limit = batch, limit
        self.most = 0 if limit is None else limit.most
        self.knee, self._window = None, None
        self.prefill_tokens = batch.prefill_tokens or PREFILL_TOKENS

    def let_go(self) -> None:
        """Leave the limit to itself; it feels its way up from where it is."""
        if self.limit is not None:
            self.limit.most = self.most

    # -- queries -----------------------------------------------------------------------------

    @property
    def kv_tokens(self) -> int | None:
        """Tokens that the cache holds, by the operator's word or the engine's; None: unknown."""
        return self.batch.kv_tokens or self.kv_told

    def has_room(self, call: Call, without: Filled | None = None) -> bool:
        """Say whether a call fits in, also if another one were not there."""
        calls, reading, kv_out = self.calls, self.reading, self.kv_out
        if without is not None:
            calls -= 1
            kv_out -= without.need
            reading -= without.prompt_tokens if without.is_reading else 0
        if not calls:
            return True
        if reading > 0 and reading + call.prompt_tokens > self.prefill_tokens:
            return False
        held = self.kv_tokens
        if held is None or kv_out + self.need(call) <= held * self.kv_share:
            return True  # Even if all were at their longest at once.
        return self._each_per_s > 0.0 and self._peak(call, without) <= held * self.kv_share

    def need(self, call: Call) -> int:
        """Say how many tokens of the cache are kept for a call."""
        answer: float = call.answer_tokens
        if self._answers >= ANSWERS_MIN:
            answer = min(answer * self._over, self._answer + self._deviation)
        return call.prompt_tokens + max(int(answer), 1)

    # -- events ------------------------------------------------------------------------------

    def take(self, call: Call, now: float) -> Filled:
        """Hear that a call is sent."""
        self._move(now)
        filled = Filled(self, self.need(call), call.prompt_tokens)
        self.calls += 1
        self.kv_out += filled.need
        self.reading += call.prompt_tokens
        if not (call.is_stream or call.is_whole):
            reads_s = self.reading / self._speed if self._speed else 0.0
            filled.read_by = now + max(reads_s, self._patience_s() * PATIENCE_SHARE)
            self._unheard.append(filled)
        self._live.add(filled)
        return filled

    def began(self, filled: Filled, first_token_s: float, now: float) -> None:
        """Hear of a call's first token, so long after it was sent."""
        self._move(now)
        self._firsts += 1
        filled.began_at = now
        if (wish_s := self.batch.first_token_s) is not None and first_token_s > wish_s:
            self._late += 1
        if filled.is_reading:
            self._has_read(filled)
            self._read += filled.prompt_tokens
            if self._read >= SPEED_TOKENS:
                self._learn_speed()

    def left(self, filled: Filled, now: float) -> None:
        """Hear that an attempt is over."""
        self._move(now)
        self.calls -= 1
        self.kv_out -= filled.need
        self._live.discard(filled)
        if filled.is_reading:
            self._has_read(filled)

    def answered(self, call: Call, tokens: int) -> None:
        """Hear how many tokens a whole call took, prompt included."""
        answer = max(tokens - call.prompt_tokens, 1)
        self._answers += 1
        weight = max(ANSWER_WEIGHT, 1 / self._answers)
        self._deviation += (abs(answer - self._answer) - self._deviation) * weight
        self._answer += (answer - self._answer) * weight
        self._over += (max(answer / max(call.answer_tokens, 1), 1.0) - self._over) * weight

    def saw(self, sight: Sight, now: float) -> None:
        """Take in what a look showed; the limit may be another one afterwards."""
        self._move(now)
        if sight.kv_tokens is not None:
            self.kv_told = sight.kv_tokens // self.workers
        self._learn_share(sight, now)
        total = self._total(sight, now)
        self._saw_at = now
        if total is None or self.limit is None:
            return
        if self.knee is None:
            self.knee = Knee(self.batch.min, self.most, self.calls, self.batch.token_s)
            self.limit.allow(self.knee.level, now)
        if self._window is None or total < self._window[1]:  # Or it was started anew.
            self._begin_window(total, now)
            return
        began_at, at_first = self._window
        length_s, tokens = now - began_at, (total - at_first) / self.workers
        if length_s < WINDOW_S_MIN:
            return
        calls = self._area / length_s
        if tokens < TURNS_MIN * calls and length_s < WINDOW_S_MAX:
            return
        self.tokens_per_s = (total - at_first) / length_s
        self._each_per_s = tokens / length_s / calls if calls > 0.0 else 0.0
        before = self.knee.level
        self.knee.measure(Window(now, length_s, tokens, calls, self._firsts, self._late))
        if self.knee.level != before:
            self.limit.allow(self.knee.level, now)
        self._begin_window(total, now)

    def start_afresh(self) -> None:
        """Become a new process: its totals begin again, what was learnt of its like stays."""
        self._window = self._summed = self._preemptions = None

    # -- within ------------------------------------------------------------------------------

    def _peak(self, call: Call, without: Filled | None) -> float:
        """Give the most tokens that calls will hold together, this one among them."""
        outlook = self._outlook
        if outlook is None or without is not None:
            outlook = Outlook(self._standing(one) for one in self._live if one is not without)
            if without is None:
                self._outlook = outlook
        return outlook.peak(float(self.need(call) - call.prompt_tokens), call.prompt_tokens)

    def _standing(self, one: Filled) -> tuple[float, float]:
        """Give what a call is expected to have left to write, and to hold."""
        answer = one.need - one.prompt_tokens
        wrote = max(self._moved_at - one.began_at, 0.0) * self._each_per_s * PROGRESS
        said = min(wrote, answer - 1.0)
        return answer - said, one.prompt_tokens + said

    def _total(self, sight: Sight, now: float) -> float | None:
        """Give the tokens written so far; a speed that is told instead is summed up."""
        if sight.tokens_per_s is not None:
            gap_s = now - self._saw_at if self._summed is not None else 0.0
            self._summed = (self._summed or 0.0) + sight.tokens_per_s * gap_s
            return self._summed
        return None if sight.made_tokens is None else float(sight.made_tokens)

    def _begin_window(self, total: float, now: float) -> None:
        self._window = now, total
        self._area, self._moved_at = 0.0, now
        self._firsts = self._late = 0

    def _move(self, now: float) -> None:
        """Reckon with the calls that were there up to now."""
        self._outlook = None
        since_s = now - self._moved_at
        self._area += self.calls * since_s
        if self.reading > 0:
            self._busy_s += since_s
        self._moved_at = now
        unheard = self._unheard
        while unheard and (unheard[0].read_by <= now or not unheard[0].is_reading):
            if (filled := unheard.popleft()).is_reading:
                self._has_read(filled)

    def _has_read(self, filled: Filled) -> None:
        filled.is_reading = False
        self.reading -= filled.prompt_tokens

    def _patience_s(self) -> float:
        return self.batch.first_token_s or PATIENCE_S

    def _learn_speed(self) -> None:
        """Learn how fast prompts are read, and so how many may be under way."""
        if self._busy_s > 0.0:
            speed = self._read / self._busy_s
            self._speed += (speed - self._speed) * (SPEED_WEIGHT if self._speed else 1.0)
            learnt = int(self._speed * self._patience_s() * PATIENCE_SHARE)
            self.prefill_tokens = self.batch.prefill_tokens or max(learnt, PREFILL_TOKENS_MIN)
        self._read, self._busy_s = 0, 0.0

    def _learn_share(self, sight: Sight, now: float) -> None:
        """Use less of the cache when calls were thrown out, and more again when none is."""
        if sight.preemptions is None:
            return
        before, self._preemptions = self._preemptions, sight.preemptions
        if before is not None and sight.preemptions > before:
            self.kv_share = max(self.kv_share * KV_CUT, KV_SHARE_MIN)
        else:
            grown = self.kv_share + KV_GROWTH_PER_S * (now - self._saw_at)
            self.kv_share = min(grown, KV_SHARE)
