"""Fleets, rendered for Kubernetes into folders, and what kustomize and Helm make of them."""

from pathlib import Path

import yaml

from baseload.render.kubernetes.output import render
from tests.render.kubernetes_tools import Object, read, run
from tests.render.pictures import FULL as FILE
from tests.render.pictures import picture

FULL: dict[str, str] = {}
CHANGES: dict[str, dict[str, str]] = {
    "full": FULL,
    "adapter": {
        "  name: baseload\n  namespace: llm\n": "  namespace: llm\n  scaler: hpa\n",
        "      to_zero: true\n": "",
    },
    "ingress": {
        "    expose: gateway\n    parent: gateways/public\n":
        "    expose: ingress\n    parent: nginx\n    tls_secret: llm-tls\n"
    },
    "dra": {
        "      sharing: mps\n": "      sharing: dra\n",
        "      engine_replicas: {small: 3}\n": "",
    },
    "no sites": {FILE.read_text().partition("  sites:\n")[2].partition("  clouds:\n")[0]: ""},
}  # fmt: skip
CHANGES["no sites"]["  sites:\n"] = ""


class Rendering:
    """A fleet, rendered into a folder."""

    def __init__(self, folder: Path, changes: dict[str, str]) -> None:
        text = FILE.read_text()
        for before, after in changes.items():
            assert before in text
            text = text.replace(before, after)
        self.folder = folder
        (folder / "fleet.yaml").write_text(text)
        self.picture = picture(folder / "fleet.yaml")
        for file in render(self.picture):
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.text)
        self.sites = sorted(path.name for path in (folder / "overlays").iterdir())
        self._built = {site: self._kustomized(folder / "overlays" / site) for site in self.sites}

    def objects(self, site: str) -> list[Object]:
        """Give what kustomize makes for a site."""
        return self._built[site]

    def base(self, folder: Path) -> list[Object]:
        """Give what kustomize makes of all parts of the base."""
        (folder / "base").symlink_to(self.folder / "base")
        parts = sorted(f"base/{path.name}" for path in (self.folder / "base").iterdir())
        (folder / "kustomization.yaml").write_text(yaml.safe_dump({"resources": parts}))
        return self._kustomized(folder)

    def chart(self, *values: str) -> list[Object]:
        """Give what Helm makes of the chart with files of values."""
        files = [option for name in values for option in ("-f", self.folder / "chart" / name)]
        space = self.picture.deploy.namespace
        done = run("helm", "template", "any", self.folder / "chart", "-n", space, *files)
        assert 0 == done.returncode, done.stderr
        return read(done.stdout)

    def _kustomized(self, folder: Path) -> list[Object]:
        done = run("kubectl", "kustomize", folder)
        assert 0 == done.returncode, done.stderr
        return read(done.stdout)
