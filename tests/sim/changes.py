"""Orders and reloads at random times, for both drivers: what operators do to a running fleet.

They say nothing about how often real operators do so; the point is that nothing they do may break.
"""

from random import Random

import msgspec

from baseload.config.fleet import Model, Target
from baseload.core.setup import Setup
from tests.sim.worlds import make_setup

Change = tuple[float, str, str | Setup]
"""When, what (`open`, `close`, `disable`, `reload`), and whom or what to."""


def another_setup(rng: Random) -> Setup:
    """Give the usual fleet with some of its backends, models, limits and addresses changed."""
    usual = make_setup()
    names = [name for name in usual.concurrency if rng.random() < 0.8] or ["good"]
    if rng.random() < 0.3:
        names.append("extra")
    models = {}
    for name, model in usual.models.items():
        tiers = [
            {who: target for who, target in tier.items() if who in names} for tier in model.tiers
        ]
        if "extra" in names:
            tiers.append(
                {"extra": Target(backend="extra", model="extra", weights=rng.choice("wv"))}
            )
        tiers = tuple(tier for tier in tiers if tier)
        if tiers and rng.random() < 0.85:
            models[name] = msgspec.structs.replace(model, tiers=tiers)
    if not models:
        only = Target(backend=names[0], model="only", weights="w")
        models = {"only": Model(name="only", tiers=({names[0]: only},))}
    return msgspec.structs.replace(
        usual,
        models=models,
        concurrency={name: rng.randrange(1, 4) for name in names},
        cold_starts={name: rng.choice((0.3, 4.0)) for name in names if rng.random() < 0.4},
        accounts={name: "shared" for name in ("other", "last") if name in names},
        epochs={name: rng.randrange(3) for name in names},
        down=("extra",) if rng.random() < 0.3 else (),
        queue=msgspec.structs.replace(usual.queue, size=rng.randrange(3, 9)),
    )


def changes(seed: int, until: float, *, has_reloads: bool = True) -> list[Change]:
    """Give what operators do, at distinct times; at the end all is as usual again."""
    rng, now, out = Random(seed + 4), 0.0, []
    backends = list(make_setup().concurrency)
    while (now := now + rng.expovariate(0.8)) < until:
        what = rng.choice(["open", "open", "close", "disable", "reload"])
        if what != "reload":
            out.append((now, what, rng.choice(backends)))
        elif has_reloads:
            out.append((now, what, another_setup(rng)))
    return out
