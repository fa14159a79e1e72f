"""Limits that replicas share through a real Redis, while it is well."""

import asyncio
from random import Random

import pytest
from redis.asyncio import Redis

from baseload.core.quota import Hold
from baseload.store import shared_counters
from baseload.store.counters import LocalCounters
from tests.gateway.harness import on_uvloop
from tests.store.redis_server import running_redis
from tests.store.replicas import in_flight, look, replicas_of, scope


@pytest.fixture(autouse=True)
def _patience(monkeypatch):
    """Let calls wait for Redis: on a busy machine it may be given the processor late."""
    monkeypatch.setattr(shared_counters, "STEP_S_MAX", 2.0)


@on_uvloop
async def test_a_limit_is_that_of_all_replicas():
    """Sixty-four asks at each of two replicas get exactly as many calls as are allowed."""
    async with running_redis() as redis, replicas_of(redis.url) as (one, two):
        key = scope(rpm=50, tpm=10_000)
        granted = await asyncio.gather(one.ask_all(64, key), two.ask_all(64, key))

        assert 50 == sum(map(len, granted))
        assert (0, 0) == (one.counters.alone, two.counters.alone)
        assert (50, 50) == (await look(redis.port)).slices


@on_uvloop
async def test_tokens_are_settled_for_all():
    """What a call did not use is free for the other replica; what it used too much is not."""
    async with running_redis() as redis, replicas_of(redis.url) as (one, two):
        key = scope(tpm=1000)
        (hold,) = await one.ask_all(1, key, tokens=900)
        _, refused = await two.ask(key, tokens=200)
        one.settle([hold], tokens=950)
        await one.told()
        _, still = await two.ask(key, tokens=51)
        _, granted = await two.ask(key, tokens=50)

        assert ("tpm", 900, False, True) == (
            refused.limit, refused.used, still.is_granted, granted.is_granted,
        )  # fmt: skip
        assert 59 < refused.retry_after_s < 60.5


@on_uvloop
async def test_calls_at_once_are_those_of_all_replicas():
    """A place comes free for the others when a call ends; at the end nothing is in flight."""
    async with running_redis() as redis, replicas_of(redis.url) as (one, two):
        key = scope(concurrency=3)
        holds = await one.ask_all(2, key)
        others = await two.ask_all(5, key)

        assert (2, 1, 3) == (len(holds), len(others), await in_flight(redis.port))
        one.settle(holds)
        await one.told()
        more = await two.ask_all(5, key)
        assert 2 == len(more)
        two.settle(others + more)
        await two.told()
        assert 0 == await in_flight(redis.port)


@on_uvloop
async def test_a_dead_replica_holds_nothing(monkeypatch):
    """Calls in flight of a replica without a sign of life count until its lease is over."""
    monkeypatch.setattr(shared_counters, "LEASE_S", 0.5)
    async with running_redis() as redis, replicas_of(redis.url) as (dead, alive):
        key = scope(concurrency=2)
        await dead.ask_all(2, key)
        dead.counters._beat.cancel()  # It is as if it had been killed: it says nothing any more.

        assert not await alive.ask_all(1, key)
        while not await alive.ask_all(1, key):  # noqa: ASYNC110 - a lease ends by itself
            await asyncio.sleep(0.02)
        assert 1 == alive.counters.replicas


@on_uvloop
async def test_budgets_are_shared_and_begin_with_what_the_ledger_knows():
    """Replicas that read the same ledger count what it knows once, and each other's costs."""
    spent = {"key:a": (2.0, 7.0)}
    async with running_redis() as redis, replicas_of(redis.url, spent=spent) as (one, two):
        key = scope(usd_day=3.0)
        (hold,) = await one.ask_all(1, key, usd=0.6)
        _, refused = await two.ask(key, usd=0.6)
        one.settle([hold], usd=0.1)
        await one.told()
        (other,) = await two.ask_all(1, key, usd=0.9)
        _, full = await one.ask(key, usd=0.1)
        two.settle([other], usd=0.85)
        await two.told()
        _, last = await one.ask(key, usd=0.1)

        assert ("usd_day", pytest.approx(2.6)) == (refused.limit, refused.used)
        assert ("usd_day", pytest.approx(3.0)) == (full.limit, full.used)
        assert ("usd_day", pytest.approx(2.95)) == (last.limit, last.used)


@on_uvloop
async def test_memory_and_redis_give_the_same_verdicts():
    """A thousand random steps: who may go on, which limit says no, and what is left, are equal."""
    rng = Random(5)
    async with running_redis() as redis, replicas_of(redis.url, 1) as (one,):
        local, pairs = LocalCounters(), []
        scopes = [
            scope("a", rpm=90, tpm=20_000), scope("b", concurrency=6, usd_day=9.0),
            scope("c", rpm=200, usd_month=20.0), scope("d", tpm=30_000, concurrency=9),
        ]  # fmt: skip
        for _ in range(1000):
            if pairs and rng.random() < 0.5:
                here, there = pairs.pop(rng.randrange(len(pairs)))
                tokens, usd = rng.randrange(600), rng.random() * 0.1
                local.settle(here, tokens, usd)
                one.counters.settle(there, tokens, usd)
                continue
            chosen = tuple(rng.sample(scopes, rng.randrange(1, 4)))
            here = Hold(chosen, rng.randrange(1, 500), rng.random() * 0.1)
            expected = local.reserve(here, lambda _: None)
            there, actual = await one.ask(*chosen, tokens=here.tokens, usd=here.usd)
            if expected.is_granted:
                pairs.append((here, there))

            def told(verdict):
                return (
                    verdict.is_granted, verdict.requests_most, verdict.requests_left,
                    verdict.tokens_most, verdict.tokens_left, verdict.limit, verdict.scope,
                    verdict.most, pytest.approx(verdict.used), pytest.approx(verdict.asked),
                )  # fmt: skip

            assert told(expected) == told(actual)
        assert 0 == one.counters.alone


@on_uvloop
async def test_slices_expire_in_redis():
    """After a window all of a limit is free again, and the sums are those of the slices."""
    async with running_redis() as redis, replicas_of(redis.url, window_s=0.5) as (one, two):
        key = scope(rpm=20)
        for _ in range(4):
            granted = await asyncio.gather(one.ask_all(30, key), two.ask_all(30, key))
            window = await look(redis.port)

            assert 20 == window.requests >= sum(map(len, granted))
            while not (found := (await one.ask(key))[1]).is_granted:  # noqa: ASYNC110
                await asyncio.sleep(min(found.retry_after_s, 0.1))


@on_uvloop
async def test_a_call_that_left_before_its_verdict_holds_nothing():
    """Settling what Redis has not decided yet is legal; what it then grants is given back."""
    async with running_redis() as redis, replicas_of(redis.url) as (one, two):
        key, told = scope(rpm=5, concurrency=1), []
        hold = Hold((key,), 1, 0.0)

        assert one.counters.reserve(hold, told.append) is None
        one.counters.settle(hold, 0, 0.0)
        await one.told()
        assert ([], 0) == (told, await in_flight(redis.port))
        assert 4 == (await two.ask(key))[1].requests_left


@on_uvloop
async def test_a_script_that_is_forgotten_is_sent_again():
    """A server that lost its scripts is sent the whole one; no call notices."""
    async with running_redis() as redis, replicas_of(redis.url, 1) as (one,):
        client = Redis(port=redis.port)
        await client.script_flush()
        await client.aclose()

        assert 1 == len(await one.ask_all(1, scope(rpm=1)))
        assert 0 == one.counters.alone


@on_uvloop
async def test_a_step_of_a_past_epoch_is_not_taken():
    """What was given up on may lie in a dead connection for long; then it comes too late."""
    async with running_redis() as redis, replicas_of(redis.url, 1) as (one,):
        await one.ask_all(1, scope(rpm=9))
        old = [
            one.counters._epoch - 1,
            5000,
            250_000.0,
            240,
            [[9, -1, -1, -1, -1]],
            [],
            [(1, 0, [1])],
        ]

        with pytest.raises(TimeoutError, match="too late"):
            await one.counters._wire.step(["key:a"], old)
        assert 1 == (await look(redis.port)).requests


@on_uvloop
async def test_all_that_is_kept_expires_by_itself():
    """Every key has an end of its own, and the hash tag that keeps all on one node of a cluster."""
    async with running_redis() as redis, replicas_of(redis.url) as (one, two):
        await one.ask_all(3, scope(rpm=5, concurrency=9, usd_day=5.0), scope("m", tpm=50), usd=0.1)
        await two.told()
        client = Redis(port=redis.port)
        keys = [key async for key in client.scan_iter()]
        ends = {key: await client.ttl(key) for key in keys}
        await client.aclose()

        assert len(keys) > 6
        assert {True} == {key.startswith(b"{baseload}:") for key in keys}
        assert {} == {key: end for key, end in ends.items() if end < 0}
