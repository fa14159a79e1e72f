"""`shapes.json` is what Kubernetes' definitions say."""

import os
from importlib.resources import files
from pathlib import Path

from baseload.doctor.shape import CHOICES, KINDS, TYPES
from tests.doctor import schemas, shaping

FILE = Path(str(files("baseload.doctor") / "shapes.json"))


def test_it_is_made_from_the_schemas():
    """Made anew from the schemas of kubernetes-validate, the file is the same."""
    folder = Path(schemas.package().__file__).parent / "kubernetes-json-schema"
    text = shaping.text(folder / f"v{shaping.VERSION}.0-local-strict")
    if os.environ.get("BASELOAD_GOLDEN"):
        FILE.write_text(text)

    assert text == FILE.read_text()


def test_choices_are_of_fields_that_exist():
    """Every word list belongs to a field that is text, and every kind to a type."""
    assert {"string"} == {TYPES[type_][field] for type_, field in CHOICES}
    assert set() == set(KINDS.values()) - set(TYPES)
