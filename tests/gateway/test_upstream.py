"""Connections to backends on real sockets: what is kept, what is thrown away, what is believed."""

import asyncio

import pytest

from tests.gateway.harness import (
    COMPLETION,
    DONE,
    call_up,
    chat,
    on_both_loops,
    on_uvloop,
    raw,
    start_gateway,
    token,
)
from tests.gateway.provider import (
    CLOSE,
    END,
    FINISH,
    RESET,
    Provider,
    ask,
    ask_each_once,
    backends,
    begin,
    chunk,
    drip,
    ended,
    healthy,
    in_turn,
    stream,
    whole,
)

CALLS = 100
SSE = token("hel") + token("lo") + FINISH + DONE
JSON = whole().partition(b"\r\n\r\n")[2]
BIG_HEADER = b"x-big: " + b"y" * 70_000 + b"\r\n"
MANY_HEADERS = b"".join(b"x-%d: %b\r\n" % (n, b"y" * 100) for n in range(700))


# -- what is kept --------------------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize("is_stream", [False, True])
async def test_connections_are_reused(is_stream):
    """A hundred calls in a row need one connection, or two if the warm one was still under way."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        async with call_up(gateway.address[1]) as caller:
            for _ in range(CALLS):
                await caller.send(chat(stream=is_stream))
                assert (await caller.answer()).status == 200

        assert len(provider.asked) == CALLS
        assert provider.accepts <= 2


@on_both_loops
async def test_concurrency_is_never_exceeded():
    """Sixty-four callers at once, four permits: the backend never sees a fifth request."""
    provider = Provider(play=lambda asked: [0.002, *healthy(asked)])
    async with (
        provider,
        start_gateway(provider, backends=backends(provider, concurrency=4)) as gateway,
    ):
        answers = await asyncio.gather(*(ask(gateway, chat(stream=n % 2 > 0)) for n in range(64)))

        assert {answer.status for answer in answers} == {200}
        assert len(provider.asked) == 64
        assert provider.in_flight_max == 4
        assert provider.accepts <= 5


@on_uvloop
async def test_an_answer_that_says_close_is_obeyed():
    """After `Connection: close` the next call has another one, though the backend left it open."""
    async with (
        Provider(whole(head="connection: close\r\n")) as provider,
        start_gateway(provider) as gateway,
    ):
        for _ in range(3):
            assert (await ask(gateway)).json() == COMPLETION

        assert [asked.turn for asked in provider.asked] == [0, 0, 0]


# -- stale connections ---------------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize("cut", [CLOSE, RESET])
async def test_a_request_on_a_stale_connection_is_sent_again(cut):
    """A kept connection that dies without a byte of answer costs nobody a failure."""
    provider = Provider(play=lambda asked: [cut] if asked.turn else healthy(asked))
    async with provider, Provider() as spare, start_gateway(provider, spare) as gateway:
        for _ in range(10):
            answer = await ask(gateway)
            assert (answer.status, answer.headers["x-baseload-backend"]) == (200, "b0")

        assert ended(gateway) == {"b0": "done"}
        assert gateway.failures == {}
        assert [asked.turn for asked in provider.asked].count(0) == 10


@on_both_loops
async def test_a_backend_that_hangs_up_as_a_request_comes_is_no_failure():
    """Whichever comes first, the request or the backend's close, the caller sees an answer."""
    async with Provider() as provider, start_gateway(provider) as gateway:
        async with call_up(gateway.address[1]) as caller:
            for number in range(20):
                caller.writer.write(chat())
                if number % 2:
                    await asyncio.sleep(0)
                provider.hang_up()
                assert (await caller.answer()).status == 200

        assert gateway.failures == {}


@on_uvloop
async def test_a_request_is_sent_again_only_once(monkeypatch):
    """If the fresh connection dies too, the backend is at fault: it was asked twice, not more."""
    ask_each_once(monkeypatch)
    provider = Provider(play=in_turn([whole()], [CLOSE]))
    async with provider, start_gateway(provider) as gateway:
        assert (await ask(gateway)).status == 200
        answer = await ask(gateway)

        assert answer.status == 502
        assert answer.json()["error"]["code"] == "backend_lost"
        assert [asked.turn for asked in provider.asked] == [0, 1, 0]


@on_uvloop
async def test_a_stale_connection_that_began_to_answer_is_a_failure():
    """Half an answer proves that the request was read: it goes to the next tier, not again."""
    first = Provider(play=lambda asked: [whole()[:30], CLOSE] if asked.turn else healthy(asked))
    async with first, Provider() as second, start_gateway(first, second) as gateway:
        await ask(gateway)
        answer = await ask(gateway)

        assert answer.headers["x-baseload-backend"] == "b1"
        assert len(first.asked) == 2


@on_both_loops
@pytest.mark.parametrize("cut", [CLOSE, RESET])
async def test_a_fresh_connection_without_an_answer_is_a_failure(cut):
    """A backend that reads a request and hangs up has lost it; the next tier answers."""
    async with (
        Provider(cut) as first,
        Provider() as second,
        start_gateway(first, second) as gateway,
    ):
        answer = await ask(gateway)

        assert (answer.status, answer.headers["x-baseload-backend"]) == (200, "b1")
        assert ended(gateway) == {"b0": "lost", "b1": "done"}


@on_both_loops
@pytest.mark.parametrize("cut", [CLOSE, RESET])
async def test_a_backend_that_accepts_and_hangs_up_is_a_failure(cut):
    """A port that takes connections and drops them at once fails quickly, call after call."""
    async with Provider() as first, Provider() as second:
        first.greeting = cut
        async with start_gateway(first, second) as gateway:
            answers = [await ask(gateway) for _ in range(10)]

            assert {answer.headers["x-baseload-backend"] for answer in answers} == {"b1"}
            assert first.asked == []
            assert ended(gateway)["b0"] in ("lost", "unreachable", ["lost", "unreachable"])


# -- framing that is unusual, but right ----------------------------------------------------------


def _sse(framing: bytes, version: bytes = b"1.1") -> bytes:
    return b"HTTP/%b 200 OK\r\ncontent-type: text/event-stream\r\n%b\r\n" % (version, framing)


TRAILERS = b"0\r\nx-checksum: 1\r\ncontent-type: text/html\r\n\r\n"
RIGHT = {
    "closed_json": (False, (whole().replace(b"content-length: ", b"x-was: "), CLOSE), 0),
    "closed_stream": (True, (_sse(b"") + SSE, CLOSE), 0),
    "closed_stream_later": (True, (_sse(b"") + SSE[:50], 0.01, SSE[50:], 0.01, CLOSE), 0),
    "http_1_0_json": (False, (whole().replace(b"HTTP/1.1", b"HTTP/1.0"), CLOSE), 0),
    "http_1_0_stream": (True, (_sse(b"", b"1.0") + SSE, CLOSE), 0),
    "stream_of_known_length": (True, (_sse(b"content-length: %d\r\n" % len(SSE)) + SSE,), 1),
    "chunks_of_odd_sizes": (
        True,
        (begin() + b"".join(chunk(SSE[n : n + 7]) for n in range(0, len(SSE), 7)) + END,),
        1,
    ),
    "chunk_extensions": (
        True,
        (begin() + chunk(SSE[:90], b';a="b";c') + b"000" + chunk(SSE[90:], b";x") + END,),
        1,
    ),
    "content_type_in_capitals": (
        True,
        (
            begin().replace(b"text/event-stream", b"Text/Event-Stream;charset=UTF-8") + chunk(SSE),
            END,
        ),
        1,
    ),
    "trailers": (True, (begin("trailer: x-checksum\r\n") + chunk(SSE) + TRAILERS,), 1),
    "end_in_a_later_read": (True, (begin() + chunk(SSE), 0.01, END), 1),
    "chunked_json": (
        False,
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            *(step for n in range(0, len(JSON), 50) for step in (chunk(JSON[n : n + 50]), 0.001)),
            END,
        ),
        1,
    ),
    "interim_100": (False, (b"HTTP/1.1 100 Continue\r\n\r\n", 0.01, whole()), 1),
    "interim_103": (
        True,
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\nx-y: z\r\n\r\n" * 2 + stream("hel", "lo"),),
        1,
    ),
    "offer_of_another_protocol": (
        True,
        (begin("upgrade: h2,h2c\r\nconnection: upgrade\r\n") + chunk(SSE) + END,),
        1,
    ),
    "json_byte_by_byte": (False, tuple(drip(whole())), 1),
    "stream_byte_by_byte": (True, tuple(drip(stream("hel", "lo"))), 1),
}


@on_uvloop
@pytest.mark.parametrize("name", RIGHT)
async def test_unusual_framing_is_understood(name):
    """However an answer is framed, the caller has its bytes; a kept connection serves again."""
    is_stream, steps, reused = RIGHT[name]
    async with Provider(*steps) as provider, start_gateway(provider) as gateway:
        answers = [await ask(gateway, chat(stream=is_stream)) for _ in range(2)]

        for answer in answers:
            assert answer.body == (SSE if is_stream else JSON)
            assert not {"link", "x-y", "x-checksum", "trailer"} & answer.headers.keys()
        assert [asked.turn for asked in provider.asked] == [0, reused]
        assert ended(gateway) == {"b0": "done"}


@on_uvloop
@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": 3.5}, "?"])
async def test_a_strange_count_of_tokens_spoils_no_answer(usage):
    """What cannot be counted is not counted; the answer is an answer all the same."""
    async with (
        Provider(whole(COMPLETION | {"usage": usage})) as provider,
        start_gateway(provider) as gateway,
    ):
        answer = await ask(gateway)

        assert (answer.status, answer.json()["usage"]) == (200, usage)


# -- more than was asked for ---------------------------------------------------------------------


@on_uvloop
@pytest.mark.parametrize("pause", [(), (0.02,)], ids=["at_once", "later"])
async def test_a_second_answer_to_one_request_is_dropped(pause):
    """Nobody is given an answer that nobody asked for, and its connection is not used again."""
    second = whole({"choices": [], "usage": None, "id": "not asked for"})
    provider = Provider(play=lambda asked: [whole(), *pause, second])
    async with provider, start_gateway(provider) as gateway:
        async with call_up(gateway.address[1]) as caller:
            for _ in range(3):
                await caller.send(chat())
                assert (await caller.answer()).json() == COMPLETION
                await asyncio.sleep(sum(pause) * 2)

        assert [asked.turn for asked in provider.asked] == [0, 0, 0]
        assert gateway.failures == {}


@on_uvloop
@pytest.mark.parametrize("is_stream", [False, True])
async def test_garbage_after_a_whole_answer_is_dropped(is_stream):
    """An answer that is whole is given to the caller, whatever stands behind it."""
    provider = Provider(play=lambda asked: [healthy(asked)[0] + b"\x00garbage\r\n\r\n"])
    async with provider, start_gateway(provider) as gateway:
        answers = [await ask(gateway, chat(stream=is_stream)) for _ in range(2)]

        assert [answer.body for answer in answers] == [SSE if is_stream else JSON] * 2
        assert [asked.turn for asked in provider.asked] == [0, 0]


# -- what is no answer ---------------------------------------------------------------------------


def _head(*lines: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


LENGTH = b"content-length: %d" % len(JSON)
WRONG = {
    "banner": ((b"SSH-2.0-OpenSSH_9.2\r\n",), "lost"),
    "tls": ((b"\x16\x03\x03\x00\x31\x02\x00\x00\x2d\x03\x03",), "lost"),
    "future": ((b"HTTP/9.9 200 OK\r\n\r\n", CLOSE), "lost"),
    "no_status": ((b"HTTP/1.1 OK\r\n\r\n",), "lost"),
    "status_too_small": ((b"HTTP/1.1 099 X\r\ncontent-length: 2\r\n\r\n{}", CLOSE), "lost"),
    "upgrade": ((b"HTTP/1.1 101 X\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",), "lost"),
    "head_cut_off": ((b"HTTP/1.1 200 OK\r\ncontent-ty", CLOSE), "lost"),
    "only_interim": ((b"HTTP/1.1 100 Continue\r\n\r\n", CLOSE), "lost"),
    "head_too_large": ((b"HTTP/1.1 200 OK\r\n" + BIG_HEADER + b"\r\n{}", CLOSE), "lost"),
    "head_without_end": ((b"HTTP/1.1 200 OK\r\n" + BIG_HEADER[:-2], 5.0), "lost"),
    "too_many_headers": ((b"HTTP/1.1 200 OK\r\n" + MANY_HEADERS, 5.0), "lost"),
    "length_too_long": ((_head(LENGTH + b"9") + JSON, CLOSE), "lost"),
    "length_too_short": ((_head(LENGTH[:-1]) + JSON, 5.0), "failed"),
    "length_no_number": ((_head(b"content-length: many") + JSON, 5.0), "lost"),
    "length_negative": ((_head(b"content-length: -5") + JSON, 5.0), "lost"),
    "length_huge": ((_head(b"content-length: " + b"9" * 40) + JSON, 5.0), "lost"),
    "two_lengths": ((_head(LENGTH, b"content-length: 3") + JSON, 5.0), "lost"),
    "length_and_chunks": (
        (_head(LENGTH, b"transfer-encoding: chunked") + chunk(JSON) + END, 5.0),
        "lost",
    ),
    "chunk_size_no_number": ((_head(b"transfer-encoding: chunked") + b"zz\r\n", 5.0), "lost"),
    "chunk_longer_than_said": (
        (_head(b"transfer-encoding: chunked") + b"5\r\n" + JSON + END, 5.0),
        "lost",
    ),
    "chunks_cut_off": ((_head(b"transfer-encoding: chunked") + chunk(JSON), CLOSE), "lost"),
    "no_body": ((_head(b"content-length: 0"),), "failed"),
    "no_content": ((b"HTTP/1.1 204 No Content\r\n\r\n",), "failed"),
    "html": ((whole(b"<html>busy</html>"),), "failed"),
    "no_object": ((whole(b"[]"),), "failed"),
    "error_with_status_200": ((whole({"error": {"message": "busy"}}),), "failed"),
    "redirect": ((whole(b"", 302, "location: http://elsewhere/\r\n"),), "failed"),
}


@on_uvloop
@pytest.mark.parametrize("name", WRONG)
async def test_what_is_no_answer_goes_to_the_next_tier(name):
    """Whatever a backend says that is not an answer, at once another is asked and answers."""
    steps, fact = WRONG[name]
    async with (
        Provider(*steps) as first,
        Provider() as second,
        start_gateway(first, second) as gateway,
    ):
        answer = await ask(gateway)

        assert (answer.status, answer.json()) == (200, COMPLETION)
        assert ended(gateway) == {"b0": fact, "b1": "done"}
        assert not {"x-big", "location"} & answer.headers.keys()


@on_uvloop
async def test_what_is_no_answer_anywhere_is_explained():
    """With no other backend the caller reads which one was tried and what was wrong with it."""
    async with Provider(b"SSH-2.0-OpenSSH_9.2\r\n") as provider, start_gateway(provider) as gateway:
        (answer,) = await raw(gateway.address[1], chat())

        assert answer.status == 502
        assert "b0: it does not speak HTTP" in answer.json()["error"]["message"]


@on_uvloop
async def test_a_trailer_without_end_is_cut_off():
    """What the parser keeps to itself is bounded too; the caller has an error, not a wait."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nx: "
    async with (
        Provider(head, *[b"y" * 16384] * 64) as provider,
        start_gateway(provider) as gateway,
    ):
        answer = await ask(gateway)

    assert (502, "backend_lost") == (answer.status, answer.json()["error"]["code"])
