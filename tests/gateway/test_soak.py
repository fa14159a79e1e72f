"""Hundreds of calls, every fault at once, callers that leave: does it all come back to rest?

Chance is seeded, so a failure names its seed; what the sockets make of it differs from run to run,
so a seed repeats the faults and not the microseconds. It shows that nothing leaks and nobody gets
another's answer; that each single fault is answered rightly is shown elsewhere.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from baseload.core import breaker, resting
from baseload.core.gate import ATTEMPTS_MAX
from baseload.gateway.gateway import Gateway
from tests.gateway.harness import (
    DONE,
    Answer,
    Caller,
    call_up,
    chat,
    request,
    run,
    start_gateway,
    token,
    until,
)
from tests.gateway.provider import (
    CLOSE,
    END,
    FINISH,
    RESET,
    Asked,
    Provider,
    Step,
    ask,
    backends,
    begin,
    chunk,
    refusal,
    whole,
)

CALLS = 300
CALLERS = 20
CONCURRENCY = 6
STATUSES = {200, 400, 404, 429, 502, 503, 504}
ROLE = b'data: {"choices":[{"index":0,"delta":{"role":"assistant"}}]}\n\n'
BARE = b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
Fault = tuple[Step, ...]


def _good(number: int) -> bytes:
    return chunk(token(f"<{number}")) + chunk(token(">")) + chunk(FINISH + DONE) + END


def _faults(number: int) -> list[Fault]:
    """Give everything that can become of a streamed answer."""
    said = chunk(token(f"<{number}"))
    good = begin() + _good(number)
    return [
        (good,),
        (begin(), chunk(ROLE), 0.002, said, 0.002, chunk(token(">") + FINISH) + END),
        (good[:-90], 0.002, good[-90:]),
        (BARE + token(f"<{number}>") + FINISH, CLOSE),
        (good + whole(),),
        (good + b"garbage",),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + good,),
        (good, CLOSE),
        (RESET,),
        (CLOSE,),
        (b"garbage\r\n\r\n",),
        (1.0,),
        (begin(), 1.0),
        (begin(), chunk(ROLE), RESET),
        (begin() + chunk(b'data: {"error":{}}\n\n') + END,),
        (begin() + chunk(b'data: {"error":{"message":"no"}}\n\n') + END,),
        (begin(), said, 0.002, RESET),
        (begin(), said, CLOSE),
        (begin() + said + END,),
        (begin(), said, 1.0),
        (begin(), said, 0.002, b"zz\r\n"),
        (begin(), said + chunk(token(">")[:9]), END),
        (begin(), *(said, 0.01) * 8, CLOSE),
        *((refusal(status),) for status in (400, 401, 404, 429, 500, 503)),
    ]


def _chance(seed: int, numbers: Counter[int]):
    """Give a script chooser; half of the answers are good, and plain requests get plain ones."""
    rng = Random(seed)

    def play(asked: Asked) -> Iterator[Step]:
        fields = asked.json()
        number = fields["number"]
        numbers[number] += 1
        if fields["stream"]:
            fault = rng.choice(_faults(number)) if rng.random() < 0.5 else _faults(number)[0]
        else:
            good = whole({"id": number}) if rng.random() < 0.6 else refusal(rng.choice([429, 500]))
            fault = rng.choice([(good,), (good[:40], 0.005, good[40:]), (good, CLOSE)])
        return iter(fault)

    return play


def _check(answer: Answer, number: int, is_stream: bool) -> str:
    """See that the answer is this call's own and has an end; say what it is."""
    assert answer.headers["x-request-id"] == f"call-{number}"
    assert answer.status in STATUSES
    if answer.status != 200:
        assert answer.json()["error"]["message"]
        return str(answer.status)
    if not is_stream:
        assert answer.json() == {"id": number}
        return "whole"
    *_, last = events = [event for event in answer.events() if event != "[DONE]"]
    said = [json.loads(event) for event in events if '"error"' not in event]
    text = "".join(event["choices"][0]["delta"].get("content", "") for event in said)
    assert text.replace(f"<{number}", "").strip(">") == ""
    is_broken = json.loads(last).get("error", {}).get("code") == "stream_broken"
    assert is_broken != (said[-1]["choices"][0].get("finish_reason") == "stop")
    return "broken" if is_broken else "stream"


async def _work(gateway: Gateway, rng: Random, numbers: Iterator[int], seen: Counter[str]) -> None:
    """Be one caller who asks again and again, on one connection while it lasts."""
    for first in numbers:
        number: int | None = first
        async with call_up(gateway.address[1]) as caller:
            while number is not None and await _call(caller, rng, number, seen):
                number = next(numbers, None)


async def _call(caller: Caller, rng: Random, number: int, seen: Counter[str]) -> bool:
    """Make one call, or leave it; say whether the connection can be used again."""
    is_stream = rng.random() < 0.8
    body = {"model": "m", "stream": is_stream, "number": number}
    await caller.send(request(body, head=f"X-Request-Id: call-{number}\r\n"))
    mood = rng.random()
    if mood < 0.8:
        seen[_check(await caller.answer(), number, is_stream)] += 1
        return True
    if mood < 0.9:
        await asyncio.sleep(rng.random() * 0.03)
    elif mood < 0.95:
        await caller.head()
    seen["left"] += 1
    return False


async def _soak(seed: int) -> None:
    rng, numbers, asked = Random(seed), iter(range(CALLS)), Counter[int]()
    seen: Counter[str] = Counter()
    first, second = (Provider(play=_chance(seed + n, asked)) for n in range(2))
    fields = {"first_token_s": 0.1, "stall_s": 0.1}
    async with first, second:
        places = backends(first, second, concurrency=CONCURRENCY)
        async with start_gateway(first, second, model=fields, backends=places) as gateway:
            await asyncio.gather(*(_work(gateway, rng, numbers, seen) for _ in range(CALLERS)))
            await until(lambda: len(gateway.driver) == 0)

            assert sum(seen.values()) == CALLS
            assert {"stream", "broken", "left", "whole"} <= seen.keys()
            assert {seat.in_flight for seat in gateway.gate.seats.values()} == {0}
            assert max(first.in_flight_max, second.in_flight_max) <= CONCURRENCY
            assert max(asked.values()) <= 2 * ATTEMPTS_MAX  # each once more if its line was stale
            await _recovers(gateway, first, second)


async def _recovers(gateway: Gateway, *providers: Provider) -> None:
    """See that once the faults are over, everything is answered, and by the first tier."""
    for provider in providers:
        provider.play = lambda _asked: (whole(),)
    await asyncio.sleep(breaker.OPEN_S_MAX)
    statuses = {(await ask(gateway, chat())).status for _ in range(20)}
    last = await ask(gateway, chat())

    assert statuses == {200}
    assert last.headers["x-baseload-backend"] == "b0"


@pytest.mark.parametrize(("seed", "loop"), [(1, "uvloop"), (2, "uvloop"), (3, "asyncio")])
def test_everything_comes_back_to_rest(seed, loop, monkeypatch):
    """After a storm of faults no permit is out, each answer was its caller's, and calls succeed."""
    monkeypatch.setattr(breaker, "OPEN_S_MIN", 0.01)
    monkeypatch.setattr(breaker, "OPEN_S_MAX", 0.05)
    monkeypatch.setattr(breaker, "KEY_OPEN_S_MIN", 0.05)
    monkeypatch.setattr(breaker, "KEY_OPEN_S_MAX", 0.05)
    monkeypatch.setattr(resting, "PAUSE_S_MIN", 0.01)
    monkeypatch.setattr(resting, "PAUSE_S_MAX", 0.05)

    run(_soak(seed), loop)
