"""How are objects laid out for kustomize: a base of parts, and an overlay for each site?

An overlay names the parts that run at its site, and changes exactly the values that are different
there.

Not here: which values those are (`sites`).
"""

from collections.abc import Iterator
from typing import Any, Final

from baseload.render.files import File, header
from baseload.render.kubernetes.objects import Object, Part, Pointer, Sheet, params
from baseload.render.kubernetes.plain import documents, settled
from baseload.render.kubernetes.sites import Place, Values
from baseload.render.picture import Picture
from baseload.render.text import dump

_KIND: Final = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
_LIST: Final = "kustomization.yaml"


def files(picture: Picture, parts: tuple[Part, ...], places: tuple[Place, ...]) -> list[File]:
    """Give the base and the overlays."""
    return [
        *(_sheet(picture, part, sheet) for part in parts for sheet in part.sheets),
        *(_base(picture, part) for part in parts),
        *(_overlay(picture, parts, place) for place in places),
    ]


def _sheet(picture: Picture, part: Part, sheet: Sheet) -> File:
    path = f"base/{part.name}/{sheet.file}"
    text = documents(tuple(settled(one) for one in sheet.objects))
    return File(path=path, text=header(path, picture.sources, sheet.about) + text)


def _base(picture: Picture, part: Part) -> File:
    path = f"base/{part.name}/{_LIST}"
    text = dump(_KIND | {"resources": [sheet.file for sheet in part.sheets]})
    return File(path=path, text=header(path, picture.sources) + text)


def _overlay(picture: Picture, parts: tuple[Part, ...], place: Place) -> File:
    path = f"overlays/{place.name}/{_LIST}"
    found: dict[str, Any] = _KIND | {"resources": [f"../../base/{name}" for name in place.parts]}
    objects = [
        one for part in parts if part.name in place.parts for each in part.sheets
        for one in each.objects
    ]  # fmt: skip
    if patches := [patch for one in objects for patch in _patch(one, place.values)]:
        found["patches"] = patches
    about = f"kubectl apply -k overlays/{place.name}"
    return File(path=path, text=header(path, picture.sources, about) + dump(found))


def _patch(one: Object, values: Values) -> Iterator[Object]:
    """Give the patch (JSON 6902) of one object, if a value of it differs."""
    # In this order, as kustomize drops the newline with which a text at a patch's end ends.
    orders = [
        {"path": _pointer(at), "value": param.standing(values[param.path]), "op": "replace"}
        for at, param in params(one)
        if param.path in values
    ]
    if orders:
        yield {"target": _target(settled(one)), "patch": dump(orders)}


def _pointer(at: Pointer) -> str:
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in at)


def _target(one: Object) -> Object:
    group, _, version = one["apiVersion"].rpartition("/")
    found = {"group": group, "version": version, "kind": one["kind"]}
    found |= {key: one["metadata"][key] for key in ("name", "namespace") if key in one["metadata"]}
    return {key: value for key, value in found.items() if value}
