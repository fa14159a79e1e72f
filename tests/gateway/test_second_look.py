"""What a second look at the data plane asked for: slow answers, several choices, odd refusals."""

import asyncio
import json
import re

import pytest

from baseload.config.fleet import Backend as FleetBackend
from baseload.config.fleet import Tls
from baseload.core.facts import Fact
from baseload.errors import BaseloadError
from baseload.gateway import connection, upstream
from baseload.gateway.gateway import Gateway
from tests.gateway.harness import call_up, fleet_of, on_uvloop, request, start_gateway
from tests.gateway.provider import (
    CLOSE,
    Provider,
    ask,
    ask_each_once,
    backends,
    begin,
    chunk,
    in_turn,
    whole,
)

WHOLE = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
STREAM = WHOLE | {"stream": True}


def _chunk(index: int, text: str = "x", finish: str | None = None) -> bytes:
    choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
    return chunk(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")


@on_uvloop
async def test_an_answer_that_is_not_streamed_may_take_its_time():
    """It has no first token before it is whole, so that clock does not cut it; a stream's does."""
    async with Provider(0.4, whole()) as slow, Provider() as next_:
        fields = {"first_token_s": 0.1}
        async with start_gateway(slow, next_, model=fields, backends=backends(slow, next_)) as up:
            unstreamed = await ask(up, request(WHOLE))
            streamed = await ask(up, request(STREAM))

    assert ["b0", "b1"] == [
        answer.headers["x-baseload-backend"] for answer in (unstreamed, streamed)
    ]


@on_uvloop
@pytest.mark.parametrize("last", [b"", chunk(b"data: [DONE]\n\n")])
async def test_with_several_choices_one_finish_is_not_the_end(last: bytes):
    """A stream of two answers that ends after the first is broken, unless it says it is done."""
    sent = begin() + _chunk(0) + _chunk(1) + _chunk(0, "", "stop") + last + b"0\r\n\r\n"
    async with Provider(sent) as provider, start_gateway(provider) as gateway:
        answer = await ask(gateway, request(STREAM | {"n": 2}))

    assert bool(last) is ("stream_broken" not in answer.body.decode())


@on_uvloop
async def test_empty_deltas_are_no_life():
    """A backend that keeps saying nothing stalls like one that says nothing at all."""
    empty = chunk(b'data: {"choices":[{"delta":{"content":""},"finish_reason":null}]}\n\n')
    steps = [begin() + _chunk(0), *[0.1, empty] * 20]
    async with Provider(*steps) as provider:
        async with start_gateway(provider, model={"stall_s": 0.4}) as gateway:
            answer = await ask(gateway, request(STREAM))

    assert "stream_broken" in answer.body.decode()
    assert answer.body.count(b'"content":""') < 12


@on_uvloop
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('{"detail": "too long"}', "too long"),
        ("<html>Too Large</html>", "The backend refused the request: HTTP 422."),
        ('{"error": {"message": "mine", "type": "t"}}', "mine"),
    ],
)
async def test_a_backends_refusal_has_openais_shape(body: str, said: str):
    """Whatever stands in front of a model, the caller's SDK finds `error.message`."""
    head = f"HTTP/1.1 422 No\r\ncontent-type: text/html\r\ncontent-length: {len(body)}\r\n\r\n"
    async with Provider(head.encode() + body.encode()) as provider:
        async with start_gateway(provider) as gateway:
            answer = await ask(gateway, request(WHOLE))

    assert (422, said) == (answer.status, answer.json()["error"]["message"])


@on_uvloop
async def test_deep_nesting_is_answered_and_harms_nobody():
    """A body nested so deep that it can only just be read gets an answer, in every tier."""
    for depth in (900, 980, 990, 1000, 5000):
        deep = b'{"model":"m","model":"m","x":' + b"[" * depth + b"]" * depth + b"}"
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n"
        async with Provider() as provider, start_gateway(provider) as gateway:
            answer = await ask(gateway, head % len(deep) + deep)
            after = await ask(gateway, request(WHOLE))

        assert (True, 200) == (answer.status in (200, 400), after.status)


@on_uvloop
async def test_a_kept_connection_that_dies_late_is_not_asked_again(monkeypatch):
    """Only a connection that was closed before it was lent is excused; a crash is a failure."""
    monkeypatch.setattr(connection, "RESEND_S_MAX", 0.05)
    ask_each_once(monkeypatch)
    async with Provider(play=in_turn([whole()], [0.2, CLOSE], [whole()])) as provider:
        async with start_gateway(provider) as gateway:
            first = await ask(gateway, request(WHOLE))
            second = await ask(gateway, request(WHOLE))
            attempts = len(provider.asked)

    assert (200, 502, 2) == (first.status, second.status, attempts)


class _Listener:
    """A double of an exchange that only notes why nobody answered."""

    lease = None
    fact = None

    def on_answer(self, *_) -> None:
        raise AssertionError("nobody answers")

    def on_lost(self, reason: str, fact: Fact) -> None:
        self.fact = fact


@on_uvloop
async def test_a_name_that_dns_cannot_carry_is_unreachable():
    """An odd host is a failure like any other, at once, and not an error that nobody hears."""
    odd = FleetBackend(name="odd", url="http://a..b/v1")
    pool, listener = upstream.Pool(asyncio.get_running_loop(), odd), _Listener()
    pool.dial(listener, (b"", b""))
    await listener.lease
    await pool.close()

    assert Fact.UNREACHABLE is listener.fact


@on_uvloop
async def test_an_engine_knows_best_how_many_calls_it_takes():
    """The slots of an engine count, whatever number the file gives."""
    async with Provider() as provider:
        places = backends(provider, concurrency=100)
        gateway = Gateway(fleet_of(provider, backends=places), {"b0": 4})

    assert 4 == gateway.gate.seats["b0"].limit.limit


@on_uvloop
async def test_a_certificate_that_is_none_is_named(tmp_path):
    """The error names the field and the files, and nobody is asked for a password."""
    file = tmp_path / "cert.pem"
    file.write_text("not a certificate")
    async with Provider() as provider:
        fleet = fleet_of(provider, tls=Tls(cert=str(file), key=str(file)))
        gateway = Gateway(fleet)
        with pytest.raises(
            BaseloadError, match=re.escape(f"tls: {file} and {file} cannot be used")
        ):
            await gateway.start()


@on_uvloop
async def test_many_small_chunks_do_not_weigh_more_than_their_sum():
    """A body in two-byte chunks is gathered in bulk, and arrives as it was."""
    body = json.dumps(WHOLE | {"pad": "y" * 20_000}).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    pieces = [body[at : at + 2] for at in range(0, len(body), 2)]
    framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    async with Provider() as provider, start_gateway(provider) as gateway:
        answer = await ask(gateway, head + framed + b"0\r\n\r\n")

        assert 200 == answer.status
        assert body == provider.asked[0].body


@on_uvloop
async def test_a_request_begun_during_an_answer_has_its_clocks_and_its_100():
    """Half a request sent ahead is taken up when its turn comes, `Expect` included."""
    second = json.dumps(WHOLE).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\nexpect: 100-continue\r\n"
    async with Provider(0.2, whole()) as provider, start_gateway(provider) as gateway:
        async with call_up(gateway.address[1]) as caller:
            await caller.send(request(WHOLE) + head + b"content-length: %d\r\n\r\n" % len(second))
            first, interim = await caller.answer(), await caller.answer()
            await caller.send(second)
            last = await caller.answer()

    assert [200, 100, 200] == [answer.status for answer in (first, interim, last)]
