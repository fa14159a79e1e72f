"""How fast does vLLM serve a model: reading, one stream, and as many as a GPU is there for?

Whole answers are timed, not streams: with a prompt of a few tokens and 128 in answer, the time to
the first one is a hundredth of it. vLLM counts the tokens. Precisions cannot be served at once on
one GPU, so they do not take turns here as llama.cpp's do.
"""

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from baseload.engines.quantising.speed import Round, Speed, summed
from baseload.engines.quantising.vllm.scoring import Cut
from baseload.engines.quantising.vllm.server import AT_ONCE, Server, together
from baseload.errors import EngineError

STREAMS = AT_ONCE
ANSWER_TOKENS = 128
PROMPT_TOKENS = 16


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Answer(msgspec.Struct):
    usage: _Usage


async def measure(
    server: Server, whole: Cut, rounds: int, on_part: Callable[[float], None]
) -> Speed:
    """Measure it in so many rounds; prompts are cut from the text.

    Raises EngineError if vLLM does not answer, or not with as many tokens as it should.
    """
    done = []
    for turn in range(rounds + 1):  # The first one only warms up.
        one = await _round(server, whole, turn)
        if turn:
            done.append(one)
        on_part((turn + 1) / (rounds + 1))
    return summed(done, STREAMS, server.weights_bytes, in_turns=False)


async def _round(server: Server, whole: Cut, turn: int) -> Round:
    windows = [each.tokens for each in whole.windows]
    long = [windows[(turn + at) % len(windows)] for at in range(STREAMS)]
    flat = [token for window in windows for token in window]
    # Prompts that differ, from round to round, too.
    places = [(turn * STREAMS + at) * PROMPT_TOKENS % len(flat) for at in range(STREAMS)]
    short = [flat[at : at + PROMPT_TOKENS] for at in places]
    read, took_s = await _answered(server, long, 1)
    prefill = sum(usage.prompt_tokens for usage in read) / took_s
    one, took_s = await _answered(server, short[:1], ANSWER_TOKENS)
    alone = one[0].completion_tokens / took_s
    all_of_them, took_s = await _answered(server, short, ANSWER_TOKENS)
    return Round(prefill, alone, sum(usage.completion_tokens for usage in all_of_them) / took_s)


async def _answered(
    server: Server, prompts: Sequence[Sequence[int]], tokens: int
) -> tuple[list[_Usage], float]:
    """Have all prompts answered at once; give what vLLM counted, and how long it took."""
    clock = asyncio.get_running_loop().time
    began = clock()
    body = {"max_tokens": tokens, "temperature": 0, "ignore_eos": True}
    asks = [server.ask("/v1/completions", {"prompt": p, **body}, _Answer) for p in prompts]
    usages = [answer.usage for answer in await together(asks)]
    took_s = clock() - began
    for prompt, usage in zip(prompts, usages, strict=True):
        if (usage.prompt_tokens, usage.completion_tokens) != (len(prompt), tokens):
            raise EngineError(
                f"vLLM read {usage.prompt_tokens} tokens and answered {usage.completion_tokens}, "
                f"not {len(prompt)} and {tokens}"
            )
    return usages, took_s
