"""Tests of asking a server one small question, against doubles that answer badly."""

import asyncio

import pytest

from baseload.engines.asking import Access, ask, chat_fault, is_healthy


def with_double(answer, question):
    """Run `question(address)` against a double that sends `answer`; None: it stays silent."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()
        await writer.wait_closed()

    async def main():
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            return await question(server.sockets[0].getsockname())

    return asyncio.run(main())


def test_a_key_is_not_shown():
    """Whoever prints how an engine is asked prints no key."""
    assert "s3cret" not in repr(Access(api_key="s3cret"))


def http(status, body):
    return f"HTTP/1.1 {status} Whatever\r\nX: y\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [(http(200, "{}"), True), (http(503, "{}"), False), (b"", False), (b"SSH-2.0\r\n", False)],
)
def test_only_a_200_is_healthy(answer, healthy):
    """Loading, silence at the end of a connection and other protocols are no health."""
    assert healthy is with_double(answer, lambda address: is_healthy(address, 5))


@pytest.mark.parametrize(("most", "heard"), [({"answer_max_bytes": 10**6}, 300_000), ({}, 65_000)])
def test_a_long_answer_is_heard_as_far_as_allowed(most, heard):
    """Nobody fills the memory who was not expected to say so much."""
    said = with_double(http(200, "x" * 300_000), lambda address: ask(address, "/", b"", 5, **most))[
        1
    ]

    assert heard <= len(said) <= max(heard, 2 * 65536)


def test_a_silent_server_is_given_up_in_time():
    """A server that accepts and says nothing costs no more than the wait."""
    assert False is with_double(None, lambda address: is_healthy(address, 0.05))


def test_nobody_there_is_an_os_error():
    """A refused connection is the same kind of error as a timeout."""

    async def main():
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0) as server:
            address = server.sockets[0].getsockname()
        await ask(address, "/health", b"", 5)

    with pytest.raises(OSError):
        asyncio.run(main())


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http(500, "no memory"), "the warm-up chat was answered 500: no memory"),
        (http(200, "hello"), "the warm-up chat was not answered as a chat: hello"),
        (
            http(200, '{"model": "/a.gguf", "choices": [{}]}'),
            "the warm-up chat for 'm' was answered as '/a.gguf'",
        ),
        (http(200, '{"model": "m", "choices": [{}]}'), None),
    ],
)
def test_a_warm_up_says_what_was_wrong_with_the_answer(answer, said):
    """Status, form and the model's name are all looked at."""
    assert said == with_double(answer, lambda address: chat_fault(address, "m", 5))
