"""What is rendered for Terraform, as text."""

from pathlib import Path

import msgspec
import pytest

from baseload.errors import FleetFileError
from baseload.render.terraform.clouds import aws
from baseload.render.terraform.output import render, shipped
from tests.render.goldens import same
from tests.render.pictures import FULL, picture

TOLD = (".tfvars", ".tfbackend")


def _settings(**changes: object) -> dict[str, object]:
    """Give what AWS' modules are told, of a fleet whose cloud is changed."""
    whole = picture()
    group = next(each for each in whole.groups if each.said.name == "aws")
    group = msgspec.structs.replace(group, said=msgspec.structs.replace(group.said, **changes))
    return {each.name: each.value for each in aws.settings(group, whole)}


def test_what_the_modules_are_told_is_as_it_was():
    """Variable files and backends of every environment are the golden ones."""
    same(
        "terraform-aws", [file for file in render(picture(), ("aws",)) if file.path.endswith(TOLD)]
    )


def test_modules_know_nothing_of_a_fleet():
    """Files that come along are the same for every fleet, but for the header that names its file."""
    rendered = {file.path: file.text for file in render(picture(), ("aws",))}

    assert len(shipped("aws")) > 25
    for path, text in shipped("aws"):
        assert rendered[f"aws/{path}"].endswith(text.partition("\n")[2])
        assert "baseload.yaml" in rendered[f"aws/{path}"][:300]
        assert "r1-32b" not in text


def test_a_script_begins_with_its_interpreter():
    """A header stands below the line that must be the first."""
    text = next(file.text for file in render(picture(), ("aws",)) if file.path.endswith(".tftpl"))

    assert text.startswith("#!/bin/bash\n# baseload ")


def test_only_named_clouds_are_rendered():
    """Folders of other clouds are left out."""
    assert {"aws"} == {file.path.split("/")[0] for file in render(picture(), ("aws",))}


def test_a_second_environment_has_names_of_its_own():
    """Buckets and host names are unique in the world, so staging's are not prod's."""
    told = {
        file.path: dict(line.split(" = ") for line in file.text.replace("  ", "").splitlines() if " = " in line)
        for file in render(picture(), ("aws",))
        if file.path.endswith(".tfvars")
    }  # fmt: skip
    prod, staging = told["aws/prod.tfvars"], told["aws/staging.tfvars"]

    assert ('"baseload-weights"', '"baseload-weights-staging"') == (
        prod["bucket"],
        staging["bucket"],
    )
    assert staging["bucket"] == staging["weights_bucket"]
    assert '"staging.engine.aws.example.com"' == staging["host"]


def test_without_a_zone_a_certificate_is_to_be_named():
    """Nobody can make a certificate for a name in no zone; so there is a place for one."""
    assert "certificate_arn" not in _settings()
    assert "" == _settings(zone=None)["certificate_arn"]


def test_a_backend_outside_the_zone_gets_a_name_in_it():
    """The name that health is checked for must be in the zone; the output says which it is."""
    assert "engine.aws.example.com" == _settings()["host"]
    assert "aws.example.org" == _settings(zone="example.org")["host"]


def test_no_secret_is_told():
    """The engine's key is referred to, as the fleet file does, and never written."""
    assert "${AWS_ENGINE_KEY}" == _settings()["engine_key_reference"]


@pytest.mark.parametrize(
    ("old", "new", "at", "said"),
    [
        ("s3://baseload-weights/", "hf://org/", "hf://org/", "machines in aws fetch weights from s3:// only"),
        ("us-east-1", "us-esat-1", "us-esat-1", "aws has no region `us-esat-1`"),
        ("quota: 8", "quota: 5", "replicas_max: 6", "6 machines at most, and the quota is 5"),
        ("    aws:\n      model", "    aws:\n      engine: llama.cpp # !\n      model", "# !", "runs vLLM or SGLang"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_with_its_line(
    tmp_path: Path, old: str, new: str, at: str, said: str
):
    """Weights that machines cannot reach, unknown regions and quotas are named, with the line."""
    text = FULL.read_text().replace(old, new)
    (tmp_path / "baseload.yaml").write_text(text)
    line = next(n for n, each in enumerate(text.splitlines(), 1) if at in each)

    with pytest.raises(FleetFileError) as refused:
        picture(tmp_path / "baseload.yaml")
    assert [(line, True)] == [(each.line, said in str(each)) for each in refused.value.mistakes]
