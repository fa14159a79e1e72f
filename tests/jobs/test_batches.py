"""Batches through the official client: filed, run when there is room, resumed, and fetched."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from baseload.config import fleet
from baseload.config.fleet import Queue
from baseload.config.tenancy import Jobs
from baseload.gateway.gateway import Gateway
from baseload.gateway.jobs import TRIES_MAX
from baseload.store.database import Database
from tests.gateway.harness import COMPLETION, Asked, Backend, Wire, on_uvloop, until
from tests.gateway.provider import ask_each_once
from tests.jobs.conftest import lines

ENDED = {"completed", "failed", "cancelled", "expired"}


def client_of(gateway: Gateway) -> AsyncOpenAI:
    """Give the official client; it retries nothing by itself."""
    url = f"http://127.0.0.1:{gateway.address[1]}/v1"
    return AsyncOpenAI(base_url=url, api_key="unused", max_retries=0, timeout=20)


async def file_batch(client: AsyncOpenAI, content: bytes, **more: Any) -> Any:
    """File a batch of these lines."""
    made = await client.files.create(file=("in.jsonl", content), purpose="batch")
    endpoint = more.pop("endpoint", "/v1/chat/completions")
    return await client.batches.create(
        input_file_id=made.id, endpoint=endpoint, completion_window="24h", **more
    )


async def ended(client: AsyncOpenAI, batch_id: str) -> Any:
    """Wait until a batch has ended."""
    while True:
        batch = await client.batches.retrieve(batch_id)
        if batch.status in ENDED:
            return batch
        await asyncio.sleep(0.05)


async def completed(client: AsyncOpenAI, batch_id: str, count: int) -> None:
    """Wait until so many lines are done."""
    while True:
        if (await client.batches.retrieve(batch_id)).request_counts.completed >= count:
            return
        await asyncio.sleep(0.02)


async def results(client: AsyncOpenAI, file_id: str) -> dict[str, Any]:
    """Give a file of results by the names of its lines."""
    content = (await client.files.content(file_id)).content
    found = [json.loads(line) for line in content.splitlines()]
    return {one["custom_id"]: one for one in found}


@on_uvloop
async def test_a_batch_is_run_and_its_results_fetched(office):
    """Every line is answered once, in the batch class, and the counts say so."""
    async with Backend() as backend, office(backend) as gateway, client_of(gateway) as client:
        batch = await file_batch(client, lines(20), metadata={"for": "test"})
        done = await ended(client, batch.id)
        found = await results(client, done.output_file_id)
        names = [one.id async for one in client.batches.list()]

    assert ("completed", 20, 20, 0) == (
        done.status, done.request_counts.total, done.request_counts.completed,
        done.request_counts.failed,
    )  # fmt: skip
    assert {"for": "test"} == done.metadata
    assert {f"line-{n}" for n in range(20)} == set(found)
    assert COMPLETION == found["line-3"]["response"]["body"]
    assert [batch.id] == names
    assert 20 == len(backend.asked)


@on_uvloop
async def test_what_backends_refuse_goes_to_the_file_of_errors(office):
    """A line that is refused for its own sake fails alone, with the backend's words."""

    async def odd(asked: Asked, wire: Wire) -> None:
        if int(asked.json()["messages"][0]["content"]) % 2:
            body = b'{"error": {"message": "no", "type": "invalid_request_error"}}'
            head = b"HTTP/1.1 400 X\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
            await wire.send(head % len(body) + body)
        else:
            await wire.json(COMPLETION)

    async with Backend(odd) as backend, office(backend) as gateway, client_of(gateway) as client:
        done = await ended(client, (await file_batch(client, lines(6))).id)
        good, bad = [
            await results(client, file_id) for file_id in (done.output_file_id, done.error_file_id)
        ]

    assert {"line-0", "line-2", "line-4"} == set(good)
    assert {"line-1", "line-3", "line-5"} == set(bad)
    assert 400 == bad["line-1"]["response"]["status_code"]
    assert "no" == bad["line-1"]["response"]["body"]["error"]["message"]


@on_uvloop
async def test_want_of_room_fails_no_line(office):
    """Lines that find no room, or a backend that refuses for a while, are asked again."""
    refusals = 6

    async def busy(asked: Asked, wire: Wire) -> None:
        nonlocal refusals
        if refusals > 0:
            refusals -= 1
            await wire.send(
                b"HTTP/1.1 429 X\r\nretry-after: 0\r\ncontent-type: application/json\r\n"
                b"content-length: 2\r\n\r\n{}"
            )
        else:
            await wire.json(COMPLETION)

    async with Backend(busy) as backend:
        tight = {"queue": Queue(size=1, wait_s=1.0)}
        async with office(backend, **tight) as gateway, client_of(gateway) as client:
            done = await ended(client, (await file_batch(client, lines(12))).id)

    assert ("completed", 12) == (done.status, done.request_counts.completed)


@on_uvloop
async def test_urgent_calls_go_before_a_batch(office):
    """With one place and a long batch, a caller's own call is answered before the batch is."""
    gate = asyncio.Event()

    async def slow(asked: Asked, wire: Wire) -> None:
        if asked.json()["messages"][0]["content"] != "now":
            await gate.wait()
        await wire.json(COMPLETION)

    async with Backend(slow) as backend:
        one = fleet.Backend(name="b0", url=backend.url, probe_s=0.0, concurrency=1)
        async with (
            office(backend, backends={"b0": one}) as gateway,
            client_of(gateway) as client,
        ):
            batch = await file_batch(client, lines(8))
            await until(lambda: bool(backend.asked))
            answer = await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "now"}],
                extra_headers={"x-baseload-priority": "interactive"},
            )  # fmt: skip
            gate.set()
            done = await ended(client, batch.id)

    assert "hello" == answer.choices[0].message.content
    assert ("completed", 8) == (done.status, done.request_counts.completed)


@on_uvloop
async def test_a_batch_goes_on_after_a_restart(office):
    """What was written down is not asked again; the rest is run by the next gateway."""
    held = asyncio.Event()

    async def some(asked: Asked, wire: Wire) -> None:
        if int(asked.json()["messages"][0]["content"]) >= 5:
            await held.wait()
        await wire.json(COMPLETION)

    async with Backend(some) as backend:
        async with office(backend) as gateway, client_of(gateway) as client:
            batch = await file_batch(client, lines(10))
            await completed(client, batch.id, 5)
        first = [int(one.json()["messages"][0]["content"]) for one in backend.asked]
        backend.asked.clear()
        held.set()
        async with office(backend) as gateway, client_of(gateway) as client:
            done = await ended(client, batch.id)
            found = await results(client, done.output_file_id)

    assert {0, 1, 2, 3, 4} <= set(first)
    second = [int(one.json()["messages"][0]["content"]) for one in backend.asked]
    assert [5, 6, 7, 8, 9] == sorted(second)
    assert 10 == len(found)
    assert ("completed", 10, 10) == (
        done.status, done.request_counts.total, done.request_counts.completed,
    )  # fmt: skip


@on_uvloop
async def test_a_cancelled_batch_keeps_what_is_done(office):
    """Lines that are out are left, those that were not are told as cancelled."""

    async def some(asked: Asked, wire: Wire) -> None:
        if int(asked.json()["messages"][0]["content"]) >= 3:
            await wire.hung_up()
        await wire.json(COMPLETION)

    async with Backend(some) as backend, office(backend) as gateway, client_of(gateway) as client:
        batch = await file_batch(client, lines(9))
        await completed(client, batch.id, 3)
        cancelling = await client.batches.cancel(batch.id)
        done = await ended(client, batch.id)
        bad = await results(client, done.error_file_id)
        await until(lambda: not len(gateway.driver))

    assert cancelling.status in {"cancelling", "cancelled"}
    assert ("cancelled", 3) == (done.status, done.request_counts.completed)
    assert {"batch_cancelled"} == {one["error"]["code"] for one in bad.values()}
    assert 6 == len(bad)


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_file"),
        (b"not json\n", "invalid_json_line"),
        (lines(1) + lines(1), "duplicate_custom_id"),
        (lines(1).replace(b"POST", b"PUT"), "invalid_method"),
        (lines(1).replace(b"/v1/chat", b"/v1/other"), "mismatched_endpoint"),
        (lines(1, stream=True), "stream_not_supported"),
    ],
)
@on_uvloop
async def test_a_file_with_mistakes_fails_as_a_whole(office, content, code):
    """No line is run, and the batch says which line is wrong."""
    async with Backend() as backend, office(backend) as gateway, client_of(gateway) as client:
        done = await ended(client, (await file_batch(client, content)).id)

    assert ("failed", code) == (done.status, done.errors.data[0].code)
    assert [] == backend.asked


@on_uvloop
async def test_files_are_listed_fetched_and_deleted(office):
    """Files come back byte for byte, page by page, and are gone once deleted."""
    large = b"x" * 700_000 + b"\n"
    async with Backend() as backend, office(backend) as gateway, client_of(gateway) as client:
        made = [
            await client.files.create(file=(f"{n}.jsonl", large), purpose="batch") for n in range(3)
        ]
        listed = [one.id async for one in client.files.list(limit=2)]
        content = (await client.files.content(made[0].id)).content
        gone = await client.files.delete(made[0].id)
        with pytest.raises(openai.NotFoundError):
            await client.files.retrieve(made[0].id)
        with pytest.raises(openai.NotFoundError):
            await client.files.content(made[0].id)

    assert {one.id for one in made} == set(listed)
    assert large == content
    assert gone.deleted


@on_uvloop
async def test_bad_requests_are_refused_with_reasons(office):
    """Wrong purposes, endpoints, windows and files, too much kept: each has its sentence."""
    small = Jobs(storage_mb=1)
    async with Backend() as backend, office(backend, jobs=small) as gateway:
        async with client_of(gateway) as client:
            with pytest.raises(openai.BadRequestError, match="purpose"):
                await client.files.create(file=("a", b"x"), purpose="assistants")
            with pytest.raises(openai.BadRequestError, match="endpoint"):
                await file_batch(client, lines(1), endpoint="/v1/images")
            with pytest.raises(openai.BadRequestError, match="No such file"):
                await client.batches.create(
                    input_file_id="file-none", endpoint="/v1/embeddings", completion_window="24h"
                )
            with pytest.raises(openai.RateLimitError, match="Delete files"):
                await client.files.create(file=("a", b"x" * (1 << 20)), purpose="batch")
            with pytest.raises(openai.NotFoundError):
                await client.batches.retrieve("batch_none")


@on_uvloop
async def test_two_gateways_share_the_work_and_run_nothing_twice(office):
    """Replicas on one database: a batch is run by one of them, and each line is asked once."""
    async with (
        Backend() as backend,
        office(backend) as first,
        office(backend) as second,
        client_of(first) as one,
        client_of(second) as other,
    ):
        batches = [await file_batch(client, lines(15)) for client in (one, other, one)]
        done = [await ended(other, batch.id) for batch in batches]

    assert [("completed", 15)] * 3 == [
        (batch.status, batch.request_counts.completed) for batch in done
    ]
    assert 45 == len(backend.asked)


@on_uvloop
async def test_what_is_not_done_in_a_day_expires(office, tmp_path):
    """A batch whose time is over keeps what is done, and says so of the rest."""

    async def some(asked: Asked, wire: Wire) -> None:
        if int(asked.json()["messages"][0]["content"]) >= 2:
            await wire.hung_up()
        await wire.json(COMPLETION)

    async with Backend(some) as backend, office(backend) as gateway, client_of(gateway) as client:
        batch = await file_batch(client, lines(4))
        await completed(client, batch.id, 2)
        database = Database(f"sqlite:///{tmp_path}/jobs.db")
        database.run("UPDATE batches SET expires_at = 1")
        database.close()
        done = await ended(client, batch.id)
        bad = await results(client, done.error_file_id)

    assert ("expired", 2) == (done.status, done.request_counts.completed)
    assert ["batch_expired"] * 2 == [one["error"]["code"] for one in bad.values()]


@on_uvloop
async def test_a_fault_of_backends_is_tried_again_and_then_told(office, monkeypatch):
    """A line that makes every backend fail is given up after a few tries, and alone."""
    ask_each_once(monkeypatch)
    tries = 0

    async def broken(asked: Asked, wire: Wire) -> None:
        nonlocal tries
        if asked.json()["messages"][0]["content"] == "0":
            tries += 1
            await wire.send(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n")
        else:
            await wire.json(COMPLETION)

    async with Backend(broken) as backend, office(backend) as gateway, client_of(gateway) as client:
        done = await ended(client, (await file_batch(client, lines(3))).id)
        bad = await results(client, done.error_file_id)

    assert (2, 1) == (done.request_counts.completed, done.request_counts.failed)
    assert 502 == bad["line-0"]["response"]["status_code"]
    assert tries >= TRIES_MAX
