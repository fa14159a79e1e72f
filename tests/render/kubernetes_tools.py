"""What holds a rendering for Kubernetes against real tools: kubectl, Helm, the published schemas.

`make .venv/k8s/made` brings the two programs; the schemas come with `kubernetes-validate`, and
those of custom resources from `schemas/`.
"""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from kubernetes_validate import utils
from referencing import Registry, Resource

from tests.needs import give_up

BIN = Path(__file__).parent.parent.parent / ".venv/k8s/bin"
SCHEMAS = Path(__file__).parent / "schemas"
MINORS = tuple(dict.fromkeys(map(utils.major_minor, utils.all_versions())))[-3:]
"""The three newest minor versions of Kubernetes."""

Object = dict[str, Any]

# It reads two files for each object otherwise, of which one has two megabytes.
utils.schema_contents = cache(utils.schema_contents)


@cache
def _program(name: str) -> str:
    """Give a program's path; give up where it is missing or made for another machine."""
    try:
        subprocess.run([BIN / name, "--help"], capture_output=True, check=True, timeout=30)
    except OSError:
        give_up(f"{name}: make .venv/k8s/made (Linux on x86-64)")
    return str(BIN / name)


def run(name: str, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run kubectl or Helm to its end."""
    return subprocess.run(
        [_program(name), *map(str, arguments)],
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def watching(name: str, *arguments: object) -> subprocess.Popen[str]:
    """Start kubectl or Helm and read along; whoever starts it ends it."""
    return subprocess.Popen(
        [_program(name), *map(str, arguments)], stdout=subprocess.PIPE, text=True, bufsize=1
    )


class Kubectl:
    """kubectl, asking the server that a kubeconfig names."""

    def __init__(self, config: Path) -> None:
        self.options = ("--kubeconfig", config, "--cache-dir", config.parent / "cache")

    def __call__(self, *arguments: object, stdin: str = "") -> tuple[int, list[str], str]:
        """Run it; give its exit status, the lines it printed and what went wrong."""
        done = run("kubectl", *self.options, *arguments, stdin=stdin)
        return done.returncode, done.stdout.splitlines(), done.stderr

    def apply(self, *arguments: object, stdin: str = "") -> dict[str, str]:
        """Apply objects; give what became of each: created, configured, unchanged."""
        code, lines, errors = self("apply", *arguments, stdin=stdin)
        assert (0, "") == (code, errors)
        return dict(line.split(" ") for line in lines)


def read(text: str) -> list[Object]:
    """Give the objects of a YAML stream."""
    return [each for each in yaml.safe_load_all(text) if each]


def name_of(made: Object) -> str:
    """Give what a complaint calls an object."""
    return f"{made.get('kind')}/{made.get('metadata', {}).get('name')}"


def invalid(objects: Iterable[Object], minor: str) -> list[str]:
    """Say what is wrong with objects by the schemas of a version; a kind without one is wrong."""
    return [
        f"{name_of(each)}: {what}"
        for each in objects
        for what in (*_invalid(each, minor), *_parameters(each, minor))
    ]


def _invalid(made: Object, minor: str) -> Iterator[str]:
    api, kind = str(made.get("apiVersion")), str(made.get("kind"))
    if schema := custom(api, kind):
        yield from _against(schema, made, minor)
        return
    try:
        utils.validate({"apiVersion": api, "kind": kind, **made}, minor, strict=True)
    except utils.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"
    except utils.SchemaNotFoundError as error:
        yield error.message


def _parameters(made: Object, minor: str) -> Iterator[str]:
    """Check what a device driver is told, which Kubernetes itself does not look at."""
    if made.get("kind") not in ("DeviceClass", "ResourceClaim", "ResourceClaimTemplate"):
        return
    for parameters in _found(made, "parameters"):
        api, kind = str(parameters.get("apiVersion")), str(parameters.get("kind"))
        if schema := custom(api, kind):
            yield from _against(schema, parameters, minor)
        else:
            yield f"parameters: Couldn't find schema for {kind} of {api}"


def _found(value: Any, key: str) -> Iterator[Object]:
    if isinstance(value, dict):
        for name, each in value.items():
            yield from [each] if name == key else _found(each, key)
    elif isinstance(value, list):
        for each in value:
            yield from _found(each, key)


def _against(schema: Object, made: Object, minor: str) -> Iterator[str]:
    checker = Draft202012Validator(schema, registry=_registry(minor))
    for error in checker.iter_errors(made):
        yield f"{'.'.join(map(str, error.path))}: {error.message}"


@cache
def custom(api: str, kind: str) -> Object:
    """Give the schema of a custom resource; nothing if there is none."""
    group, _, version = api.rpartition("/")
    path = SCHEMAS / f"{group}_{kind}_{version}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


@cache
def definitions(minor: str) -> Object:
    """Give the types of a Kubernetes version."""
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    return json.loads((folder / f"v{minor}.0-local-strict/_definitions.json").read_text())


@cache
def schema_of(api: str, kind: str) -> Object:
    """Give the schema of a kind in the newest version; nothing if there is none."""
    if schema := custom(api, kind):
        return schema
    version = re.sub(r"^([^./]*)(?:[.][^/]*)?/", r"\1-", api)
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema"
    path = folder / f"v{MINORS[-1]}.0-local-strict/{kind.lower()}-{version}.json"
    return json.loads(path.read_text()) if path.is_file() else {}


@cache
def _registry(minor: str) -> Registry[Any]:
    return Resource.from_contents(definitions(minor)) @ Registry()
