"""The fleet file's form as JSON Schema, so that an editor completes and checks while one types.

It is generated from the structs, like everything else that knows the form. A schema cannot say all
that the reader checks (that a tier's backend exists, that `url` and `engine` exclude each other),
so `baseload check` has the last word.
"""

from typing import Any, Final

import msgspec
from msgspec import inspect

from baseload.config.fleet import Fleet
from baseload.config.wishes import fields, wish

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def fleet_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the fleet file."""
    schema = msgspec.json.schema(Fleet)
    definitions: dict[str, Any] = schema["$defs"]
    root = definitions.pop(Fleet.__name__)
    for struct in _structs(inspect.type_info(Fleet)):
        properties = root["properties"]
        if struct.cls is not Fleet:
            properties = definitions[struct.cls.__name__]["properties"]
        for name, wanted in fields(struct).items():
            if wanted.is_filled_in:
                properties.pop(name, None)
            elif wanted.description:  # also where msgspec hides it: in a branch of `anyOf`
                properties[name].setdefault("description", f"{wanted.description}.")
    return {
        "$schema": DIALECT,
        **root,
        "title": "Baseload fleet file",
        "$defs": dict(sorted(definitions.items())),
    }


def _structs(kind: inspect.Type) -> list[inspect.StructType]:
    """Return every struct inside `kind`, as often as it appears."""
    inner = wish(kind).type
    if isinstance(inner, inspect.StructType):
        return [inner, *(each for one in inner.fields for each in _structs(one.type))]
    if isinstance(inner, inspect.DictType):
        return _structs(inner.value_type)
    return _structs(inner.item_type) if isinstance(inner, inspect.VarTupleType) else []
