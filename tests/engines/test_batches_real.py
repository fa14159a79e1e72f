"""Batches on the real engine: what it tells leads to a rate, a capacity and a limit.

How good the learnt number is shows `bench/knee.py`; a test on a busy machine could not.
"""

import asyncio
from contextlib import AsyncExitStack

from baseload.config.fleet import Backend, Fleet, Model, Overload, Target
from baseload.config.serving import Batch
from baseload.engines.kinds.llamacpp import CONTEXT_TOKENS
from baseload.gateway.gateway import Gateway
from tests.engines.engine_kit import MODEL, running
from tests.gateway.harness import call_up, chat, run, until

SLOTS = 4
CALLERS = 6
WAIT_S_MAX = 100.0
PATIENT = Overload(error_rate=1.0, latency_s=600.0, queued_s=600.0)


async def _learn(address) -> tuple[list[int], tuple[float, int | None, int], int]:
    """Have callers ask until a window was seen; give statuses, what was learnt, and calls left."""
    host, port = address
    batch = Batch(min=1, max=SLOTS)
    fleet = Fleet(
        listen="127.0.0.1:0",
        backends={"e": Backend(name="e", url=f"http://{host}:{port}/v1", batch=batch)},
        models={
            "m": Model(
                name="m", tiers=({"e": Target(backend="e", model=MODEL)},), first_token_s=90.0,
                stall_s=90.0,
            )
        },
        overload=PATIENT,
    )  # fmt: skip
    gateway = Gateway(fleet)
    await gateway.start()
    filling = gateway.gate.seats["e"].filling
    statuses = []

    async def caller(stack: AsyncExitStack) -> None:
        line = await stack.enter_async_context(call_up(gateway.address[1]))
        while not filling.tokens_per_s:
            await line.send(chat(stream=True, max_tokens=12, temperature=0))
            statuses.append((await line.answer()).status)

    async with AsyncExitStack() as stack:
        await asyncio.gather(*(caller(stack) for _ in range(CALLERS)))
    await until(lambda: not len(gateway.driver))
    learnt = filling.tokens_per_s, filling.kv_tokens, gateway.gate.seats["e"].limit.limit
    left = filling.calls + filling.kv_out + filling.reading
    await gateway.drain()
    return statuses, learnt, left


def test_a_real_engine_tells_what_is_needed(real_engine, tmp_path):
    """Its rate is measured, its slots' contexts are summed, the limit is within its bounds."""
    backend = Backend(name="e", engine="llama.cpp", model=MODEL, concurrency=SLOTS)
    with running(backend, tmp_path) as state:
        statuses, (rate, kv_tokens, limit), left = run(_learn(state.address), s_max=WAIT_S_MAX)

    assert {200} == set(statuses)
    assert rate > 0.0
    assert SLOTS * CONTEXT_TOKENS == kv_tokens
    assert 1 <= limit <= SLOTS
    assert 0 == left
