"""Which whole number does a lenient server read where one is due?

Model servers take `"5000"` and `5000.0` for 5000, so whoever counts what an answer may become must,
too. Not here: whether the number is a sound one.
"""

from typing import Any

WHOLE_MAX = 1 << 53
"""Beyond it, not every integer has a float of its own."""
DIGITS_MAX = 8
"""What has more is beyond every bound, and Python takes long for very long numbers."""


def whole(value: Any) -> int:
    """Give the number, 0 for what is none."""
    if type(value) is str and len(value) <= DIGITS_MAX and value.isdecimal():
        return int(value)
    if type(value) is float and 0 < value <= WHOLE_MAX:
        return int(value)
    return value if type(value) is int else 0
