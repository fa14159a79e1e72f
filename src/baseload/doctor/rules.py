"""What is a rule? A pure function from one object, seen among all of its file, to hits.

A hit says where, what, why, and how it is mended if that can be known. A rule judges only what it
is about: it passes over what is missing or of the wrong type.

Not here: the rules, one module a concern, and their list (`table`).
"""

from collections.abc import Callable, Iterator

import msgspec

from baseload.doctor.edits import Edit
from baseload.doctor.findings import Severity
from baseload.doctor.manifests import Manifest, Manifests, Pointer


class Hit(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a rule found."""

    at: Pointer
    what: str
    hint: str = ""
    cure: str = ""
    """What the edits do, in words; empty: nothing mends it but a person."""
    edits: tuple[Edit, ...] = ()
    adds: tuple[Manifest, ...] = ()
    """Objects that are missing."""


Hits = Iterator[Hit]


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked for, and how bad it is."""

    id: str
    severity: Severity
    about: str
    """One line for people."""
    check: Callable[[Manifest, Manifests], Hits]
    fixed: str = "yes"
    """Whether `--fix` mends it: yes, no, or when."""
