"""Runs real Terraform on a rendering, with doubles in the place of providers.

Doubles run in an environment of their own, `.venv/terraform` (`make .venv/terraform/made`), or in
that whose Python BASELOAD_TERRAFORM_PYTHON names. Terraform is told of them by its own means for
providers under development, so nothing is installed and no registry is asked.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from baseload.render.files import File
from tests.needs import give_up

HERE = Path(__file__).parent
PYTHON = Path(
    os.environ.get("BASELOAD_TERRAFORM_PYTHON")
    or HERE.parents[2] / ".venv" / "terraform" / "bin" / "python"
)
LOCAL = 'terraform {\n  backend "local" {}\n}\n'
"""State beside the files instead of in a bucket."""


def need_terraform() -> None:
    """Give up unless Terraform and what the doubles need are there."""
    if shutil.which("terraform") is None:
        give_up("terraform 1.11 or newer")
    if not PYTHON.exists():
        give_up("what the doubles of providers need: make .venv/terraform/made")


def lay(files: Iterable[File], folder: Path) -> None:
    """Write a rendering."""
    for file in files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).write_text(file.text, "utf-8")


class Terraform(msgspec.Struct, frozen=True, kw_only=True):
    """Terraform, with doubles of these providers."""

    folder: Path
    sockets: dict[str, Path]
    said: str
    """What the doubles said once they could be called."""

    def __call__(
        self, *arguments: str, at: Path | None = None, fails: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command, and see that it ends as is expected."""
        providers = {
            name: {
                "Protocol": "grpc",
                "ProtocolVersion": 6,
                "Pid": 1,
                "Test": True,
                "Addr": {"Network": "unix", "String": str(socket)},
            }
            for name, socket in self.sockets.items()
        }
        done = subprocess.run(
            ["terraform", *arguments],
            cwd=at or self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.folder),
                "CHECKPOINT_DISABLE": "1",
                "TF_CLI_CONFIG_FILE": os.devnull,
                "TF_IN_AUTOMATION": "1",
                "TF_CLI_ARGS": "-no-color",
                "TF_REATTACH_PROVIDERS": json.dumps(providers),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert fails == (done.returncode != 0), done.stdout + done.stderr
        return done

    def shown(self, plan: str) -> Any:
        """Give a plan as JSON says it."""
        return json.loads(self("show", "-json", plan).stdout)


@contextmanager
def running(
    folder: Path, script: str, schema: str, sockets: dict[str, Path]
) -> Iterator[Terraform]:
    """Start doubles, and give Terraform that knows them, in this folder."""
    need_terraform()
    with (folder / "double.log").open("w") as log:
        served = subprocess.Popen(
            [PYTHON, HERE / script, HERE / "schemas" / schema, *sockets.values()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        said = served.stdout.readline().strip()
        assert said, (folder / "double.log").read_text()
        yield Terraform(folder=folder, sockets=sockets, said=said)
    finally:
        served.communicate("")
