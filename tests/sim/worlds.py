"""A scripted world for both drivers: what happens to each ask depends on the ask alone.

It stands in for backends and the network. It proves nothing about them: delays and failures are
drawn from a seed, independent of load.
"""

from random import Random

from baseload.config.fleet import Model, Queue, Target
from baseload.config.tenancy import Limits
from baseload.core.facts import Call, Fact, Priority, Relay, Reply, Send, Sight, Told
from baseload.core.gate import Gate
from baseload.core.quota import Scope
from baseload.core.setup import Setup
from baseload.sim.driver import Tell
from baseload.sim.kernel import Kernel

BEFORE_A_TOKEN = [
    *[Fact.FIRST_TOKEN] * 24, *[Fact.DONE] * 6, Fact.FAILED, Fact.BUSY, Fact.LOST, Fact.SLOW,
    Fact.UNREACHABLE, Fact.REJECTED, Fact.ABSENT, Fact.OVERLOADED, Fact.EMPTY, Fact.FORBIDDEN,
]  # fmt: skip
AFTER_A_TOKEN = [*[Fact.DONE] * 9, Fact.CUT, Fact.CUT, Fact.BROKEN, Fact.OVERDUE]
DENIED_SHARE = 0.001
NAP_CALLS = 120
"""A backend that may be at zero replicas is so for half of these, and the first of all."""
SEED = 7
"""Of the gate's own dice."""


def script(seed: int, ask: Send | Relay) -> list[tuple[float, Fact, float]]:
    """Say after how long which facts are told, and what is said of `Retry-After` with them."""
    kind = "send" if isinstance(ask, Send) else "relay"
    rng = Random(f"{seed}/{ask.call.id}/{ask.target.backend}/{kind}")
    if isinstance(ask, Relay):
        return [(rng.expovariate(0.5), rng.choice(AFTER_A_TOKEN), 0.0)]
    if ask.target.backend == "bad" and rng.random() < 0.8:
        return [(rng.expovariate(10), Fact.LOST, 0.0)]
    if ask.target.backend == "twin" and ask.call.id % NAP_CALLS < NAP_CALLS / 2:
        return [(rng.expovariate(20), Fact.UNREACHABLE, 0.0)]
    after_s = rng.expovariate(2)
    fact = Fact.DENIED if rng.random() < DENIED_SHARE else rng.choice(BEFORE_A_TOKEN)
    out = []
    if rng.random() < 0.3:
        out.append((after_s * rng.random(), Fact.PARKED, 0.0))
    late_s = ask.late_s + ask.call.id * 1e-9  # No two instants alike: see `sim.kernel` on ties.
    if late_s < after_s:
        out.append((late_s, Fact.LATE, 0.0))
    wish_s = rng.uniform(0.1, 3.0) if fact is Fact.BUSY and rng.random() < 0.5 else 0.0
    return sorted([*out, (after_s, fact, wish_s)])


class World:
    """The script, performed on a kernel."""

    def __init__(self, seed: int, kernel: Kernel) -> None:
        self._seed, self._kernel = seed, kernel

    def begin(self, ask: Send | Relay, tell: Tell) -> None:
        now, backend = self._kernel.now, ask.target.backend
        for after_s, fact, wish_s in script(self._seed, ask):
            told = Told(fact, now + after_s, wish_s, backend)
            self._kernel.at(told.now, lambda told=told: tell(told))

    def cancel(self, ask: Send | Relay) -> None:
        """Nothing to do: what is told of a cancelled ask is not heard."""


def make_gate() -> Gate:
    """Give a gate for that setup."""
    return Gate(make_setup(), Random(SEED))


def make_setup() -> Setup:
    """Give a fleet with two models over five backends, small limits and a small line.

    One of the backends may be at zero replicas.
    """

    def target(name: str, share: int) -> Target:
        return Target(backend=name, model=name, share=share, weights="w")

    models = {
        "m": Model(
            name="m",
            tiers=(
                {"good": target("good", 70), "bad": target("bad", 30)},
                {"other": target("other", 100)},
            ),
            hedge=0.2,
        ),
        "n": Model(
            name="n",
            tiers=(
                {"other": target("other", 1), "twin": target("twin", 1), "last": target("last", 2)},
            ),
        ),
    }
    return Setup(
        models=models,
        concurrency={"good": 3, "bad": 3, "other": 2, "twin": 2, "last": 1},
        ceilings={"good": 6},
        accounts={"other": "shared", "last": "shared"},
        cold_starts={"twin": 4.0},
        queue=Queue(size=6, wait_s=2.0),
        seed=SEED,
    )


def scopes_of_call(call: Call) -> tuple[Scope, ...]:
    """Give what limits a call: its key, and the model for all."""
    return (
        Scope(f"key:{call.key}", _LIMITS[call.key], call.key),
        Scope(f"model:{call.model}", _ALL, call.model),
    )


_LIMITS = {"x": Limits(rpm=60), "y": Limits(tpm=60_000), "z": Limits(concurrency=3, rpm=120)}
_ALL = Limits(rpm=200, tpm=150_000)


def used_by(reply: Reply) -> tuple[int, float]:
    """Give what a call took in the end: about half of what it had asked for, if it was answered."""
    return (reply.call.tokens * 3 // 5 if reply.fact is Fact.DONE else 0), 0.0


def arrivals(
    seed: int, number: int, per_s: float, *, is_limited: bool = False
) -> list[tuple[float, Call, float | None]]:
    """Give (arrival, call, time of the caller's leaving or None), all instants distinct."""
    rng, now, out = Random(seed), 0.0, []
    for call_id in range(1, number + 1):
        now += rng.expovariate(per_s)
        leaves = now + rng.expovariate(1) if rng.random() < 0.2 else None
        call = Call(
            call_id,
            rng.choice("mmn"),
            now + rng.uniform(1, 20),
            is_stream=rng.random() < 0.7,
            key=rng.choice("xyz"),
            priority=rng.choice(list(Priority)),
            prompt_tokens=rng.choice([20, 20, 20, 2000]),
            answer_tokens=rng.randrange(1, 500),
            prefix=rng.randrange(4),
            is_limited=is_limited,
        )
        out.append((now, call, leaves))
    return out


def announcements(seed: int, until: float) -> list[tuple[float, str, bool]]:
    """Give (time, backend, up or down) for a backend whose process comes and goes."""
    rng, now, is_up, out = Random(seed + 1), 0.0, True, []
    while (now := now + rng.expovariate(0.3)) < until:
        is_up = not is_up
        out.append((now, "other", is_up))
    return out


def sights(seed: int, until: float) -> list[tuple[str, Sight]]:
    """Give looks at two backends, some of them at a bad moment."""
    rng, now, out = Random(seed + 3), 0.0, []
    while (now := now + rng.expovariate(0.5)) < until:
        bad = rng.random() < 0.1
        if rng.random() < 0.5:
            out.append(("good", Sight(now, ping_s=0.5 if bad else 0.01)))
        else:
            usage, waiting = (0.99, 9) if bad else (0.3, 0)
            out.append(("twin", Sight(now, kv_usage=usage, waiting=waiting, running=2, slots=2)))
    return out
