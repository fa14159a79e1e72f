"""What do engines reach of the hardware, as far as it was measured?

`fitted.json` beside this file is written by `bench/fit_speed.py` from thousands of measured points.
A constant is a base times one factor for each tag that a case has: the engine, experts, latent
attention, precision of weights and cache, the generation of the hardware. So a case that was never
measured gets what is known of its parts. How well that works is in `docs/accuracy.md`.

Not here: the fitting itself, and the times that constants are put into (`turn`, `closed`).
"""

from functools import cache
from importlib import resources

import msgspec

from baseload.plan.catalog.rows import BITS
from baseload.plan.models.shape import Shape
from baseload.plan.speed.closed import Harness
from baseload.plan.speed.layout import Build
from baseload.plan.speed.turn import Constants

FILE = "fitted.json"
ENGINES = ("vllm", "sglang", "trtllm")
Factors = dict[str, dict[str, float]]
"""By constant: `base`, and factors by tag."""


class Fitted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file."""

    source: str
    fitted: str
    """The day, YYYY-MM-DD."""
    rows: int
    engine: Factors
    harness: Factors


@cache
def fitted() -> Fitted:
    """Give the constants that come with the program."""
    data = resources.files("baseload.plan.speed").joinpath(FILE).read_bytes()
    return msgspec.json.decode(data, type=Fitted)


def tags_of(shape: Shape, build: Build, engine: str) -> frozenset[str]:
    """Give what a case is called by, as far as constants depend on it."""
    precision = build.precision
    dynamic = precision == "fp8" and (shape.moe is not None or engine != "trtllm")
    known = {
        engine: True,
        "moe": shape.moe is not None,
        "mla": shape.mla is not None,
        "linear": shape.linear_layers > 0,
        "blackwell": "fp4" in build.accelerator.flops,
        "fp8": precision == "fp8",
        "scaled": dynamic,  # Activations are scaled to 8 bits in a kernel of their own.
        "four": precision in ("fp4", "int4"),
        "small_cache": BITS[build.kv_precision] < BITS["bf16"],
    }
    return frozenset(tag for tag, has in known.items() if has)


def constants(tags: frozenset[str], of: Factors | None = None) -> Constants:
    """Give an engine's constants for a case."""
    return Constants(**_product(of or fitted().engine, tags))


def harness(tags: frozenset[str], of: Factors | None = None) -> Harness:
    """Give how a case was measured, as far as that shows in the figures."""
    return Harness(**_product(of or fitted().harness, tags))


def _product(factors: Factors, tags: frozenset[str]) -> dict[str, float]:
    found = {}
    for name, by_tag in factors.items():
        value = by_tag["base"]
        for tag in sorted(tags & by_tag.keys()):
            value *= by_tag[tag]
        found[name] = value
    return found
