"""Does the package kubernetes-validate, where it is installed, find something more?

It carries Kubernetes' own schemas. What it says is a second opinion on form: a finding is kept only
where no rule has found the API server's reason already.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any, Final

from baseload.config.mistakes import printable
from baseload.doctor.manifests import Manifest, Pointer, text
from baseload.doctor.rules import Hit
from baseload.doctor.shape import MOVED, VERSION, is_of_kubernetes, type_of

RULE: Final = "schema"
PACKAGE: Final = "kubernetes_validate"
MESSAGE_CHARACTERS_MAX: Final = 200


def is_there() -> bool:
    """Say whether the package is installed."""
    return find_spec(PACKAGE) is not None


def check(manifest: Manifest) -> Iterator[Hit]:
    """Find the first way in which an object breaks its schema."""
    found = _validated(manifest)
    if isinstance(found, Hit):
        yield found


def knows(manifest: Manifest) -> bool:
    """Say whether this kind can be checked at all, here or by the package."""
    if type_of(manifest) is not None or (
        manifest.kind in MOVED and is_of_kubernetes(text(manifest.body, "apiVersion"))
    ):  # fmt: skip
        return True
    return is_there() and _validated(manifest) is not False


def note() -> str:
    """Say what was checked against what."""
    if is_there():
        return ""
    return (
        f"form was checked against the fields of Kubernetes {VERSION}, for its usual kinds only; "
        "with `pip install 'baseload[k8s]'` every kind is checked against the full schemas"
    )


def _validated(manifest: Manifest) -> Hit | bool:
    """Give what is wrong; True: nothing; False: the package does not know the kind."""
    import kubernetes_validate as package  # noqa: PLC0415 - an extra, and slow to import

    body = manifest.body
    if not all(isinstance(body.get(key), str) for key in ("apiVersion", "kind")):
        return True
    if not all(sign.isalnum() or sign in "./-" for sign in body["apiVersion"] + body["kind"]):
        return False  # the package makes a file's name of them
    if ".." in body["apiVersion"] or not body["kind"].isalnum():
        return False
    try:
        package.validate(body, package.latest_version(), strict=True)
    except package.SchemaNotFoundError:
        return False
    except package.ValidationError as error:
        return Hit(
            at=_at(error),
            what=printable(error.message[:MESSAGE_CHARACTERS_MAX]),
            hint="by Kubernetes' own schema",
        )
    return True


def _at(error: Any) -> Pointer:
    """Give the way to what is wrong; a field too many or too few is named, not its surroundings."""
    at: Pointer = tuple(error.path)
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = error.schema.get("properties", {})
        extra = [key for key in error.instance if key not in known]
        return (*at, extra[0]) if extra else at
    if error.validator == "required":
        lacking = [key for key in error.validator_value if key not in error.instance]
        return (*at, lacking[0]) if lacking else at
    return at
