"""By which name do callers from outside of the cluster come in?

A route of the Gateway API, or an Ingress; both must let an answer stream for as long as it takes.

Not here: the Gateway itself, its certificate, the Ingress controller: they belong to the cluster.
"""

from typing import Any

from baseload.render.kubernetes import config
from baseload.render.kubernetes.identity import metadata
from baseload.render.kubernetes.objects import ITEM, Object, Param, Sheet
from baseload.render.picture import Picture, whole_s

_MB = 1_000_000


def sheets(picture: Picture) -> tuple[Sheet, ...]:
    """Give the route or the Ingress, or nothing."""
    match picture.deploy.gateway.expose:
        case "gateway":
            about = "Requests have no time limit here: the gateway ends what takes too long."
            return (Sheet(file="httproute.yaml", objects=(_route(picture),), about=about),)
        case "ingress":
            about = "The annotations are those of ingress-nginx; other controllers have their own."
            return (Sheet(file="ingress.yaml", objects=(_ingress(picture),), about=about),)
        case _:
            return ()


def _hosts(picture: Picture, each: Any = None) -> Param:
    return Param(
        path=("gateway", "hosts"), value=list(picture.deploy.gateway.hosts), each=each,
        about="Names under which callers reach the gateway.",
        schema={"items": {"type": "string"}, "maxItems": 16},
    )  # fmt: skip


def _route(picture: Picture) -> Object:
    namespace, _, name = picture.deploy.gateway.parent.rpartition("/")
    parent: Object = {
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": Param(
            path=("gateway", "parent", "name"), value=name, about="The Gateway that takes calls in."
        ),
    }
    if namespace:
        about = "The namespace of that Gateway."
        path = ("gateway", "parent", "namespace")
        parent["namespace"] = Param(path=path, value=namespace, about=about)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": metadata(picture),
        "spec": {
            "parentRefs": [parent],
            "hostnames": _hosts(picture),
            "rules": [
                {
                    "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                    "timeouts": {"request": "0s"},
                    "backendRefs": [{"name": picture.deploy.name, "port": config.HTTP}],
                }
            ],
        },
    }


def _ingress(picture: Picture) -> Object:
    said = picture.deploy.gateway
    backend = {"service": {"name": picture.deploy.name, "port": {"name": "http"}}}
    http = {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}
    spec: Object = {
        "ingressClassName": Param(
            path=("gateway", "ingress_class"), value=said.parent.rpartition("/")[2],
            about="The class of the Ingress controller.",
        ),
        "rules": _hosts(picture, each={"host": ITEM, "http": http}),
    }  # fmt: skip
    if said.tls_secret:
        about = "The Secret with the certificate that callers see."
        kept = Param(path=("gateway", "tls_secret"), value=said.tls_secret, about=about)
        spec["tls"] = [{"hosts": _hosts(picture), "secretName": kept}]
    annotations = Param(
        path=("gateway", "ingress_annotations"), value=_annotations(picture),
        about="Orders to the Ingress controller: long answers, streamed as they come.",
        schema={"additionalProperties": {"type": "string"}},
    )  # fmt: skip
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": metadata(picture) | {"annotations": annotations},
        "spec": spec,
    }


def _annotations(picture: Picture) -> dict[str, str]:
    longest = str(whole_s(config.drain_s(picture)))
    body = whole_s(picture.fleet.inbound.body_mb * _MB / 1024)
    return {
        f"nginx.ingress.kubernetes.io/{name}": value
        for name, value in (
            ("proxy-read-timeout", longest),
            ("proxy-send-timeout", longest),
            ("proxy-buffering", "off"),
            ("proxy-request-buffering", "off"),
            ("proxy-body-size", f"{body}k"),
            ("backend-protocol", "HTTPS" if picture.fleet.tls else "HTTP"),
        )
    }
