"""How is a patch laid over an object? For the double of the API server.

A merge patch is RFC 7386. A strategic one merges lists by a key that the type's schema names, which
is how kubectl patches the kinds that it knows.
"""

from copy import deepcopy
from typing import Any

from tests.render.kubernetes_tools import MINORS, definitions

Schema = dict[str, Any]
ORDER, REMOVED, KEPT = "$setElementOrder/", "$deleteFromPrimitiveList/", "$retainKeys"
STRATEGY, KEY = "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key"


def merged(now: Any, patch: Any) -> Any:
    """Lay a merge patch over a value."""
    if not isinstance(patch, dict):
        return patch
    result = dict(now) if isinstance(now, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


def strategic(now: Any, patch: dict[str, Any], schema: Schema) -> dict[str, Any]:
    """Lay a strategic merge patch over an object of a schema."""
    result = deepcopy(now) if isinstance(now, dict) else {}
    if "$patch" in patch:
        kept = patch if patch["$patch"] == "replace" else {}
        return {key: value for key, value in kept.items() if key != "$patch"}
    if KEPT in patch:
        result = {key: value for key, value in result.items() if key in patch[KEPT]}
    for key, value in patch.items():
        if key.startswith("$"):
            continue
        below = _below(schema, key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            result[key] = strategic(result.get(key), value, below)
        elif isinstance(value, list) and "merge" in below.get(STRATEGY, ""):
            result[key] = _lists(result.get(key) or [], value, below)
        else:
            result[key] = value
    for key, value in patch.items():
        if key.startswith(REMOVED):
            name = key.removeprefix(REMOVED)
            result[name] = [each for each in result.get(name, []) if each not in value]
        elif key.startswith(ORDER):
            name = key.removeprefix(ORDER)
            result[name] = _ordered(result.get(name, []), value, _below(schema, name).get(KEY))
    return result


def _lists(now: list[Any], patch: list[Any], schema: Schema) -> list[Any]:
    key = schema.get(KEY)
    if key is None:
        return now + [each for each in patch if each not in now]
    if any(each.get("$patch") == "replace" for each in patch):
        return [each for each in patch if "$patch" not in each]
    result = {each.get(key): each for each in now}
    for each in patch:
        if each.get("$patch") == "delete":
            result.pop(each.get(key), None)
        else:
            result[each.get(key)] = strategic(
                result.get(each.get(key)), each, _resolved(schema.get("items", {}))
            )
    return list(result.values())


def _ordered(now: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """Sort as the patch says; what it does not know of comes last."""
    names = [each.get(key) for each in order] if key else order

    def place(each: Any) -> int:
        name = each.get(key) if key else each
        return names.index(name) if name in names else len(names)

    return sorted(now, key=place)


def _below(schema: Schema, key: str) -> Schema:
    """Give the schema of a field, with what stands beside its reference."""
    properties = _resolved(schema).get("properties", {})
    return _resolved(properties.get(key) or _resolved(schema).get("additionalProperties") or {})


def _resolved(schema: Any) -> Schema:
    if not isinstance(schema, dict):
        return {}
    if not (reference := schema.get("$ref", "")):
        return schema
    name = reference.rpartition("/")[2]
    return {**definitions(MINORS[-1])["$defs"].get(name, {}), **schema, "$ref": ""}
