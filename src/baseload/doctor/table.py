"""Which rules are there, and in which order?

Rules that know why something is wrong stand before those that only know its form, so that one
mistake is told once, in the better words.
"""

from typing import Final

from baseload.doctor import (
    containers,
    disruption,
    endings,
    names,
    probes,
    resources,
    scaling,
    security,
    selectors,
    services,
    shape,
    sharing,
    versions,
)
from baseload.doctor.manifests import Manifest, Manifests
from baseload.doctor.rules import Hit, Hits, Rule


def doubles(manifest: Manifest, others: Manifests) -> Hits:
    """Find objects that are in the file already."""
    mine = (manifest.kind, manifest.namespace, manifest.name)
    for other in others:
        if other is manifest:
            return
        if manifest.name and mine == (other.kind, other.namespace, other.name):
            hint = "the last one is what the cluster has in the end"
            yield Hit(at=(), what="it is in the file already", hint=hint)
            return


FILE: Final = (
    Rule(
        id="duplicate-object", severity="harmful", check=doubles, fixed="no",
        about="an object is in the file twice",
    ),
)  # fmt: skip
RULES: Final[tuple[Rule, ...]] = (
    *versions.RULES, *selectors.RULES, *names.RULES, *containers.RULES, *resources.RULES,
    *sharing.RULES, *probes.RULES, *services.RULES, *disruption.RULES, *scaling.RULES,
    *security.RULES, *endings.RULES, *FILE, *shape.RULES,
)  # fmt: skip
