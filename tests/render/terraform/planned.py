"""What real Terraform plans of a rendering, where its provider is a double that makes nothing."""

import base64
import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from baseload.render.files import File
from tests.render.terraform.running import LOCAL, Terraform, lay, running

DOUBLED = (
    "azcopy", "blkid", "coscli", "curl", "docker", "hostname", "iptables", "lsblk", "mdadm", "mkfs.xfs", "mount",
    "mountpoint", "sha256sum", "sleep", "systemctl", "tccli",
)  # fmt: skip
"""What a machine calls at its first start that is not here, or must not be touched."""


def initialised(
    files: Iterable[File], folder: Path, cloud: str, provider: str
) -> Iterator[Terraform]:
    """Give Terraform in a cloud's folder, with doubles, initialised."""
    lay(files, folder)
    name = provider.rpartition("/")[2]
    sockets = {provider: folder / "cloud.sock", "hashicorp/archive": folder / "archive.sock"}
    with running(folder / cloud, "double.py", f"{name}.json.gz", sockets) as found:
        (found.folder / "backend_override.tf").write_text(LOCAL)
        found("init")
        yield found


def planned(terraform: Terraform, *told: str) -> dict[str, Any]:
    """Give each resource's planned values by its address."""
    terraform("plan", "-out=plan", *told)
    values: dict[str, Any] = {}
    modules = [terraform.shown("plan")["planned_values"]["root_module"]]
    while modules:
        module = modules.pop()
        modules += module.get("child_modules", [])
        values |= {each["address"]: each.get("values", {}) for each in module.get("resources", [])}
    return values


def summaries(terraform: Terraform, text: str) -> dict[str, int]:
    """Say how often Terraform complains of what, once this is added."""
    planted = terraform.folder / "planted.tf"
    planted.write_text(text)
    try:
        said = json.loads(terraform("validate", "-json", fails=True).stdout)
    finally:
        planted.unlink()
    return dict(Counter(each["summary"] for each in said["diagnostics"]))


def templated(terraform: Terraform, path: str, values: dict[str, Any]) -> str:
    """Give what Terraform makes of a template."""
    asked = f"base64encode(templatefile({json.dumps(path)}, jsondecode({json.dumps(json.dumps(values))})))"
    (terraform.folder / "asked.txt").write_text(asked.replace("${", "$${"))
    shown = terraform("console", stdin=(terraform.folder / "asked.txt").read_text()).stdout
    return base64.b64decode(shown.strip().strip('"')).decode()


def booted(script: str, folder: Path, says: dict[str, str]) -> list[list[str]]:
    """Run a machine's first start below a folder, with doubles of all that it calls.

    Each double notes its arguments and says what `says` has for it. Gives what was called, in order.
    It shows that the script runs and what it would call; not that there are such disks or stores.
    """
    (folder / "bin").mkdir(parents=True)
    calls = folder / "calls"
    for name in DOUBLED:
        text = f"#!/bin/bash\nprintf '%s\\0' {name} \"$@\" >>'{calls}'; echo >>'{calls}'\n"
        (folder / "bin" / name).write_text(text + says.get(name, "") + "\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "boot.sh").write_text(script)
    path = f"{folder / 'bin'}:{os.environ['PATH']}"
    subprocess.run(
        ["bash", folder / "boot.sh"],
        env={"PATH": path, "BASELOAD_ROOT": str(folder / "root")},
        check=True, capture_output=True, timeout=20,
    )  # fmt: skip
    lines = calls.read_bytes().split(b"\0\n")
    return [line.decode().split("\0") for line in lines if line]
