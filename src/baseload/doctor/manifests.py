"""What is one object of a manifest, and how is it read when any part of it may be missing or wrong?

A body is plain data, as YAML gave it: nothing promises that `spec` is a mapping. So rules ask with
`mapping`, `entries` and `text`, which answer with something empty where the file has something
else. What has the wrong type is the business of one rule (`shape`), and silently passed by others.

Not here: reading YAML (`reading`), pods and their containers (`pods`).
"""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import msgspec

from baseload.config.mistakes import shown

Pointer = tuple[str | int, ...]
"""The way to a value inside an object."""
Place = tuple[int, int]
"""Line and column, both from 1."""

_PLAIN = re.compile(r"[A-Za-z_$][\w-]*")


class Manifest(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One object, and where its values stand in the file."""

    body: dict[str, Any]
    places: dict[Pointer, Place] = {}
    """Of a scalar: the value; of a mapping or list in a mapping: its key."""
    raws: dict[Pointer, str] = {}
    """How scalars that are not text are written: `yes`, `0644`."""
    repeated: tuple[tuple[Pointer, Place], ...] = ()
    """Keys that a mapping has twice."""
    why: str = ""
    """Why it was added; empty for an object of the file."""

    @cached_property
    def kind(self) -> str:
        """Its kind; empty if there is none."""
        return text(self.body, "kind")

    @cached_property
    def name(self) -> str:
        """Its name; empty if there is none."""
        return text(self.body, "metadata", "name")

    @cached_property
    def namespace(self) -> str:
        """Its namespace; empty is whatever namespace it is applied to."""
        return text(self.body, "metadata", "namespace")

    def is_beside(self, other: "Manifest") -> bool:
        """Whether both may be in one namespace: one that is not said may be any."""
        return self.namespace == other.namespace or not (self.namespace and other.namespace)

    @property
    def label(self) -> str:
        """What findings call it."""
        return shown(f"{self.kind or '?'}/{self.name or '?'}")

    def place(self, at: Pointer) -> Place:
        """Where a value stands; of one that is not there, what is around it."""
        while at and at not in self.places:
            at = at[:-1]
        return self.places.get(at, (0, 0))


Manifests = Sequence[Manifest]


def get(value: Any, *path: str | int) -> Any:
    """Give what is at `path`, None where there is nothing."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and -1 < step < len(value) else None
    return value


def mapping(value: Any, *path: str | int) -> dict[str, Any]:
    """Give the mapping at `path`; an empty one if it is no mapping."""
    found = get(value, *path)
    return found if isinstance(found, dict) else {}


def entries(value: Any, *path: str | int) -> list[Any]:
    """Give the list at `path`; an empty one if it is no list."""
    found = get(value, *path)
    return found if isinstance(found, list) else []


def text(value: Any, *path: str | int) -> str:
    """Give the text at `path`; empty if it is no text."""
    found = get(value, *path)
    return found if isinstance(found, str) else ""


def whole(value: Any, *path: str | int) -> int | None:
    """Give the whole number at `path`; None if it is none."""
    found = get(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def dotted(at: Pointer) -> str:
    """Give a way as people write it: `spec.containers[0].resources.limits["nvidia.com/gpu"]`."""
    path = ""
    for step in at:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _PLAIN.fullmatch(step):
            path += f".{shown(step)}" if path else shown(step)
        else:
            path += f'["{shown(step)}"]'
    return path


def word(value: Any) -> str:
    """Give a value of the file fit to be quoted."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return shown(str(value))
