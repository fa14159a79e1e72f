"""Makes `schemas/tencentcloud.json.gz`: what is published of the resources used here.

    python -m tests.render.terraform.slim_tencent tencentcloud_iac_pulumi-0.2.3.tar.gz

The archive is of PyPI's `tencentcloud-iac-pulumi` (Apache-2.0): Python that is generated from the
schema of tencentcloudstack/tencentcloud, and says for each resource which arguments it has, of which
type, which are required, and what can only be read. It calls lists in the plural where Terraform has
the singular, and has a list of one at most as the thing itself; what that changes here is in
`TERRAFORM`, from the provider's documentation. As it does not say which of these are blocks that may
come once, which lists are sets, what is taken and what excludes what, neither does what is made here.
"""

import argparse
import ast
import gzip
import json
import re
import tarfile
from pathlib import Path
from typing import Any

from tests.render.terraform.slim import SCHEMAS, used

PRIMITIVES = {"str": "string", "int": "number", "float": "number", "bool": "bool", "Any": "dynamic"}
TERRAFORM = {
    "as_scaling_config.data_disks": "data_disk",
    "as_scaling_group.forward_balancer_ids.target_attributes": "target_attribute",
    "billing_budget.dimensions_range.businesses": "business",
    "billing_budget.dimensions_range.pay_modes": "pay_mode",
    "billing_budget.dimensions_range.tags.tag_values": "tag_value",
    "billing_budget.warn_jsons": "warn_json",
    "billing_budget.wave_threshold_jsons": "wave_threshold_json",
    "clb_listener.multi_cert_info.cert_id_lists": "cert_id_list",
    "cos_bucket.lifecycle_rules.non_current_transitions": "non_current_transition",
    "cos_bucket.lifecycle_rules.transitions": "transition",
    "igtm_address_pool.address_sets": "address_set",
    "igtm_strategy.fallback_address_pool_sets": "fallback_address_pool_set",
    "igtm_strategy.main_address_pool_sets": "main_address_pool_set",
    "igtm_strategy.sources": "source",
    "monitor_alarm_policy.group_bies": "group_by",
    "monitor_alarm_policy.policy_tags": "policy_tag",
    "nat_gateway.assigned_eip_sets": "assigned_eip_set",
    "scf_function.cfs_configs": "cfs_config",
    "scf_function.image_configs": "image_config",
    "scf_function_event_invoke_config.async_trigger_config.retry_configs": "retry_config",
    "security_group_rule_set.egresses": "egress",
    "security_group_rule_set.ingresses": "ingress",
}
LISTS = {"as_scaling_group.termination_policies"}
"""Lists of one at most, of plain values."""
ELSEWHERE = {"vpc": "vpc_instance", "subnet": "subnet_instance", "eip": "eip_instance"}
USER = dict.fromkeys(("app_id", "name", "owner_uin", "uin"), "string")
"""What the one data source gives, `tencentcloud_user_info`."""


class Types:
    """The classes of the package, by file."""

    def __init__(self, archive: Path) -> None:
        self.files: dict[str, ast.Module] = {}
        self.resources: dict[str, tuple[str, str]] = {}
        with tarfile.open(archive) as packed:
            for each in packed:
                if re.fullmatch(r"[^/]+/tencentcloud_iac_pulumi/(\w+/)?\w+\.py", each.name):
                    self._read(each.name, packed.extractfile(each).read().decode())
        self.root = next(each for each in self.files if each.endswith("pulumi/provider.py"))

    def _read(self, name: str, text: str) -> None:
        token = re.search(r"type_token\(.tencentcloud:(\w+)/(\w+):(\w+)", text)
        if token:
            key = f"{_snake(token[1])}_{_snake(token[2])}"
            self.resources[key] = (name, token[3])
        if token or name.endswith(("_inputs.py", "pulumi/provider.py")):
            self.files[name] = ast.parse(text)

    def resource(self, name: str) -> dict[str, Any]:
        """Give the schema of a resource, without `tencentcloud_`."""
        file, kind = self.resources[ELSEWHERE.get(name, name)]
        block = self.block(name, self._arguments(file, f"{kind}Args"), file)
        for plural, text, _ in self._arguments(file, f"_{kind}State"):
            key = TERRAFORM.get(f"{name}.{plural}", plural)
            if key not in block["attributes"] and key not in block["block_types"]:
                shape, inner = _shape(text)
                made = shape if inner is None else ["list", ["map", "string"]]
                block["attributes"][key] = {"type": made, "computed": True}
        block["attributes"]["id"] = {"type": "string", "optional": True, "computed": True}
        return {"version": 0, "block": block}

    def provider(self) -> dict[str, Any]:
        """Give what the provider itself is told."""
        block = self.block("provider", self._arguments(self.root, "ProviderArgs"), self.root)
        return {"version": 0, "block": block}

    def block(self, path: str, arguments: list[tuple[str, str, bool]], file: str) -> dict[str, Any]:
        """Give what may stand in a block."""
        block: dict[str, Any] = {"attributes": {}, "block_types": {}}
        inputs = f"{file.rpartition('/')[0]}/_inputs.py"
        for plural, text, is_needed in arguments:
            name = TERRAFORM.get(f"{path}.{plural}", plural)
            shape, inner = _shape(text)
            if inner is None:
                shape = ["list", shape] if f"{path}.{plural}" in LISTS else shape
                needed = {"required": True} if is_needed else {"optional": True}
                block["attributes"][name] = {"type": shape, **needed}
                continue
            below = self.block(f"{path}.{plural}", self._arguments(inputs, inner), file)
            nested: dict[str, Any] = {"nesting_mode": "list", "block": below}
            nested |= {"min_items": 1} if is_needed else {}
            nested |= {"max_items": 1} if shape == "one" else {}
            block["block_types"][name] = nested
        return block

    def _arguments(self, file: str, kind: str) -> list[tuple[str, str, bool]]:
        """Give name and type of what a class is made of, and whether it is needed."""
        made = next(
            c for c in self.files[file].body if isinstance(c, ast.ClassDef) and c.name == kind
        )
        begin = next(
            f for f in made.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"
        )
        pairs = zip(begin.args.kwonlyargs, begin.args.kw_defaults, strict=True)
        return [
            (each.arg, ast.unparse(each.annotation), default is None) for each, default in pairs
        ]


def _shape(text: str) -> tuple[Any, str | None]:
    """Read an annotation: a type of Terraform's; or `one` or `many`, and of which class."""
    text = text.replace("_builtins.", "").replace(" ", "")
    while found := re.fullmatch(r"(?:Optional|pulumi\.Input)\[(.*)\]", text):
        text = found[1]
    if found := re.fullmatch(r"Sequence\[(.*)\]", text):
        shape, inner = _shape(found[1])
        return ("many", inner) if inner else (["list", shape], None)
    if found := re.fullmatch(r"Mapping\[str,(.*)\]", text):
        return ["map", _shape(found[1])[0]], None
    if found := re.fullmatch(r"'(\w+)'", text):
        return "one", found[1]
    return PRIMITIVES[text], None


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", name).lower()


def main() -> None:
    """Write the schema."""
    parser = argparse.ArgumentParser()
    parser.add_argument("archive", type=Path)
    types, wanted = Types(parser.parse_args().archive), used("tencent")
    user = {
        name: {"type": kind, "computed": True} for name, kind in {**USER, "id": "string"}.items()
    }
    made = {
        "source": "tencentcloud-iac-pulumi 0.2.3: the argument classes of its Python",
        "licence": "Apache-2.0",
        "provider": types.provider(),
        "resource_schemas": {
            name: types.resource(name.removeprefix("tencentcloud_"))
            for name in sorted(wanted["resource"])
        },
        "data_source_schemas": {
            "tencentcloud_user_info": {"version": 0, "block": {"attributes": user}}
        },
    }
    text = json.dumps(made, sort_keys=True, separators=(",", ":"))
    (SCHEMAS / "tencentcloud.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
