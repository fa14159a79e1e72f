"""Which fleet file does the gateway read in a cluster?

The same fleet, written anew: addresses are those of a pod, backends that are deployed beside it are
reached at their Services, what is written lies on the pod's volume, and a pod that goes away waits
for the longest answer. `${NAME}` stays, for the environment of the pod to fill in.

Not here: what holds it (`gateway`).
"""

from functools import cache
from typing import Any, Final

import msgspec
from msgspec import inspect

from baseload.config.fleet import Backend, Fleet, Tls
from baseload.config.references import variables_in
from baseload.config.wishes import Wish, fields
from baseload.render.command import sequences_of
from baseload.render.kubernetes.engine.timing import cold_start_s
from baseload.render.picture import PORT, Engine, Picture, slug, whole_s
from baseload.render.text import dump

HTTP: Final = 8080
ADMIN: Final = 9090
ADMIN_TOKEN: Final = "BASELOAD_ADMIN_TOKEN"  # noqa: S105  # the name of a variable
FOLDER: Final = "/etc/baseload"
"""Where the fleet file lies."""
TLS: Final = "/etc/baseload-tls"
AUTHORITIES: Final = "/etc/baseload-ca"
COLD_START_S_MAX: Final = 3600.0
"""The most that a fleet file may say."""
PROBE_S: Final = 5.0
"""Between looks at a backend that may be at zero, where the fleet file has none."""
STATE: Final = "/var/lib/baseload"
"""The one folder, besides /tmp, that can be written."""


def in_cluster(picture: Picture) -> Fleet:
    """Give the fleet as the gateway is to see it in a cluster."""
    fleet = picture.fleet
    here = {engine.name: engine for engine in picture.in_clusters}
    backends = {name: _backend(each, here.get(name)) for name, each in fleet.backends.items()}
    store = fleet.store
    if is_alone(fleet):
        store = msgspec.structs.replace(store, ledger=f"sqlite:///{STATE}/baseload.db")
    return msgspec.structs.replace(
        fleet, listen=f"0.0.0.0:{HTTP}", admin=f"0.0.0.0:{ADMIN}", backends=backends, store=store,
        admin_token=fleet.admin_token or f"${{{ADMIN_TOKEN}}}", deploy=None, state_dir=STATE,
        drain_s=drain_s(picture), tls=fleet.tls and Tls(
            cert=f"{TLS}/tls.crt", key=f"{TLS}/tls.key"
        ),
    )  # fmt: skip


def drain_s(picture: Picture) -> float:
    """Give how long a pod that goes away waits for open answers: as long as any may take."""
    return max(picture.fleet.drain_s, float(whole_s(picture.answer_max_s)))


def is_alone(fleet: Fleet) -> bool:
    """Whether each gateway has a ledger of its own: SQLite's file cannot be shared by pods."""
    return fleet.store.ledger.startswith("sqlite:")


def is_closed(fleet: Fleet) -> bool:
    """Whether nobody has a key, nor could be given one: a gateway does not start like this."""
    return not fleet.keys and not fleet.open_to_all and is_alone(fleet)


def text(picture: Picture) -> str:
    """Give the fleet file's text."""
    return dump(_plain(in_cluster(picture), frozenset(picture.variables) | {ADMIN_TOKEN}))


def variables(picture: Picture) -> tuple[str, ...]:
    """Give the variables that the gateway needs, in the order in which the file names them."""
    return variables_in(text(picture))


def authorities(picture: Picture) -> tuple[str, ...]:
    """Give the names of files with private CAs, which the cluster keeps in a ConfigMap."""
    return tuple(
        _authority(backend) for backend in in_cluster(picture).backends.values() if backend.ca
    )


def _authority(backend: Backend) -> str:
    return f"{slug(backend.name)}.pem"


def _backend(backend: Backend, engine: Engine | None) -> Backend:
    """Give a backend as pods reach it; `engine` is what is deployed for it here, if anything is."""
    if engine is None:
        ca = backend.ca and f"{AUTHORITIES}/{_authority(backend)}"
        return msgspec.structs.replace(backend, ca=ca)
    # Without the namespace: a pod asks its own first, whichever that is.
    url = f"http://engine-{engine.slug}:{PORT}/v1"
    # Else as many as a provider takes: far too many for an engine that has just come up.
    most = backend.concurrency or sequences_of(engine) * engine.replicas_max
    backend = msgspec.structs.replace(backend, url=url, ca=None, concurrency=most)
    if not engine.said.to_zero or backend.cold_start_s:
        return backend
    # Whoever comes while nobody is there is held until a look at its health finds somebody.
    return msgspec.structs.replace(
        backend, cold_start_s=min(COLD_START_S_MAX, float(whole_s(cold_start_s(engine)))),
        probe_s=backend.probe_s or PROBE_S,
    )  # fmt: skip


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, Wish]:
    found = inspect.type_info(kind)
    assert isinstance(found, inspect.StructType)
    return fields(found)


def _plain(value: Any, names: frozenset[str]) -> Any:
    """Give a struct as the file has it: without defaults, and without what keys fill in."""
    if isinstance(value, msgspec.Struct):
        return {
            name: _plain(getattr(value, name), names)
            for name, wanted in _fields(type(value)).items()
            if not wanted.is_filled_in and getattr(value, name) != wanted.default
        }
    if isinstance(value, dict):
        return {key: _plain(each, names) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, names) for each in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _escaped(value, names) if isinstance(value, str) else value


def _escaped(value: str, names: frozenset[str]) -> str:
    """Write every `${` that begins no reference of the fleet's so that it is read as text."""
    head, *others = value.split("${")
    return head + "".join(
        ("${" if other.partition("}")[0] in names and "}" in other else "$${") + other
        for other in others
    )
