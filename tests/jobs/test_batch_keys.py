"""Batches and the keys that they belong to: limits that refuse, keys that end, money that is spent."""

import asyncio
from hashlib import sha256
from typing import Any

import msgspec
from openai import AsyncOpenAI

from baseload.config.tenancy import Jobs, Key
from baseload.gateway.backoffice import BackOffice
from baseload.gateway.gateway import Gateway
from baseload.store.counters import LocalCounters
from baseload.store.database import Database
from baseload.store.entry import Entry
from baseload.store.jobs import Jobs as KeptJobs
from tests.gateway.harness import (
    COMPLETION,
    Asked,
    Backend,
    Wire,
    hello,
    on_uvloop,
    start_gateway,
    until,
)
from tests.jobs.conftest import lines
from tests.jobs.test_batches import completed, ended, file_batch, results

SECRETS = {"team-a": "sk-a", "team-b": "sk-b"}


class Lines(list[Entry]):
    """A double of a ledger that keeps lines in memory."""

    enter = list.append


def keys_of(**limits: Any) -> tuple[Key, ...]:
    """Give two keys; the first is limited so."""
    hashes = {name: sha256(secret.encode()).hexdigest() for name, secret in SECRETS.items()}
    return (
        Key(name="team-a", sha256=hashes["team-a"], **limits),
        Key(name="team-b", sha256=hashes["team-b"]),
    )


def client_of(gateway: Gateway, name: str = "team-a") -> AsyncOpenAI:
    """Give the official client of one key."""
    url = f"http://127.0.0.1:{gateway.address[1]}/v1"
    return AsyncOpenAI(base_url=url, api_key=SECRETS[name], max_retries=0, timeout=20)


def counted(gateway: Gateway) -> tuple[LocalCounters, Lines]:
    """Have a gateway count limits, and write lines into a list."""
    counters, ledger = LocalCounters(), Lines()
    gateway.books.counters, gateway.books.ledger = counters, ledger
    gateway.tenants.reload(gateway.fleet)
    return counters, ledger


@on_uvloop
async def test_a_line_beyond_the_whole_of_a_limit_fails_at_once(office):
    """It can never pass, so it is told so; the lines beside it are answered."""
    content = lines(1, max_tokens=5000) + lines(3).replace(b"line-0", b"line-9")
    async with Backend() as backend, office(backend, keys=keys_of(tpm=2000)) as gateway:
        counters, ledger = counted(gateway)
        async with client_of(gateway) as client:
            done = await ended(client, (await file_batch(client, content)).id)
            bad = await results(client, done.error_file_id)
        card = counters.quota.find("key:team-a")

    assert ("completed", 3, 1) == (
        done.status, done.request_counts.completed, done.request_counts.failed,
    )  # fmt: skip
    assert 429 == bad["line-0"]["response"]["status_code"]
    assert (3, 3 * 8, 0, 0.0) == (card.requests, card.tokens, card.in_flight, card.held_usd)
    assert [("team-a", "batch", 8)] * 3 == [
        (line.key, line.api, line.prompt_tokens + line.completion_tokens) for line in ledger
    ]


@on_uvloop
async def test_a_key_at_its_limit_keeps_no_other_waiting(office):
    """Its batch rests for as long as it is told; that of another key goes on, with all the room."""
    async with Backend() as backend, office(backend, keys=keys_of(rpm=1)) as gateway:
        counted(gateway)
        async with client_of(gateway) as first, client_of(gateway, "team-b") as second:
            mine = await file_batch(first, lines(4))
            await completed(first, mine.id, 1)
            await until(lambda: any(w.rest_until > 0 for w in works(gateway)))
            room = gateway.office.runner.room
            done = await ended(second, (await file_batch(second, lines(30))).id)
            waiting = await first.batches.retrieve(mine.id)

    assert ("completed", 30) == (done.status, done.request_counts.completed)
    assert room >= 4
    assert ("in_progress", 1) == (waiting.status, waiting.request_counts.completed)


def works(gateway: Any) -> list[Any]:
    """Give the batches that a gateway runs now."""
    return list(gateway.office.runner._works.values())


@on_uvloop
async def test_a_key_that_is_taken_away_ends_its_running_batches(office):
    """What is done stays done, what is out is left, and no further line is sent."""
    held = asyncio.Event()

    async def some(asked: Asked, wire: Wire) -> None:
        if int(asked.json()["messages"][0]["content"]) >= 2:
            await held.wait()
        await hello(asked, wire)

    async with Backend(some) as backend, office(backend, keys=keys_of(rpm=100)) as gateway:
        counters, ledger = counted(gateway)
        async with client_of(gateway) as client:
            batch = await file_batch(client, lines(9))
            await completed(client, batch.id, 2)
            gateway.reload(msgspec.structs.replace(gateway.fleet, keys=keys_of()[1:]))
            await until(lambda: not works(gateway))
        asked = len(backend.asked)
        held.set()
        found = gateway.office.runner.jobs.find(batch.id, "team-a")
        card = counters.quota.find("key:team-a")

    assert ("cancelled", 2) == (found.status, found.completed)
    assert (asked, 0) == (len(backend.asked), card.in_flight)
    assert asked == len(ledger)


@on_uvloop
async def test_limits_that_change_hold_for_the_lines_that_are_left(office):
    """A batch that was stopped by a limit goes on when it is raised, without a restart."""
    async with Backend() as backend, office(backend, keys=keys_of(rpm=1)) as gateway:
        counted(gateway)
        async with client_of(gateway) as client:
            batch = await file_batch(client, lines(9))
            await completed(client, batch.id, 1)
            gateway.reload(msgspec.structs.replace(gateway.fleet, keys=keys_of(rpm=100)))
            done = await ended(client, batch.id)

    assert ("completed", 9) == (done.status, done.request_counts.completed)


@on_uvloop
async def test_lines_that_were_refused_go_on_when_those_before_them_took_less(office):
    """What a line has set aside and not used is there for the next, and not a minute later."""
    async with Backend() as backend, office(backend, keys=keys_of(tpm=2000)) as gateway:
        counted(gateway)
        async with client_of(gateway) as client:
            done = await ended(client, (await file_batch(client, lines(2, max_tokens=1900))).id)

    assert ("completed", 2) == (done.status, done.request_counts.completed)


@on_uvloop
async def test_a_batch_that_is_cancelled_keeps_what_came_in_the_last_moment(office, monkeypatch):
    """An answer that has been paid for is in the file of results, whenever the end was asked for."""
    async with Backend() as backend, office(backend, keys=keys_of()) as gateway:
        counted(gateway)
        runner = gateway.office.runner
        async with client_of(gateway) as client:
            flush, is_held = runner._flush, True

            async def late() -> None:
                if not is_held:
                    await flush()

            monkeypatch.setattr(runner, "_flush", late)
            batch = await file_batch(client, lines(3))
            await until(lambda: any(len(w.results) == 3 for w in works(gateway)))
            await client.batches.cancel(batch.id)
            done = await ended(client, batch.id)
            is_held = False

    assert ("cancelled", 3, 0) == (
        done.status, done.request_counts.completed, done.request_counts.failed,
    )  # fmt: skip


@on_uvloop
async def test_a_drain_waits_for_the_lines_that_are_out(tmp_path):
    """They have the time that callers have; what they came to is not paid for twice."""
    held = asyncio.Event()

    async def slow(asked: Asked, wire: Wire) -> None:
        await held.wait()
        await wire.json(COMPLETION)

    async with Backend(slow) as backend, start_gateway(backend, keys=keys_of()) as gateway:
        counted(gateway)
        back = BackOffice(Jobs(), f"sqlite:///{tmp_path}/jobs.db", gateway.reception)
        back.start()
        async with client_of(gateway) as client:
            batch = await file_batch(client, lines(2))
            await until(lambda: len(backend.asked) == 2)
        await until(lambda: not gateway.clients)
        back.pause()
        drain = asyncio.create_task(gateway.drain())
        await asyncio.wait({drain}, timeout=0.1)
        is_over = drain.done()
        held.set()
        left = await drain
        asked = len(backend.asked)
        await back.stop()
        database = Database(f"sqlite:///{tmp_path}/jobs.db")
        found = KeptJobs(database).find(batch.id, "team-a")
        database.close()

    assert (False, 0, 2) == (is_over, left, asked)
    assert 2 == found.completed
