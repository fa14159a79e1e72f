"""The package kubernetes-validate, where it is installed."""

from importlib import import_module
from importlib.util import find_spec

from tests.needs import give_up


def package():
    """Give the package, or give up."""
    if find_spec("kubernetes_validate") is None:
        give_up("kubernetes-validate")
    return import_module("kubernetes_validate")
