"""How is a file examined, and how is it mended?

Every rule looks at every object. Mending makes all edits that were found and looks again, a bounded
number of times: a cure may lay open what it hid (a selector whose labels a budget can then use).
A finding counts as fixed if the corrected objects no longer have it.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from baseload.doctor import emitting, schemas
from baseload.doctor.edits import Drop, Edit, edited, is_same
from baseload.doctor.findings import Finding, Report
from baseload.doctor.manifests import Manifest, Manifests, Pointer, dotted
from baseload.doctor.reading import read
from baseload.doctor.rules import Hit, Rule
from baseload.doctor.table import RULES

ROUNDS_MAX: Final = 12
FINDINGS_MAX: Final = 1000
"""Of a file; more than anyone reads."""
_MORE: Final = f"{FINDINGS_MAX} findings: the rest of the file is not looked at; split it"
SCHEMA: Final = Rule(
    id=schemas.RULE, severity="refused", check=lambda manifest, _: schemas.check(manifest),
    about="what the package kubernetes-validate finds beyond all this", fixed="no",
)  # fmt: skip


class Found(NamedTuple):
    """A hit, of which rule, on which object."""

    number: int
    rule: Rule
    hit: Hit


class Mended(NamedTuple):
    """Corrected objects, and what was changed about each."""

    manifests: tuple[Manifest, ...]
    changes: tuple[tuple[str, ...], ...]
    remaining: tuple[Found, ...]


def examine(text: str, file: str) -> Report:
    """Say what is wrong with a file, and give it corrected.

    Raises FleetFileError if it cannot be read as a manifest.
    """
    manifests = read(text, file)
    found = find(manifests, (*RULES, *((SCHEMA,) if schemas.is_there() else ())))
    mended = mend(manifests)
    left = {(each.number, each.rule.id, each.hit.at) for each in mended.remaining}
    findings = [
        _finding(manifests[each.number], each, (each.number, each.rule.id, each.hit.at) in left)
        for each in found
    ]
    findings.sort(key=lambda each: (each.line, each.column))
    return Report(
        file=file, objects=len(manifests), findings=tuple(findings),
        notes=(*_notes(manifests), *((_MORE,) if len(found) >= FINDINGS_MAX else ())),
        fixed=emitting.text(mended.manifests, mended.changes, file),
    )  # fmt: skip


def find(manifests: Manifests, rules: tuple[Rule, ...] = RULES) -> list[Found]:
    """Give every hit, of one mistake only the first rule's, bounded in number."""
    found: list[Found] = []
    for index, manifest in enumerate(manifests):
        refused: list[Pointer] = []
        for rule in rules:
            for hit in rule.check(manifest, manifests):
                if rule.id in _FORMAL and any(_is_told(hit.at, at) for at in refused):
                    continue
                found.append(Found(index, rule, hit))
                if rule.severity == "refused":
                    refused.append(hit.at)
                if len(found) >= FINDINGS_MAX:
                    return found
    return found


_FORMAL: Final = ("wrong-type", "missing-field", schemas.RULE)
"""Rules that know form only, and say nothing where another one has."""


def _is_told(at: Pointer, told: Pointer) -> bool:
    least = min(len(at), len(told))
    return bool(least) and at[:least] == told[:least]


def mend(manifests: Manifests) -> Mended:
    """Give the objects with everything mended that rules can mend."""
    bodies = tuple(manifests)
    changes: list[list[str]] = [[] for _ in bodies]
    found = find(bodies)
    for _ in range(ROUNDS_MAX):
        if not any(each.hit.edits or each.hit.adds for each in found):
            break
        bodies = _round(bodies, found, changes)
        found = find(bodies)
    return Mended(bodies, tuple(map(tuple, changes)), tuple(found))


def _round(
    manifests: tuple[Manifest, ...], found: list[Found], changes: list[list[str]]
) -> tuple[Manifest, ...]:
    """Make the edits of all hits."""
    edits: list[list[Edit]] = [[] for _ in manifests]
    added: list[Manifest] = []
    for each in found:
        for edit in each.hit.edits:
            edits[each.number if edit.object is None else edit.object].append(edit)
        for fresh in each.hit.adds:
            if not any(is_same(fresh, other) for other in (*manifests, *added)):
                added.append(fresh)
        if each.hit.edits or each.hit.adds:
            parts = (each.rule.id, dotted(each.hit.at), each.hit.cure)
            change = ": ".join(filter(None, parts))
            if change not in changes[each.number]:
                changes[each.number].append(change)
    changes += [[] for _ in added]
    changed = [
        msgspec.structs.replace(
            manifest, body=edited(manifest.body, mine), repeated=(),
            # Where an entry is dropped, ways no longer lead to where they did in the file.
            raws={} if any(isinstance(edit, Drop) for edit in mine) else manifest.raws,
        ) if mine else manifest
        for manifest, mine in zip(manifests, edits, strict=True)
    ]  # fmt: skip
    return (*changed, *added)


def _finding(manifest: Manifest, found: Found, is_left: bool) -> Finding:
    places = [place for at, place in manifest.repeated if at == found.hit.at]
    line, column = (
        places[0] if found.rule.id == "duplicate-key" and places else manifest.place(found.hit.at)
    )
    return Finding(
        line=line, column=column, object=manifest.label, path=dotted(found.hit.at),
        severity=found.rule.severity, rule=found.rule.id, what=found.hit.what, hint=found.hit.hint,
        cure="" if is_left else found.hit.cure, fixed=not is_left,
    )  # fmt: skip


def _notes(manifests: Manifests) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_noted(manifests)))


def _noted(manifests: Manifests) -> Iterator[str]:
    for manifest in manifests:
        if manifest.kind and not schemas.knows(manifest):
            yield f"{manifest.label}: not checked: no schema of this kind is known here"
    if note := schemas.note():
        yield note
