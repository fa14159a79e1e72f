"""Redis slow, frozen, dead, forgetful: no call waits for it, and the counts come out right.

The machine that runs this may be busy, and look away for a second, so no wait is judged by its length:
each is held against a timer of the same event loop, and there are many while Redis is away.
"""

import asyncio
import statistics
import time

import pytest

from baseload.store import shared_counters
from baseload.store.counters import open_counters
from baseload.store.redis_wire import RedisWire
from baseload.store.shared_counters import SharedCounters
from tests.gateway.harness import on_uvloop, until
from tests.store.redis_server import RedisServer, free_port, running_redis, slow_way_to
from tests.store.replicas import Replica, in_flight, look, replicas_of, scope

AWAY_S = 1.5
MEDIAN_S_MAX = 0.005
WAVES_MIN = 50


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    """Let replicas that are all in this process share again at once when Redis is back."""
    monkeypatch.setattr(shared_counters, "SETTLE_S", 0.0)


def assert_quick(*replicas: Replica) -> None:
    """No call waited longer than a timer of its loop; half of them hardly at all."""
    took_s = [one for replica in replicas for one in replica.took_s]

    assert [0] * len(replicas) == [replica.overdue.count for replica in replicas]
    assert statistics.median(took_s) < MEDIAN_S_MAX


async def go_on_asking(replicas: list[Replica], seconds: float, *scopes, tokens: int = 1) -> int:
    """Ask at all replicas for a while, in waves, and settle at once; give how many were granted.

    A machine that looks away meanwhile is given the time to come to as many waves.
    """
    until_s, granted, waves = time.monotonic() + seconds, 0, 0
    while time.monotonic() < until_s or waves < WAVES_MIN:
        waves += 1
        for replica in replicas:
            holds = await replica.ask_all(4, *scopes, tokens=tokens)
            replica.settle(holds, tokens)
            granted += len(holds)
        await asyncio.sleep(0.005)
    return granted


@on_uvloop
async def test_frozen_from_the_first_call_on():
    """A server that is stopped holds nobody up, not even the first call; shares hold meanwhile."""
    async with running_redis() as redis, replicas_of(redis.url) as (one, two):
        key = scope(rpm=200, tpm=100_000)
        await asyncio.gather(one.ask_all(1, key), two.ask_all(1, key))
        one.took_s.clear()
        redis.freeze()
        first = await one.ask_all(1, key)
        granted = 1 + await go_on_asking([one, two], AWAY_S, key, tokens=7)

        assert first
        assert_quick(one, two)
        assert 190 <= granted + 2 <= 200
        redis.thaw()
        await asyncio.gather(one.told(), two.told())
        window = await look(redis.port)
        assert granted + 2 == window.requests
        assert 7 * (granted - 1) + 3 == window.tokens


@on_uvloop
async def test_killed_in_the_middle_and_back_without_memory():
    """A server that lost everything is given it back: what both replicas have used, and no more."""
    spent = {"key:a": (1.0, 1.0)}
    async with running_redis() as redis, replicas_of(redis.url, spent=spent) as (one, two):
        key = scope(rpm=300, concurrency=300, usd_day=5.0)
        ended, in_hand = await asyncio.gather(
            one.ask_all(40, key, usd=0.01), two.ask_all(30, key, usd=0.01)
        )
        before = len(ended) + len(in_hand)  # Fewer than asked for, if the first answer was late.
        one.settle(ended, 1, 0.01)
        redis.kill()
        while_away = await go_on_asking([one, two], AWAY_S, key)

        assert_quick(one, two)
        assert while_away > 100
        await redis.start()
        await asyncio.gather(one.told(), two.told())
        assert before + while_away == (await look(redis.port)).requests
        assert len(in_hand) == await in_flight(redis.port)
        _, verdict = await one.ask(key, usd=9.0)
        assert ("usd_day", pytest.approx(1.0 + 0.01 * before)) == (verdict.limit, verdict.used)


@on_uvloop
async def test_slow_answers_are_not_waited_for():
    """Behind a slow network calls are decided here; once it is quick again limits are shared."""
    async with running_redis() as redis, slow_way_to(redis) as proxy:
        async with replicas_of(proxy.url) as (one, two):
            key = scope(rpm=400)
            await asyncio.gather(one.ask_all(1, key), two.ask_all(1, key))
            proxy.delay_s = 0.03
            granted = 2 + await go_on_asking([one, two], AWAY_S, key)

            assert_quick(one, two)
            assert 390 <= granted <= 400
            assert not one.counters.fuse.is_whole
            proxy.delay_s = 0.0
            await asyncio.gather(one.told(), two.told())
            assert granted == (await look(redis.port)).requests
            alone = one.counters.alone
            await one.ask(key)
            assert alone == one.counters.alone


@on_uvloop
async def test_a_step_that_is_late_is_not_counted_twice():
    """A call decided here, and granted late by Redis as well, is counted once."""
    async with running_redis() as redis, slow_way_to(redis) as proxy:
        async with replicas_of(proxy.url, 1) as (one,):
            key = scope(rpm=100, tpm=1000, concurrency=9)
            await one.ask_all(2, key, tokens=5)
            alone, proxy.delay_s = one.counters.alone, 0.02
            holds = await one.ask_all(3, key, tokens=5)
            proxy.delay_s = 0.0
            await one.told()
            window = await look(redis.port)

            assert (3, 3) == (len(holds), one.counters.alone - alone)
            assert (5, 25, 5) == (window.requests, window.tokens, await in_flight(redis.port))
            one.settle(holds, 1)
            await one.told()
            assert 13 == (await look(redis.port)).tokens


@on_uvloop
async def test_a_step_that_was_given_up_is_not_counted_twice(monkeypatch):
    """What lay in the buffers of a frozen server is run when it wakes, and counts once, too."""
    monkeypatch.setattr(shared_counters, "SILENCE_S_MAX", 0.1)
    async with running_redis() as redis, replicas_of(redis.url, 1) as (one,):
        key = scope(rpm=100, concurrency=50)
        await one.ask_all(2, key)
        redis.freeze()
        holds = await one.ask_all(10, key)
        await until(lambda: not one.counters.fuse.is_whole)
        redis.thaw()
        await one.told()

        assert 12 == (await look(redis.port)).requests == await in_flight(redis.port)
        one.settle(holds)
        await one.told()
        assert 2 == await in_flight(redis.port)


@on_uvloop
async def test_who_is_back_first_waits_for_what_the_others_have_used(monkeypatch):
    """When Redis is back it knows only who told it already; until all have, shares are gone by."""
    monkeypatch.setattr(shared_counters, "SETTLE_S", 0.3)
    async with running_redis() as redis, replicas_of(redis.url) as (one, two):
        key = scope(rpm=100)
        await asyncio.gather(one.ask_all(1, key), two.ask_all(1, key))
        redis.kill()
        await go_on_asking([one, two], 0.5, key)
        two.counters._beat.cancel()  # It is the last to look.
        await redis.start()
        await one.told()
        granted = await one.ask_all(100, key)
        two.counters._look()
        await two.told()
        await until(lambda: one.counters.is_well(time.monotonic()))

        assert len(granted) <= 2
        assert not await one.ask_all(1, key)
        assert (await look(redis.port)).requests <= 100


@on_uvloop
async def test_nobody_there_at_the_start(caplog):
    """A server that cannot be reached is a warning; limits hold by shares until it is there."""
    async with running_redis() as redis:
        redis.kill()
        async with replicas_of(redis.url, 1, replicas=4) as (one,):
            holds = await one.ask_all(50, scope(rpm=40))

            assert 10 == len(holds)
            assert "each of 4 replicas counts its own share" in caplog.text
            await redis.start()
            await one.told()
            assert 10 == (await look(redis.port)).requests
            assert 30 == len(await one.ask_all(50, scope(rpm=40)))


@on_uvloop
async def test_closing_tells_the_last_news():
    """What was settled a moment before the end is known to the others after it."""
    async with running_redis() as redis:
        async with replicas_of(redis.url, 1) as (one,):
            holds = await one.ask_all(5, scope(tpm=1000, concurrency=9), tokens=100)
            one.settle(holds, 7)

        assert 35 == (await look(redis.port)).tokens
        assert 0 == await in_flight(redis.port)


@on_uvloop
async def test_closing_without_redis_waits_for_nothing_long():
    """The end comes within seconds though the server is frozen, and who waits is told."""
    async with running_redis() as redis:
        async with replicas_of(redis.url, 1) as (one,):
            key, told = scope(rpm=5), []
            redis.freeze()
            asked = asyncio.ensure_future(one.ask(key))
            asked.add_done_callback(told.append)
            began = time.monotonic()
        await until(lambda: bool(told))

        assert time.monotonic() - began < 10


@on_uvloop
async def test_a_password_is_never_logged(caplog):
    """Logs name the server, and not how to get in."""
    counters = open_counters("redis://user:geheim@127.0.0.1:1/0")
    await counters.start()
    await counters.close()

    assert "redis://user:***@127.0.0.1:1/0" in caplog.text
    assert "geheim" not in caplog.text


@on_uvloop
async def test_a_cluster_is_followed_to_where_the_keys_are():
    """On a cluster all keys are on one node; asked elsewhere, the wire goes there."""
    async with running_redis() as first, running_redis() as second:
        for server in (first, second):
            server.kill()
            await server.start("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
        await _make_cluster(first, second)
        for server in (first, second):
            wire = RedisWire(server.url, f"r{server.port}")
            replica = Replica(SharedCounters(wire, server.url))
            await replica.counters.start()
            await replica.told()
            verdict = (await replica.ask(scope(rpm=2)))[1]
            left = verdict.requests_left
            await replica.counters.close()

            assert verdict.is_granted
        assert 0 == left


async def _make_cluster(first: RedisServer, second: RedisServer) -> None:
    async def run(server: RedisServer, *words: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "redis-cli", "-p", str(server.port), *words, stdout=asyncio.subprocess.PIPE
        )
        return (await process.communicate())[0].decode()

    await run(first, "cluster", "addslotsrange", "0", "8191")
    await run(second, "cluster", "addslotsrange", "8192", "16383")
    bus = (await run(second, "config", "get", "cluster-port")).split()[-1]
    await run(first, "cluster", "meet", "127.0.0.1", str(second.port), bus)
    for server in (first, second):
        while "cluster_state:ok" not in await run(server, "cluster", "info"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
