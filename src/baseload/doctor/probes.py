"""Does Kubernetes learn when a pod can answer, and does it leave a model the time to load?

A model server reads for minutes before it can answer. A startup probe covers that; until it has
passed, liveness does not count. How long: bytes of the weights over what the disk gives in a
second, twice that for a cold cache, and a minute or two for warming up. Half an hour is generous.

Not here: how a pod ends (`endings`).
"""

from collections.abc import Iterator
from typing import Any, Final

from baseload.doctor.assuming import PORT, assume
from baseload.doctor.edits import Drop, Edit, Put
from baseload.doctor.manifests import (
    Manifest,
    Manifests,
    Pointer,
    entries,
    get,
    mapping,
    text,
    whole,
    word,
)
from baseload.doctor.pods import SERVING, pods_of, port_number, serves_a_model
from baseload.doctor.rules import Hit, Hits, Rule

PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
HANDLERS: Final = ("httpGet", "grpc", "tcpSocket", "exec")
START_S: Final = 1800
PERIOD_S: Final = 10
_PATHS: Final = {
    "vllm": "/health", "sglang": "/health", "text-generation-inference": "/health",
    "llama.cpp": "/health", "tritonserver": "/v2/health/ready", "ollama": "/",
}  # fmt: skip
_NUMBERS: Final = {
    "periodSeconds": 10, "timeoutSeconds": 1, "failureThreshold": 3, "successThreshold": 1,
    "initialDelaySeconds": 0,
}  # fmt: skip
"""With what the API server puts in the place of one that is absent, or zero."""


def _served(manifest: Manifest) -> Iterator[tuple[Pointer, dict[str, Any]]]:
    """Give containers that answer somebody; a second one beside them is a helper.

    Of a group over several machines, only the leader answers.
    """
    if manifest.kind in SERVING:
        pods = pods_of(manifest)
        for pod in [each for each in pods if each.leads] or pods:
            found = list(pod.containers)
            main = [each for each in found if serves_a_model(each[1])]
            # What is no model server and has no port may be a worker, which nobody calls.
            yield from main or [each for each in found[:1] if port_of(each[1]) is not None]


def _probed(manifest: Manifest) -> Iterator[tuple[Pointer, dict[str, Any], dict[str, Any]]]:
    for pod in pods_of(manifest):
        for at, container in pod.every:
            for name in PROBES:
                if isinstance(get(container, name), dict):
                    yield (*at, name), container, container[name]


def handler(container: dict[str, Any], port: int | str) -> dict[str, Any]:
    """Give the way to ask a server whether it is well: by its path where it is known."""
    image = text(container, "image").lower()
    path = next((path for name, path in _PATHS.items() if name in image), None)
    return {"tcpSocket": {"port": port}} if path is None else {
        "httpGet": {"path": path, "port": port}
    }  # fmt: skip


def port_of(container: dict[str, Any]) -> int | str | None:
    """Give the port to ask: the one called http, or the first."""
    ports = [each for each in entries(container, "ports") if isinstance(each, dict)]
    ports.sort(key=lambda port: port.get("name") != "http")
    for port in ports:
        if found := text(port, "name") or port_number(port):
            return found
    return None


def _asking(manifest: Manifest, at: Pointer, container: dict[str, Any]) -> tuple[Any, list[Edit]]:
    """Give how to ask, with the edits that declare the port if none is."""
    port = port_of(container)
    if port is not None or entries(container, "ports"):
        return handler(container, port or PORT), []
    why = f"port {PORT}, as the file names none: look where the server listens"
    edits: list[Edit] = [
        Put(at=(*at, "ports"), value=[{"name": "http", "containerPort": PORT}]),
        *assume(manifest.body, "port", why),
    ]
    return handler(container, "http"), edits


def no_readiness(manifest: Manifest, _: Manifests) -> Hits:
    """Find servers that get calls before they can answer."""
    for at, container in _served(manifest):
        if not mapping(container, "readinessProbe"):
            asking, edits = _asking(manifest, at, container)
            probe = {**asking, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3}
            yield Hit(
                at=at, what="it has no readiness probe",
                hint="calls reach it while it loads, and after it hangs",
                cure=f"it is asked every 5 s ({_said(asking)})",
                edits=(*edits, Put(at=(*at, "readinessProbe"), value=probe)),
            )  # fmt: skip


def no_startup(manifest: Manifest, _: Manifests) -> Hits:
    """Find model servers that are not given time to load.

    One that is only asked whether it is ready may take as long as it likes.
    """
    for at, container in _served(manifest):
        alive, ready = (mapping(container, name) for name in PROBES[1:])
        if not serves_a_model(container) or mapping(container, "startupProbe"):
            continue
        if alive or not ready:
            asking, edits = _asking(manifest, at, container)
            probe = {
                **asking, "periodSeconds": PERIOD_S, "timeoutSeconds": 5,
                "failureThreshold": START_S // PERIOD_S,
            }  # fmt: skip
            why = (
                f"{START_S} s to load: take twice (bytes of the weights / bytes a second of the "
                "disk) and 120 s"
            )
            yield Hit(
                at=at, what="it has no startup probe",
                hint="loading takes minutes, and a liveness probe kills it before it is done",
                cure=f"it has {START_S // 60} minutes to start",
                edits=(
                    *edits, Put(at=(*at, "startupProbe"), value=probe),
                    *assume(manifest.body, "start", why),
                ),
            )  # fmt: skip


def _said(asking: dict[str, Any]) -> str:
    how, detail = next(iter(asking.items()))
    return f"{how} {detail.get('path', '')} on {detail['port']}".replace("  ", " ")


def budget_s(probe: dict[str, Any]) -> int:
    """Give how long a probe may fail before it counts."""
    period, most = whole(probe, "periodSeconds"), whole(probe, "failureThreshold")
    return (period or 10) * (most or 3)


def strict_liveness(manifest: Manifest, _: Manifests) -> Hits:
    """Find servers that are killed before they would have been spared calls."""
    for at, container in _served(manifest):
        alive, ready = (mapping(container, name) for name in PROBES[1:])
        if alive and ready and budget_s(alive) < budget_s(ready):
            most = -(-2 * budget_s(ready) // (whole(alive, "periodSeconds") or 10))
            yield Hit(
                at=(*at, "livenessProbe"),
                what=f"it is killed after {budget_s(alive)} s of silence, before readiness takes "
                f"it out of service after {budget_s(ready)} s",
                hint="under load a slow answer becomes a restart, and a restart is more load",
                cure=f"it may fail {most} times",
                edits=(Put(at=(*at, "livenessProbe", "failureThreshold"), value=most),),
            )  # fmt: skip


def handlers(manifest: Manifest, _: Manifests) -> Hits:
    """Find probes that ask in two ways, or in none."""
    for at, _container, probe in _probed(manifest):
        found = [name for name in HANDLERS if probe.get(name) is not None]
        if len(found) > 1:
            yield Hit(
                at=at, what=f"it asks in {len(found)} ways: {', '.join(found)}", hint="keep one",
                cure=f"{found[0]} is kept",
                edits=tuple(Drop(at=(*at, name)) for name in found[1:]),
            )  # fmt: skip
        elif not found:
            yield Hit(
                at=at, what="it says nothing of how to ask", hint=f"one of {', '.join(HANDLERS)}",
                cure="it is removed", edits=(Drop(at=at),),
            )  # fmt: skip


def numbers(manifest: Manifest, _: Manifests) -> Hits:
    """Find probes with numbers that are refused."""
    for at, _container, probe in _probed(manifest):
        for name, usual in _NUMBERS.items():
            value = whole(probe, name)
            if value is not None and value < 0:
                yield _number(at, name, value, usual)
        once = whole(probe, "successThreshold")
        if at[-1] != "readinessProbe" and once is not None and once > 1:
            yield _number(at, "successThreshold", once, 1)
        if at[-1] == "readinessProbe" and probe.get("terminationGracePeriodSeconds") is not None:
            place = (*at, "terminationGracePeriodSeconds")
            hint = "it is for probes that kill"
            yield Hit(at=place, what="a readiness probe cannot have it", hint=hint,
                      cure="it is removed", edits=(Drop(at=place),))  # fmt: skip


def _number(at: Pointer, name: str, value: int, better: int) -> Hit:
    return Hit(
        at=(*at, name), what=f"{name} cannot be {value} here", cure=f"it is {better}",
        edits=(Put(at=(*at, name), value=better),),
    )  # fmt: skip


def wrong_port(manifest: Manifest, _: Manifests) -> Hits:
    """Find probes of a port's name that the container does not have."""
    for at, container, probe in _probed(manifest):
        known = [text(each, "name") for each in entries(container, "ports")]
        for way in ("httpGet", "tcpSocket"):
            port = text(probe, way, "port")
            if port and not port.isdecimal() and port not in known:
                only = known[0] if len(known) == 1 and known[0] else None
                yield Hit(
                    at=(*at, way, "port"),
                    what=f"no port of its container is called `{word(port)}`",
                    hint="the probe always fails",
                    cure=f"it asks `{only}`, the only one" if only else "",
                    edits=(Put(at=(*at, way, "port"), value=only),) if only else (),
                )  # fmt: skip


RULES: Final = (
    Rule(
        id="probe-handlers", severity="refused", check=handlers,
        about="a probe asks in two ways at once, or in none",
    ),
    Rule(
        id="probe-numbers", severity="refused", check=numbers,
        about="a probe has a number or a field that it cannot have",
    ),
    Rule(
        id="readiness-missing", severity="harmful", check=no_readiness,
        about="a server has no readiness probe",
    ),
    Rule(
        id="startup-missing", severity="harmful", check=no_startup,
        about="a model server has no startup probe, and is not only asked whether it is ready",
    ),
    Rule(
        id="liveness-strict", severity="harmful", check=strict_liveness,
        about="liveness kills a server before readiness takes it out of service",
    ),
    Rule(
        id="probe-port", severity="harmful", check=wrong_port,
        fixed="where the container has one port",
        about="a probe asks a named port that the container does not have",
    ),
)  # fmt: skip
