"""A storm over everything that counts: is every call settled once, whatever becomes of it?

Several keys with all limits, several models, backends that misbehave, callers of every API who leave
when they like, operators who close backends, reload the fleet and take keys and models away, a batch
in between, and a drain at the end that has to tell the last ones to stop. Then nothing may be held,
the ledger and the limits must have counted the same, and every attempt must stand in one line.

Chance is seeded, so a failure names its seed; what the sockets make of it differs from run to run.
The ledger is the real one, in a SQLite file. Counters that answer later are a double: they decide
as those in memory do, after a moment, and show nothing of how Redis is asked.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from msgspec import structs

from baseload.config.fleet import Fleet, Model, Queue, Target
from baseload.config.tenancy import Jobs, Key, Limits, Price
from baseload.core import breaker, resting
from baseload.core.quota import Hold, Verdict
from baseload.gateway.backoffice import BackOffice
from baseload.gateway.gateway import DISABLE, DRAIN, ENABLE, Gateway
from baseload.store.counters import LocalCounters
from baseload.store.database import Database
from baseload.store.jobs import Jobs as KeptJobs
from baseload.store.ledger import Ledger
from tests.gateway import messages_kit as kit
from tests.gateway import test_responses_native as responses
from tests.gateway.harness import call_up, fleet_of, request, run, token, until
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
from tests.jobs.conftest import lines

CALLS = 500
CALLERS = 24
SECRETS = {name: f"sk-{name}" for name in ("roomy", "tight", "slim", "poor", "free")}
LIMITED = ("m", "short")
"""Models with limits of their own, for a key that has none."""
APIS = ("chat", "chat", "chat", "completions", "embeddings", "messages", "responses")
SAID = begin() + chunk(token("a")) + chunk(token("b"))
NATIVE_SAID = begin() + chunk(kit.NATIVE_START + kit.native_token("a"))
FAULTS: tuple[tuple[Step, ...], ...] = (
    (RESET,),
    (CLOSE,),
    (begin(), 0.3),
    (SAID, 0.01, RESET),
    (SAID, 0.01, CLOSE),
    (SAID, 0.3),
    (NATIVE_SAID, 0.01, RESET),
    (NATIVE_SAID, 0.3),
    (SAID + chunk(token("c") + FINISH) + END,),
    (whole(b"   "),),
    *((refusal(status),) for status in (400, 404, 429, 500, 503)),
)


class Watched(LocalCounters):
    """Counters in memory that note how often each hold was settled; `late_s`: they take a while."""

    def __init__(self, late_s: float, rng: Random) -> None:
        super().__init__()
        self.late_s, self.rng = late_s, rng
        self.settled: Counter[int] = Counter()
        self.holds: list[Hold] = []
        self.took: dict[int, tuple[int, float]] = {}

    def reserve(self, hold: Hold, then: Callable[[Verdict], None]) -> Verdict | None:
        self.holds.append(hold)
        if not self.late_s:
            return super().reserve(hold, then)

        def decide() -> None:
            if not hold.is_settled:
                verdict = LocalCounters.reserve(self, hold, then)
                assert verdict is not None
                then(verdict)

        asyncio.get_running_loop().call_later(self.late_s * self.rng.random(), decide)
        return None

    def settle(self, hold: Hold, tokens: int, usd: float) -> None:
        self.settled[id(hold)] += 1
        self.took[id(hold)] = tokens, usd
        super().settle(hold, tokens, usd)


def chance(seed: int) -> Callable[[Asked], Iterator[Step]]:
    """Give a script chooser; two thirds of the answers are good."""
    rng = Random(seed)

    def play(asked: Asked) -> Iterator[Step]:
        if rng.random() < 0.3:
            return iter(rng.choice(FAULTS))
        if asked.path == kit.NATIVE_PATH:
            return iter(kit.natively(asked))
        if asked.path == responses.PATH:
            return iter(responses.natively(asked))
        if asked.path.endswith("/embeddings"):
            usage = {"prompt_tokens": 4, "total_tokens": 4}
            return iter([whole({"data": [{"index": 0, "embedding": [0.5]}], "usage": usage})])
        return iter((stream("a", "b", "c") if asked.json().get("stream") else whole(),))

    return play


def fleet(first: Provider, second: Provider, rng: Random) -> Fleet:
    """Give a fleet whose limits, keys and models are a little other each time."""
    hashes = {name: sha256(secret.encode()).hexdigest() for name, secret in SECRETS.items()}
    keys = [
        Key(name="roomy", sha256=hashes["roomy"], rpm=100_000, tpm=10**9, concurrency=10_000,
            usd_day=1e9, usd_month=1e9, per_model={"m": Limits(rpm=90_000, usd_day=1e8)}),
        Key(name="tight", sha256=hashes["tight"], rpm=rng.choice((20, 60)), concurrency=3,
            tpm=rng.choice((2000, 20_000)), usd_day=1e6, usd_month=1e6),
        Key(name="poor", sha256=hashes["poor"], usd_day=rng.choice((0.05, 0.5)), usd_month=1.0),
        Key(name="free", sha256=hashes["free"]),
    ]  # fmt: skip
    if rng.random() < 0.7:
        keys.append(Key(name="slim", sha256=hashes["slim"], tpm=10_000, concurrency=2))
    places = backends(first, second, concurrency=6)
    spoken = {"anthropic_path": kit.NATIVE_PATH, "responses_path": responses.PATH}
    places["b0"] = structs.replace(places["b0"], **spoken)
    both = tuple({name: Target(backend=name, model="m", weights="w")} for name in places)
    clocks: dict[str, Any] = {"first_token_s": 0.1, "stall_s": 0.1, "total_s": 1.0}
    models = [
        Model(name="m", tiers=both, resume="same_weights", assemble=True, hedge=0.2, **clocks,
              limits=Limits(tpm=10**9, concurrency=1000)),
        Model(name="plain", tiers=both, resume="off", assemble=False, keepalive_s=0.05, **clocks),
        Model(name="shared", tiers=both[:1], share_identical=True, **clocks),
        Model(name="short", tiers=both, total_s=0.15, stall_s=0.1, limits=Limits(rpm=100_000, usd_day=1e6)),
    ]  # fmt: skip
    if rng.random() < 0.3:
        models.pop()
    prices = (
        Price(backend="b0", model="m", since="2020-01-01", input_usd_mtok=10, output_usd_mtok=20),
    )
    plain = fleet_of(first, second, backends=places, prices=prices, keys=tuple(keys), drain_s=0.2)
    return structs.replace(
        plain, models={one.name: one for one in models}, queue=Queue(size=12, wait_s=0.2)
    )


def ask(rng: Random, name: str) -> bytes:
    """Give some caller's request."""
    api, is_stream = rng.choice(APIS), rng.random() < 0.5
    model = rng.choice(("m", "m", "plain", "shared", "short"))
    body: dict[str, Any] = {"model": model, "stream": is_stream}
    body |= {
        "chat": {"messages": kit.HI, "max_tokens": rng.choice((5, 500, 100_000))},
        "completions": {"prompt": ["hi", "you"], "max_tokens": 10},
        "embeddings": {"input": "hi"},
        "messages": {"messages": kit.HI, "max_tokens": 50},
        "responses": {"input": "hi", "max_output_tokens": 50},
    }[api]
    if api == "embeddings":
        del body["stream"]
    path = f"/v1/{'chat/completions' if api == 'chat' else api}"
    secret = rng.choice(list(SECRETS.values()))
    return request(body, path, head=f"Authorization: Bearer {secret}\r\nX-Request-Id: {name}\r\n")


async def work(gateway: Gateway, rng: Random, numbers: Iterator[int]) -> None:
    """Ask again and again, and leave now and then."""
    for number in numbers:
        async with call_up(gateway.address[1]) as caller:
            await caller.send(ask(rng, f"call-{number}"))
            mood = rng.random()
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                if mood < 0.6:
                    await caller.answer()
                elif mood < 0.8:
                    await asyncio.sleep(rng.random() * 0.03)
                elif mood < 0.9:
                    await caller.head()


async def operate(gateway: Gateway, rng: Random, another: Callable[[], Fleet]) -> None:
    """Order and reload until it is over."""
    while True:
        await asyncio.sleep(0.03)
        if rng.random() < 0.5:
            gateway.reload(another())
            continue
        backend = rng.choice(("b0", "b1"))
        gateway.operate(backend, rng.choice((DRAIN, DISABLE)))
        await asyncio.sleep(0.02)
        if backend in gateway.pools:
            gateway.operate(backend, ENABLE)


async def storm(seed: int, late_s: float, folder: Path) -> None:
    rng, numbers = Random(seed), iter(range(CALLS))
    first, second = (Provider(play=chance(seed + n)) for n in range(2))
    ledger, counters = Ledger(f"sqlite:///{folder}/ledger.db"), Watched(late_s, Random(seed))
    async with first, second:
        gateway = Gateway(fleet(first, second, Random(0)), None, counters, ledger)
        await gateway.start()
        back = BackOffice(Jobs(), f"sqlite:///{folder}/jobs.db", gateway.reception)
        back.start()
        operator = asyncio.create_task(operate(gateway, rng, lambda: fleet(first, second, rng)))
        file_batches(f"sqlite:///{folder}/jobs.db")
        back.runner.wake()
        await asyncio.gather(*(work(gateway, rng, numbers) for _ in range(CALLERS)))
        operator.cancel()
        numbers = iter(range(CALLS, CALLS + CALLERS))
        last = [asyncio.create_task(work(gateway, rng, numbers)) for _ in range(CALLERS)]
        await until(lambda: len(gateway.driver) > 3)
        back.pause()
        await gateway.drain()
        await back.stop()
        await asyncio.gather(*last, return_exceptions=True)
        sent = {asked.headers["x-request-id"] for one in (first, second) for asked in one.asked}
    await asyncio.to_thread(ledger.close)
    check(gateway, counters, folder, sent)


def file_batches(url: str) -> None:
    """Have batches that two keys have filed."""
    database = Database(url)
    jobs = KeptJobs(database)
    for owner in ("roomy", "slim"):
        jobs.files.put(f"file-{owner}", owner, "in", "batch", iter([lines(40)]), time.time())
        database.run(
            "INSERT INTO batches VALUES"
            " (?, ?, '/v1/chat/completions', ?, '24h', 'null', 'validating', '[]', '{}',"
            " 1, 9999999999, 0, 0, 0, NULL, NULL, '', 0)",
            f"batch_{owner}", owner, f"file-{owner}",
        )  # fmt: skip
    database.close()


def check(gateway: Gateway, counters: Watched, folder: Path, sent: set[str]) -> None:
    """Hold limits, ledger and telemetry against each other."""
    database = Database(f"sqlite:///{folder}/ledger.db")
    rows = database.run(
        "SELECT request_id, key_name, model, attempts, prompt_tokens + completion_tokens,"
        " cost_usd, outcome, api FROM calls"
    )
    database.close()
    quota, holds = counters.quota, counters.holds
    granted = [hold for hold in holds if hold.cards is not None]
    callers = [row[0] for row in rows if row[7] != "batch"]

    assert not len(gateway.driver)
    assert {1} == {counters.settled[id(hold)] for hold in holds}
    for name in quota.names():
        card = quota.find(name)
        assert card is not None
        mine = [hold for hold in granted if name in {scope.name for scope in hold.scopes}]
        assert (0, 0.0) == (card.in_flight, card.held_usd), name
        assert card.requests == len(mine), name
        assert card.tokens == sum(counters.took[id(hold)][0] for hold in mine), name
    limited = [row for row in rows if row[1] != "free" or row[2] in LIMITED]
    took = [counters.took[id(hold)] for hold in holds]
    assert sum(row[4] for row in limited) == sum(tokens for tokens, _ in took)
    assert pytest.approx(sum(row[5] or 0.0 for row in limited)) == sum(usd for _, usd in took)
    assert len(callers) == len(set(callers))
    assert set() == sent - {row[0] for row in rows}, "a call that was sent has no line"
    assert sum(row[3] for row in rows) == sum(gateway.telemetry.attempts.values())
    for key in ("roomy", "tight", "poor", "free", "slim"):
        own = quota.past.own(f"key:{key}", 0)[0]
        assert pytest.approx(sum(row[5] or 0.0 for row in rows if row[1] == key)) == own
    assert {"done", "gone"} <= {row[6] for row in rows}
    assert len(rows) > CALLS / 10
    assert len(granted) < len(holds)


@pytest.mark.parametrize("late_s", [0.0, 0.01])
@pytest.mark.parametrize("seed", [1, 2])
def test_everything_is_settled_once(seed: int, late_s: float, tmp_path: Path, monkeypatch):
    """However calls ended, nothing stays held, and limits, ledger and metrics say the same."""
    monkeypatch.setattr(breaker, "OPEN_S_MIN", 0.01)
    monkeypatch.setattr(breaker, "OPEN_S_MAX", 0.05)
    monkeypatch.setattr(resting, "PAUSE_S_MIN", 0.01)
    monkeypatch.setattr(resting, "PAUSE_S_MAX", 0.05)

    run(storm(seed, late_s, tmp_path))
