"""How people write a span of time: `90s`, `15m`, `1h`, `30d`."""

import re

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SPAN = re.compile(r"(\d{1,6})([smhdw])")


def seconds_of(text: str) -> float:
    """Give the span in seconds; raises ValueError with a sentence for anything else."""
    found = _SPAN.fullmatch(text.strip().lower())
    if found is None:
        raise ValueError(f"`{text[:40]}` is no span of time such as 90s, 15m, 1h or 30d")
    return float(int(found[1]) * _SECONDS[found[2]])
