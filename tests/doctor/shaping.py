"""How `shapes.json` is made from the schemas that the package kubernetes-validate carries.

`BASELOAD_GOLDEN=1 pytest tests/doctor/test_shapes.py` writes it anew.
"""

import json
from pathlib import Path

VERSION = "1.37"
KINDS = {
    "Pod", "Service", "ConfigMap", "Secret", "ServiceAccount", "Namespace", "PersistentVolumeClaim",
    "ResourceQuota", "LimitRange", "Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job",
    "CronJob", "HorizontalPodAutoscaler", "PodDisruptionBudget", "Ingress", "NetworkPolicy", "Role",
    "RoleBinding", "ClusterRole", "ClusterRoleBinding", "PriorityClass", "StorageClass",
    "ResourceClaimTemplate", "DeviceClass",
}  # fmt: skip
SIMPLE = {
    "Quantity": "quantity", "IntOrString": "int|string", "Time": "string", "MicroTime": "string",
}  # fmt: skip


def shapes(schemas: Path) -> dict:
    """Give kinds and types from a folder of schemas."""
    found = json.loads((schemas / "_definitions.json").read_text())["$defs"]
    kinds, types, todo = {}, {}, []
    for name, schema in found.items():
        for gvk in schema.get("x-kubernetes-group-version-kind", ()):
            if gvk["kind"] in KINDS and "metadata" in schema["properties"]:
                version = "/".join(filter(None, (gvk["group"], gvk["version"])))
                kinds[f"{version} {gvk['kind']}"] = short(name)
                todo.append(name)
    while todo:
        name = todo.pop()
        if short(name) in types:
            continue
        required = found[name].get("required", ())
        fields = found[name].get("properties", {})
        fields = {key: each for key, each in fields.items() if key != "status"}
        types[short(name)] = {
            key + "!" * (key in required): shape(each, found, todo) for key, each in fields.items()
        }
        if "status" in found[name].get("properties", {}):
            types[short(name)]["status"] = "any"
    return {
        "about": "Fields and types of Kubernetes objects; `!` marks a field that is required.",
        "source": "API definitions of Kubernetes, as in kubernetes-validate 1.37.0",
        "version": VERSION,
        "licence": "Apache-2.0, The Kubernetes Authors",
        "kinds": dict(sorted(kinds.items())),
        "types": dict(sorted(types.items())),
    }


def shape(schema, found, todo):
    """Give the short name of a field's type."""
    if ref := schema.get("$ref"):
        name = ref.rsplit("/", 1)[1]
        simple = SIMPLE.get(name.rsplit(".", 1)[1])
        if simple or "properties" not in found[name]:
            return simple or "any"
        todo.append(name)
        return short(name)
    kinds = schema.get("type", "any")
    kind = kinds if isinstance(kinds, str) else next(each for each in kinds if each != "null")
    if kind == "array":
        return f"[{shape(schema['items'], found, todo)}]"
    if kind == "object":
        inner = schema.get("additionalProperties")
        return "{" + (shape(inner, found, todo) if isinstance(inner, dict) else "any") + "}"
    return {"integer": "int", "boolean": "bool"}.get(kind, kind)


def short(name):
    """`io.k8s.api.apps.v1.Deployment` is `apps.v1.Deployment`."""
    return name.removeprefix("io.k8s.").removeprefix("api.").removeprefix("apimachinery.pkg.apis.")


def text(schemas: Path) -> str:
    """Give the file's text, one type a line."""
    lines = json.dumps(shapes(schemas), indent=1).splitlines()
    return "\n".join(lines) + "\n"
