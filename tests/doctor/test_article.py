"""A manifest that many copied: nothing of it is applied as it stands, and its cure is whole."""

import pytest
import yaml

from baseload.doctor import examine
from baseload.render.files import File
from tests.doctor import schemas
from tests.doctor.mistakes import DATA
from tests.render.goldens import same

TEXT = (DATA / "article.yaml").read_text()


def test_what_is_wrong_with_it():
    """Each mistake is told at its line: what is refused, and what hurts."""
    report = examine(TEXT, "deployment.yaml")
    found = {(each.line, each.column, each.severity, each.rule) for each in report.findings}

    assert {
        (1, 1, "harmful", "budget-missing"), (5, 1, "advice", "surge"),
        (7, 3, "refused", "selector-mismatch"), (11, 5, "harmful", "spread-missing"),
        (11, 5, "harmful", "grace-short"),
        (13, 9, "harmful", "readiness-missing"), (13, 9, "harmful", "startup-missing"),
        (13, 9, "advice", "unconfined"), (13, 9, "harmful", "prestop-missing"),
        (15, 9, "advice", "cpu-missing"),
        (17, 29, "harmful", "gpu-unshared"), (20, 29, "refused", "device-fraction"),
        (20, 29, "refused", "device-unequal"), (21, 21, "harmful", "memory-overcommit"),
    } == found  # fmt: skip
    assert all(each.fixed for each in report.findings if each.counts)


def test_its_cure_is_sound():
    """The doctor finds nothing refused or harmful in what it wrote, and would write it again."""
    fixed = examine(TEXT, "deployment.yaml").fixed
    again = examine(fixed, "fixed.yaml")

    assert again.is_sound
    assert [*yaml.safe_load_all(fixed)] == [*yaml.safe_load_all(again.fixed)]


def test_its_cure_is_kept():
    """The corrected file is what it was."""
    same("doctor", [File(path="fixed.yaml", text=examine(TEXT, "deployment.yaml").fixed)])


@pytest.mark.parametrize("version", ["1.35", "1.36", "1.37"])
def test_its_cure_keeps_to_kubernetes_schemas(version):
    """Kubernetes' own schemas, strict, take the corrected file; what was wrong about form they refuse."""
    package = schemas.package()
    bodies = [*yaml.safe_load_all(examine(TEXT, "deployment.yaml").fixed)]

    assert 3 == len(bodies)
    for body in bodies:
        assert version == package.validate(body, version, strict=True)
    bodies[0]["spec"]["replicas"] = "two"
    with pytest.raises(package.ValidationError):
        package.validate(bodies[0], version, strict=True)


def test_the_package_has_a_say():
    """With kubernetes-validate, kinds without a table of their own are checked, with the line."""
    schemas.package()
    lease = (
        "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: l}\nspec:\n  holder: x\n"
    )
    report = examine(lease, "l.yaml")

    assert [("schema", 5, "spec.holder")] == [
        (each.rule, each.line, each.path) for each in report.findings
    ]
    assert () == report.notes
    # What a rule has told already is not told again.
    assert "schema" not in {each.rule for each in examine(TEXT, "d.yaml").findings}
