"""What are an engine's objects called, and which labels do they bear?

The Service has the engine's own name, `engine-SLUG`, since backends' URLs are made of it. A
LeaderWorkerSet makes a headless Service of its own name, so it is called otherwise.

Not here: which objects there are (`kubernetes.engines`).
"""

from typing import Any, Final

from baseload import __version__
from baseload.render.kubernetes.identity import namespace, secret
from baseload.render.kubernetes.objects import Object, Param, labels, selector
from baseload.render.picture import Engine, Picture
from baseload.render.placeable import is_socket

BACKEND: Final = "baseload.dev/backend"
GPU: Final = {"NVIDIA": "nvidia.com/gpu", "AMD": "amd.com/gpu"}
"""Resources of the makers' device plugins, which are also the keys of their nodes' taints."""
LEADER: Final = {"leaderworkerset.sigs.k8s.io/worker-index": "0"}
"""The label of the pod, of a group of machines, that serves calls."""
WEIGHTS: Final = "/models"
"""Where weights are mounted; each engine's lie in a folder of its name."""


class About:
    """One engine in the picture that it belongs to, and what everything calls it."""

    def __init__(self, picture: Picture, engine: Engine) -> None:
        self.picture, self.engine = picture, engine
        self.instance = picture.deploy.name
        self.name = f"engine-{engine.slug}"
        self.selector = selector(self.name, self.instance)
        self.labels = {
            **labels(self.name, "engine", self.instance, __version__),
            BACKEND: engine.name,
        }
        # Not the version: a newer baseload is no reason to load hundreds of gigabytes again.
        self.pod_labels = {
            key: each for key, each in self.labels.items() if not key.endswith("/version")
        }
        self.folder = f"{WEIGHTS}/{engine.slug}"

    @property
    def is_group(self) -> bool:
        """Whether one replica takes several machines."""
        return self.engine.layout.machines > 1

    @property
    def is_cpu(self) -> bool:
        """Whether it runs on sockets."""
        return is_socket(self.engine)

    @property
    def secret(self) -> str:
        """The Secret that has a key for each variable of the fleet file."""
        return secret(self.picture)

    @property
    def workload(self) -> Object:
        """What is scaled, as others refer to it."""
        if self.is_group:
            api, kind, name = "leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", f"{self.name}-group"
        else:
            api, kind, name = "apps/v1", "Deployment", self.name
        return {"apiVersion": api, "kind": kind, "name": name}

    def param(self, *path: str, value: Any, about: str = "", **schema: Any) -> Param:
        """Give a value of this engine that may be set."""
        return Param(path=self.path(*path), value=value, about=about, schema=schema)

    def path(self, *path: str) -> tuple[str, ...]:
        """Give the way to a value of this engine's."""
        return ("engines", self.engine.name, *path)

    def object(self, api: str, kind: str, name: str = "", **rest: Any) -> Object:
        """Give an object of the engine's name, in the namespace."""
        annotations = rest.pop("annotations", None)
        return {
            "apiVersion": api,
            "kind": kind,
            "metadata": {
                "name": name or self.name,
                "namespace": namespace(self.picture),
                "labels": self.labels,
                **({"annotations": annotations} if annotations else {}),
            },
            **rest,
        }
