"""Tests of timing one chat, against doubles that answer as servers do, badly too.

The doubles send fixed bytes: they prove how answers are read, and nothing about any engine.
"""

import asyncio
import json

import pytest

from baseload.engines.asking import Access
from baseload.engines.speaking import PAGE_BYTES_MAX, Speaker

WAIT_MAX_S = 10.0


def with_double(pieces, question, **more):
    """Ask a double that sends these pieces, a pause between two; give the answer and the request."""
    asked = bytearray()

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        asked.extend(head + await reader.readexactly(length))
        for at, piece in enumerate(pieces):
            await asyncio.sleep(0.05 * bool(at))
            writer.write(piece)
            await writer.drain()
        writer.close()

    async def main():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
            return await question(Speaker(address, "m", **more))

    return asyncio.run(main()), bytes(asked)


def chat(stream):
    messages = [{"role": "user", "content": "Hi"}]
    return lambda speaker: speaker.chat(
        messages, answer_tokens=3, stream=stream, wait_max_s=WAIT_MAX_S
    )


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(**more):
    return b"data: " + json.dumps(more).encode() + b"\n\n"


def delta(**more):
    return event(choices=[{"index": 0, "delta": more}])


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
WHOLE = b"HTTP/1.1 200 OK\r\n\r\n"
USAGE = {"prompt_tokens": 7, "prompt_tokens_details": {"cached_tokens": 5}}


def test_the_first_token_is_the_first_text():
    """A chunk that only names a role is none; the usage at the end is read, of torn events too."""
    last = event(choices=[], usage=USAGE)
    pieces = [
        CHUNKED + chunk(delta(role="assistant", content=None)),
        chunk(delta(content="Hel"))[:9],
        chunk(delta(content="Hel"))[9:] + chunk(last[:20]) + chunk(last[20:]),
        chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n",
    ]
    said, _ = with_double(pieces, chat(stream=True))

    assert 0.1 <= said.first_s < said.total_s
    assert said.total_s - said.first_s >= 0.05
    assert (7, 5) == (said.prompt_tokens, said.cached_tokens)


def test_thinking_is_text():
    """The first token of a model that thinks is its first thought."""
    pieces = [WHOLE + delta(reasoning_content="Hm"), delta(content="Hi") + b"data: [DONE]\n\n"]
    said, _ = with_double(pieces, chat(stream=True))

    assert said.first_s < said.total_s
    assert said.prompt_tokens is None


def test_a_whole_answer_is_there_at_its_end():
    """What is not streamed has its first token with its last."""
    body = json.dumps({"choices": [{}], "usage": USAGE}).encode()
    said, _ = with_double([WHOLE + body], chat(stream=False))

    assert (said.total_s, 7) == (said.first_s, said.prompt_tokens)


def test_the_request_is_a_chat_with_the_servers_key():
    """Path, model, length of the answer and key go out as they were given; no key, no header."""
    access = Access("up.example", "secret", prefix="/up/v1")
    _, asked = with_double([WHOLE + b"{}"], chat(stream=False), access=access)
    head, _, body = asked.partition(b"\r\n\r\n")
    _, bare = with_double([WHOLE + b"{}"], chat(stream=False))

    assert head.startswith(b"POST /up/v1/chat/completions HTTP/1.1\r\n")
    assert b"Authorization: Bearer secret" in head
    assert b"Host: up.example\r\n" in head
    assert {"model": "m", "max_tokens": 3} == {
        key: value for key, value in json.loads(body).items() if key != "messages"
    }
    assert b"Authorization" not in bare


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 500 Oops\r\n\r\nHi there",
        b"SSH-2.0\r\n\r\n",
        b"",
        CHUNKED + b"zz\r\nhello",
        CHUNKED + b"ff\r\ndata: {",
        CHUNKED + chunk(b"data: {nonsense\n\n"),
    ],
    ids=["500", "ssh", "nothing", "no-size", "torn", "no-json"],
)
def test_what_is_no_answer_is_an_os_error(answer):
    """Errors of any kind are one kind here, and none of them quotes the answer."""
    with pytest.raises(OSError) as found:
        with_double([answer], chat(stream=True))

    assert "Hi there" not in str(found.value)
    assert "nonsense" not in str(found.value)


def test_a_silent_server_is_given_up_in_time():
    """A server that takes the question and says nothing costs no more than the wait."""

    async def serve(reader, writer):
        await reader.read()
        writer.close()

    async def main():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            speaker = Speaker(server.sockets[0].getsockname(), "m")
            await speaker.chat([], answer_tokens=1, stream=True, wait_max_s=0.05)

    with pytest.raises(TimeoutError):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        (WHOLE + b'{"tokens":[1,2,3]}', 3),
        (WHOLE + b'{"count":4,"max_model_len":9,"tokens":[1,2,3,4]}', 4),
        (WHOLE + b'{"count":5,"tokens":null}', 5),
        (WHOLE + b"[]", None),
        (b"HTTP/1.1 404 Not Found\r\n\r\n{}", None),
    ],
    ids=["llama.cpp", "vllm", "count", "list", "404"],
)
def test_tokens_are_counted_where_there_is_a_tokenizer(answer, count):
    """Both ways of asking are in one question; a server without a tokenizer gives None."""
    found, asked = with_double([answer], lambda speaker: speaker.tokens("two words", WAIT_MAX_S))
    body = json.loads(asked.partition(b"\r\n\r\n")[2])

    assert count == found
    assert "two words" == body["prompt"] == body["content"]


def test_a_page_is_read_up_to_its_bound():
    """A page without end costs no more memory than the bound; one that is not there is None."""
    page, asked = with_double(
        [WHOLE + b"x" * (PAGE_BYTES_MAX + 9)], lambda speaker: speaker.page("/metrics", WAIT_MAX_S)
    )
    none, _ = with_double(
        [b"HTTP/1.1 404 No\r\n\r\n"], lambda speaker: speaker.page("/metrics", WAIT_MAX_S)
    )

    assert PAGE_BYTES_MAX == len(page)
    assert asked.startswith(b"GET /metrics HTTP/1.1\r\n")
    assert none is None
