"""Streams on real sockets: nothing of a good one is changed, and a bad one never ends in silence."""

import json

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.harness import (
    DONE,
    Answer,
    call_up,
    chat,
    on_both_loops,
    on_uvloop,
    request,
    start_gateway,
    token,
    until,
)
from tests.gateway.provider import (
    CLOSE,
    END,
    FINISH,
    RESET,
    Provider,
    ask,
    begin,
    chunk,
    ended,
    rss_bytes,
    stream,
    whole,
)

MB = 1 << 20
TWO = token("hel") + token("lo")


def _event(choice: dict, **fields) -> bytes:
    chunk_ = {"id": "c", "choices": [{"index": 0, "finish_reason": None} | choice]} | fields
    return b"data: " + json.dumps(chunk_, ensure_ascii=False).encode() + b"\n\n"


def _delta(**delta) -> bytes:
    return _event({"delta": delta})


# -- whole streams -------------------------------------------------------------------------------

CALL = {"index": 0, "id": "t", "function": {"name": "f", "arguments": '{"a":"\\n\\n"}'}}
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":11,"completion_tokens":7}}\n\n'
WHOLE = {
    "lf": TWO + FINISH + DONE,
    "crlf": (TWO + FINISH + DONE).replace(b"\n", b"\r\n"),
    "cr": (TWO + FINISH + DONE).replace(b"\n", b"\r"),
    "no_space_after_colon": (TWO + FINISH + DONE).replace(b"data: ", b"data:"),
    "data_on_several_lines": TWO.replace(b'"choices"', b'\ndata: "choices"') + FINISH + DONE,
    "comments_between": b": hello\n\n" + token("a") + b": ping\n\n: pong\n\n" + FINISH + DONE,
    "other_fields": b"retry: 10\nid: 7\nevent: message\n" + TWO + FINISH + b"id: 8\n" + DONE,
    "blank_lines": b"\n\n\n" + token("a") + b"\n\n" + FINISH + b"\n" + DONE,
    "role_first": _delta(role="assistant", content="") + TWO + FINISH + DONE,
    "reasoning": _delta(reasoning_content="hm") + _delta(content="a") + FINISH + DONE,
    "tool_calls": _delta(tool_calls=[CALL]) + _event({"delta": {}, "finish_reason": "tool_calls"}),
    "unknown_fields": _event({"delta": {"content": "a", "x": [1.50, None]}}, y={"z": 1e3}) + FINISH,
    "utf8": _delta(content="Grüße, 世界 🌍") * 3 + FINISH + DONE,
    "usage_after_the_finish": TWO + FINISH + USAGE + DONE,
    "finish_without_done": TWO + FINISH,
    "usage_that_is_none": TWO + FINISH[:-3] + b',"usage":{"prompt_tokens":null}}\n\n',
    "choices_that_are_none": b'data: {"choices":null}\n\n' + TWO + FINISH + DONE,
    "usage_without_done": TWO + FINISH + USAGE,
    "finish_with_the_only_token": token("hello", "stop") + DONE,
    "finish_with_no_token": _event({"delta": {}, "finish_reason": "content_filter"}) + DONE,
    "several_choices": _event({"delta": {"content": "a"}})
    + _event({"index": 1, "delta": {"content": "b"}})
    + FINISH
    + _event({"index": 1, "delta": {}, "finish_reason": "length"})
    + DONE,
    "completions": _event({"text": "once"}) + _event({"text": "", "finish_reason": "stop"}) + DONE,
    "a_large_event": token("x" * 900_000) + FINISH + DONE,
}


@on_uvloop
@pytest.mark.parametrize("size", [7, 1000, MB], ids=["torn", "in_parts", "at_once"])
@pytest.mark.parametrize("name", WHOLE)
async def test_a_whole_stream_arrives_unchanged(name, size):
    """Every byte arrives in its place, wherever chunks and reads cut; a terminator is added."""
    sent = WHOLE[name]
    size = max(size, len(sent) // 200)
    chunks = [chunk(sent[start : start + size]) for start in range(0, len(sent), size)]
    steps = [step for piece in chunks for step in (piece, 0.0)]
    async with Provider(begin(), *steps, END) as provider, start_gateway(provider) as gateway:
        answer = await ask(gateway, chat(stream=True))

        assert answer.body == sent + (b"" if b"[DONE]" in sent else DONE)
        assert answer.headers["content-type"] == "text/event-stream"
        assert ended(gateway) == {"b0": "done"}


@on_uvloop
@pytest.mark.parametrize("missing", [1, 2])
@pytest.mark.parametrize("event", [FINISH + DONE, FINISH], ids=["done", "finish"])
async def test_a_last_event_without_its_empty_line_is_whole(event, missing):
    """A backend that forgets the last line end has said everything; the caller's event ends."""
    last = event[:-missing]
    async with (
        Provider(begin() + chunk(TWO) + chunk(last) + END) as provider,
        start_gateway(provider) as gateway,
    ):
        answer = await ask(gateway, chat(stream=True))

        assert answer.body == TWO + last + b"\n\n" + (b"" if event is not FINISH else DONE)
        assert ended(gateway) == {"b0": "done"}


@on_uvloop
async def test_one_of_several_answers_without_an_end_makes_none_of_them_whole():
    """A terminator does not make up for a finish reason: the caller hears that one is missing."""
    other = _event({"index": 1, "delta": {"content": "b"}})
    async with (
        Provider(begin() + chunk(TWO + other), 0.05, chunk(FINISH + DONE) + END) as provider,
        start_gateway(provider) as gateway,
    ):
        answer = await ask(gateway, chat(stream=True, n=2))

        assert b"[DONE]" not in answer.body
        assert b"stream_broken" in answer.body


@on_uvloop
async def test_a_completion_that_ends_without_the_terminator_is_whole():
    """Some servers leave it out after their finish reason; the caller gets it all the same."""
    sent = _event({"text": "once"}) + _event({"text": "", "finish_reason": "stop"})
    body = {"model": "m", "prompt": "p", "stream": True}
    async with (
        Provider(begin() + chunk(sent) + END) as provider,
        start_gateway(provider) as gateway,
    ):
        answer = await ask(gateway, request(body, path="/v1/completions"))

        assert answer.body == sent + DONE
        assert ended(gateway) == {"b0": "done"}


@on_uvloop
@pytest.mark.parametrize(
    "farewell", [RESET, CLOSE, 5.0, b"zz\r\n"], ids=["reset", "close", "silence", "no_chunk"]
)
async def test_nothing_that_comes_after_the_finish_can_break_a_stream(farewell):
    """With a finish reason all is said: a backend that then fails, or says no more, did its work."""
    steps = begin(), chunk(TWO), chunk(FINISH), 0.02, farewell
    async with (
        Provider(*steps) as provider,
        start_gateway(provider, model={"stall_s": 0.1}) as gateway,
    ):
        answer = await ask(gateway, chat(stream=True))

        assert answer.body == TWO + FINISH + DONE
        assert ended(gateway) == {"b0": "done"}


@on_uvloop
async def test_http_1_0_callers_get_a_stream_that_ends_with_the_connection():
    """Who knows no chunks gets the bare events, and `connection: close`."""
    async with (
        Provider(stream("hel", "lo")) as provider,
        start_gateway(provider) as gateway,
        call_up(gateway.address[1]) as caller,
    ):
        await caller.send(chat(stream=True).replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = await caller.answer()

        assert (answer.body, answer.is_chunked) == (TWO + FINISH + DONE, False)
        assert answer.headers["connection"] == "close"


# -- broken streams ------------------------------------------------------------------------------

HALF = token("half")[:30]
KEPT = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
BROKEN = {
    "reset": (begin(), chunk(TWO), 0.02, RESET),
    "chunks_cut_off": (begin(), chunk(TWO), CLOSE),
    "cut_off_at_once": (begin() + chunk(TWO), CLOSE),
    "no_finish": (begin(), chunk(TWO), 0.01, END),
    "no_finish_at_once": (begin() + chunk(TWO) + END,),
    "closed_without_finish": (KEPT + b"\r\n" + TWO, 0.01, CLOSE),
    "shorter_than_said": (KEPT + b"content-length: 9999\r\n\r\n" + TWO, 0.01, CLOSE),
    "longer_than_said": (KEPT + b"content-length: %d\r\n\r\n" % len(TWO) + TWO + FINISH, 0.01),
    "half_an_event_reset": (begin(), chunk(TWO + HALF), 0.02, RESET),
    "half_an_event_end": (begin(), chunk(TWO + HALF), 0.01, END),
    "half_a_chunk": (begin(), chunk(TWO), chunk(token("x"))[:40], CLOSE),
    "stalled": (begin(), chunk(TWO), 5.0),
    "stalled_in_an_event": (begin(), chunk(TWO + HALF), 5.0),
    "chunk_size_no_number": (begin(), chunk(TWO), 0.01, b"zz\r\n", 5.0),
    "chunk_size_no_number_at_once": (begin(), chunk(token("hel")), 0.01, chunk(token("lo")) + b"zz\r\n"),
    "chunk_longer_than_said": (begin(), chunk(TWO), 0.01, b"3\r\n" + token("x") + b"\r\n"),
    "a_new_answer_in_the_middle": (begin(), chunk(TWO), 0.01, whole()),
    "event_without_end": (begin(), chunk(TWO), *(chunk(b"x" * 60_000),) * 30, 5.0),
}  # fmt: skip


def _last_error(answer: Answer) -> dict:
    """Give the error in a stream's last event, and see that it is the only one."""
    assert answer.body.count(b'"error"') == 1
    return json.loads(answer.events()[-1])["error"]


@on_both_loops
@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_stream_ends_with_a_typed_error(name):
    """The caller has the whole events so far, one error event, and a well-formed end."""
    async with (
        Provider(*BROKEN[name]) as provider,
        Provider() as spare,
        start_gateway(provider, spare, model={"stall_s": 0.15}) as gateway,
    ):
        async with call_up(gateway.address[1]) as caller:
            await caller.send(chat(stream=True))
            answer = await caller.answer()
            await caller.send(b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await caller.answer()).status == 200

        error = _last_error(answer)
        assert answer.body.startswith(TWO + b'data: {"error":')
        assert (error["code"], error["type"]) == ("stream_broken", "backend_error")
        assert error["request_id"] == answer.headers["x-request-id"]
        assert "last tried was b0: " in error["message"]
        assert ended(gateway) == {"b0": "broken"}
        assert gateway.gate.seats["b0"].breaker.failures == 1
        assert spare.asked == []


@on_uvloop
async def test_a_backend_that_only_says_keep_alive_has_stalled():
    """Comments after a token are passed on, but they do not hold back the stall clock."""
    steps = [step for _ in range(100) for step in (chunk(b": keep-alive\n\n"), 0.02)]
    async with (
        Provider(begin(), chunk(TWO), *steps) as provider,
        start_gateway(provider, model={"stall_s": 0.15}) as gateway,
    ):
        answer = await ask(gateway, chat(stream=True))

        assert 2 <= answer.body.count(b": keep-alive\n\n") < 50
        assert _last_error(answer)["code"] == "stream_broken"


@on_uvloop
async def test_slow_tokens_are_no_stall():
    """Each token starts the stall clock anew, so a long answer may take many times its length."""
    steps = [step for _ in range(12) for step in (chunk(token("x")), 0.05)]
    async with (
        Provider(begin(), *steps, chunk(FINISH) + END) as provider,
        start_gateway(provider, model={"stall_s": 0.2}) as gateway,
    ):
        answer = await ask(gateway, chat(stream=True))

        assert answer.text() == "x" * 12


@on_uvloop
@pytest.mark.parametrize("last", [END, chunk(DONE) + END], ids=["end", "done"])
async def test_a_backends_own_error_in_the_middle_is_passed_on_and_blamed(last):
    """The backend's words are the error that the caller sees; the stream does not count as done."""
    error = b'data: {"error":{"message":"out of memory","code":500}}\n\n'
    async with (
        Provider(begin(), chunk(TWO), 0.01, chunk(error), 0.01, last) as provider,
        start_gateway(provider) as gateway,
    ):
        answer = await ask(gateway, chat(stream=True))

        assert answer.body.startswith(TWO + error)
        assert ended(gateway) == {"b0": "broken"}


@on_uvloop
async def test_a_stream_without_any_line_end_costs_no_memory():
    """Of a hundred megabytes that are no event the gateway takes about one, and hangs up."""
    flood = chunk(b"x" * (64 << 10))
    steps = begin(), chunk(TWO), *(flood,) * (100 * MB // len(flood))
    async with Provider(*steps) as provider, start_gateway(provider) as gateway:
        await ask(gateway, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
        before = rss_bytes()
        answer = await ask(gateway, chat(stream=True))
        await until(lambda: len(provider.departures) == 1)

        assert _last_error(answer)["code"] == "stream_broken"
        assert provider.bytes_written < 50 * MB  # the kernel may take some before the end is seen
        assert rss_bytes() - before < 16 * MB


# -- what is counted -----------------------------------------------------------------------------


@on_uvloop
async def test_streams_are_counted_by_how_they_ended():
    """Outcomes, events and the backend's own token counts appear in Prometheus's text."""
    registry = CollectorRegistry()
    usage = token("x", "stop").replace(
        b"}\n", b',"usage":{"prompt_tokens":5,"completion_tokens":2}}\n'
    )
    good = begin() + chunk(TWO) + chunk(FINISH + USAGE + DONE) + END
    scripts = [
        [good],
        [begin() + chunk(token("x")) + chunk(usage) + END],
        BROKEN["no_finish"],
        [whole()],
    ]
    async with (
        Provider(play=lambda asked: scripts[asked.number]) as provider,
        start_gateway(provider) as gateway,
    ):
        registry.register(gateway.telemetry)
        for number in range(4):
            await ask(gateway, chat(stream=number < 3))

        text = generate_latest(registry).decode()

    seen = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    backend, model = ("backend", "b0"), ("model", "m")
    assert {
        ("baseload_calls_total", backend, model, ("outcome", "done")): 3.0,
        ("baseload_calls_total", backend, model, ("outcome", "broken")): 1.0,
        ("baseload_tokens_total", backend, ("kind", "prompt"), model): 11.0 + 5 + 3,
        ("baseload_tokens_total", backend, ("kind", "completion"), model): 7.0 + 2 + 5,
        ("baseload_stream_events_total", backend, model): 3.0 + 2 + 2,
        ("baseload_first_token_seconds_count", backend, model): 3.0,
        ("baseload_call_seconds_count", backend, model): 4.0,
        ("baseload_failed_attempts_total", backend, ("fact", "broken")): 1.0,
        ("baseload_in_flight", backend): 0.0,
        ("baseload_backend_up", backend): 1.0,
    }.items() <= seen.items()
