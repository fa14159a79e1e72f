"""What stands in the ledger after a call: one line, with all that was passed on and what it cost."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from baseload.config.fleet import Queue, Target
from baseload.config.tenancy import Price
from baseload.gateway.gateway import Gateway
from baseload.store.entry import Entry
from tests.gateway.harness import (
    COMPLETION,
    DONE,
    call_up,
    chat,
    on_uvloop,
    request,
    token,
    until,
)
from tests.gateway.harness import start_gateway as start_bare_gateway
from tests.gateway.provider import (
    CLOSE,
    END,
    FINISH,
    RESET,
    Provider,
    ask,
    backends,
    begin,
    chunk,
    in_turn,
    refusal,
    stream,
    whole,
)

SILENCE = 30.0
DAY = "2026-01-01"
PRICE = Price(
    backend="b0", model="m", since=DAY, input_usd_mtok=1e6, cached_usd_mtok=1e5, output_usd_mtok=2e6
)
"""One dollar a token in, ten cents from the cache, two dollars out."""
OTHER = Price(backend="b1", model="m", since=DAY, input_usd_mtok=1e7, output_usd_mtok=1e7)
REPORTED = {
    "openai": {
        "prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 5},
    },
    "deepseek": {
        "prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17,
        "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6,
        "completion_tokens_details": {"reasoning_tokens": 5},
    },
}  # fmt: skip
USAGE_COST = 6 + 4 * 0.1 + 7 * 2
PROMPT = 1 + len(chat().partition(b"\r\n\r\n")[2]) // 4
"""What the prompt of `chat()` is estimated at."""


class Lines(list[Entry]):
    """A double of a ledger that keeps lines in memory; it shows nothing of how they are written."""

    enter = list.append


@asynccontextmanager
async def start_gateway(*backends: Any, ledger: Lines, **options: Any) -> AsyncIterator[Gateway]:
    """Start a gateway that writes its lines there."""
    async with start_bare_gateway(*backends, **options) as gateway:
        gateway.books.ledger = ledger
        yield gateway


def usage_event(usage: dict[str, Any]) -> bytes:
    """Give the event in which a stream's usage is reported."""
    return b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\n"


def tokens(entry: Entry) -> tuple[int, int, int, int, bool]:
    """Give what a line counts: in, cached, out, reasoning, and whether it was estimated."""
    return (
        entry.prompt_tokens, entry.cached_tokens, entry.completion_tokens, entry.reasoning_tokens,
        bool(entry.is_estimated),
    )  # fmt: skip


def both(weights: str | None = "w") -> tuple[dict[str, Target], ...]:
    """Give two tiers that hold the same model."""
    return tuple({name: Target(backend=name, model="m", weights=weights)} for name in ("b0", "b1"))


# -- answers in one piece ------------------------------------------------------------------------


@on_uvloop
@pytest.mark.parametrize("name", REPORTED)
@pytest.mark.parametrize("is_assembled", [False, True])
async def test_a_whole_answer_is_counted_as_reported(name, is_assembled):
    """Cached and reasoning tokens are read under both names, and each kind has its price."""
    lines, usage = Lines(), REPORTED[name]
    answer = whole(COMPLETION | {"usage": usage})
    if is_assembled:
        events = token("hello"), token("", "stop"), usage_event(usage), DONE
        answer = begin() + b"".join(chunk(event) for event in events) + END
    async with Provider(answer) as provider:
        options = {"model": {"assemble": is_assembled}, "ledger": lines, "prices": (PRICE,)}
        async with start_gateway(provider, **options) as gateway:
            answered = await ask(gateway, chat())

    (line,) = lines
    assert (200, (10, 4, 7, 5, False)) == (answered.status, tokens(line))
    assert USAGE_COST == pytest.approx(line.cost_usd)
    assert ("done", "b0", "m", "m", 1, 0) == (
        line.outcome, line.backend, line.model, line.served, line.attempts, line.resumes,
    )  # fmt: skip
    assert ("chat/completions", False, "") == (line.api, line.is_stream, line.key)
    assert answered.headers["x-request-id"] == line.request_id
    assert 0 <= line.queue_s <= line.total_s


@on_uvloop
async def test_a_whole_answer_without_usage_is_estimated_from_its_text():
    """Prompt and answer are counted by their bytes, and the line says so."""
    lines = Lines()
    message = {"role": "assistant", "content": "x" * 40, "reasoning_content": "y" * 8}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    async with Provider(whole(body)) as provider:
        async with start_gateway(provider, ledger=lines, prices=(PRICE,)) as gateway:
            await ask(gateway, chat())

    (line,) = lines
    assert (PROMPT, 0, 12, 0, True) == tokens(line)
    assert PROMPT + 24 == line.cost_usd


@on_uvloop
@pytest.mark.parametrize("is_reported", [True, False])
async def test_embeddings_have_no_answer_tokens(is_reported):
    """The prompt is all that they take."""
    lines = Lines()
    usage = {"usage": {"prompt_tokens": 8, "total_tokens": 8}} if is_reported else {}
    body = {"object": "list", "data": [{"index": 0, "embedding": [0.5]}], "model": "m"} | usage
    data = request({"model": "m", "input": "x" * 100}, path="/v1/embeddings")
    async with Provider(whole(body)) as provider:
        async with start_gateway(provider, ledger=lines) as gateway:
            await ask(gateway, data)

    (line,) = lines
    estimate = 1 + len(data.partition(b"\r\n\r\n")[2]) // 4
    expected = (8, 0, 0, 0, False) if is_reported else (estimate, 0, 0, 0, True)
    assert (expected, "embeddings") == (tokens(line), line.api)


@on_uvloop
@pytest.mark.parametrize("usage", [{"prompt_tokens": -1}, {"prompt_tokens": 1 << 70}, {}])
async def test_numbers_that_are_none_are_not_believed(usage):
    """A backend that reports nonsense is taken for one that reports nothing."""
    lines = Lines()
    body = COMPLETION | {"usage": usage and {"completion_tokens": 1} | usage}
    async with Provider(whole(body)) as provider:
        async with start_gateway(provider, ledger=lines) as gateway:
            await ask(gateway, chat())

    (line,) = lines
    assert 0 <= line.prompt_tokens <= PROMPT
    assert 0 <= line.completion_tokens <= 2


# -- streams -------------------------------------------------------------------------------------


@on_uvloop
@pytest.mark.parametrize("name", REPORTED)
async def test_a_stream_is_counted_as_reported(name):
    """The usage at its end counts, not its events."""
    lines = Lines()
    events = token("hel"), token("lo"), token("", "stop"), usage_event(REPORTED[name]), DONE
    answer = begin() + b"".join(chunk(event) for event in events) + END
    async with Provider(answer) as provider:
        async with start_gateway(provider, ledger=lines, prices=(PRICE,)) as gateway:
            await ask(gateway, chat(stream=True))

    (line,) = lines
    assert ((10, 4, 7, 5, False), True) == (tokens(line), line.is_stream)
    assert USAGE_COST == pytest.approx(line.cost_usd)
    assert line.queue_s <= line.first_token_s <= line.total_s


@on_uvloop
async def test_a_stream_without_usage_is_counted_by_its_events():
    """Each event is a token, the one that ends it too, as it stands for the model's own end."""
    lines = Lines()
    async with Provider(stream("hel", "lo")) as provider:
        async with start_gateway(provider, ledger=lines, prices=(PRICE,)) as gateway:
            await ask(gateway, chat(stream=True))

    (line,) = lines
    assert (1 + len(chat(stream=True).partition(b"\r\n\r\n")[2]) // 4, 0, 3, 0, True) == tokens(
        line
    )
    assert line.prompt_tokens + 6 == line.cost_usd


@on_uvloop
async def test_without_a_price_the_cost_is_unknown():
    """Not 0: nobody knows what it cost."""
    lines = Lines()
    async with Provider(stream("hi")) as provider:
        async with start_gateway(provider, ledger=lines) as gateway:
            await ask(gateway, chat(stream=True))

    assert [None] == [line.cost_usd for line in lines]


# -- several attempts ----------------------------------------------------------------------------


@on_uvloop
async def test_a_failed_attempt_is_counted_and_not_paid_for():
    """After a failover the line names who answered, and has that one's tokens and price alone."""
    lines = Lines()
    async with Provider(refusal(500)) as first, Provider() as second:
        options = {"ledger": lines, "prices": (PRICE, OTHER)}
        async with start_gateway(first, second, **options) as gateway:
            await ask(gateway, chat())

    (line,) = lines
    assert ("b1", 2, "done", (3, 0, 5, 0, False)) == (
        line.backend, line.attempts, line.outcome, tokens(line),
    )  # fmt: skip
    assert 80 == line.cost_usd


@on_uvloop
async def test_all_parts_of_a_resumed_answer_are_paid_for():
    """The first part by its events, the rest as reported, each at its backend's price."""
    lines, usage = Lines(), {"prompt_tokens": 20, "completion_tokens": 4}
    rest = token("hel"), token("lo"), FINISH, usage_event(usage), DONE
    second = Provider(begin() + b"".join(chunk(event) for event in rest) + END)
    first = Provider(begin() + chunk(token("h")) + chunk(token("el")), 0.02, CLOSE)
    async with first, second:
        options = {"ledger": lines, "prices": (PRICE, OTHER)}
        model = {"tiers": both(), "resume": "same_weights"}
        async with start_gateway(first, second, model=model, **options) as gateway:
            answer = await ask(gateway, chat(stream=True))

    (line,) = lines
    prompt = 1 + len(chat(stream=True).partition(b"\r\n\r\n")[2]) // 4
    assert b'"finish_reason":"stop"' in answer.body
    assert (1, 2, "b1") == (line.resumes, line.attempts, line.backend)
    assert (prompt + 20, 0, 2 + 4, 0, True) == tokens(line)
    assert prompt + 2 * 2 + (20 + 4) * 10 == line.cost_usd


@on_uvloop
async def test_a_part_of_unknown_price_leaves_the_cost_unknown():
    """What is known of the other part would be taken for the whole."""
    lines = Lines()
    first = Provider(begin() + chunk(token("h")), 0.02, CLOSE)
    async with first, Provider(stream("h", "ello")) as second:
        model = {"tiers": both(), "resume": "same_weights"}
        options = {"ledger": lines, "prices": (OTHER,)}
        async with start_gateway(first, second, model=model, **options) as gateway:
            await ask(gateway, chat(stream=True))

    assert [(1, None)] == [(line.resumes, line.cost_usd) for line in lines]


@on_uvloop
async def test_what_was_put_together_and_thrown_away_is_not_paid_for():
    """An answer that is begun anew for a caller who wants no stream counts once."""
    lines, usage = Lines(), {"prompt_tokens": 9, "completion_tokens": 3}
    again = token("hello"), FINISH, usage_event(usage), DONE
    second = Provider(begin() + b"".join(chunk(event) for event in again) + END)
    first = Provider(begin() + chunk(token("hel")), 0.02, CLOSE)
    async with first, second:
        model = {"tiers": both(None), "resume": "off", "assemble": True}
        async with start_gateway(first, second, model=model, ledger=lines) as gateway:
            answer = await ask(gateway, chat())

    (line,) = lines
    assert (200, 2, "done", (9, 0, 3, 0, False)) == (
        answer.status, line.attempts, line.outcome, tokens(line),
    )  # fmt: skip


@on_uvloop
async def test_a_hedged_answer_is_that_of_the_winner():
    """The attempt that was left beside it costs nothing, and the line says that there was one."""
    lines, may_stop = Lines(), asyncio.Event()
    good = (stream("hi"),)
    first = Provider(play=in_turn(*[good] * 40, (begin(), may_stop)))
    async with first, Provider(stream("there")) as second:
        model = {"hedge": 0.5, "first_token_s": 20.0}
        options = {"ledger": lines, "prices": (PRICE, OTHER)}
        async with start_gateway(first, second, model=model, **options) as gateway:
            for _ in range(40):
                await ask(gateway, chat(stream=True))
            answer = await ask(gateway, chat(stream=True))
            may_stop.set()

    line = lines[-1]
    assert (41, "there") == (len(lines), answer.text())
    assert (True, 2, "b1", "done", 2) == (
        line.is_hedged, line.attempts, line.backend, line.outcome, line.completion_tokens,
    )  # fmt: skip
    assert (line.prompt_tokens + 2) * 10 == line.cost_usd
    assert {False} == {one.is_hedged for one in lines[:-1]}


# -- no answer, or half of one -------------------------------------------------------------------


@on_uvloop
async def test_a_caller_who_leaves_has_taken_what_was_said():
    """Until it vanished: three events, and the prompt."""
    lines = Lines()
    said = begin() + b"".join(chunk(token(text)) for text in "abc")
    async with Provider(said, SILENCE) as provider:
        async with start_gateway(provider, ledger=lines, prices=(PRICE,)) as gateway:
            async with call_up(gateway.address[1]) as caller:
                await caller.send(chat(stream=True))
                await caller.head()
                seen = b""
                while seen.count(b"data:") < 3:
                    seen += await caller.chunk()
            await until(lambda: bool(lines))

    (line,) = lines
    assert ("gone", 3, True) == (line.outcome, line.completion_tokens, line.is_estimated)
    assert line.prompt_tokens + 6 == line.cost_usd


@on_uvloop
async def test_a_caller_who_leaves_before_a_token_has_taken_nothing():
    """There is a line, as something was sent, and it is empty."""
    lines = Lines()
    async with Provider(SILENCE) as provider:
        async with start_gateway(provider, ledger=lines) as gateway:
            async with call_up(gateway.address[1]) as caller:
                await caller.send(chat(stream=True))
                await until(lambda: bool(provider.asked))
            await until(lambda: bool(lines))

    assert [("gone", (0, 0, 0, 0, False), 0.0, None)] == [
        (line.outcome, tokens(line), line.cost_usd, line.first_token_s) for line in lines
    ]


@on_uvloop
async def test_half_an_answer_is_paid_for():
    """A stream that broke and could not go on was given to its caller as far as it came."""
    lines = Lines()
    async with Provider(begin() + chunk(token("a")) + chunk(token("b")), 0.02, RESET) as provider:
        async with start_gateway(provider, ledger=lines) as gateway:
            await ask(gateway, chat(stream=True))

    assert [("broken", 2, True)] == [
        (line.outcome, line.completion_tokens, line.is_estimated) for line in lines
    ]


@on_uvloop
async def test_a_refusal_takes_nothing():
    """The caller's own mistake stands in the ledger and costs nothing."""
    lines = Lines()
    async with Provider(refusal(400)) as provider:
        async with start_gateway(provider, ledger=lines) as gateway:
            answer = await ask(gateway, chat())

    assert (400, [("rejected", (0, 0, 0, 0, False), 0.0)]) == (
        answer.status, [(line.outcome, tokens(line), line.cost_usd) for line in lines],
    )  # fmt: skip


@on_uvloop
async def test_what_was_never_sent_is_not_written_down():
    """A call that finds no place in the line, and one for a model that is not there, leave none."""
    lines, may_stop = Lines(), asyncio.Event()
    async with Provider(may_stop, whole()) as provider:
        places = backends(provider, concurrency=1)
        options = {"backends": places, "queue": Queue(size=0), "ledger": lines}
        async with start_gateway(provider, **options) as gateway:
            async with call_up(gateway.address[1]) as caller:
                await caller.send(chat())
                await until(lambda: bool(provider.asked))
                shed = await ask(gateway, chat())
                unknown = await ask(gateway, chat("nobody"))
                may_stop.set()
                await caller.answer()

    assert ([429, 404], ["done"]) == (
        [shed.status, unknown.status], [line.outcome for line in lines],
    )  # fmt: skip
