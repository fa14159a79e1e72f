"""What is different at a site?

A site's objects are those of the base with some values of its own. So the same parts are built from
the site's picture, and its values are taken by their paths; how objects are made never differs.

Not here: how kustomize and Helm are told (`kustomize`, `values`).
"""

from collections.abc import Callable
from typing import Any

import msgspec

from baseload.config.deploying import Site
from baseload.render.kubernetes.objects import Param, Part, params
from baseload.render.picture import Engine, Picture

Values = dict[tuple[str, ...], Any]
"""Values by the paths of their `Param`s."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """A site, held against the base."""

    name: str
    parts: tuple[str, ...]
    """Names of the base's parts that are there."""
    values: Values
    """Those that differ from the base's."""


DEFAULT = "default"
"""The only site of a fleet that names none."""


def places(
    picture: Picture, parts: tuple[Part, ...], build: Callable[[Picture], tuple[Part, ...]]
) -> tuple[Place, ...]:
    """Give every site; `build` gives the parts of a picture, and `parts` are the base's."""
    if not picture.deploy.sites:
        everything = tuple(part.name for part in parts)
        return (Place(name=DEFAULT, parts=everything, values={}),)
    return tuple(_place(picture, parts, build, site) for site in picture.deploy.sites.values())


def values_of(parts: tuple[Part, ...]) -> dict[tuple[str, ...], Param]:
    """Give all values that may be set, in their order, each as it is first described."""
    found: dict[tuple[str, ...], Param] = {}
    for part in parts:
        there = [param for each in part.sheets for one in each.objects for _, param in params(one)]
        for param in ([part.switch] if part.switch else []) + there:
            kept = found.setdefault(param.path, param)
            assert kept.value == param.value, param.path
            if param.about and not kept.about:
                found[param.path] = param
    return found


def _place(
    picture: Picture, parts: tuple[Part, ...], build: Callable[[Picture], tuple[Part, ...]],
    site: Site,
) -> Place:  # fmt: skip
    there = build(at(picture, site))
    names = {part.name for part in there}
    if site.storage_class and not _makes(picture, site.storage_class):
        names.discard("storage")
    mine, base = values_of(there), values_of(parts)
    differing = {
        path: mine[path].value
        for path, param in base.items()
        if path in mine and mine[path].value != param.value
    }
    return Place(
        name=site.name, parts=tuple(part.name for part in parts if part.name in names),
        values=differing,
    )  # fmt: skip


def _makes(picture: Picture, storage_class: str) -> bool:
    """Whether the base has this class; one that only a site names is there already."""
    return any(each.said.storage_class == storage_class for each in picture.in_clusters)


def at(picture: Picture, site: Site) -> Picture:
    """Give the picture of a site."""
    replace = msgspec.structs.replace
    said = picture.deploy.gateway
    replicas = site.replicas or said.replicas
    gateway = replace(
        said, replicas=replicas, replicas_max=max(replicas, said.replicas_max),
        hosts=site.hosts or said.hosts,
    )  # fmt: skip
    here = {each.name for each in picture.in_clusters}
    if site.engines is not None:
        here &= set(site.engines)
    clouds = {group.engine.name for group in picture.groups}
    return replace(
        picture,
        deploy=replace(picture.deploy, gateway=gateway),
        engines=tuple(
            _engine(each, site) for each in picture.engines if each.name in here | clouds
        ),
    )


def _engine(engine: Engine, site: Site) -> Engine:
    replace = msgspec.structs.replace
    replicas = site.engine_replicas.get(engine.name, engine.replicas)
    said = replace(engine.said, replicas=replicas)
    if site.storage_class and said.storage_class:
        said = replace(said, storage_class=site.storage_class)
    return replace(
        engine, said=said, replicas=replicas, replicas_max=max(replicas, engine.replicas_max)
    )
