"""Hundreds of calls, backends that fail and callers who leave: is there one line for each call?

Chance is seeded, so a failure names its seed; what the sockets make of it differs from run to run.
The ledger is the real one, in a SQLite file.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from baseload.config.fleet import Target
from baseload.core import breaker, resting
from baseload.gateway.gateway import Gateway
from baseload.store.database import Database
from baseload.store.ledger import Ledger
from tests.gateway.harness import call_up, request, run, start_gateway, token, until
from tests.gateway.provider import (
    CLOSE,
    END,
    FINISH,
    RESET,
    Asked,
    Provider,
    Step,
    backends,
    begin,
    chunk,
    refusal,
    stream,
    whole,
)

CALLS = 300
CALLERS = 20
SAID = begin() + chunk(token("a")) + chunk(token("b"))
FAULTS: tuple[tuple[Step, ...], ...] = (
    (RESET,),
    (CLOSE,),
    (begin(), 0.3),
    (SAID, 0.01, RESET),
    (SAID, 0.01, CLOSE),
    (SAID, 0.3),
    (SAID + chunk(token("c") + FINISH) + END,),
    (SAID, 0.01, chunk(token("c")), 0.01, chunk(FINISH) + END),
    *((refusal(status),) for status in (400, 429, 500, 503)),
)


def _chance(seed: int):
    """Give a script chooser; half of the answers are good."""
    rng = Random(seed)

    def play(asked: Asked) -> Iterator[Step]:
        if rng.random() < 0.5:
            return iter(rng.choice(FAULTS))
        return iter((stream("a", "b", "c") if asked.json().get("stream") else whole(),))

    return play


async def _work(gateway: Gateway, rng: Random, numbers: Iterator[int], ended: set[str]) -> None:
    """Ask again and again, and leave now and then; note whose answer was read to its end."""
    for number in numbers:
        name = f"call-{number}"
        async with call_up(gateway.address[1]) as caller:
            body = {"model": "m", "stream": rng.random() < 0.6, "messages": []}
            await caller.send(request(body, head=f"X-Request-Id: {name}\r\n"))
            mood = rng.random()
            if mood < 0.7:
                await caller.answer()
                ended.add(name)
            elif mood < 0.9:
                await asyncio.sleep(rng.random() * 0.03)
            else:
                await caller.head()


async def _storm(seed: int, path: Path) -> None:
    rng, numbers, ended = Random(seed), iter(range(CALLS)), set[str]()
    first, second = (Provider(play=_chance(seed + n)) for n in range(2))
    ledger = Ledger(f"sqlite:///{path}")
    tiers = tuple({name: Target(backend=name, model="m", weights="w")} for name in ("b0", "b1"))
    model = {"tiers": tiers, "resume": "same_weights", "assemble": True, "hedge": 0.2}
    model |= {"first_token_s": 0.1, "stall_s": 0.1}
    async with first, second:
        places = backends(first, second, concurrency=8)
        async with start_gateway(first, second, model=model, backends=places) as gateway:
            gateway.books.ledger = ledger
            await asyncio.gather(*(_work(gateway, rng, numbers, ended) for _ in range(CALLERS)))
            await until(lambda: len(gateway.driver) == 0)
        sent = {asked.headers["x-request-id"] for one in (first, second) for asked in one.asked}
    await asyncio.to_thread(ledger.close)
    _check(path, ledger, sent, ended)


def _check(path: Path, ledger: Ledger, sent: set[str], ended: set[str]) -> None:
    database = Database(f"sqlite:///{path}")
    rows = database.run(
        "SELECT request_id, outcome, attempts, completion_tokens, first_token_s FROM calls"
    )
    database.close()
    ids = [row[0] for row in rows]

    assert len(set(ids)) == len(ids) == ledger.written
    assert set() == sent - set(ids), "a call that was sent has no line"
    unsent = {row[1] for row in rows if row[0] not in sent}
    assert unsent <= {"gone"}, "its caller left before the request was on its way"
    assert (0, 0, None) == (ledger.waiting, ledger.lost, ledger.alarm)
    assert len(ids) > CALLS / 2
    assert {"done", "gone"} <= {row[1] for row in rows}
    assert "gone" not in {row[1] for row in rows if row[0] in ended}
    assert all(attempts >= 1 for _, _, attempts, _, _ in rows)
    assert all(tokens > 0 for _, outcome, _, tokens, _ in rows if outcome == "done")
    assert {0} == {tokens for _, fact, _, tokens, first in rows if first is None and fact != "done"}


@pytest.mark.parametrize(("seed", "loop"), [(1, "uvloop"), (2, "asyncio")])
def test_every_call_has_one_line(seed, loop, tmp_path, monkeypatch):
    """However a call ended, and however many attempts it took, it stands in the ledger once."""
    monkeypatch.setattr(breaker, "OPEN_S_MIN", 0.01)
    monkeypatch.setattr(breaker, "OPEN_S_MAX", 0.05)
    monkeypatch.setattr(resting, "PAUSE_S_MIN", 0.01)
    monkeypatch.setattr(resting, "PAUSE_S_MAX", 0.05)

    run(_storm(seed, tmp_path / "ledger.db"), loop)
