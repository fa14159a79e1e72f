"""What does an engine do before its first caller, so that nobody pays for being the first?

Like a car in winter: the first minutes are slow whoever drives. Weights come from the disk, kernels
are compiled and graphs are recorded for the shapes that come by, and a long system prompt is read
for the first time. So shapes are brought by that callers will bring: prompts of several lengths,
streamed one at a time, then a few together that are not; and the system prompts last, so that they
are what the prefix cache holds.

Only the plain chat at the beginning decides whether the engine works. Whatever else fails is noted
and passed over: an engine that is a little cold is better than none. All of it ends by a bound.

Not here: when to warm again (`idling`), HTTP (`speaking`), and whether an engine is ready at all
(`supervisor`). Prompts are never logged.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from baseload.config.serving import Warm
from baseload.engines.speaking import Said, Speaker

USUAL_TOKENS = (16, 256, 1024)
"""Lengths of prompts that are tried where the file names none."""
USUAL_MAX_S = 0.2
"""A usual prompt is tried if it will take no longer. What reads that slowly is a CPU, where nothing
is compiled, so a long prompt would cost a start much and teach it nothing. Nor are more chats
brought by at once, if fewer took longer than that."""
TOGETHER = (2, 4, 8)
"""Chats at once. Engines compile for a few sizes of batches, and pad others up to them."""
ANSWER_TOKENS = 4
TEMPLATE_TOKENS = 128
"""Room in the context for what a chat template adds."""
ROUNDS_MAX = 4
STEADY = 1.5
"""First tokens are steady once two in a row are within this factor."""
EXTRAS_MAX_S = 60.0
"""From the plain chat on, all else included."""

CALLED = "broken off, as it was called meanwhile"
SAMPLE_WORDS = 200
TOKENIZE_MAX_S = 5.0
_NOUNS = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work number night "
    "point home water room mother area money story fact month lot right study book eye job word "
    "business issue side kind head house service friend father power hour game line end member law"
)
"""English's commonest nouns, which nearly every tokenizer has as one token each."""
_WORDS = _NOUNS.split()

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Length:
    """Prompts of one length, one after the other."""

    tokens: int
    """As it was meant."""
    counted: int | None
    """By the engine's own count of the last one, the chat template included."""
    first_s: tuple[float, ...]
    """Of each, the time to its first token."""

    @property
    def is_steady(self) -> bool:
        """Tell whether the last two took about the same time."""
        return any(max(two) <= STEADY * min(two) for two in list(pairwise(self.first_s))[-1:])


@dataclass(frozen=True, slots=True)
class Report:
    """What warming an engine took, and what it changed."""

    took_s: float
    fault: str | None = None
    """Why the engine cannot be used: the plain chat failed. Nothing else was tried then."""
    plain_s: float = 0.0
    """The plain chat, the engine's first work of all, to its last token."""
    lengths: tuple[Length, ...] = ()
    together: tuple[int, ...] = ()
    """Numbers of chats that were answered at once."""
    system: int = 0
    """System prompts that were read."""
    notes: tuple[str, ...] = ()
    """What was not done, and why."""

    @property
    def is_broken_off(self) -> bool:
        """Tell whether a caller came in between."""
        return CALLED in self.notes

    def words(self) -> str:
        """Say it in one line, for a log."""
        if self.fault is not None:
            return self.fault
        parts = [f"warm after {self.took_s:.1f} s"]
        if self.lengths:
            first, last = self.lengths[0].first_s[0], self.lengths[0].first_s[-1]
            parts[0] += f", first token {last * 1000:.0f} ms (at first {first * 1000:.0f} ms)"
            parts.append(f"prompts of {_listed(one.tokens for one in self.lengths)} tokens")
        if self.together:
            parts.append(f"{_listed(self.together)} at once")
        if self.system:
            parts.append(f"system prompts read: {self.system}")
        return "; ".join([*parts, *self.notes])


async def warm(
    speaker: Speaker,
    wishes: Warm,
    plain: Callable[[], Awaitable[str | None]],
    *,
    context: int,
    slots: int,
    extras_max_s: float = EXTRAS_MAX_S,
) -> Report:
    """Warm an engine that has just come up; the caller bounds the wait for the plain chat.

    `plain` has a chat answered and says what was wrong with it; `context` is what one call may have
    in tokens, and `slots` how many it serves at once. Raises what `plain` raises.
    """
    clock = asyncio.get_running_loop().time
    began_at = clock()
    fault = await plain()
    plain_s = clock() - began_at
    if fault is not None:
        return Report(plain_s, fault, plain_s)
    round_ = _Round(speaker, clock, clock() + extras_max_s)
    lengths = await round_.try_lengths(wishes.prompts, context)
    together = await round_.try_together(slots, lengths)
    system = await round_.read_system(wishes.system)
    notes = tuple(round_.notes)
    return Report(clock() - began_at, None, plain_s, lengths, together, system, notes)


async def warm_again(
    speaker: Speaker, wishes: Warm, is_free: Callable[[], Awaitable[bool]]
) -> Report:
    """Warm an engine that serves, one short chat at a time, and stop when somebody calls.

    `is_free` is asked before each chat whether the engine has nothing else to do.
    """
    clock = asyncio.get_running_loop().time
    began_at = clock()
    round_ = _Round(speaker, clock, began_at + EXTRAS_MAX_S, is_free)
    lengths = await round_.try_lengths(None, TEMPLATE_TOKENS + ANSWER_TOKENS + USUAL_TOKENS[0])
    system = await round_.read_system(wishes.system)
    notes = tuple(round_.notes)
    return Report(clock() - began_at, lengths=lengths, system=system, notes=notes)


def capped(prompts: tuple[int, ...] | None, context: int) -> tuple[int, ...]:
    """Give the lengths to try, the shortest first: those that a context holds, each once."""
    room = max(1, context - TEMPLATE_TOKENS - ANSWER_TOKENS)
    return tuple(sorted({min(tokens, room) for tokens in prompts or USUAL_TOKENS}))


def filler(words: int, number: int) -> str:
    """Give so many words that mean nothing, always the same ones for a number.

    Two numbers differ from the first word on, so that no prefix cache answers for the engine.
    """
    state, found = number, []
    for _ in range(words):
        state = (state * 1103515245 + 12345) % 2**31  # ANSI C's example of rand()
        found.append(_WORDS[state // 65536 % len(_WORDS)])
    return f"{number} {' '.join(found)}"


class _Round:
    """One warming: its engine, its end, and what was left out."""

    def __init__(
        self,
        speaker: Speaker,
        clock: Clock,
        ends_at: float,
        is_free: Callable[[], Awaitable[bool]] | None = None,
    ) -> None:
        self.notes: list[str] = []
        self._speaker = speaker
        self._clock = clock
        self._ends_at = ends_at
        self._is_free = is_free
        self._tokens_per_word: float | None = None
        # Numbers of prompts go on from the clock's: those of the last warming may be cached.
        self._number = int(clock() * 1000) % 1_000_000

    async def try_lengths(
        self, prompts: tuple[int, ...] | None, context: int
    ) -> tuple[Length, ...]:
        """Bring prompts of each length by, until its first tokens are steady."""
        if prompts == ():
            return ()
        found: list[Length] = []
        for tokens in capped(prompts, context):
            expected_s = _expected_s(found[-1], tokens) if found else 0.0
            if prompts is None and expected_s > USUAL_MAX_S:
                self.notes.append(f"not tried: prompts of {tokens} tokens, {expected_s:.1f} s each")
                break
            length = Length(tokens, None, ())
            while len(length.first_s) < ROUNDS_MAX and not length.is_steady:
                said = await self._say(tokens, stream=True, expected_s=expected_s)
                if said is None:
                    break
                first_s = (*length.first_s, said.first_s)
                length = replace(length, counted=said.prompt_tokens, first_s=first_s)
            if length.first_s:
                found.append(length)
        return tuple(found)

    async def try_together(self, slots: int, lengths: tuple[Length, ...]) -> tuple[int, ...]:
        """Bring a few short prompts by at once, not streamed."""
        found: list[int] = []
        took_s = 0.0
        for count in TOGETHER if lengths else ():
            if count > slots or took_s > USUAL_MAX_S:
                break
            began_at = self._clock()
            chats = (self._say(lengths[0].tokens, stream=False) for _ in range(count))
            if None in await asyncio.gather(*chats):
                break
            took_s = self._clock() - began_at
            found.append(count)
        return tuple(found)

    async def read_system(self, prompts: tuple[str, ...]) -> int:
        """Have system prompts read, so that what callers say after them is all that is new."""
        count = 0
        for prompt in prompts:
            messages = [{"role": "system", "content": prompt}, {"role": "user", "content": "Hello"}]
            count += await self._chat(messages, stream=True, expected_s=0.0) is not None
        return count

    async def _say(self, tokens: int, *, stream: bool, expected_s: float = 0.0) -> Said | None:
        if self._tokens_per_word is None:
            self._tokens_per_word = await self._measured()
        self._number += 1
        text = filler(max(1, round(tokens / self._tokens_per_word)), self._number)
        messages = [{"role": "user", "content": text}]
        return await self._chat(messages, stream=stream, expected_s=expected_s)

    async def _measured(self) -> float:
        """Give the tokens of a word by the engine's own tokenizer; one, if it cannot be asked."""
        counted = await self._speaker.tokens(filler(SAMPLE_WORDS, 0), TOKENIZE_MAX_S)
        return max(0.25, counted / SAMPLE_WORDS) if counted else 1.0

    async def _chat(
        self, messages: list[dict[str, str]], *, stream: bool, expected_s: float
    ) -> Said | None:
        """Have one chat answered; None, and a note, if it is not."""
        left_s = self._ends_at - self._clock()
        note = "the time for it was over"
        try:
            if self._is_free is not None and not await self._is_free():
                note = CALLED
            elif left_s > expected_s:
                return await self._speaker.chat(
                    messages, answer_tokens=ANSWER_TOKENS, stream=stream, wait_max_s=left_s
                )
        except TimeoutError:
            pass
        except OSError as error:
            note = str(error) or type(error).__name__
        if note not in self.notes:
            self.notes.append(note)
        return None


def _expected_s(length: Length, tokens: int) -> float:
    """Give how long a longer prompt takes, by a shorter one: reading is linear at best."""
    return length.first_s[-1] * tokens / (length.counted or length.tokens)


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)
