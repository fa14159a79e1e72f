"""How fast is a model served, beside the same model in another precision?

All of them are served at once by the engine's own child, and measured in turns: one answer from
each, then again. So what else the machine does, or how warm it is, falls on all of them alike, and
the ratio within a round is worth more than any of the speeds.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import msgspec

from baseload.engines.asking import Address, ask, is_healthy
from baseload.engines.child import Child
from baseload.engines.kinds.llamacpp import CHILD_MODULE, ENVIRONMENT
from baseload.errors import EngineError

ROUNDS = 5
PROMPT_CHARS = 1000
"""Some 250 tokens."""

ANSWER_TOKENS = 32
STREAMS = 4
CONTEXT_TOKENS = 1024
LOAD_MAX_S = 600.0
ANSWER_MAX_S = 600.0
LOOK_EVERY_S = 0.1


class Round(msgspec.Struct, frozen=True):
    """What one model did in one round, in tokens a second."""

    prefill: float
    alone: float
    together: float
    """Of all streams."""


class Speed(msgspec.Struct, frozen=True):
    """How a model is served here: medians of all rounds."""

    prefill_tokens_s: float
    tokens_s: float
    """One stream."""
    streams: int
    streams_tokens_s: float
    """So many streams together."""
    memory_bytes: int | None
    """Resident in the process that serves it, states of the streams included; on a GPU what vLLM
    says that the weights take there; None: not told."""
    rounds: tuple[Round, ...]
    in_turns: bool = True
    """Whether it was measured in turns with the others; else one after the other."""


class _Timings(msgspec.Struct, frozen=True):
    prompt_per_second: float
    predicted_per_second: float
    predicted_n: int


class _Answer(msgspec.Struct, frozen=True):
    timings: _Timings


async def measure(
    models: Mapping[str, Path],
    text: str,
    rounds: int = ROUNDS,
    on_part: Callable[[float], None] = lambda _: None,
) -> dict[str, Speed]:
    """Serve all models at once and measure them in turns; `text` is what prompts are cut from.

    Raises EngineError if one cannot be served.
    """
    children: dict[str, Child] = {}
    said: dict[str, str] = {}
    try:
        addresses: dict[str, Address] = {}
        for name, model in models.items():
            child = await _start(model, partial(said.__setitem__, name))
            children[name] = child
            if (address := await _ready(child)) is None:
                why = child.how_it_ended() if child.gone.done() else "not ready in time"
                raise EngineError(f"{model} cannot be served: {why}; {said.get(name, '')}")
            addresses[name] = address
        parts = [text[at : at + PROMPT_CHARS] for at in range(0, len(text), PROMPT_CHARS)]
        done: dict[str, list[Round]] = {name: [] for name in models}
        for turn in range(rounds + 1):  # The first one only warms up.
            for name, address in addresses.items():
                one = await _round(address, parts[turn % len(parts)])
                if turn:
                    done[name].append(one)
            on_part((turn + 1) / (rounds + 1))
        return {
            name: summed(done[name], STREAMS, _resident_bytes(children[name].pid))
            for name in models
        }
    except OSError as error:
        raise EngineError(f"speed cannot be measured: {error}") from error
    finally:
        for child in children.values():
            await child.end(0.0)


def ratio(of: Speed, to: Speed, what: str = "alone") -> float:
    """Return how many times as fast one is as the other: the median of the rounds' ratios.

    If they were not measured in turns, their rounds have nothing in common: the medians' ratio.
    """
    if not (of.in_turns and to.in_turns):
        ours, theirs = ([getattr(each, what) for each in one.rounds] for one in (of, to))
        return float(median(ours) / median(theirs))
    pairs = zip(of.rounds, to.rounds, strict=True)
    return float(median(getattr(ours, what) / getattr(theirs, what) for ours, theirs in pairs))


async def _start(model: Path, hear: Callable[[str], None]) -> Child:
    command = [sys.executable, "-P", "-m", CHILD_MODULE, "--model", str(model), "--alias", "model"]
    command += ["--slots", str(STREAMS), "--context-tokens", str(CONTEXT_TOKENS)]
    return await Child.start(command, ENVIRONMENT | os.environ, hear)


async def _ready(child: Child) -> Address | None:
    """Return where the child answers; None if it died, or took too long."""

    async def healthy() -> Address:
        address = await child.listening
        while True:  # Until the waiter below has waited long enough.
            if await is_healthy(address, LOOK_EVERY_S * 10):
                return address
            await asyncio.sleep(LOOK_EVERY_S)

    nursing = asyncio.create_task(healthy())
    waited_for: set[asyncio.Future[Any]] = {nursing, child.gone}
    await asyncio.wait(waited_for, timeout=LOAD_MAX_S, return_when=asyncio.FIRST_COMPLETED)
    if nursing.done():
        return nursing.result()
    nursing.cancel()
    return None


async def _round(address: Address, text: str) -> Round:
    long = await _answer(address, text)
    clock = asyncio.get_running_loop().time
    began = clock()
    # Short prompts that differ, so that what is measured is answering.
    short = (text[at : at + 20] for at in range(0, STREAMS * 20, 20))
    answers = await asyncio.gather(*(_answer(address, prompt) for prompt in short))
    tokens = sum(answer.predicted_n for answer in answers)
    return Round(long.prompt_per_second, long.predicted_per_second, tokens / (clock() - began))


async def _answer(address: Address, prompt: str) -> _Timings:
    body = msgspec.json.encode(
        {
            "prompt": prompt,
            "n_predict": ANSWER_TOKENS,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
        }
    )
    status, answer = await ask(address, "/completion", body, ANSWER_MAX_S)
    if status != 200:
        raise EngineError(f"speed cannot be measured: the engine answered {status}")
    try:
        return msgspec.json.decode(answer, type=_Answer).timings
    except msgspec.DecodeError as error:
        raise EngineError(f"speed cannot be measured: {error}") from error


def summed(
    rounds: list[Round], streams: int, memory_bytes: int | None, *, in_turns: bool = True
) -> Speed:
    """Sum up rounds by their medians."""
    return Speed(
        prefill_tokens_s=median(each.prefill for each in rounds),
        tokens_s=median(each.alone for each in rounds),
        streams=streams,
        streams_tokens_s=median(each.together for each in rounds),
        memory_bytes=memory_bytes,
        rounds=tuple(rounds),
        in_turns=in_turns,
    )


def _resident_bytes(pid: int) -> int | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return None
