"""Keys over real sockets: who is answered what, in words that the official clients understand."""

import asyncio
import hashlib
import json
import logging
import re
from typing import Any

import pytest

from baseload.core.facts import BATCH, DEFAULT, INTERACTIVE
from baseload.gateway import routes
from baseload.gateway.gateway import Gateway
from baseload.store.entry import Entry
from baseload.store.keys import Pass, new_secret
from tests.gateway.door import (
    EXPIRED,
    HI,
    NARROW,
    PATHS,
    SECRET,
    WRONG,
    asking,
    key,
    one,
    shown,
    started,
)
from tests.gateway.harness import Backend, call_up, chat, on_both_loops, on_uvloop, request


class Lines:
    """A test double of the ledger: it keeps what it is given, and proves nothing of the real one."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def enter(self, entry: Entry) -> None:
        self.entries.append(entry)


@on_both_loops
async def test_every_path_of_the_api_wants_a_key():
    """Without one, with a wrong one, with one that is over: 401 as OpenAI words it; else 200."""
    refused = {
        "": "did not show an API key",
        shown(WRONG): "Incorrect API key",
        shown(WRONG, "x-api-key: "): "Incorrect API key",
        shown(EXPIRED): "has expired",
        shown(SECRET, "authorization: Basic "): "did not show",
        shown(SECRET, "authorization: "): "did not show",
    }
    async with Backend() as backend, started(backend) as gateway:
        for path in PATHS:
            for head, said in refused.items():
                answer = await one(gateway, asking(path, head))
                error = answer.json()["error"]

                assert (401, "Bearer") == (answer.status, answer.headers["www-authenticate"])
                assert ("invalid_request_error", "invalid_api_key", None) == (
                    error["type"], error["code"], error["param"],
                )  # fmt: skip
                assert said in error["message"]
                assert answer.headers["x-request-id"] == error["request_id"]
            for header in ("authorization: Bearer ", "x-api-key: "):
                assert 200 == (await one(gateway, asking(path, shown(SECRET, header)))).status
        assert len(PATHS) * len(refused) == gateway.telemetry.refused[401]
        assert 12 == len(backend.asked)


@on_uvloop
async def test_unknown_paths_tell_nothing():
    """They need no key, and say nothing about models, keys or backends."""
    async with Backend() as backend, started(backend) as gateway:
        for path in ("/", "/v1", "/keys", "/v1/keys", "/metrics", "/status", "/v1/model"):
            answer = await one(gateway, request(path=path, method="GET"))

            assert 404 == answer.status
            said = re.sub(r"req-[0-9a-f]+-\d+", "", answer.body.decode())  # b0 may be in a number
            for word in ("secret-project", "team", "narrow", "b0", "sqlite"):
                assert word not in said


@on_uvloop
async def test_a_key_sees_its_own_models_only():
    """The list, a single model and a call: what it may not use does not exist, by any sign."""
    async with Backend() as backend, started(backend) as gateway:
        head = shown(NARROW)
        listed = await one(gateway, asking("/v1/models", head))
        all_listed = await one(gateway, asking("/v1/models", shown(SECRET)))
        mine = await one(gateway, asking("/v1/models/n", head))
        others = await one(gateway, request(path="/v1/models/m", method="GET", head=head))
        called = await one(gateway, asking("/v1/chat/completions", head))
        absent = await one(gateway, request(path="/v1/models/x", method="GET", head=head))

        assert ["n"] == [model["id"] for model in listed.json()["data"]]
        assert 3 == len(all_listed.json()["data"])
        assert (200, "n") == (mine.status, mine.json()["id"])
        for answer in (others, called):
            assert (404, "model_not_found") == (answer.status, answer.json()["error"]["code"])
            assert "secret-project" not in answer.body.decode()
            assert "Known models: n." in answer.json()["error"]["message"]
        assert absent.body.decode().split("request_id")[0] == (
            others.body.decode().split("request_id")[0].replace("`m`", "`x`")
        )
        assert not backend.asked


@pytest.mark.parametrize(
    ("secret", "wish", "expected"),
    [
        (SECRET, "", INTERACTIVE),
        (SECRET, "interactive", INTERACTIVE),
        (SECRET, "batch", BATCH),
        (NARROW, "", BATCH),
        (NARROW, "interactive", BATCH),
        (NARROW, "batch", BATCH),
    ],
    ids=range(6),  # Secrets are new in every process, and names of tests must not be.
)
@on_uvloop
async def test_a_wish_for_more_than_the_keys_class_is_lowered(secret, wish, expected):
    """A call has its key's class; it may ask for less, and for more in vain."""
    async with Backend() as backend, started(backend) as gateway:
        gateway.books.ledger = lines = Lines()
        head = shown(secret) + (f"x-baseload-priority: {wish}\r\n" if wish else "")
        body = {"model": "n", "messages": HI}
        answer = await one(gateway, request(body, head=head))

        assert 200 == answer.status
        assert [expected] == [entry.priority for entry in lines.entries]


@on_uvloop
async def test_without_keys_any_class_may_be_claimed():
    """As ever: whoever may reach the gateway may say how urgent a call is."""
    async with Backend() as backend, started(backend, keys=()) as gateway:
        gateway.books.ledger = lines = Lines()
        for wish in ("", "x-baseload-priority: interactive\r\n"):
            answer = await one(gateway, request({"model": "m", "messages": HI}, head=wish))
            assert 200 == answer.status

        assert [(DEFAULT, ""), (INTERACTIVE, "")] == [
            (entry.priority, entry.key) for entry in lines.entries
        ]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (shown(SECRET) * 2, 401),
        (shown(SECRET) + shown(WRONG), 401),
        (shown(WRONG) + shown(SECRET), 401),
        (shown(SECRET, "x-api-key: ") * 2, 401),
        (shown(WRONG) + shown(SECRET, "x-api-key: "), 401),
        (shown(SECRET, "x-api-key: ") + shown(WRONG), 401),
        ("authorization: Bearer\r\n", 401),
        ("authorization:\r\n", 401),
        ("x-api-key:\r\n", 401),
        ("authorization: Bearer \t \r\n", 401),
        (f"authorization: Bearer {SECRET}\x00\r\n", 400),
        (f"authorization: \x00Bearer {SECRET}\r\n", 400),
        (f"authorization: Bearer {'ä€' * 40}\r\n", 401),
        (f"authorization: Bearer {'x' * 20_000}\r\n", 401),
        (f"authorization: Bearer {'x' * 40_000}\r\n", 431),
        (f"authorization: Bearer {SECRET}\r\n continued\r\n", 400),
        (f"authorization : Bearer {SECRET}\r\n", 400),
        (f"proxy-authorization: Bearer {SECRET}\r\n", 401),
        (f"cookie: authorization=Bearer {SECRET}\r\n", 401),
    ],
    ids=range(19),
)
@on_both_loops
async def test_hostile_headers(head, status):
    """None of them comes in or breaks anything: the gateway goes on to serve its callers."""
    async with Backend() as backend, started(backend) as gateway:
        bad = await one(gateway, asking("/v1/chat/completions", head))
        good = await one(gateway, asking("/v1/chat/completions", shown(SECRET)))

        assert (status, 200) == (bad.status, good.status)
        assert SECRET not in bad.body.decode()


@on_uvloop
async def test_a_key_in_the_url_is_no_key():
    """URLs stand in logs; a key there opens nothing."""
    async with Backend() as backend, started(backend) as gateway:
        answer = await one(gateway, asking(f"/v1/models?api_key={SECRET}&key={SECRET}"))

        assert 401 == answer.status
        assert SECRET not in answer.body.decode()


@on_uvloop
async def test_one_connection_may_show_several_keys():
    """Each request is judged by itself, as behind a proxy that keeps its connections."""
    async with Backend() as backend, started(backend) as gateway:
        async with call_up(gateway.address[1]) as caller:
            statuses = []
            for head in (shown(SECRET), "", shown(WRONG), shown(SECRET), shown(NARROW)):
                await caller.send(asking("/v1/chat/completions", head))
                statuses.append((await caller.answer()).status)

        assert [200, 401, 401, 200, 404] == statuses


@on_uvloop
async def test_changes_of_the_stores_keys_hold_for_open_connections():
    """A key that comes is let in, one that goes is refused on the connection that it opened."""
    secret = new_secret()
    async with Backend() as backend, started(backend, keys=()) as gateway:
        async with call_up(gateway.address[1]) as caller:
            statuses = []
            for stored in ((), (Pass(key("a", secret)),), ()):
                gateway.tenants.replace(stored)
                for head in (shown(secret), ""):
                    await caller.send(asking("/v1/models", head))
                    statuses.append((await caller.answer()).status)

        assert [200, 200, 200, 401, 401, 401] == statuses


@on_both_loops
async def test_64_keys_in_parallel():
    """Each of 64 callers, all at once, is taken for itself: right name, right models, right class."""
    classes = ("interactive", "default", "batch")
    secrets = [new_secret() for _ in range(64)]
    keys = tuple(key(f"k{n}", secret, priority=classes[n % 3]) for n, secret in enumerate(secrets))

    async def call(gateway: Gateway, number: int) -> list[int]:
        async with call_up(gateway.address[1]) as caller:
            statuses = []
            for turn in range(6):
                secret = WRONG if turn % 3 == 2 else secrets[number]
                head = shown(secret) + f"x-request-id: k{number}-{turn}\r\n"
                await caller.send(asking("/v1/chat/completions", head))
                statuses.append((await caller.answer()).status)
            return statuses

    async with Backend() as backend, started(backend, keys=keys) as gateway:
        gateway.books.ledger = lines = Lines()
        statuses = await asyncio.gather(*(call(gateway, number) for number in range(64)))

        assert [[200, 200, 401] * 2] * 64 == statuses
        assert 64 * 4 == len(lines.entries)
        assert all(entry.request_id.startswith(f"{entry.key}-") for entry in lines.entries)
        assert {f"k{n}": n % 3 for n in range(64)} == {e.key: e.priority for e in lines.entries}


@on_uvloop
async def test_no_log_and_no_answer_holds_a_secret(caplog):
    """Whatever is asked with whichever key, neither it nor its hash is written down or sent back."""
    caplog.set_level(logging.DEBUG)
    tokens = [SECRET, NARROW, WRONG, EXPIRED]
    seen: list[Any] = []
    async with Backend() as backend, started(backend) as gateway:
        for token in tokens:
            for path in (*PATHS, "/v1/nothing"):
                for header in ("authorization: Bearer ", "x-api-key: ", "authorization: Basic "):
                    answer = await one(gateway, asking(path, shown(token, header)))
                    seen += [answer.headers, answer.body]
        gateway.tenants.replace([Pass(key("team", WRONG))])
        sent_on = repr([(asked.headers, asked.body) for asked in backend.asked])
    said = caplog.text + repr(seen) + sent_on

    assert "the fleet file has one of this name" in said
    for token in tokens:
        assert token not in said
        assert hashlib.sha256(token.encode()).hexdigest() not in said


@on_uvloop
async def test_a_stream_that_was_let_in_is_finished_when_its_key_goes():
    """Revoking ends no answer under way: what was begun is given, and the next call is refused."""
    secret, told = new_secret(), asyncio.Event()

    async def slow(asked: Any, wire: Any) -> None:
        assert json.loads(asked.body)["stream"]
        await wire.begin()
        await wire.chunk(b'data: {"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n')
        await told.wait()
        end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
        await wire.chunk(end + b"data: [DONE]\n\n")
        await wire.chunk(b"")

    async with Backend(slow) as backend, started(backend, keys=()) as gateway:
        gateway.tenants.replace([Pass(key("a", secret))])
        async with call_up(gateway.address[1]) as caller:
            data = chat(stream=True).replace(b"Host:", shown(secret).encode() + b"Host:", 1)
            await caller.send(data)
            head = await caller.head()
            first = await caller.chunk()
            gateway.tenants.replace([])
            told.set()
            rest = b""
            while more := await caller.chunk():
                rest += more
            await caller.send(data)
            after = await caller.answer()

        assert (200, True) == (head.status, b'"a"' in first)
        assert rest.endswith(b"[DONE]\n\n")
        assert 401 == after.status


class Echo:
    """A test double of a dialect, which only turns errors round; it proves nothing of a real one."""

    def read(self, body: bytes) -> Any:
        raise AssertionError("nobody may come this far")

    def error(self, status: int, body: bytes) -> bytes:
        return b'{"type": "error", "status": %d, "was": %b}' % (status, body)


@on_uvloop
async def test_who_speaks_another_api_is_turned_away_in_its_words(monkeypatch):
    """The refusal is put into the dialect of the path, and says as little."""
    route = routes.Route(b"/chat/completions", "echo", Echo())
    monkeypatch.setitem(routes.ROUTES, b"/v1/echo", route)
    async with Backend() as backend, started(backend) as gateway:
        answer = await one(gateway, asking("/v1/echo", shown(WRONG)))

        assert (401, "Bearer") == (answer.status, answer.headers["www-authenticate"])
        assert ("error", 401) == (answer.json()["type"], answer.json()["status"])
        assert "invalid_api_key" == answer.json()["was"]["error"]["code"]


@pytest.mark.parametrize(
    "framing",
    [
        "content-length: 30000000\r\n\r\n",
        "content-length: 30000000\r\nexpect: 100-continue\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\n20000\r\n" + "x" * 0x20000,
    ],
)
@on_both_loops
async def test_no_large_body_is_read_of_a_stranger(framing):
    """Whoever has no key is told so before the body has come, and the connection is closed."""
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\n{shown(WRONG)}{framing}"
    async with Backend() as backend, started(backend) as gateway:
        answer = await one(gateway, head.encode())

    assert (401, "Bearer", "close") == (
        answer.status, answer.headers["www-authenticate"], answer.headers["connection"],
    )  # fmt: skip
    assert "authentication_error" == answer.json()["error"]["type"]
    assert [] == backend.asked


@pytest.mark.parametrize("key_header", ["authorization: Bearer ", "x-api-key: "])
@on_both_loops
async def test_a_large_body_is_read_of_whoever_has_a_key(key_header):
    """The same with a key, sent in two pieces: it is answered."""
    body = {"model": "m", "messages": [{"role": "user", "content": "x" * 300_000}]}
    async with Backend() as backend, started(backend) as gateway:
        answer = await one(gateway, request(body, head=shown(SECRET, key_header)))

    assert 200 == answer.status
