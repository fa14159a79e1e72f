"""How much work is a body of JSON, before any of it is read?

To put a request into other words, all of it becomes Python's values; 32 MB of `[],[],…` take
seconds and a gigabyte, while every other caller waits. So the signs that part values are counted
first, which takes a thousandth of that. Those inside of strings count too: nobody can tell without
reading, and the bound leaves room for them.
"""

from baseload.apis.openai import BadRequestError

MARKS_MAX = 500_000
"""Commas and opening brackets in a body; a prompt of a million tokens that is full of them has
fewer. Reading so many takes some tenths of a second."""
_MARKS = (b",", b"[", b"{")


def check_bulk(body: bytes) -> None:
    """Raise `BadRequestError` for a body of too many values to be put into other words."""
    if len(body) > MARKS_MAX and sum(map(body.count, _MARKS)) > MARKS_MAX:
        raise BadRequestError(
            f"The body has more than {MARKS_MAX} values, which are too many to be translated."
        )
