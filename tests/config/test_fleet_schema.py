"""The JSON Schema of the fleet file.

No validator is installed, so `problems` below is one: it knows just the keywords that the schema
uses and fails on any other. That shows that the schema accepts good files and refuses a few bad
ones under the plain meaning of those keywords; it does not show that every editor agrees.
"""

import json
import operator
import re

import pytest
import yaml

from baseload.config.default import init_text
from baseload.config.reading import parse_fleet
from baseload.config.schema import fleet_schema

NOTES = {"type", "$schema", "$defs", "title", "description", "default", "examples"}
KINDS = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "null": type(None),
}
DESIGN = """
listen: 127.0.0.1:8080
admin: 127.0.0.1:9090
backends:
  deepseek: {url: https://api.deepseek.com/v1, api_key: "${DEEPSEEK_API_KEY}", concurrency: 500}
  edge:     {url: http://gpu-1.lan:8000/v1}
  cpu:      {engine: llama.cpp, model: smollm2-135m-instruct}
models:
  deepseek-chat:
    tiers:
      - deepseek: {model: deepseek-chat, share: 90, weights: deepseek-v3}
        edge:     {model: deepseek-v3, share: 10, weights: deepseek-v3}
      - cpu:      {model: smollm2-135m-instruct}
    first_token_s: 10
    stall_s: 10
    total_s: 600
    resume: same_weights
overload: {error_rate: 0.05, latency_s: 0.2}
store: {ledger: sqlite:///baseload.db, counters: memory://}
"""


SCHEMA = fleet_schema()
CHECKS = {
    "enum": lambda wanted, value: value in wanted,
    "required": lambda wanted, value: set(wanted) <= value.keys(),
    "pattern": re.search,
    "anyOf": lambda wanted, value: any(not problems(one, value) for one in wanted),
    "minLength": lambda wanted, value: len(value) >= wanted,
    "minItems": lambda wanted, value: len(value) >= wanted,
    "minProperties": lambda wanted, value: len(value) >= wanted,
    "minimum": operator.le,
    "maximum": operator.ge,
    "exclusiveMinimum": operator.lt,
}


def parts(schema, keyword, value, path):
    """Yield each (schema, value, path) inside `value` that `keyword` speaks about."""
    wanted = schema[keyword]
    match keyword:
        case "$ref":
            yield SCHEMA["$defs"][wanted.removeprefix("#/$defs/")], value, path
        case "properties":
            for name in wanted.keys() & value.keys():
                yield wanted[name], value[name], f"{path}.{name}"
        case "additionalProperties":
            for name in value.keys() - schema.get("properties", {}).keys():
                yield wanted, value[name], f"{path}.{name}"
        case "propertyNames":
            for name in value:
                yield wanted, name, f"{path}.{name}"
        case "items":
            for index, one in enumerate(value):
                yield wanted, one, f"{path}[{index}]"
        case _:
            assert keyword in NOTES


def problems(schema, value, path="$"):
    """Return what `schema` has against `value`; a keyword it does not know is an error."""
    if schema is False:
        return [f"{path}: unknown"]
    if "type" in schema and (not isinstance(value, KINDS[schema["type"]]) or value is True):
        return [f"{path}: type"]
    found = [
        f"{path}: {keyword}"
        for keyword, wanted in schema.items()
        if keyword in CHECKS and not CHECKS[keyword](wanted, value)
    ]
    for keyword in schema.keys() - CHECKS.keys():
        for part in parts(schema, keyword, value, path):
            found += problems(*part)
    return found


@pytest.mark.parametrize("text", [init_text(), init_text(with_deepseek=True), DESIGN])
def test_good_files(text):
    """Schema and reader accept the files that init writes and the example of the design."""
    assert problems(SCHEMA, yaml.safe_load(text)) == []
    assert parse_fleet(text, "f", {"DEEPSEEK_API_KEY": "k"})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"listne": ""}, ["$.listne: unknown"]),
        ({"listen": 8080}, ["$.listen: type"]),
        ({"backends": {}}, ["$.backends: minProperties"]),
        ({"backends": {"a b": {}}}, ["$.backends.a b: pattern"]),
        ({"backends": {"a": {"name": "a"}}}, ["$.backends.a.name: unknown"]),
        ({"backends": {"a": {"engine": "x"}}}, ["$.backends.a.engine: anyOf"]),
        ({"models": {"m": {}}}, ["$.models.m: required"]),
        ({"models": {"m": {"tiers": [{"a": {"model": "m", "backend": "a"}}]}}},
         ["$.models.m.tiers[0].a.backend: unknown"]),
        ({"queue": {"size": -1, "wait_s": 0}},
         ["$.queue.size: minimum", "$.queue.wait_s: exclusiveMinimum"]),
        ({"tls": None}, []),
    ],
)  # fmt: skip
def test_bad_files(change, expected):
    """The schema refuses unknown keys, filled-in names, wrong kinds and ranges."""
    seen = problems(SCHEMA, {**yaml.safe_load(DESIGN), **change})

    assert expected == sorted(seen)


def test_form():
    """The schema names its dialect, has no id, and describes every field."""
    schema = SCHEMA

    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in schema
    assert "Fleet" not in json.dumps(schema)
    structs = {"Fleet file": schema, **schema["$defs"]}
    bare = [
        f"{struct}.{name}"
        for struct, form in structs.items()
        for name, field in form["properties"].items()
        if not field.get("description")
    ]
    assert bare == []
    assert all(form["additionalProperties"] is False for form in structs.values())
    assert all(form["description"] for form in structs.values())
