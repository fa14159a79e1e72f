"""Each rule finds its mistake, says nothing of a sound manifest, and mends what it says it mends."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baseload.doctor.examining import find, mend
from baseload.doctor.table import RULES
from tests.doctor.mistakes import BY_HAND, MISTAKES, SOUND, at, spoiled

MENDED = sorted(MISTAKES.keys() - BY_HAND)


def ids(found, *severities):
    """Give the rules of findings."""
    return {each.rule.id for each in found if not severities or each.rule.severity in severities}


def test_a_sound_manifest_has_nothing():
    """No rule says anything of the sound manifest, so each case below shows a rule that can be silent."""
    assert [] == find(SOUND)


def test_every_rule_has_a_case():
    """No rule is without a mistake that it has to find, and ids are not used twice."""
    names = [rule.id for rule in RULES]

    assert len(names) == len(set(names))
    assert set(names) - {"duplicate-key"} == set(MISTAKES)


@pytest.mark.parametrize("rule", MISTAKES)
def test_a_rule_finds_its_mistake(rule):
    """The one mistake is found by its rule."""
    assert rule in ids(find(spoiled(MISTAKES[rule])))


@pytest.mark.parametrize("rule", MENDED)
def test_a_mistake_is_mended(rule):
    """Nothing that is refused or harmful is left after mending."""
    mended = mend(spoiled(MISTAKES[rule]))

    left = ids(mended.remaining, "refused", "harmful")
    # A budget that somebody wrote for nothing stays: the doctor removes no objects.
    assert left - {"budget-orphan"} == set()


def test_what_is_for_a_person_is_left():
    """What the table says is mended by hand is found again after mending."""
    for rule in BY_HAND & MISTAKES.keys():
        assert rule in ids(mend(spoiled(MISTAKES[rule])).remaining), rule


COMBINED = [
    rule.id for rule in RULES if rule.severity == "refused" and rule.id in MENDED
]  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sets(st.sampled_from(COMBINED), min_size=2, max_size=8))
def test_mistakes_together_are_mended(rules):
    """Whatever mistakes come together, none that is refused is left, and mending again changes nothing."""
    bad = spoiled([change for rule in sorted(rules) for change in MISTAKES[rule]])
    mended = mend(bad)
    again = mend(mended.manifests)

    assert ids(find(bad), "refused")
    assert set() == ids(mended.remaining, "refused")
    assert mended.manifests == again.manifests
    assert not any(again.changes)


def ways(value, here=()):
    """Give the way to everything in a value."""
    yield here
    children = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, each in children:
        yield from ways(each, (*here, key))


WAYS = [
    (f"{each.kind}/{each.name}", way) for each in SOUND for way in ways(each.body)
    if way and way[:1] != ("kind",) and way[:2] != ("metadata", "name") and way != ("metadata",)
]  # fmt: skip
JUNK = [
    None,
    0,
    -1,
    0.5,
    True,
    "",
    "x",
    "1e3",
    [],
    ["x"],
    [None],
    {},
    {"x": 1},
    {"name": []},
    float("inf"),
    float("nan"),
    10**30,
    "\x85",
]


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.sampled_from(WAYS), st.sampled_from(JUNK)), min_size=1, max_size=4))
def test_junk_anywhere_is_no_trouble(junk):
    """Whatever stands wherever, rules look at it without failing, and mending ends."""
    bad = spoiled([(label, way, value) for (label, way), value in junk])
    mended = mend(bad)

    assert len(SOUND) <= len(mended.manifests)


def test_pointers_are_what_the_cases_say():
    """The helper of the cases reads numbers as indexes."""
    assert ("spec", "containers", 0) == at("spec.containers.0")
