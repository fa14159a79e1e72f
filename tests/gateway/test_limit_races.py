"""Sixty-four clients at once, over real sockets, against limits in memory and in a real Redis.

Windows are short, so that a race sees several of them; nothing else about counting changes with
their length. The backend is a double that uses exactly what was reserved.
"""

import asyncio
import json
import random
import signal
import statistics
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from baseload.core.card import SLICES
from baseload.store.shared_counters import STEP_S_MAX
from tests.gateway.harness import Asked, Backend, Caller, Wire, call_up, chat, on_uvloop
from tests.store.redis_server import RedisServer, SlowProxy, running_redis, slow_way_to
from tests.store.replicas import in_flight, look

CLIENTS = 64
LEAVERS = 8
WINDOW_S = 2.0
RACE_S = 5.0
RPM, TPM = 300, 30_000
AWAY_S = 2.5
MAX_TOKENS = 73
PATIENCE_S = 0.2
"""Where it is counting that is judged, a machine that looks away for a moment must not matter."""


async def use_all(asked: Asked, wire: Wire) -> None:
    """Answer with the usage that a gateway has reserved for this very request."""
    prompt = 1 + len(asked.body) // 4
    usage = {"prompt_tokens": prompt, "completion_tokens": asked.json()["max_tokens"]}
    choice = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    await wire.json({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage})


@dataclass
class Racer:
    """A gateway in a process of its own, and in the end what it saw."""

    process: asyncio.subprocess.Process
    port: int
    saw: dict[str, Any] = field(default_factory=dict)


@asynccontextmanager
async def racing(
    count: int, redis: str, step_s: float = STEP_S_MAX, **limits: float
) -> AsyncIterator[list[Racer]]:
    """Start gateways; at the end they drain, and say what they saw."""
    async with Backend(use_all) as backend:
        plan = {
            "backend": backend.url, "redis": redis, "limits": limits, "window_s": WINDOW_S,
            "step_s": step_s,
        }  # fmt: skip
        racers = []
        for _ in range(count):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.gateway.racer", json.dumps(plan),
                stdout=asyncio.subprocess.PIPE, limit=1 << 24,
            )  # fmt: skip
            assert process.stdout is not None
            racers.append(Racer(process, int(await process.stdout.readline())))
        try:
            yield racers
        finally:
            for racer in racers:
                racer.process.send_signal(signal.SIGTERM)
            for racer in racers:
                out, _ = await racer.process.communicate()
                racer.saw = json.loads(out)


async def client(number: int, port: int, until_s: float, statuses: list[int]) -> None:
    """Ask over and over; who is refused comes back soon, and does not mind what it was told."""
    clock, rng = asyncio.get_running_loop().time, random.Random(number)
    async with call_up(port) as caller:
        while clock() < until_s:
            await caller.send(chat(max_tokens=MAX_TOKENS))
            answer = await caller.answer()
            statuses.append(answer.status)
            if answer.status == 429:
                await asyncio.sleep(rng.uniform(0.05, 0.25))


async def leaver(number: int, port: int) -> None:
    """Ask over and over, and hang up in the middle."""
    rng = random.Random(number)
    while True:
        await asyncio.sleep(rng.uniform(0.05, 0.25))
        async with call_up(port) as caller:
            await caller.send(chat(max_tokens=MAX_TOKENS, stream=True))
            with suppress(TimeoutError):
                async with asyncio.timeout(rng.uniform(0.0, 0.02)):
                    await Caller.rest(caller)


async def race(racers: list[Racer], seconds: float) -> list[int]:
    """Let all clients ask for so long; give the statuses of their answers."""
    until_s, statuses = asyncio.get_running_loop().time() + seconds, list[int]()
    await asyncio.gather(
        *(
            client(number, racers[number % len(racers)].port, until_s, statuses)
            for number in range(CLIENTS)
        )
    )
    return statuses


def admitted(racers: list[Racer]) -> list[tuple[int, int]]:
    """Give in which slice calls were let in, and what they used, of all gateways in order."""
    return sorted((index, tokens) for racer in racers for index, tokens in racer.saw["admitted"])


def most_in_a_window(calls: list[tuple[int, int]]) -> tuple[int, int]:
    """Give the most calls and the most tokens in any window and a slice, by looking at each."""
    most, most_tokens, start, tokens = 0, 0, 0, 0
    for number, (index, used) in enumerate(calls):
        tokens += used
        while calls[start][0] < index - SLICES:
            tokens -= calls[start][1]
            start += 1
        most, most_tokens = max(most, number + 1 - start), max(most_tokens, tokens)
    return most, most_tokens


def assert_nothing_is_held(racers: list[Racer]) -> None:
    """Every call was settled, once, and nothing is set aside any more."""
    for racer in racers:
        assert 0 == racer.saw["open"]
        assert all([0, 0.0] == held for held in racer.saw["held"])


def assert_quick(racers: list[Racer]) -> None:
    """No call waited for Redis: half of them hardly, and none longer than a timer of its gateway.

    Nor did a gateway stand still for as long as Redis was away.
    """
    took_s = [one for racer in racers for one in racer.saw["took_s"]]

    assert [0, 0] == [racer.saw["overdue"] for racer in racers]
    assert statistics.median(took_s) < 0.005
    assert max(took_s) < AWAY_S * 0.9


@pytest.mark.parametrize("where", ["memory", "redis"])
@pytest.mark.parametrize("limits", [{"rpm": RPM}, {"tpm": TPM}], ids=["requests", "tokens"])
@on_uvloop
async def test_limits_hold_within_one_per_cent(where: str, limits: dict[str, int]):
    """No window has more than its limit and 1 %, and all together have at least 99 % of it.

    Of one gateway that counts in memory, and of two that share a Redis.
    """
    async with running_redis() as redis:
        count, url = (2, redis.url) if where == "redis" else (1, "")
        async with racing(count, url, step_s=PATIENCE_S, **limits) as racers:
            statuses = await race(racers, RACE_S)
        calls = admitted(racers)
        requests, tokens = most_in_a_window(calls)
        windows = 1 + int(RACE_S // (WINDOW_S * 1.005))
        assert statuses.count(200) == len(calls)
        assert {200, 429} == set(statuses)
        assert_nothing_is_held(racers)
        if "rpm" in limits:
            assert requests <= RPM * 1.01
            assert len(calls) >= windows * RPM * 0.99
        else:
            assert tokens <= TPM * 1.01
            assert sum(used for _, used in calls) >= windows * TPM * 0.99 - MAX_TOKENS * 2


async def _freeze(redis: RedisServer, proxy: SlowProxy) -> None:
    redis.freeze()
    await asyncio.sleep(AWAY_S)
    redis.thaw()


async def _kill(redis: RedisServer, proxy: SlowProxy) -> None:
    redis.kill()
    await asyncio.sleep(AWAY_S)
    await redis.start()


async def _slow_down(redis: RedisServer, proxy: SlowProxy) -> None:
    proxy.delay_s = 0.05
    await asyncio.sleep(AWAY_S)
    proxy.delay_s = 0.0


@pytest.mark.parametrize("trouble", [_freeze, _kill, _slow_down])
@on_uvloop
async def test_redis_in_trouble_in_the_middle_of_traffic(trouble: Callable):
    """No call waits for Redis, and limits hold about as well as shares can.

    Afterwards Redis has what both gateways have used, the calls of those who hung up included, and
    nothing is in flight.
    """
    async with running_redis() as redis, slow_way_to(redis) as proxy:
        limits = {"rpm": RPM, "tpm": 2 * TPM, "concurrency": 200}
        async with racing(2, proxy.url, **limits) as racers:
            leaving = [
                asyncio.ensure_future(leaver(number, racers[number % 2].port))
                for number in range(LEAVERS)
            ]
            going = asyncio.ensure_future(race(racers, AWAY_S + 2))
            await asyncio.sleep(1.0)
            await trouble(redis, proxy)
            statuses = await going
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)
        calls = admitted(racers)
        requests, tokens = most_in_a_window(calls)
        window = await look(redis.port, "key:team-a")
        recent = [call for call in calls if call[0] >= window.first]

        assert {200, 429} == set(statuses)
        assert_quick(racers)
        assert sum(racer.saw["alone"] for racer in racers) > 100
        assert requests <= RPM * 1.5
        assert tokens <= 2 * TPM * 1.5
        assert len(calls) >= (AWAY_S + 2) / WINDOW_S * RPM * 0.5
        assert_nothing_is_held(racers)
        assert (len(recent), sum(used for _, used in recent)) == (window.requests, window.tokens)
        assert 0 == await in_flight(redis.port, "key:team-a")
