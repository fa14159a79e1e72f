"""The kinds that the double of the API server serves, and how it tells clients of them."""

from functools import cache
from typing import Any, NamedTuple

from lightkube.generic_resource import create_namespaced_resource

from tests.render.kubernetes_tools import custom


class Kind(NamedTuple):
    """A kind of object."""

    api: str
    """`apps/v1`, or `v1`."""
    kind: str
    plural: str
    is_namespaced: bool = True
    scales: bool = False

    @property
    def group(self) -> str:
        return self.api.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api.rpartition("/")[2]

    @property
    def resource(self) -> str:
        """`deployments.apps`, as messages have it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


KINDS = (
    Kind("v1", "Namespace", "namespaces", False),
    Kind("v1", "ConfigMap", "configmaps"),
    Kind("v1", "PersistentVolume", "persistentvolumes", False),
    Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims"),
    Kind("v1", "Pod", "pods"),
    Kind("v1", "Secret", "secrets"),
    Kind("v1", "Service", "services"),
    Kind("v1", "ServiceAccount", "serviceaccounts"),
    Kind("apps/v1", "DaemonSet", "daemonsets"),
    Kind("apps/v1", "Deployment", "deployments", scales=True),
    Kind("apps/v1", "StatefulSet", "statefulsets", scales=True),
    Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    Kind("batch/v1", "CronJob", "cronjobs"),
    Kind("batch/v1", "Job", "jobs"),
    Kind("networking.k8s.io/v1", "Ingress", "ingresses"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", False),
    Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", False),
    Kind("rbac.authorization.k8s.io/v1", "Role", "roles"),
    Kind("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
    Kind("resource.k8s.io/v1", "DeviceClass", "deviceclasses", False),
    Kind("resource.k8s.io/v1", "ResourceClaim", "resourceclaims"),
    Kind("resource.k8s.io/v1", "ResourceClaimTemplate", "resourceclaimtemplates"),
    Kind("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses", False),
    Kind("storage.k8s.io/v1", "StorageClass", "storageclasses", False),
    Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes"),
    Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects"),
    Kind("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", "leaderworkersets", scales=True),
    Kind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors"),
    Kind("monitoring.coreos.com/v1", "PrometheusRule", "prometheusrules"),
    Kind("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors"),
)
BY_PATH = {(each.api, each.plural): each for each in KINDS}
VERBS = ("create", "delete", "get", "list", "patch", "update", "watch")


def discovery(*, core: bool) -> dict[str, Any]:
    """Give the aggregated discovery document of `/api` or `/apis`."""
    apis = dict.fromkeys(each.api for each in KINDS if (each.group == "") is core)
    return {
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": [
            {
                "metadata": {"name": api.rpartition("/")[0]} if "/" in api else {},
                "versions": [
                    {"version": api.rpartition("/")[2], "freshness": "Current", "resources": [
                        _told(each) for each in KINDS if each.api == api
                    ]}
                ],
            }
            for api in apis
        ],
    }  # fmt: skip


def _told(kind: Kind) -> dict[str, Any]:
    scale = {
        "subresource": "scale", "verbs": ["get", "patch", "update"],
        "responseKind": {"group": "autoscaling", "version": "v1", "kind": "Scale"},
    }  # fmt: skip
    return {
        "resource": kind.plural, "singularResource": kind.kind.lower(), "verbs": [*VERBS],
        "scope": "Namespaced" if kind.is_namespaced else "Cluster",
        "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "subresources": [scale] if kind.scales else [],
    }  # fmt: skip


def openapi(path: str) -> dict[str, Any]:
    """Give as much of `/openapi/v3` as tells kubectl that the server checks fields itself."""
    if not path:
        apis = dict.fromkeys(each.api for each in KINDS)
        names = [f"{'apis' if '/' in api else 'api'}/{api}" for api in apis]
        return {"paths": {name: {"serverRelativeURL": f"/openapi/v3/{name}"} for name in names}}
    field = {"name": "fieldValidation", "in": "query", "schema": {"type": "string"}}
    return {
        "openapi": "3.0.0", "info": {"title": "double", "version": "1"}, "paths": {
            f"/{path}/{each.plural}/{{name}}": {"patch": {
                "parameters": [field], "responses": {}, "x-kubernetes-group-version-kind":
                {"group": each.group, "version": each.version, "kind": each.kind},
            }}
            for each in KINDS if path in (f"apis/{each.api}", f"api/{each.api}")
        },
    }  # fmt: skip


@cache
def know_custom_kinds() -> None:
    """Tell lightkube of the kinds that are not Kubernetes' own."""
    for each in (one for one in KINDS if custom(one.api, one.kind)):
        create_namespaced_resource(each.group, each.version, each.kind, each.plural)
