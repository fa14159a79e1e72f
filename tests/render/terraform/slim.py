"""Makes `schemas/*.json.gz`: what a provider's published schema says of the resources used here.

    python -m tests.render.terraform.slim aws cdktn_provider_aws-25.8.1-py3-none-any.whl

The wheel is of PyPI's `cdktn-provider-aws`, whose types are generated from the schema of
hashicorp/aws 6.69.1 (MPL-2.0), and say for each resource which arguments it has, of which type, and
which are required. They do not say which optional arguments the provider fills in by itself, which
lists are sets, which values it takes, and what excludes what; so neither does what is made here.
"""

import argparse
import gzip
import io
import json
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

from baseload.render.terraform.output import shipped

SCHEMAS = Path(__file__).parent / "schemas"
PRIMITIVES = {"string": "string", "number": "number", "boolean": "bool", "any": "dynamic"}
META = ("count", "depends_on", "for_each", "lifecycle", "provider", "connection", "provisioners")


def used(cloud: str) -> dict[str, set[str]]:
    """Give the types of resources and of data sources in a cloud's modules."""
    text = "\n".join(text for path, text in shipped(cloud) if path.endswith(".tf"))
    return {
        "resource": set(re.findall(r'^resource "(\w+)"', text, re.MULTILINE)),
        "data": set(re.findall(r'^data "(\w+)"', text, re.MULTILINE)),
    }


class Types:
    """The types of a package."""

    def __init__(self, wheel: Path) -> None:
        with zipfile.ZipFile(wheel) as packed:
            (name,) = [name for name in packed.namelist() if name.endswith(".jsii.tgz")]
            packed_again = io.BytesIO(packed.read(name))
        with tarfile.open(fileobj=packed_again) as inner:
            self.all = json.load(inner.extractfile("package/.jsii"))["types"]
        self.by_name = {name.lower(): name for name in self.all}

    def entry(self, kind: str) -> dict[str, Any]:
        """Give the schema of `aws_lb`, or of `data_aws_subnet`."""
        plain = kind if kind.startswith("data_") else kind.partition("_")[2]
        plain = plain.replace("_", "")
        # Where a block of another resource has the name already, an A follows.
        found = re.compile(rf"@cdktn/[a-z-]+\.{plain}\.{plain}a?")
        (name,) = [self.by_name[each] for each in self.by_name if found.fullmatch(each)]
        block = self.block(name + "Config")
        self._computed(name, block)
        block["attributes"]["id"] = {"type": "string", "optional": True, "computed": True}
        return {"version": 0, "block": block}

    def block(self, name: str) -> dict[str, Any]:
        """Give what may stand in a block."""
        block: dict[str, Any] = {"attributes": {}, "block_types": {}}
        for each in self.all[name].get("properties", []):
            key = _argument(each)
            if key is None or key in META:
                continue
            needed = {"optional": True} if each.get("optional") else {"required": True}
            inner, is_one = self._inner(each["type"])
            if "Defaults to the Region set" in each["docs"].get("summary", ""):
                needed["computed"] = True
            if inner and each["docs"].get("summary", "").endswith(" block."):
                nested = {"nesting_mode": "list", "block": self.block(inner)}
                if key == "timeouts":
                    nested["nesting_mode"] = "single"
                else:
                    nested |= {"min_items": 1} if "required" in needed else {}
                    nested |= {"max_items": 1} if is_one else {}
                block["block_types"][key] = nested
            else:
                block["attributes"][key] = {"type": self._type(each["type"]), **needed}
        return block

    def _inner(self, kind: dict[str, Any]) -> tuple[str, bool]:
        """Give the struct that a type is, or is a list of; and whether it is a single one."""
        if "union" in kind:
            return self._inner(_without_tokens(kind))
        if "collection" in kind:
            return self._inner(kind["collection"]["elementtype"])[0], False
        name = kind.get("fqn", "")
        return (name, True) if name.startswith("@cdktn/") else ("", True)

    def _type(self, kind: dict[str, Any]) -> Any:
        if "primitive" in kind:
            return PRIMITIVES[kind["primitive"]]
        if "union" in kind:
            return self._type(_without_tokens(kind))
        if "collection" in kind:
            of = self._type(kind["collection"]["elementtype"])
            return ["map" if kind["collection"]["kind"] == "map" else "list", of]
        name = kind["fqn"]
        if not name.startswith("@cdktn/"):
            return {"cdktn.StringMap": ["map", "string"]}.get(name, "bool")
        if name.endswith("List"):
            return ["list", self._type({"fqn": name.removesuffix("List") + "OutputReference"})]
        fields = {
            _snake(each["name"]): self._type(each["type"])
            for each in self.all[name].get("properties", [])
            if each["name"] not in ("internalValue", "fqn") and not each["name"].endswith("Input")
        }
        return ["object", fields]

    def _computed(self, name: str, block: dict[str, Any]) -> None:
        """Add what can only be read."""
        for each in self.all[name]["properties"]:
            key = _snake(each["name"])
            known = key in block["attributes"] or key in block["block_types"]
            if not (known or each.get("static") or each["name"].endswith("Input")):
                block["attributes"][key] = {"type": self._type(each["type"]), "computed": True}


def _without_tokens(kind: dict[str, Any]) -> dict[str, Any]:
    kinds = [each for each in kind["union"]["types"] if each.get("fqn") != "cdktn.IResolvable"]
    return kinds[0]


def _argument(field: dict[str, Any]) -> str | None:
    found = re.search(r"#([a-z0-9_]+) ", json.dumps(field.get("docs", {})))
    return found[1] if found else None


def _snake(name: str) -> str:
    return re.sub(r"([A-Z])", lambda found: "_" + found[1].lower(), name)


def main() -> None:
    """Write a schema."""
    parser = argparse.ArgumentParser()
    parser.add_argument("cloud")
    parser.add_argument("wheel", type=Path)
    given = parser.parse_args()
    types, wanted = Types(given.wheel), used(given.cloud)
    provider = next(name for name in sorted(wanted["resource"])).partition("_")[0]
    configured = f"@cdktn/provider-{provider}.provider.{provider.title()}ProviderConfig"
    made = {
        "source": f"{given.wheel.name}: package/.jsii of its bundled npm package",
        "licence": "MPL-2.0",
        "provider": {"version": 0, "block": types.block(configured)},
        "resource_schemas": {name: types.entry(name) for name in sorted(wanted["resource"])},
        "data_source_schemas": {
            name: types.entry("data_" + name)
            for name in sorted(wanted["data"])
            if name.startswith(provider + "_")
        },
    }
    text = json.dumps(made, sort_keys=True, separators=(",", ":"))
    SCHEMAS.mkdir(exist_ok=True)
    (SCHEMAS / f"{provider}.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
