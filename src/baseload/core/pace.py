"""How long does a backend take to its first token, and is that longer than usual for it?

A whole call's time mostly tells how long the answer was. The first token's time tells how busy the
backend is, if it is compared with that of inputs of the same size, since reading the input is what
it consists of. So each size keeps its own record of two things. A histogram on a logarithmic scale,
whose counts are halved now and then, answers for quantiles. A baseline says what is usual: it drops
quickly when the backend proves to be faster, and otherwise drifts so slowly that an overload of
minutes is not taken for the new normal, while a change that lasts for hours in the end is.
The strain is the recent time over the baseline, averaged on a logarithmic scale over all sizes, so
that one call of a minute among many of a second does not look like an overload.

The comparison of recent with ideal latency is that of Envoy's adaptive concurrency filter and of
Netflix's concurrency-limits, which both look at whole requests.

Not here: what follows from strain (`overload`, `limits`), and calls that never had a first token.
"""

from math import exp, inf, log

SIZES = 8
"""Sizes of input told apart: up to 64 tokens, up to 128, and so on; the last takes all the rest."""
SMALLEST_BITS = 6
"""The first size ends at two to the power of this."""
SAMPLES_MIN = 20
"""Samples of a size before anything is said of it; its quantiles are renewed as often."""
HALVE_EVERY = 16 * SAMPLES_MIN
"""Samples of a size after which all its counts are halved: the old fades, the sum is bounded."""
FIRST_TOKEN_S_MIN = 0.001
STEP = 1.25
"""Ratio of two neighbouring bounds in a histogram, so how exact a quantile can be."""
STEPS = 64
"""Bins of a histogram: from a millisecond to about 20 minutes; beyond it, all is the last bin."""
RECENT = 16
"""Samples of a size that its recent average remembers."""
STRAIN_RECENT = 10
"""Samples of any size that strain remembers; fewer would be quicker, and cry wolf."""
STRAIN_SAMPLES_MIN = 8
"""Compared samples before strain is spoken of."""
DRIFT_PER_S = log(2) / 1800
"""Slow change of a baseline: it takes half an hour of traffic to double."""
DRIFT_GAP_S_MAX = 10.0
"""Silence between two samples that counts as traffic."""
FASTER = 0.5
"""How far, in natural logarithm, recent times lie below the baseline before it drops quickly."""
DROP_WEIGHT = 1 / 8

_PER_STEP = 1 / log(STEP)
_LOG_MIN = log(FIRST_TOKEN_S_MIN)
_LAST = STEPS - 1


class _Size:
    """First-token times of inputs of one size; `baseline` and `recent` are logarithms."""

    __slots__ = ("baseline", "counts", "median_s", "p95_s", "recent", "samples", "seen_at")

    def __init__(self) -> None:
        self.counts = [0] * STEPS
        self.samples = 0
        self.baseline = self.recent = 0.0
        self.seen_at = -inf
        self.median_s, self.p95_s = 0.0, inf

    def renew(self) -> None:
        """Read the quantiles from the counts, and let the counts fade when it is time."""
        counts = self.counts
        total = sum(counts)
        self.median_s = FIRST_TOKEN_S_MIN * STEP ** (_bin(counts, total * 0.5) + 0.5)
        self.p95_s = FIRST_TOKEN_S_MIN * STEP ** (_bin(counts, total * 0.95) + 1)
        if self.samples % HALVE_EVERY == 0:
            self.counts = [count >> 1 for count in counts]


class Pace:
    """First-token times of one backend by size of input.

    `newest` is the newest sample over its baseline, `rise_s` by how many seconds recent samples
    were above theirs on average; both speak as `strain` does, after enough samples only.
    """

    __slots__ = ("_compared", "_log_strain", "_sizes", "newest", "rise_s")

    def __init__(self) -> None:
        self._sizes = tuple(_Size() for _ in range(SIZES))
        self._compared = 0
        self.forget()

    def add(self, prompt_tokens: int, first_token_s: float, now: float) -> None:
        """Take one call's time to its first token, in seconds."""
        index = (prompt_tokens - 1).bit_length() - SMALLEST_BITS
        size = self._sizes[0 if index < 0 else index if index < SIZES else SIZES - 1]
        if first_token_s < FIRST_TOKEN_S_MIN:  # noqa: PLR1730 - a call to max() costs more
            first_token_s = FIRST_TOKEN_S_MIN
        log_s = log(first_token_s)
        step = int((log_s - _LOG_MIN) * _PER_STEP)
        size.counts[step if step < STEPS else _LAST] += 1
        size.samples = samples = size.samples + 1
        gap_s = now - size.seen_at
        size.seen_at = now
        if samples > SAMPLES_MIN:
            base_s = exp(size.baseline)
            self.newest = ratio = first_token_s / base_s
            compared = self._compared
            if compared < STRAIN_RECENT:
                self._compared = compared = compared + 1
            # Single outliers are left to the logarithm; a rise in seconds only guards against
            # small numbers.
            self._log_strain += (log(ratio) - self._log_strain) / compared
            self.rise_s += (first_token_s - base_s - self.rise_s) / compared
            size.recent += (log_s - size.recent) / RECENT
            _follow(size, gap_s)
        else:
            size.baseline += (log_s - size.baseline) / samples
            size.recent = size.baseline
        if samples % SAMPLES_MIN == 0:
            size.renew()

    def strain(self) -> float:
        """Say how many times longer than usual a first token takes; 1.0 is as usual, or unknown."""
        return exp(self._log_strain) if self._compared >= STRAIN_SAMPLES_MIN else 1.0

    def p95_s(self, prompt_tokens: int) -> float:
        """Give the time within which 95 % of such calls have a first token; infinite if unknown."""
        return self._size(prompt_tokens).p95_s

    def typical_s(self, prompt_tokens: int) -> float:
        """Give the median time to a first token of such calls, 0.0 if unknown."""
        return self._size(prompt_tokens).median_s

    def forget(self) -> None:
        """Forget recent strain, and keep what is usual: what comes next is judged by itself."""
        self._log_strain = self.rise_s = 0.0
        self._compared = 0
        self.newest = 1.0

    def _size(self, prompt_tokens: int) -> _Size:
        index = (prompt_tokens - 1).bit_length() - SMALLEST_BITS
        return self._sizes[min(max(index, 0), SIZES - 1)]


def _follow(size: _Size, gap_s: float) -> None:
    """Let the baseline drop to clearly better times, and drift towards all others."""
    above = size.recent - size.baseline
    if above < -FASTER:
        size.baseline += above * DROP_WEIGHT
        return
    if gap_s > DRIFT_GAP_S_MAX:  # noqa: PLR1730 - a call to min() costs more
        gap_s = DRIFT_GAP_S_MAX
    drift = DRIFT_PER_S * gap_s
    # Steps of equal size both ways make it a median of what is recent.
    if above > drift:
        size.baseline += drift
    elif above < -drift:
        size.baseline -= drift
    else:
        size.baseline = size.recent


def _bin(counts: list[int], rank: float) -> int:
    """Find the bin in which the sum of counts reaches `rank`."""
    reached = 0
    for index, count in enumerate(counts):
        reached += count
        if reached >= rank:
            return index
    return _LAST
