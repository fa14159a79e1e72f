"""A scripted world for both drivers: what happens to each ask depends on the ask alone.

It stands in for backends and the network. It proves nothing about them: delays and failures are
drawn from a seed, independent of load.
"""

from random import Random

from baseload.config.fleet import Model, Queue, Target
from baseload.core.facts import Call, Fact, Relay, Send
from baseload.core.gate import Gate

BEFORE_A_TOKEN = [
    *[Fact.FIRST_TOKEN] * 12, *[Fact.DONE] * 4, Fact.FAILED, Fact.BUSY, Fact.LOST, Fact.SLOW,
    Fact.UNREACHABLE, Fact.REJECTED, Fact.ABSENT, Fact.DENIED,
]  # fmt: skip
AFTER_A_TOKEN = [*[Fact.DONE] * 9, Fact.BROKEN, Fact.OVERDUE]


class World:
    """Answers asks by a seed; backend `bad` fails most of the time."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def __call__(self, ask: Send | Relay, now: float) -> tuple[float, Fact]:
        """Say after how long which fact is told."""
        kind = "send" if isinstance(ask, Send) else "relay"
        rng = Random(f"{self.seed}/{ask.call.id}/{ask.target.backend}/{kind}")
        if kind == "relay":
            return rng.expovariate(0.5), rng.choice(AFTER_A_TOKEN)
        if ask.target.backend == "bad" and rng.random() < 0.8:
            return rng.expovariate(10), Fact.LOST
        return rng.expovariate(2), rng.choice(BEFORE_A_TOKEN)


def make_gate() -> Gate:
    """Give a gate with two models over four backends, small limits and a small line."""

    def target(name: str, share: int) -> Target:
        return Target(backend=name, model=name, share=share)

    models = {
        "m": Model(
            name="m",
            tiers=(
                {"good": target("good", 70), "bad": target("bad", 30)},
                {"other": target("other", 100)},
            ),
        ),
        "n": Model(name="n", tiers=({"other": target("other", 1), "last": target("last", 1)},)),
    }
    limits = {"good": 3, "bad": 3, "other": 2, "last": 1}
    return Gate(models, limits, Queue(size=6, wait_s=2.0))


def arrivals(seed: int, number: int, per_s: float) -> list[tuple[float, Call, float | None]]:
    """Give (arrival, call, time of the caller's leaving or None), all instants distinct."""
    rng, now, out = Random(seed), 0.0, []
    for call_id in range(1, number + 1):
        now += rng.expovariate(per_s)
        leaves = now + rng.expovariate(1) if rng.random() < 0.2 else None
        out.append((now, Call(call_id, rng.choice("mmn"), now + rng.uniform(1, 20)), leaves))
    return out


def announcements(seed: int, until: float) -> list[tuple[float, str, bool]]:
    """Give (time, backend, up or down) for a backend whose process comes and goes."""
    rng, now, is_up, out = Random(seed + 1), 0.0, True, []
    while (now := now + rng.expovariate(0.3)) < until:
        is_up = not is_up
        out.append((now, "other", is_up))
    return out
