"""Any faults, one after another, at both providers: what must hold whatever goes wrong."""

import asyncio
from random import Random

import pytest

from tests.faults.double import (
    FAREWELL,
    KEEP_ALIVE,
    ROLE,
    SILENCE,
    STOP,
    TEXT,
    THOUGHT,
    Play,
    chunk,
    coded,
    error_event,
    event,
    in_turn,
    refuses_prefill,
    twin,
)
from tests.faults.stage import Fault, Seen, question, see, stage
from tests.gateway.harness import on_uvloop, request
from tests.gateway.provider import (
    CLOSE,
    END,
    HALF,
    RESET,
    Asked,
    Script,
    ask,
    begin,
    refusal,
    whole,
)

CALLS = 48
"""Calls at once, each with a gateway and two providers of its own."""
OPTIONS = {"first_token_s": 0.4, "headers_s": 0.3, "stall_s": 0.3, "total_s": 6.0}
KEEPALIVES_S = (0.0, 0.1, 15.0)
PREFILLS = ("auto", "off", "prefix", "continue_final_message", "assistant")
REFUSALS = (
    *(refusal(status) for status in (401, 403, 404, 408, 429, 500, 502, 503, 529)),
    refusal(429, head="retry-after: 1\r\n"),
    coded(429, "insufficient_quota"),
    whole(b"<html>", 200),
    whole({"error": {"message": "busy"}}),
)
STARTS = ((), (begin(),), (begin(), *(KEEP_ALIVE, 0.05) * 7), (begin() + ROLE,))
BREAKS = (
    (RESET,), (CLOSE,), (END, CLOSE), (SILENCE,), (HALF, SILENCE), (STOP[:-20], RESET),
    (chunk(b"data: {\n\n"), SILENCE), (error_event(500), SILENCE), (error_event(429) + FAREWELL,),
    (*(KEEP_ALIVE, 0.05) * 40,), (event(finish="insufficient_system_resource") + FAREWELL,),
)  # fmt: skip
CODES = {
    "backend_busy", "backend_overloaded", "backend_denied", "backend_forbidden", "backend_failed",
    "backend_lost", "backend_silent", "not_offered", "first_token_timeout", "stream_broken",
    "deadline_exceeded", "no_backend", "queue_timeout",
}  # fmt: skip


def _break_off(asked: Asked, rng: Random) -> Script:
    """Give the beginning of the right answer, or of its rest, and then a break."""
    name = f"x{asked.number}"
    if not asked.json().get("stream"):
        return [begin(), *rng.choice(BREAKS)]
    (healthy,) = twin(name, THOUGHT)(asked)
    events = healthy.removeprefix(begin()).partition(event(name, finish="stop"))[0]
    chunks = [chunk(one) for one in events.split(b"\r\n")[1::2]]
    pauses = rng.choice(((), (0.05,)))
    start = b"".join(chunks[: rng.randrange(len(chunks) + 1)])
    return [begin() + start, *pauses, *rng.choice(BREAKS)]


def _any(seed: int) -> Play:
    """Play whatever comes: refusals, breaks before and after tokens, and now and then no fault."""
    rng = Random(seed)

    def play(asked: Asked) -> Script:
        kind = rng.random()
        if kind < 0.2:
            return [rng.choice(REFUSALS)]
        if kind < 0.4:
            return [*rng.choice(STARTS), *rng.choice(BREAKS)]
        if kind < 0.8:
            return _break_off(asked, rng)
        return twin(f"x{asked.number}", THOUGHT, ignores_prefill=kind > 0.95)(asked)

    return refuses_prefill(play) if seed % 3 == 0 else play


async def _play(seed: int) -> Seen:
    rng = Random(seed)
    fault = Fault(
        first=_any(2 * seed),
        second=_any(2 * seed + 1) if seed % 4 else in_turn(twin("b", THOUGHT)),
        weights=("w", rng.choice("wwv")),
        options=OPTIONS | {"keepalive_s": rng.choice(KEEPALIVES_S)},
        backend={"prefill": rng.choice(PREFILLS)},
    )
    async with stage(fault) as (gateway, _, _):
        return see(await ask(gateway, request(question(fault, is_stream=seed % 2 > 0))))


@on_uvloop
@pytest.mark.parametrize("storm", range(2))
async def test_whatever_goes_wrong_the_answer_is_honest(storm):
    """A caller has the whole answer, letter for letter, or an error; never anything in between."""
    seeds = range(storm * CALLS, (storm + 1) * CALLS)
    seen = await asyncio.gather(*(_play(seed) for seed in seeds))

    for seed, one in zip(seeds, seen, strict=True):
        if one.end == "stop":
            assert (200, TEXT, THOUGHT) == (one.status, one.text, one.thought), (seed, one)
        else:
            assert one.end in CODES, (seed, one)
            assert TEXT.startswith(one.text), (seed, one)
            assert THOUGHT.startswith(one.thought), (seed, one)
    assert sum(one.end == "stop" for one in seen) > CALLS / 3
