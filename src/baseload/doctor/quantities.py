"""What amount is `64Gi`, `500m` or `0.5`, and what was meant by `64GB`?

Kubernetes takes a number with one of its own suffixes, and nothing between the two.
"""

import re
from fractions import Fraction
from math import isfinite
from typing import Any, Final

_QUANTITY = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+))(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?\d{1,2}|)"
)
_NEARLY = re.compile(r"([+-]?)(\d+(?:[.,]\d+)?)\s*([a-zA-Z]*)")
_POWERS: Final = {
    "": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18,
}  # fmt: skip
_BINARY: Final = ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_MEANT: Final = {
    **{unit.lower(): unit for unit in _BINARY},
    **{f"{unit.lower()}b": unit for unit in _BINARY},
    **{f"{unit.lower()}": unit for unit in "kMGTPE"} | {"m": "m"},
    **{f"{unit.lower()}b": unit for unit in "kMGTPE"},
    **dict.fromkeys(("", "b", "core", "cores", "cpu", "cpus", "vcpu", "gpu", "gpus"), ""),
}
_CHARACTERS_MAX: Final = 40


def parse(value: Any) -> Fraction | None:
    """Give an amount; None if the API server would not take it for one."""
    if isinstance(value, bool) or (isinstance(value, float) and not isfinite(value)):
        return None
    if not isinstance(value, int | float | str) or len(str(value)) > _CHARACTERS_MAX:
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        return None
    number, unit = Fraction(match[1]), match[2]
    if unit in _BINARY:
        return number * (1 << 10 * (_BINARY.index(unit) + 1))
    power = _POWERS[unit] if unit in _POWERS else int(unit[1:])
    return number * Fraction(f"1e{power}")


def meant(value: Any) -> str | None:
    """Give what somebody who wrote something else probably meant; None if nobody can know."""
    match = _NEARLY.fullmatch(str(value).strip()[:_CHARACTERS_MAX])
    if match is None or (unit := _MEANT.get(match[3].lower())) is None or match[1] == "-":
        return None
    return match[2].replace(",", ".") + unit
