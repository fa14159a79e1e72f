"""Owners of batches beside each other: what one of them does or may no longer do is its own."""

import asyncio
import hashlib
import time
from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncOpenAI

from baseload.apis.batch import NewBatch
from baseload.config import tenancy
from baseload.config.tenancy import Key
from baseload.gateway.gateway import Gateway
from baseload.store.counters import LocalCounters
from baseload.store.database import Database
from baseload.store.jobs import Jobs
from tests.gateway.harness import COMPLETION, Asked, Backend, Wire, on_uvloop, raw, request, until
from tests.jobs.conftest import lines
from tests.jobs.test_batches import completed, ended, file_batch, results


def key(name: str, **terms: Any) -> Key:
    """Give a key whose secret is its name."""
    return Key(name=name, sha256=hashlib.sha256(name.encode()).hexdigest(), **terms)


def client_of(gateway: Gateway, secret: str) -> AsyncOpenAI:
    """Give the official client with a key."""
    url = f"http://127.0.0.1:{gateway.address[1]}/v1"
    return AsyncOpenAI(base_url=url, api_key=secret, max_retries=0, timeout=20)


@on_uvloop
async def test_a_batch_ends_with_its_key(office):
    """A key that is taken away while its batch runs: no further line of it is sent."""

    async def some(asked: Asked, wire: Wire) -> None:
        if int(asked.json()["messages"][0]["content"]) >= 3:
            await wire.hung_up()
        await wire.json(COMPLETION)

    keys = (key("leaves"), key("stays"))
    async with (
        Backend(some) as backend,
        office(backend, keys=keys) as gateway,
        client_of(gateway, "leaves") as client,
    ):
        batch = await file_batch(client, lines(300))
        await completed(client, batch.id, 3)
        gateway.tenants.reload(gateway_fleet(gateway, keys[1:]))
        await until(lambda: not gateway.office.runner.in_flight)
        sent = len(backend.asked)
        jobs = gateway.office.runner.jobs
        await until(lambda: jobs.find(batch.id, "leaves").status == "cancelled")

    assert sent == len(backend.asked)


def gateway_fleet(gateway: Gateway, keys: tuple[Key, ...]) -> Any:
    """Give a gateway's fleet with other keys."""
    return msgspec.structs.replace(gateway.fleet, keys=keys)


@on_uvloop
async def test_whose_limits_are_used_up_holds_up_nobody_else(office):
    """One owner's lines are refused for a minute to come; another's batch is run meanwhile."""
    keys = (key("poor", rpm=1), key("rich"))
    async with (
        Backend() as backend,
        office(backend, keys=keys) as gateway,
        client_of(gateway, "poor") as poor,
        client_of(gateway, "rich") as rich,
    ):
        gateway.books.counters = LocalCounters()
        stuck = await file_batch(poor, lines(20))
        await completed(poor, stuck.id, 1)
        done = await ended(rich, (await file_batch(rich, lines(20))).id)

    assert 20 == done.request_counts.completed


@on_uvloop
async def test_a_line_beyond_the_whole_of_a_limit_fails(office):
    """It could never pass, so it is told as an error, and the batch ends."""
    keys = (key("small", tpm=1000),)
    async with (
        Backend() as backend,
        office(backend, keys=keys) as gateway,
        client_of(gateway, "small") as client,
    ):
        gateway.books.counters = LocalCounters()
        done = await ended(client, (await file_batch(client, lines(2, max_tokens=5000))).id)

    assert ("completed", 2) == (done.status, done.request_counts.failed)


def test_one_owner_does_not_take_all_places(tmp_path):
    """Of many batches of one owner only some are taken up, so that those of others have places."""
    database = Database(f"sqlite:///{tmp_path}/jobs.db")
    jobs, new = Jobs(database), NewBatch("file-x", "/v1/chat/completions", "24h")
    for number in range(9):
        jobs.add(f"batch_a{number}", "greedy", new, 1000.0)
    jobs.add("batch_b", "other", new, 2000.0)

    first = jobs.claim("me", 3000.0, 4, 3)
    again = jobs.claim("me", 3001.0, 4, 3)
    another = jobs.claim("you", 3001.0, 4, 3)
    database.close()

    assert ["batch_a0", "batch_a1", "batch_a2", "batch_b"] == [one.id for one in first]
    assert first == again
    assert ["batch_a3", "batch_a4", "batch_a5"] == [one.id for one in another]


@pytest.mark.parametrize(
    "query",
    ["limit=000000001" + "9" * 5000, "&".join(f"a{n}=1" for n in range(40)), "limit=%D9%A1x"],
)
@on_uvloop
async def test_an_odd_query_is_refused(office, query):
    """Queries that cannot be read are answered; the connection is not left waiting."""
    async with Backend() as backend, office(backend) as gateway:
        (answer,) = await raw(gateway.address[1], request(path=f"/v1/files?{query}", method="GET"))

    assert 400 == answer.status


@on_uvloop
async def test_a_defect_ends_the_connection(office, monkeypatch, caplog):
    """An error that nobody foresaw leaves no caller waiting, and its words are not logged."""

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("what the caller had sent")

    async with Backend() as backend, office(backend) as gateway:
        monkeypatch.setattr(gateway.office.runner.jobs.files, "page", broken)
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await raw(gateway.address[1], request(path="/v1/files", method="GET"))

    assert "ZeroDivisionError" in caplog.text
    assert "had sent" not in caplog.text


@on_uvloop
async def test_empty_files_take_room_too(office):
    """Files without content are bounded like others: each is a row that has to be kept."""
    form = b'--x\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
    form += b'--x\r\ncontent-disposition: form-data; name="file"; filename="f"\r\n\r\n\r\n--x--'
    async with Backend() as backend, office(backend) as gateway:
        files = gateway.office.runner.jobs.files
        for number in range(300):
            files.add(f"file-{number}", "", "f", "batch", [], time.time())
        filing = gateway.reception.side.filing
        filing._storage_bytes = 1 << 20
        (answer,) = await raw(gateway.address[1], request(form, "/v1/files"))

    assert 429 == answer.status


ODD_PATHS = [
    prefix + path
    for prefix in ("", "/v1", "/V1", "/v1/", "/beta", "/beta/v1", "/anthropic", "/anthropic/v1", "/%2e/v1")
    for path in ("/files", "/batches", "/models", "/messages", "/responses", "/chat/completions",
                 "/messages/count_tokens", "/files/file-1/content", "/batches/b/cancel", "/models/m")
]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@on_uvloop
async def test_no_path_is_open_without_a_key(office, method):
    """However a path is written and asked for, a stranger is given nothing."""
    async with Backend() as backend, office(backend, keys=(key("one"),)) as gateway:
        found = {}
        for path in ODD_PATHS:
            (answer,) = await raw(
                gateway.address[1], request({"model": "m"}, path, method, "connection: close\r\n")
            )
            found[path] = answer.status

    assert {} == {path: one for path, one in found.items() if one not in {401, 404, 405}}
    assert [] == backend.asked


@on_uvloop
async def test_owners_see_only_their_own(office):
    """Files and batches of another are not there: not to be listed, read, run, ended or deleted."""
    keys = (key("one"), key("two"))
    async with (
        Backend() as backend,
        office(backend, keys=keys) as gateway,
        client_of(gateway, "one") as mine,
        client_of(gateway, "two") as theirs,
    ):
        done = await ended(mine, (await file_batch(mine, lines(2))).id)
        attempts = [
            lambda: theirs.files.retrieve(done.input_file_id),
            lambda: theirs.files.content(done.output_file_id),
            lambda: theirs.files.delete(done.output_file_id),
            lambda: theirs.batches.retrieve(done.id),
            lambda: theirs.batches.cancel(done.id),
        ]
        for attempt in attempts:
            with pytest.raises(openai.NotFoundError):
                await attempt()
        with pytest.raises(openai.BadRequestError):
            await theirs.batches.create(
                input_file_id=done.input_file_id, endpoint="/v1/chat/completions",
                completion_window="24h",
            )  # fmt: skip
        listed = [*(await theirs.files.list()).data, *(await theirs.batches.list()).data]
        after = (await theirs.files.list(after=done.input_file_id)).data

    assert ([], []) == (listed, after)


@on_uvloop
async def test_results_are_kept_only_as_far_as_there_is_room(office):
    """What a batch brings counts for its owner's room; beyond it an error stands for the answer."""
    long = COMPLETION | {"x": "y" * 300_000}

    async def talkative(asked: Asked, wire: Wire) -> None:
        await wire.json(long)

    small = {"jobs": tenancy.Jobs(storage_mb=1)}
    async with (
        Backend(talkative) as backend,
        office(backend, **small) as gateway,
        client_of(gateway, "any") as client,
    ):
        done = await ended(client, (await file_batch(client, lines(8))).id)
        bad = await results(client, done.error_file_id)

    assert ("completed", 3, 5) == (
        done.status, done.request_counts.completed, done.request_counts.failed,
    )  # fmt: skip
    assert {507} == {one["response"]["status_code"] for one in bad.values()}
