"""What does it cost to run only while called, and how many calls meet a cold start?

An instance that was idle for longer than `keep_alive_s` is taken away. Calls come as a Poisson
stream of `rate` a second, one instance carries all of them at once (an engine batches), each takes
`run_s`, and a start takes `start_s`, in which further calls wait. With `D = run_s + keep_alive_s`
and `q = exp(-rate * D)`, the chance that no call comes for so long:

- with `w = rate * start_s`, calls that wait for a start beside the one that caused it, there are
  `1 + w + (1 - q) / q` calls from one start to the next, of which `1 + w` meet the start:
  `share = (1 + w) * q / (1 + w * q)`;
- an instance is up for `1 - q / (1 + w * q)` of the time.

Derivation: after a start has ended, calls go on until a gap is longer than `D`; gaps of a Poisson
stream are independent, so their number is geometric. Without `start_s` the share is `q`, the
chance to find an M/G/infinity queue empty. A service that gives each call an instance of its own
(AWS Lambda) starts more of them than this says.

What is billed differs: `call` is each call's own seconds (Lambda), `instance` every second in which
one is up, idle ones too (services with GPUs). A provisioned instance is always up: nobody waits.

Not here: what a start consists of (`loading`), instances beyond one (`sizing`).
"""

from math import exp
from typing import Literal

import msgspec

from baseload.plan.catalog.rows import Serverless
from baseload.plan.cost.terms import (
    DAYS_MONTH,
    GB,
    HOURS_MONTH,
    SECONDS_DAY,
    SECONDS_HOUR,
    Bill,
    check,
)
from baseload.plan.result import Refused


class Functions(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that a serverless service answers."""

    requests_day: float
    run_s: float
    """Of one call, without a start."""
    start_s: float = 0.0
    """Of an instance, weights and warm-up included."""
    keep_alive_s: float = 600.0
    """After which an idle instance is taken away: AWS Lambda in 2019 (mikhail.io, 2019-08; the same
    author measured 5 to 7 minutes at another time, and providers promise nothing)."""
    usd_call: float = 0.0
    usd_second: float = 0.0
    """While it runs."""
    billing: Literal["call", "instance"] = "instance"
    is_start_billed: bool = True
    """Of calls' own seconds; an instance's are always billed from its start."""
    provisioned: int = 0
    """Instances that are always up; one carries all calls."""
    provisioned_usd_second: float = 0.0
    """Of each of them. Calls' seconds are billed on top where billing is by `call`."""
    months: float = 36.0


class Need(msgspec.Struct, frozen=True, kw_only=True):
    """What a model asks of a service."""

    run_max_s: float
    """The longest call, its start included."""
    memory_bytes: float
    """Weights, KV cache and what the engine takes."""
    needs_accelerator: bool = True


def functions_of(
    row: Serverless, requests_day: float, run_s: float, start_s: float
) -> Functions | None:
    """Give calls at the catalogue's prices, or None if it has no price.

    Its own cold start, at worst, is added to `start_s`.
    """
    if row.usd_second is None:
        return None
    own_s = max(row.cold_start_s) if row.cold_start_s else 0.0
    return Functions(
        requests_day=requests_day,
        run_s=run_s,
        start_s=start_s + own_s,
        usd_call=row.usd_call,
        usd_second=row.usd_second,
        billing="call" if row.usd_call > 0.0 else "instance",
    )


def cold_share(use: Functions) -> float:
    """Give the part of calls that meet a cold start, 0 to 1."""
    if use.provisioned:
        return 0.0
    waiting, quiet = _waiting(use), _quiet(use)
    return (1.0 + waiting) * quiet / (1.0 + waiting * quiet)


def up_share(use: Functions) -> float:
    """Give the part of the time in which an instance is up, 0 to 1."""
    if use.provisioned:
        return 1.0
    waiting, quiet = _waiting(use), _quiet(use)
    return 1.0 - quiet / (1.0 + waiting * quiet)


def serverless(use: Functions) -> Bill:
    """Give what a serverless service costs, by kind.

    Kinds: `requests`, `seconds`, `cold starts` (seconds of starts, where calls are billed by their
    own seconds), `provisioned`. Raises ValueError for inputs that mean nothing.
    """
    _check(use)
    calls = use.requests_day * DAYS_MONTH
    month_s = HOURS_MONTH * SECONDS_HOUR
    costs = {"requests": calls * use.usd_call}
    if use.billing == "call":
        costs["seconds"] = calls * use.run_s * use.usd_second
        start_s = use.start_s if use.is_start_billed else 0.0
        costs["cold starts"] = calls * cold_share(use) * start_s * use.usd_second
    elif not use.provisioned:
        costs["seconds"] = up_share(use) * month_s * use.usd_second
    costs["provisioned"] = use.provisioned * month_s * use.provisioned_usd_second
    return Bill(costs=costs, months=use.months)


def refusals(row: Serverless, need: Need) -> tuple[Refused, ...]:
    """Say which of a service's limits a model does not keep; empty if it fits all."""
    found: list[Refused] = []

    def refuse(objective: str, wanted: str, limit: str, nearest: str) -> None:
        found.append(
            Refused(name=row.name, objective=objective, wanted=wanted, found=limit, nearest=nearest)
        )

    if row.run_max_s is not None and need.run_max_s > row.run_max_s:
        wanted, limit = f"calls of {need.run_max_s:,.0f} s", f"at most {row.run_max_s:,.0f} s"
        refuse("capability", wanted, limit, "a service without that limit")
    if row.memory_max_bytes is not None and need.memory_bytes > row.memory_max_bytes:
        wanted, limit = f"{need.memory_bytes / GB:,.1f} GB", f"{row.memory_max_bytes / GB:,.1f} GB"
        refuse("memory", wanted, f"at most {limit}", "a smaller model, or a larger service")
    if need.needs_accelerator and row.accelerator is None:
        refuse("capability", "an accelerator", "CPUs alone", "a service with accelerators")
    return tuple(found)


def _rate(use: Functions) -> float:
    return use.requests_day / SECONDS_DAY


def _waiting(use: Functions) -> float:
    """Give how many further calls come while an instance starts."""
    return _rate(use) * use.start_s


def _quiet(use: Functions) -> float:
    """Give the chance that no call comes while one runs and its instance is kept."""
    return exp(-_rate(use) * (use.run_s + use.keep_alive_s))


def _check(use: Functions) -> None:
    for field in use.__struct_fields__:
        value = getattr(use, field)
        check(isinstance(value, str) or value >= 0, f"{field}: {value} is below 0")
    check(use.months > 0.0, f"months: {use.months:g} is not above 0")
