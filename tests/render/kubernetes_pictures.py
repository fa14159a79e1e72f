"""Renderings for Kubernetes in tests: of which fleets, and as which objects."""

from pathlib import Path
from typing import Any

import yaml

from baseload.render.files import File
from baseload.render.kubernetes import output
from baseload.render.kubernetes.objects import Part
from baseload.render.kubernetes.plain import settled
from baseload.render.picture import Picture
from tests.render.pictures import DATA, FULL, picture

GROUPS = [
    {
        "name": "baseload",
        "rules": [
            {
                "alert": "BackendIsOut",
                "expr": "max by (backend) (baseload_backend_up) == 0",
                "annotations": {"summary": "{{ $labels.backend }} is out"},
            }
        ],
    }
]
"""Rules with braces, which Helm must leave alone."""
FILE = """\
backends: {deepseek: {url: https://api.deepseek.com/v1, api_key: "${KEY}"}}
models: {m: {tiers: [{deepseek: {model: m}}]}}
"""
"""The least of a fleet; what a test is about is added."""
OPEN = "open_to_all: true\n"


def strange(tmp_path: Path) -> Picture:
    """Give the picture of `strange.yaml`; certificates must be files that are there."""
    text = (DATA / "strange.yaml").read_text().replace("@THERE@", str(FULL))
    return of(text, tmp_path)


def of(text: str, tmp_path: Path) -> Picture:
    """Give the picture of a fleet file's text."""
    path = tmp_path / "baseload.yaml"
    path.write_text(text)
    return picture(path)


def written(files: tuple[File, ...], folder: Path) -> Path:
    """Write a rendering."""
    for file in files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).write_text(file.text)
    return folder


def objects(parts: Part | tuple[Part, ...]) -> dict[str, Any]:
    """Give the objects of parts by kind; the first of each."""
    several = parts if isinstance(parts, tuple) else (parts,)
    made = [settled(one) for part in several for sheet in part.sheets for one in sheet.objects]
    return {one["kind"]: one for one in reversed(made)}


def overlay(files: tuple[File, ...], site: str) -> dict[str, Any]:
    """Give the overlay of a site."""
    path = f"overlays/{site}/kustomization.yaml"
    return yaml.safe_load(next(file.text for file in files if file.path == path))


def rendered(made: Picture) -> tuple[File, ...]:
    """Give all files."""
    return output.render(made)
