"""One caller's connection on real sockets: what is asked on it, and what is answered.

Each test ends by asking the gateway once more: whatever a caller did, the next one is served.
"""

import asyncio
import json
import re
from contextlib import asynccontextmanager

import pytest

from tests.gateway.harness import (
    COMPLETION,
    Backend,
    call_up,
    chat,
    hello,
    on_both_loops,
    on_uvloop,
    raw,
    request,
    start_gateway,
    token,
)

MODELS = request(method="GET", path="/v1/models")


@asynccontextmanager
async def serving(script=hello, **fleet):
    """Start a backend and its gateway; give the gateway's port and the backend."""
    async with Backend(script) as backend, start_gateway(backend, **fleet) as gateway:
        port = gateway.address[1]
        yield port, backend
        (answer,) = await raw(port, chat())

        assert COMPLETION == answer.json()


def error_of(answer):
    """Give the error of an answer, having checked that it has the form clients expect."""
    error = answer.json()["error"]

    assert {"message", "type", "param", "code", "request_id"} == set(error)
    assert answer.headers["x-request-id"] == error["request_id"]
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(error["message"], str)
    return error


# -- one connection, many requests ---------------------------------------------------------------


@on_both_loops
async def test_a_connection_is_kept():
    """One connection carries call after call, streamed or not, on few connections to the backend."""
    async with serving() as (port, backend), call_up(port) as caller:
        for turn in range(20):
            await caller.send(chat(stream=turn % 2 == 1))
            answer = await caller.answer()

            assert "connection" not in answer.headers
            assert answer.text() == "hello" if turn % 2 else COMPLETION == answer.json()
        assert backend.connections <= 2  # one may have been warmed while the first was dialled


@on_both_loops
async def test_pipelined_requests_are_answered_in_order():
    """Fifty requests written at once, calls among lists of models, come back in their order."""
    held = asyncio.Event()

    async def slow_first(asked, wire):
        await held.wait()
        await hello(asked, wire)

    async with serving(slow_first) as (port, _), call_up(port) as caller:
        asked = [chat(), chat(stream=True), MODELS, request(method="GET", path="/nothing")] * 12
        for number, one in enumerate([*asked, chat(), MODELS]):
            await caller.send(one.replace(b"\r\n", b"\r\nX-Request-Id: n%d\r\n" % number, 1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(caller.reader.readexactly(1), 0.05)
        held.set()
        answers = [await caller.answer() for _ in range(50)]

        assert [f"n{number}" for number in range(50)] == [
            a.headers["x-request-id"] for a in answers
        ]
        assert [200, 200, 200, 404] * 12 + [200, 200] == [a.status for a in answers]
        await caller.send(MODELS)
        assert (await caller.answer()).status == 200


@on_uvloop
async def test_a_request_in_single_bytes():
    """How the bytes of a request arrive makes no difference."""
    async with serving() as (port, backend), call_up(port) as caller:
        for byte in chat():
            await caller.send(bytes([byte]))
            await asyncio.sleep(0)

        assert COMPLETION == (await caller.answer()).json()
        assert backend.asked[0].json()["messages"] == [{"role": "user", "content": "hi"}]


@on_uvloop
async def test_a_caller_that_wants_no_more_is_closed():
    """After `Connection: close` the answer says so too, and nothing that follows is answered."""
    async with serving() as (port, _), call_up(port) as caller:
        await caller.send(request(method="GET", path="/v1/models", head="Connection: close\r\n"))
        await caller.send(MODELS)
        answer = await caller.answer()

        assert answer.headers["connection"] == "close"
        assert await caller.rest() == b""


@on_uvloop
@pytest.mark.parametrize("bad", [b"\0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n"])
async def test_requests_before_a_bad_one_are_answered(bad):
    """What cannot be read is refused in its turn, and then the connection ends."""
    async with serving() as (port, _), call_up(port) as caller:
        await caller.send(chat() + MODELS + bad + MODELS)
        answers = [await caller.answer() for _ in range(3)]

        assert [200, 200] == [answer.status for answer in answers[:2]]
        assert error_of(answers[2])["type"] == "invalid_request_error"
        assert answers[2].headers["connection"] == "close"
        assert await caller.rest() == b""


# -- bodies --------------------------------------------------------------------------------------


@on_both_loops
@pytest.mark.parametrize("framing", ["content-length: {}", "transfer-encoding: chunked"])
async def test_a_caller_that_waits_is_told_to_continue(framing):
    """`Expect: 100-continue` gets its 100 before the body is sent, and then the answer."""
    body = json.dumps({"model": "m"}).encode()
    head = f"Expect: 100-continue\r\n{framing.format(len(body))}\r\n"
    framed = body if "{}" in framing else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    async with serving() as (port, _), call_up(port) as caller:
        for _ in range(2):
            await caller.send(request(head=head))

            assert (await caller.answer()).status == 100
            await caller.send(framed)
            assert COMPLETION == (await caller.answer()).json()


@on_uvloop
async def test_a_body_too_large_is_refused_before_it_is_sent():
    """A caller that waits with a body beyond the bound gets 413 and never a 100."""
    head = "Expect: 100-continue\r\ncontent-length: 999999999\r\n"
    async with serving() as (port, _), call_up(port) as caller:
        await caller.send(request(head=head))

        assert (await caller.answer()).status == 413
        assert await caller.rest() == b""


@on_uvloop
async def test_a_chunked_body_is_forwarded_whole():
    """A request in chunks, with extensions and a trailer, reaches the backend as one body."""
    body = json.dumps({"model": "m", "messages": ["é" * 50]}, ensure_ascii=False).encode()
    chunks = b"".join(b"%x;a=b\r\n%b\r\n" % (len(body[at : at + 7]), body[at : at + 7])
                      for at in range(0, len(body), 7))  # fmt: skip
    async with serving() as (port, backend):
        data = request(head="Transfer-Encoding: chunked\r\n") + chunks + b"0\r\nX-Sum: 1\r\n\r\n"
        (answer,) = await raw(port, data)

        assert COMPLETION == answer.json()
        assert body == backend.asked[0].body
        assert str(len(body)) == backend.asked[0].headers["content-length"]
        assert not {"transfer-encoding", "x-sum"} & set(backend.asked[0].headers)


# -- requests that are no calls ------------------------------------------------------------------


@on_uvloop
@pytest.mark.parametrize(
    ("body", "param", "word"),
    [
        (b"", None, "empty"),
        (b"{", None, "JSON"),
        (b'{"model":"\xff"}', None, "JSON"),
        (b'{"model":"m","messages":' + b"[" * 100_000, None, "nested"),
        (b"[]", None, "object"),
        (b"{}", "model", "no `model`"),
        (b'{"model":5}', "model", "`str`"),
        (b'{"model":"m","stream":"yes"}', "stream", "`bool | null`"),
    ],
)
async def test_a_body_that_is_no_request(body, param, word):
    """A malformed body is a 400 that names the field at fault, and the connection stays."""
    async with serving() as (port, backend):
        for answer in await raw(port, request(body) + request(body), 2):
            error = error_of(answer)

            assert (400, "invalid_request_error", param) == (
                answer.status, error["type"], error["param"],
            )  # fmt: skip
            assert word in error["message"]
        assert backend.asked == []


@on_uvloop
@pytest.mark.parametrize(
    "asked",
    [
        chat("gpt-9"),
        chat('a"b'),
        request(method="GET", path="/v1/models/gpt-9"),
        request(method="GET", path="/models/%00"),
        request(method="GET", path="/v1/models/"),
    ],
)
async def test_an_unknown_model(asked):
    """A model that is not in the fleet is a 404 that lists those that are."""
    async with serving() as (port, _):
        (answer,) = await raw(port, asked)
        error = error_of(answer)

        assert (404, "model_not_found", "model") == (answer.status, error["code"], error["param"])
        assert error["message"].endswith("Known models: m.")


@on_uvloop
@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/completions", "POST"),
        ("OPTIONS", "/v1/embeddings", "POST"),
        ("POST", "/v1/models", "GET, HEAD"),
        ("PUT", "/v1/models/m", "GET, HEAD"),
    ],
)
async def test_a_wrong_method(method, path, expected):
    """A method that a path does not have is a 405 that says which it has."""
    async with serving() as (port, _):
        (answer,) = await raw(port, request({"model": "m"}, path, method))

        assert (405, expected) == (answer.status, answer.headers["allow"])
        assert error_of(answer)["type"] == "invalid_request_error"


@on_uvloop
@pytest.mark.parametrize(
    "path",
    ["/", "/v1", "/v1/", "/v1/chat", "/v2/models", "/v1/v1/models", "//v1/models", "/v1/models2",
     "/v1/chat/completions/", "/V1/models", "*", "http://gateway/v1/models", "/?/v1/models"],
)  # fmt: skip
async def test_an_unknown_path(path):
    """A path that is not served is a 404 that shows it and names those that are."""
    async with serving() as (port, _):
        (answer,) = await raw(port, request(method="OPTIONS", path=path))
        error = error_of(answer)

        assert answer.status == 404
        assert f"nothing at {path}." in error["message"]
        assert "/v1/chat/completions" in error["message"]


@on_uvloop
@pytest.mark.parametrize("prefix", ["", "/v1"])
async def test_the_base_url_may_lack_v1(prefix):
    """DeepSeek's clients leave out `/v1`; both forms are served, with or without a query."""
    async with serving() as (port, backend):
        for path in ("/chat/completions", "/completions", "/embeddings"):
            (answer,) = await raw(port, request({"model": "m"}, f"{prefix}{path}?a=b"))

            assert COMPLETION == answer.json()
            assert f"/v1{path}" == backend.asked[-1].path
        (models,) = await raw(port, request(method="GET", path=f"{prefix}/models"))
        (model,) = await raw(port, request(method="GET", path=f"{prefix}/models/m"))

        assert [model.json()] == models.json()["data"]
        assert model.json()["id"] == "m"


@on_uvloop
async def test_head():
    """HEAD is answered like GET, its length included, without the body."""
    async with serving() as (port, _), call_up(port) as caller:
        await caller.send(MODELS)
        whole = await caller.answer()
        for path, status in (("/v1/models", 200), ("/nothing", 404), ("/v1/completions", 405)):
            await caller.send(request(method="HEAD", path=path))
            answer = await caller.answer("HEAD")

            assert status == answer.status
            if status == 200:
                assert str(len(whole.body)) == answer.headers["content-length"]


# -- the request's id ----------------------------------------------------------------------------


@on_uvloop
async def test_a_callers_own_id_is_kept():
    """A sane `X-Request-Id` comes back with answer, stream and error, and goes to the backend."""
    async with serving() as (port, backend), call_up(port) as caller:
        for body in ({"model": "m"}, {"model": "m", "stream": True}, {"model": "x"}, {}):
            await caller.send(request(body, head="X-REQUEST-ID: job/7:a=1\r\n"))

            assert (await caller.answer()).headers["x-request-id"] == "job/7:a=1"
        assert ["job/7:a=1"] * 2 == [asked.headers["x-request-id"] for asked in backend.asked]


@on_uvloop
async def test_every_answer_has_an_id_of_its_own():
    """Without one, or with one that is unsafe to repeat, each request gets a new id."""
    heads = ["", "X-Request-Id: \r\n", "X-Request-Id: a b\r\n", f"X-Request-Id: {'a' * 129}\r\n"]
    async with serving() as (port, _), call_up(port) as caller:
        seen = []
        for head in heads:
            await caller.send(request({"model": "m"}, head=head))
            await caller.send(request(path="/x", head=head))
            seen += [(await caller.answer()).headers["x-request-id"] for _ in range(2)]
        await caller.send(b"\0")
        seen.append(error_of(await caller.answer())["request_id"])

        assert all(re.fullmatch(r"req-[0-9a-f]{8}-[0-9a-f]+", one) for one in seen)
        assert len(seen) == len(set(seen))


# -- old and odd callers -------------------------------------------------------------------------


@on_both_loops
async def test_http_1_0():
    """A caller of HTTP/1.0 is closed after its answer, unless it asks to be kept."""
    old = chat().replace(b"HTTP/1.1\r\nHost: gateway", b"HTTP/1.0")
    kept = old.replace(b"HTTP/1.0", b"HTTP/1.0\r\nConnection: keep-alive")
    async with serving() as (port, _), call_up(port) as caller:
        await caller.send(kept)
        answer = await caller.answer()

        assert (COMPLETION, "keep-alive") == (answer.json(), answer.headers["connection"])
        await caller.send(old)
        answer = await caller.answer()
        assert (COMPLETION, "close") == (answer.json(), answer.headers["connection"])
        assert await caller.rest() == b""


@on_uvloop
async def test_a_stream_to_http_1_0_ends_with_the_connection():
    """HTTP/1.0 has no chunks: a streamed answer is bare and ends with the close, always."""
    kept = chat(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0\r\nConnection: keep-alive")
    async with serving() as (port, _), call_up(port) as caller:
        await caller.send(kept)
        answer = await caller.answer()

        assert not answer.is_chunked
        assert answer.headers["connection"] == "close"
        assert answer.text() == "hello"


@on_both_loops
@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("how", ["half", "reset"])
async def test_a_caller_that_leaves(is_stream, how):
    """A caller that closes, even only its half, is gone: its backend is hung up on at once."""
    asked_at, gone = asyncio.Event(), asyncio.Event()

    async def endless(asked, wire):
        if "held" not in asked.json():
            await hello(asked, wire)
            return
        if is_stream:
            await wire.begin()
            await wire.chunk(token())
        asked_at.set()
        await wire.hung_up()
        gone.set()

    async with serving(endless) as (port, _), call_up(port) as caller:
        await caller.send(chat(stream=is_stream, held=True))
        await asked_at.wait()
        if how == "half":
            caller.writer.write_eof()
        else:
            caller.abort()
        await gone.wait()
