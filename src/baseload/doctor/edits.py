"""How is a manifest changed? By edits, which are data; what they are made to stays as it was.

The edits of one round come from rules that saw the same objects and did not know of each other. So
what is put goes first, and of two that would write the same place or inside one another the first
wins; what is dropped goes last, from the end of each list, so that no index is moved under another
edit. What lost is found again in the next round.
"""

from copy import deepcopy
from typing import Any, Final

import msgspec

from baseload.doctor.manifests import Manifest, Pointer, get

END: Final = -1
"""As the last step of a way: after the last entry of the list."""


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """Set a value; mappings on the way that are missing are made."""

    at: Pointer
    value: Any
    object: int | None = None
    """Index of another object that is meant; None: the one that the rule looks at."""


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """Remove a key or an entry."""

    at: Pointer
    object: int | None = None


Edit = Put | Drop


def edited(body: dict[str, Any], edits: list[Edit]) -> dict[str, Any]:
    """Give a copy of an object with edits made to it."""
    fresh = deepcopy(body)
    taken: list[Pointer] = []
    for put in [edit for edit in edits if isinstance(edit, Put)]:
        if _is_free(put.at, taken) and _put(fresh, put):
            taken.append(put.at)
    drops = {edit.at for edit in edits if isinstance(edit, Drop)}
    for at in sorted(drops, key=lambda at: [str(step).zfill(9) for step in at], reverse=True):
        around = get(fresh, *at[:-1])
        if get(fresh, *at) is not None or (isinstance(around, dict) and at[-1] in around):
            del around[at[-1]]
    return fresh


def _is_free(at: Pointer, taken: list[Pointer]) -> bool:
    if at[-1] == END:  # appending moves nothing; the same list takes one entry a round
        return at not in taken
    return not any(at[: len(each)] == each or each[: len(at)] == at for each in taken)


def _put(fresh: dict[str, Any], put: Put) -> bool:
    """Set the value, unless something on the way is neither a mapping nor such a list."""
    around: Any = fresh
    for step, following in zip(put.at, put.at[1:], strict=False):
        if isinstance(around, dict) and around.get(step) is None:
            around[step] = [] if isinstance(following, int) else {}
        around = get(around, step)
    last = put.at[-1]
    if isinstance(around, dict) and isinstance(last, str):
        around[last] = deepcopy(put.value)
    elif isinstance(around, list) and last == END:
        around.append(deepcopy(put.value))
    elif isinstance(around, list) and isinstance(last, int) and last < len(around):
        around[last] = deepcopy(put.value)
    else:
        return False
    return True


def is_same(one: Manifest, other: Manifest) -> bool:
    """Say whether two objects are one in the cluster."""
    return (one.kind, one.namespace, one.name) == (other.kind, other.namespace, other.name)
