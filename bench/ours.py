"""Baseload itself as one of the proxies that are compared: as it comes, and as others run it."""

import hashlib
import shutil
from pathlib import Path

from machine import BenchError, first_line
from peers import ROOT, Peer, Place

BASELOAD = """\
listen: 127.0.0.1:{port}
admin: 127.0.0.1:{admin}
backends: {{mock: {{url: "http://127.0.0.1:{backend}/v1", concurrency: 8192}}}}
models: {{{model}: {{tiers: [{{mock: {{model: {model}}}}}], assemble: false}}}}
inbound: {{connections: 16384}}
"""
TENANTS = """\
keys:
  - name: bench
    sha256: {sha256}
    rpm: 100000000
    tpm: 100000000000
    concurrency: 100000
    usd_day: 1000000
    per_model: {{{model}: {{rpm: 100000000}}}}
prices:
  - {{backend: mock, model: {model}, since: 2026-01-01, input_usd_mtok: 1, output_usd_mtok: 2}}
"""
"""What a team adds: a key with every limit, out of the way, and prices."""
SHOWN_KEY = "sk-bench"
"""What the load shows."""


def _python_version(python: str) -> str:
    say = "import platform as p; print(p.python_implementation(), p.python_version())"
    return first_line([python, "-c", say])


def baseload(
    python: str, name: str = "baseload", tree: Path = ROOT, config: str = BASELOAD
) -> Peer:
    """Describe Baseload from a checkout, this one by default, run by the interpreter `python`."""

    def command(place: Place) -> list[str]:
        return [python, "-m", "baseload", "up", "-c", place.write("baseload.yaml", config)]

    where = "this checkout" if tree == ROOT else str(tree)
    return Peer(
        name,
        command,
        lambda: f"{where}, {_python_version(python)}",
        environment={"PYTHONPATH": str(tree / "src")},
    )


def tenants(python: str) -> Peer:
    """Describe Baseload as a team runs it: with keys, limits, prices and the ledger."""
    digest = hashlib.sha256(SHOWN_KEY.encode()).hexdigest()
    more = TENANTS.replace("{sha256}", digest)
    return baseload(python, "baseload, tenants", config=BASELOAD + more)


def other_tree(python: str, tree: Path) -> Peer:
    """Describe Baseload from another checkout, an older one, say."""
    return baseload(python, f"baseload at {tree.name}", tree.absolute())


def baseloads(pythons: list[str]) -> list[Peer]:
    """Describe Baseload once for each interpreter; more than one are told apart by version."""
    found = [shutil.which(python) for python in pythons]
    for python, path in zip(pythons, found, strict=True):
        if path is None:
            raise BenchError(f"--python {python}: no such program")
    # Peers run in folders of their own. Symlinks stay: they are how a venv is recognised.
    pythons = [str(Path(path).absolute()) for path in found if path]
    if len(pythons) == 1:
        return [baseload(pythons[0])]
    names = [f"baseload ({_python_version(python)})" for python in pythons]
    return [
        baseload(python, name if names.count(name) == 1 else f"{name[:-1]}, {python})")
        for python, name in zip(pythons, names, strict=True)
    ]
