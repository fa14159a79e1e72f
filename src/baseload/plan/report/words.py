"""How are numbers, ways and roles written, so that terminal and page say the same?

All functions are pure and give text for people: US dollars with separators, seconds in the unit
that needs the fewest signs, shares in per cent. What is not known is a dash.

Not here: the sentences that sum a plan up (`answer`), tables (`terminal`), pictures (`plots`).
"""

import re
import unicodedata
from math import ceil, floor, isfinite, log10

from baseload.plan.cost.terms import SECONDS_YEAR
from baseload.plan.result import Refused, Way
from baseload.plan.speed.layout import Layout

NONE = "-"
TIMES = "\u00d7"
TENURES = {
    "owned": "owned",
    "on_demand": "on demand",
    "reserved_1y": "reserved 1 y",
    "reserved_3y": "reserved 3 y",
    "spot": "spot",
    "serverless": "serverless",
    "api": "API",
}
ROLES = {
    "base": "base",
    "hot": "hot reserve",
    "cold": "cold reserve",
    "floor": "floor below spot",
    "peak": "peak",
}
ROLES_MEAN = {
    "base": "always on",
    "hot": "on and idle until a replica fails",
    "cold": "off until a replica fails",
    "floor": "on demand, so that losing all spot loses not all",
    "peak": "on in the busiest hours",
}
OBJECTIVES = {
    "ttft_p95_s": "first token, p95",
    "tpot_p95_s": "between tokens, p95",
    "utilisation": "utilisation",
    "memory": "memory",
    "capability": "capability",
    "price": "price",
    "survive": "failures to survive",
}
_AMOUNT = re.compile(r"\D*?([\d,]+(?:\.\d+)?)\s*(.*)", re.DOTALL)


def plain(text: str) -> str:
    """Give text without signs that steer a terminal, change reading order or cannot be encoded."""
    return "".join(
        sign if unicodedata.category(sign) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else "\ufffd"
        for sign in text
    )


def usd(value: float) -> str:
    """Give an amount to the dollar, or to three digits where it is less than a hundred."""
    if not isfinite(value):
        return NONE
    sign, size = ("-" if value < 0 else ""), abs(value)
    if size >= 99.995:
        return f"{sign}${size:,.0f}"
    if size >= 1 or size == 0:
        return f"{sign}${size:.2f}"
    text = f"{size:.{2 - floor(log10(size))}f}"
    return f"{sign}${text.removesuffix('0') if size >= 0.1 else text}"


def short_usd(value: float) -> str:
    """Give an amount in at most seven signs: `$61.3k`, `$2.21M`."""
    if not isfinite(value):
        return NONE
    return (
        usd(value) if abs(value) < 999.5 else ("-" if value < 0 else "") + f"${short(abs(value))}"
    )


def short(value: float) -> str:
    """Give a number of three digits with a letter for its size: `345k`, `1.2M`."""
    if not isfinite(value):
        return NONE
    size = abs(value)
    for least, unit_size, unit in ((999.5e6, 1e9, "G"), (999.5e3, 1e6, "M"), (999.5, 1e3, "k")):
        if size >= least:
            return three(value / unit_size) + unit
    return three(value)


def three(value: float) -> str:
    """Give three digits, without zeros at the end that say nothing."""
    if value == 0 or not isfinite(value):
        return "0" if value == 0 else NONE
    places = max(0, 2 - floor(log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(value: float | None) -> str:
    """Give a time in the unit that suits it, from microseconds to hours."""
    if value is None or not isfinite(value):
        return NONE
    if value == 0:
        return "0 s"
    for least, size, unit in ((5400, 3600, "h"), (180, 60, "min"), (0.9995, 1, "s")):
        if value >= least:
            return f"{three(value / size)} {unit}"
    return f"{three(value * 1e3)} ms" if value >= 0.9995e-3 else _micro(value)


def _micro(value: float) -> str:
    return f"{three(value * 1e6)} µs"


def percent(part: float | None) -> str:
    """Give a part of one in whole per cent; below ten with one place, below one three digits."""
    if part is None or not isfinite(part):
        return NONE
    if part >= 0.0995 or part == 0:
        return f"{part * 100:.0f} %"
    return (f"{part * 100:.1f}".removesuffix(".0") if part >= 0.00995 else three(part * 100)) + " %"


def availability(part: float) -> str:
    """Give an availability cut off after four places, never rounded up: 99.9999 is not 100."""
    if not isfinite(part):
        return NONE
    cut = floor(part * 1e6 + 1e-6) / 1e4
    return f"{cut:.4f}".rstrip("0").rstrip(".") + " %"


def down_year(part: float) -> str:
    """Give how long something of this availability is down in a year of 8,760 hours."""
    return seconds(max(0.0, 1.0 - part) * SECONDS_YEAR)


def count(value: float) -> str:
    """Give a number with separators, and one place where it is no whole one."""
    if not isfinite(value):
        return NONE
    return f"{value:,.0f}" if abs(value) >= 100 or value == round(value) else three(value)


def layout(way: Way) -> str:
    """Give how a replica is spread, as engines name it: `tp8`, `tp8 pp2`; a dash for an API."""
    if way.layout is None:
        return NONE
    return split(way.layout)


def split(spread: Layout) -> str:
    """Give the same of any layout."""
    parts = [(name, getattr(spread, name)) for name in ("tp", "pp", "dp", "ep")]
    return " ".join(f"{name}{size}" for name, size in parts if size > 1) or "tp1"


def replica(way: Way) -> str:
    """Give one replica's precision and layout: `fp8 tp8`."""
    return f"{plain(way.precision)} {layout(way)}".strip()


def replicas(way: Way) -> str:
    """Give replicas that the load needs, and those beyond them: `3+1`."""
    if not way.replicas:
        return NONE
    return f"{way.replicas}+{way.standby}" if way.standby else str(way.replicas)


def label(way: Way) -> str:
    """Give what tells a way from others in few words: `p5.48xlarge, spot`."""
    tenure = TENURES[way.tenure]
    return f"{plain(way.hardware)}, {tenure}" if way.hardware else plain(way.name)


def machines(way: Way, replicas_wanted: int) -> str:
    """Give what so many replicas stand on: machines; of owned hardware, accelerators."""
    hardware = plain(way.hardware or way.name)
    if way.layout is None:
        return f"{replicas_wanted} {TIMES} {hardware}" if replicas_wanted > 1 else hardware
    accelerators = replicas_wanted * way.layout.accelerators
    if way.tenure == "owned":
        return f"{accelerators} {TIMES} {hardware}"
    return f"{ceil(accelerators / way.layout.per_machine)} {TIMES} {hardware}"


def is_stale(way: Way) -> bool:
    """Say whether a figure that it rests on is older than such figures keep."""
    return any(figure.is_stale for figure in way.figures)


def is_unverified(way: Way) -> bool:
    """Say whether a figure that it rests on was read at second hand only."""
    return any(not figure.is_verified for figure in way.figures)


def marks(way: Way) -> str:
    """Give a way's marks: `*` for a stale figure, `?` for one that nobody verified."""
    return "*" * is_stale(way) + "?" * is_unverified(way)


def objective(refused: Refused) -> str:
    """Give the objective that is failed, in words."""
    return OBJECTIVES.get(refused.objective, plain(refused.objective).replace("_", " "))


def excess(refused: Refused) -> str:
    """Give by how much it is missed, as `31 % over`, where both sides are numbers of one unit."""
    wanted, found = _AMOUNT.fullmatch(refused.wanted), _AMOUNT.fullmatch(refused.found)
    if not wanted or not found or wanted[2].strip() != found[2].strip():
        return ""
    want, have = (float(match[1].replace(",", "") or "nan") for match in (wanted, found))
    if not want or not isfinite(want) or not isfinite(have) or want == have:
        return ""
    ratio = have / want
    if ratio >= 3:
        return f"{three(ratio)} times as much"
    return f"{percent(abs(ratio - 1))} {'over' if ratio > 1 else 'under'}"
