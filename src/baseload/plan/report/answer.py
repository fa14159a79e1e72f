"""What is a plan's answer, in one sentence and a handful of numbers?

The sentence names what to run, in which role, what that costs and how fast it answers. Where
nothing keeps the objectives it says which one fails, by how much, and what comes nearest.

Not here: how numbers are written (`words`), tables and pictures.
"""

from typing import NamedTuple

from baseload.plan.cost.terms import DAYS_MONTH
from baseload.plan.report import words
from baseload.plan.result import Plan, Refused, Share, Way

ROLES = ("base", "floor", "peak", "hot", "cold")
"""In the order in which the sentence names them."""
BOUGHT_BY_CALL = ("api", "serverless")


class Key(NamedTuple):
    """One of the numbers that stand beside the sentence."""

    name: str
    value: str
    beside: str = ""


def by_name(plan: Plan) -> dict[str, Way]:
    """Give the plan's ways by their names."""
    return {way.name: way for way in plan.ways}


def main_way(plan: Plan) -> Way | None:
    """Give the way that answers most calls of the mix; without a mix, the cheapest."""
    ways = by_name(plan)
    shares = sorted(plan.mix.shares, key=lambda share: -share.share) if plan.mix else []
    found = [ways[share.way] for share in shares if share.way in ways]
    return next(iter([*found, *plan.ways]), None)


def headline(plan: Plan) -> str:
    """Give the answer in a sentence."""
    if plan.mix is None or not plan.mix.shares:
        if not plan.ways:
            return nothing_does(plan)
        way = plan.ways[0]
        what, cost, ways = _way_words(way), way.usd_month, [way]
    else:
        ways = [by_name(plan)[s.way] for s in plan.mix.shares if s.way in by_name(plan)]
        what, cost = _mix_words(plan, plan.mix.shares), plan.mix.usd_month
    ttft = worst_ttft_s(ways)
    speed = f", first token in {words.seconds(ttft)} for 95 of 100 calls" if ttft else ""
    return f"{what[:1].upper()}{what[1:]}: {words.usd(cost)} a month{speed}."


def nothing_does(plan: Plan) -> str:
    """Say which objective fails, by how much, and what comes nearest."""
    one = nearest(plan)
    if one is None:
        return "Nothing keeps the objectives: there is no way to try."
    excess = words.excess(one)
    by = f" ({excess})" if excess else ""
    found, wanted = words.plain(one.found), words.plain(one.wanted)
    text = (
        f"Nothing keeps the objectives. {words.plain(one.name)} comes nearest and fails on "
        f"{words.objective(one)}: {found}{by}, wanted {wanted}."
    )
    return f"{text} What would do: {words.plain(one.nearest)}." if one.nearest else text


def nearest(plan: Plan) -> Refused | None:
    """Give the refused way that says most: the first that knows what would do instead."""
    return next((one for one in plan.refused if one.nearest), next(iter(plan.refused), None))


def worst_ttft_s(ways: list[Way]) -> float | None:
    """Give the longest time to a first token among ways, for 95 of 100 calls, if it is known."""
    return max((way.speed.ttft_p95_s for way in ways if way.speed), default=None)


def worst_tpot_s(ways: list[Way]) -> float | None:
    """Give the longest time between tokens among ways, for 95 of 100 calls, if it is known."""
    return max((way.speed.tpot_p95_s for way in ways if way.speed), default=None)


def keys(plan: Plan) -> tuple[Key, ...]:
    """Give the numbers that stand beside the sentence; none where nothing does."""
    way = main_way(plan)
    if way is None:
        return ()
    chosen = plan.mix or way
    ways = _chosen(plan) or [way]
    goal = plan.objectives
    tokens_month = plan.load.requests_day * DAYS_MONTH * (plan.load.prompt + plan.load.answer)
    mtok = chosen.usd_month / tokens_month * 1e6 if tokens_month else float("nan")
    utilisation = f", used to {words.percent(way.speed.utilisation)}" if way.speed else ""
    return (
        Key("A month", words.usd(chosen.usd_month), f"{words.usd(mtok)} a million tokens"),
        Key(f"Over {plan.months} months", words.usd(chosen.usd_horizon)),
        Key(
            "First token, p95",
            words.seconds(worst_ttft_s(ways)),
            f"at most {words.seconds(goal.ttft_p95_s)} asked",
        ),
        Key(
            "Between tokens, p95",
            words.seconds(worst_tpot_s(ways)),
            f"at most {words.seconds(goal.tpot_p95_s)} asked",
        ),
        Key(
            "Availability",
            words.availability(chosen.availability),
            f"down {words.down_year(chosen.availability)} a year",
        ),
        Key("Replicas", _replicas(plan, way), f"{goal.survive} may fail{utilisation}"),
    )


def asked(plan: Plan) -> tuple[Key, ...]:
    """Give what was asked, as pairs of name and value."""
    load, goal = plan.load, plan.objectives
    spread = f", spread {words.three(load.prompt_cv)}" if load.prompt_cv else ""
    answer_spread = f", spread {words.three(load.answer_cv)}" if load.answer_cv else ""
    arrivals = "Poisson" if load.arrival_cv == 1 else f"spread {words.three(load.arrival_cv)}"
    if load.gaps:
        arrivals = f"as in the trace ({len(load.gaps):,} calls)"
    return (
        Key("Model", words.plain(plan.model)),
        Key("Load", f"{words.count(load.rps)} requests/s in the busiest hour"),
        Key("A day", f"{words.count(load.requests_day)} requests"),
        Key("Prompt", f"{words.count(load.prompt)} tokens{spread}"),
        Key("Answer", f"{words.count(load.answer)} tokens{answer_spread}"),
        Key("Cached", f"{words.percent(load.cached)} of prompts' tokens"),
        Key("Arrivals", arrivals),
        Key("First token", f"at most {words.seconds(goal.ttft_p95_s)} for 95 of 100"),
        Key("Between tokens", f"at most {words.seconds(goal.tpot_p95_s)} for 95 of 100"),
        Key("Utilisation", f"at most {words.percent(goal.utilisation_max)} of the knee"),
        Key("May fail", f"{goal.survive} replica{'' if goal.survive == 1 else 's'}"),
        Key("Horizon", f"{plan.months} months from {words.plain(plan.today)}"),
    )


def _chosen(plan: Plan) -> list[Way]:
    ways = by_name(plan)
    return [ways[s.way] for s in plan.mix.shares if s.way in ways] if plan.mix else []


def _replicas(plan: Plan, way: Way) -> str:
    if plan.mix is None:
        return words.replicas(way)
    own = [share for share in plan.mix.shares if share.replicas]
    spare = sum(share.replicas for share in own if share.role in ("hot", "cold"))
    needed = sum(share.replicas for share in own) - spare
    return (f"{needed}+{spare}" if spare else str(needed)) if own else words.NONE


def _way_words(way: Way) -> str:
    if way.tenure in BOUGHT_BY_CALL:
        return f"Call {_by_call(way)}"
    spare = f", {way.standby} of {way.replicas + way.standby} replicas in reserve"
    machines = words.machines(way, way.replicas + way.standby)
    return f"Run {machines}{_tenure(way)}{spare if way.standby else ''}"


def _mix_words(plan: Plan, shares: tuple[Share, ...]) -> str:
    ways = by_name(plan)
    said: dict[str, list[str]] = {}
    for share in sorted(shares, key=lambda share: ROLES.index(share.role)):
        said.setdefault(share.role, []).append(_share_words(share, ways.get(share.way)))
    (_, first), *rest = said.items()
    text = " and ".join(first) + "".join(
        _PHRASES[role].format(" and ".join(parts)) for role, parts in rest
    )
    return text if text.startswith("call ") else f"run {text}"


_PHRASES = {
    "floor": " above a floor of {}",
    "peak": ", and at the peak {}",
    "hot": ", with {} in hot reserve",
    "cold": ", with {} in cold reserve",
}


def _share_words(share: Share, way: Way | None) -> str:
    if way is None:
        return f"{share.replicas} {words.TIMES} {words.plain(share.way)}"
    if way.tenure not in BOUGHT_BY_CALL:
        return f"{words.machines(way, share.replicas)}{_tenure(way)}"
    call = "call " if share.role in ("base", "peak") else ""
    part = f" for {words.percent(share.share)} of calls" if 0 < share.share < 0.995 else ""
    return f"{call}{_by_call(way)}{part}"


def _tenure(way: Way) -> str:
    """Give how it is paid for, to stand after the hardware."""
    name = words.TENURES[way.tenure]
    return {"spot": " on spot", "on_demand": " on demand"}.get(way.tenure, f" ({name})")


def _by_call(way: Way) -> str:
    where = f" at {words.plain(way.cloud)}" if way.cloud else ""
    kind = "the API" if way.tenure == "api" else "serverless"
    return f"{kind} {words.plain(way.hardware or way.name)}{where}"
