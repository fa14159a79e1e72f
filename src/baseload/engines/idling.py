"""Has an engine had nothing to do for so long that it should be warmed again?

Whoever calls, and through whichever gateway, an engine's own counters move. They are looked at
seldom; once they have stood still for the time that the fleet file names, the engine is warmed
again, and so it is when the file names other prompts. What warming itself moves is not counted.

An engine that has no counters is never idle by this account, and is left alone.
"""

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable

from baseload.apis.enginemetrics import read_metrics
from baseload.config.fleet import Backend
from baseload.config.serving import Warm
from baseload.engines.kinds.launch import Size
from baseload.engines.speaking import Speaker
from baseload.engines.warming import Report, warm, warm_again

LOOK_MAX_S = 30.0
"""Longest pause between two looks at the counters; a quarter of the idle time if that is less."""
BUSY_S = 2.0
"""Between two tries to read other prompts in, while callers keep the engine busy."""
ANSWER_MAX_S = 5.0
CONTEXT_UNKNOWN_TOKENS = 4096
"""What prompts are cut to where nobody says what one call may have."""

_COUNTERS = re.compile(
    rb"^(?:vllm:(?:prompt|generation)_tokens_total|sglang:(?:prompt|generation)_tokens_total"
    rb"|llamacpp:(?:prompt_tokens|prompt_tokens_cached|tokens_predicted)_total)"
    rb"(?:\{[^\n]*\})?[ \t]+(\S+)",
    re.MULTILINE,
)
"""What moves with every call: tokens read and written, under each engine's own names."""

logger = logging.getLogger("baseload.engines")


def work_of(page: bytes) -> float | None:
    """Give how much an engine has ever done, by its metrics page; None if it does not tell.

    The number has no unit; that it is another than before is all that it says.
    """
    values = [float(value) for value in _COUNTERS.findall(page) if _is_number(value)]
    return sum(values) if values else None


class Idleness:
    """Counts how long an engine's work has stood still. Pure: `now` is any steady clock's."""

    def __init__(self, now: float, work: float | None) -> None:
        self._work = work
        self._since = now

    def begin(self, now: float, work: float | None) -> None:
        """Count from now on."""
        self._work, self._since = work, now

    def is_over(self, now: float, work: float | None, idle_s: float) -> bool:
        """Tell whether the work has stood still for `idle_s` seconds; 0 is never."""
        if work is None or work != self._work:
            self.begin(now, work)
            return False
        return idle_s > 0 and now - self._since >= idle_s


class Warmer:
    """Warms one engine, before its first caller and for as long as it serves."""

    def __init__(self, backend: Backend) -> None:
        self.report: Report | None = None
        """Of the last time that no caller broke off; None before the first."""
        self.own = 0.0
        """Work that it has done since it started and that was no call's."""
        self._name = backend.name
        self._context = backend.serve.context or CONTEXT_UNKNOWN_TOKENS
        self._wishes = backend.serve.warm
        self._changed = asyncio.Event()

    def warm_like(self, wishes: Warm) -> None:
        """Warm it like this from now on: soon, if it serves."""
        if wishes != self._wishes:
            self._wishes = wishes
            self._changed.set()

    def pass_over(self, work: float) -> None:
        """Count this work as ours: it was no call, and does not end an idle time."""
        self.own += work

    async def first(
        self, speaker: Speaker, plain: Callable[[], Awaitable[str | None]], size: Size | None
    ) -> str | None:
        """Warm it before it is called ready; say why it cannot be used, None if it can.

        `size` is what it was started with; None for an engine that others may be using already,
        which is given one chat at a time. Raises what `plain` raises.
        """
        self._changed.clear()
        context, slots = (size.context, size.slots) if size else (0, 1)
        report = await warm(
            speaker, self._wishes, plain, context=context or self._context, slots=slots
        )
        self._tell(report)
        return report.fault

    @contextlib.asynccontextmanager
    async def keeping(self, speaker: Speaker) -> AsyncIterator[None]:
        """Keep it warm meanwhile."""
        task = asyncio.create_task(
            keep_warm(speaker, lambda: self._wishes, self._changed, self._tell, lambda: self.own)
        )
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    def _tell(self, report: Report) -> None:
        self.report = report
        if report.fault is None:
            logger.info("engine %s: %s", self._name, report.words())


async def keep_warm(
    speaker: Speaker,
    wishes: Callable[[], Warm],
    changed: asyncio.Event,
    tell: Callable[[Report], None],
    own: Callable[[], float] = lambda: 0.0,
) -> None:
    """Warm a ready engine again after idle times, and soon after `changed` is set; never ends.

    `wishes` gives what the fleet file says now. `tell` hears of each warming
    that no caller broke off. `own` gives the work that others of us have had it do.
    """
    clock = asyncio.get_running_loop().time

    async def work() -> float | None:
        found = await _work(speaker)
        return None if found is None else found - own()

    idleness = Idleness(clock(), await work())
    is_owed = False
    while True:
        idle_s = wishes().idle_s
        pause_s = min(LOOK_MAX_S, idle_s / 4) if idle_s else None
        if await _is_set(changed, BUSY_S if is_owed else pause_s):
            changed.clear()
            is_owed = True
        elif not is_owed and not idleness.is_over(clock(), await work(), idle_s):
            continue
        report = await warm_again(speaker, wishes(), lambda: _is_free(speaker))
        is_owed = is_owed and report.is_broken_off
        if not report.is_broken_off:
            tell(report)
        idleness.begin(clock(), await work())


async def _is_set(event: asyncio.Event, wait_max_s: float | None) -> bool:
    try:
        await asyncio.wait_for(event.wait(), wait_max_s)
    except TimeoutError:
        return False
    return True


async def _work(speaker: Speaker) -> float | None:
    """Give what an idle engine has done; None if it does not tell, or is at work."""
    page = await speaker.page("/metrics", ANSWER_MAX_S)
    return None if page is None or _is_busy(page) else work_of(page)


async def _is_free(speaker: Speaker) -> bool:
    page = await speaker.page("/metrics", ANSWER_MAX_S)
    return page is None or not _is_busy(page)


def _is_busy(page: bytes) -> bool:
    _, metrics = read_metrics(page)
    return bool(metrics.running or metrics.waiting)


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
