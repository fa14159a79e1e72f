"""What is an object before it is text?

An object is what the API server takes, as plain dicts and lists, but for `Param` leaves: places
that people set. A part is what is switched on and off together: the gateway, one engine, what a
cluster has once.

Not here: which objects there are (`gateway`, `engines`, ...), their text (`plain`, `chart`).
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Any, Final

import msgspec

Object = dict[str, Any]
Pointer = tuple[str | int, ...]
"""The way to a value inside an object."""


class Param(msgspec.Struct, frozen=True, kw_only=True):
    """A value that may be set without rendering anew; in a chart it is one of its values.

    Two places with the same path are one value. `about` and `schema` describe it in the chart's
    values and in their JSON Schema.
    """

    path: tuple[str, ...]
    """`("engines", "edge", "replicas")`; the namespace is `("namespace",)`."""
    value: Any
    about: str = ""
    schema: dict[str, Any] = {}
    """More than the value's type: `{"minimum": 1}`."""
    text: str = ""
    """What stands in the object, where that is a text around the value: each `%s` is the value."""
    is_digest: bool = False
    """Whether the value's SHA-256 stands there: pods are replaced when it changes."""
    each: Any = None
    """Of a list: what stands there for each of its items, which is `ITEM`."""

    def standing(self, value: Any) -> Any:
        """Give what stands in the object if this is the value."""
        if self.is_digest:
            return sha256(str(value).encode()).hexdigest()
        if self.each is not None:
            return [_filled(self.each, item) for item in value]
        return self.text.replace("%s", str(value)) if self.text else value


ITEM: Final = Param(path=(), value=None)
"""The item, inside `Param.each`."""


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """Objects that are written into one file."""

    file: str
    """`deployment.yaml`."""
    objects: tuple[Object, ...]
    about: str = ""
    """Why it is as it is: a comment at the file's top."""


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """What is switched on and off together."""

    name: str
    """`gateway`, `engine-edge`, `cluster`: its folder in the base."""
    sheets: tuple[Sheet, ...]
    switch: Param | None = None
    """Whether it is there, a bool; None: always."""


NAMESPACE = ("namespace",)
CORES: Final[dict[str, Any]] = {"type": ["number", "string"], "pattern": "^[0-9.]+m?$"}
"""What a number of cores may be, as people write it."""


def labels(name: str, component: str, instance: str, version: str) -> dict[str, str]:
    """Give the recommended labels of an object."""
    return {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/instance": instance,
        "app.kubernetes.io/component": component,
        "app.kubernetes.io/part-of": "baseload",
        "app.kubernetes.io/version": version,
        "app.kubernetes.io/managed-by": "baseload",
    }


def selector(name: str, instance: str) -> dict[str, str]:
    """Give the labels that select an object's pods; they never change."""
    return {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": instance}


def mapped(value: Any, change: Callable[[Param], Any]) -> Any:
    """Give an object with every `Param` in it changed."""
    if isinstance(value, Param):
        return change(value)
    if isinstance(value, dict):
        return {key: mapped(each, change) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [mapped(each, change) for each in value]
    return value


def _filled(each: Any, item: Any) -> Any:
    return mapped(each, lambda param: item if param is ITEM else param)


def params(value: Any, at: Pointer = ()) -> list[tuple[Pointer, Param]]:
    """Give every `Param` of an object with the way to it."""
    if isinstance(value, Param):
        return [(at, value)]
    if isinstance(value, dict):
        return [found for key, each in value.items() for found in params(each, (*at, key))]
    if isinstance(value, list | tuple):
        return [found for key, each in enumerate(value) for found in params(each, (*at, key))]
    return []
