"""The rendering for Tencent Cloud, planned by real Terraform; its provider is a double.

The double has what is published of the real provider's arguments, in generated Python; so a list may
be a set there, and a value may be refused there, without anything here that would show it.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from baseload.config.reading import parse_fleet
from baseload.errors import FleetFileError
from baseload.render.terraform.clouds.tencent import out_mbps
from baseload.render.terraform.output import render
from tests.render.goldens import same
from tests.render.pictures import FULL, picture
from tests.render.terraform.planned import booted, initialised, planned, summaries, templated
from tests.render.terraform.running import Terraform

FILLED_IN = """\
zones           = ["ap-guangzhou-3", "ap-guangzhou-4"]
standby_zones   = ["ap-shanghai-2"]
image           = "img-1"
standby_image   = "img-2"
certificate_id  = "certificate"
ssh_public_key  = "ssh-ed25519 AAAA"
alarm_users     = [1]
"""
"""What people fill in, since no fleet file says it."""
TOLD = ("-var-file=prod.tfvars", "-var-file=people.tfvars")
GROUPS = "module.first.tencentcloud_as_scaling_group.machines"
PLANTED = """
resource "tencentcloud_vpc" "unknown" {
  cidr_block = "10.0.0.0/16"
  nmae       = "here"
}
resource "tencentcloud_subnet" "missing" {}
resource "tencentcloud_eip" "wrong" {
  internet_max_bandwidth_out = "much"
}
resource "tencentcloud_as_scaling_config" "nested" {
  configuration_name = "one"
  instance_types     = ["GN10Xp.20XLARGE320"]
  data_disk {
    disk_sise = 1
  }
}
"""


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Give Terraform in the folder that was rendered for Tencent Cloud, initialised."""
    folder, name = tmp_path_factory.mktemp("tf"), "tencentcloudstack/tencentcloud"
    for found in initialised(render(picture(), ("tencent",)), folder, "tencent", name):
        (found.folder / "people.tfvars").write_text(FILLED_IN)
        yield found


@pytest.fixture(scope="module")
def plan(terraform: Terraform) -> dict[str, Any]:
    """Give what is planned for prod: each resource's values by its address."""
    return planned(terraform, *TOLD)


@pytest.fixture(scope="module")
def other(terraform: Terraform) -> dict[str, Any]:
    """Give what is planned where people choose otherwise than the fleet file, in all of it."""
    return planned(
        terraform, *TOLD, "-var=spot=true", "-var=spot_max_hour=50", "-var=scaling=cpu",
        "-var=standby=warm", "-var=igtm_package=ins-1", "-var=budget_usd_month=5000",
    )  # fmt: skip


def test_what_the_modules_are_told_is_as_it_was():
    """Variable file and backend are the golden ones."""
    told = (".tfvars", ".tfbackend")

    same("terraform-tencent", [f for f in render(picture(), ("tencent",)) if f.path.endswith(told)])


def test_all_of_it_is_formatted_and_valid(terraform: Terraform):
    """`terraform fmt` changes nothing, and every argument is one that the provider has."""
    (terraform.folder / "people.tfvars").unlink()
    terraform("fmt", "-check", "-recursive")
    (terraform.folder / "people.tfvars").write_text(FILLED_IN)

    assert "The configuration is valid" in terraform("validate").stdout


def test_planted_mistakes_are_refused(terraform: Terraform):
    """The schema knows unknown arguments, missing ones, wrong types, also inside blocks."""
    assert {
        "Unsupported argument": 2, "Missing required argument": 3, "Incorrect attribute value type": 1,
    } == summaries(terraform, PLANTED)  # fmt: skip


def test_what_is_shipped_tests_itself(terraform: Terraform):
    """`terraform test` passes, with mocked providers."""
    assert "6 passed, 0 failed" in terraform("test").stdout


def test_what_nobody_can_know_is_asked_for(terraform: Terraform):
    """Zones, image and certificate are refused with the reason until they are filled in."""
    said = terraform("plan", TOLD[0], "-var=ssh_public_key=ssh-rsa A", fails=True).stderr

    assert "name one at least" in said
    assert "No image is guessed" in said
    assert "takes a certificate" in said


def test_machines_are_closed(plan: dict[str, Any]):
    """No public address, a key instead of a password, nothing but the engine's port open."""
    machine = plan['module.first.tencentcloud_as_scaling_config.machines["floor"]']
    rules = plan["module.first.tencentcloud_security_group_rule_set.machines"]["ingress"]

    assert machine["public_ip_assigned"] is False
    assert machine["password"] is None
    assert {"8000"} == {each["port"] for each in rules if each["action"] == "ACCEPT"}
    assert ("0.0.0.0/0", "DROP") == (rules[-1]["cidr_block"], rules[-1]["action"])


def test_a_floor_is_on_demand_and_the_rest_is_spot(other: dict[str, Any], plan: dict[str, Any]):
    """Without spot there is one group; with it two, of which the one that grows is never empty."""
    sizes = {
        name: tuple(other[f'{GROUPS}["{name}"]'][key] for key in ("min_size", "max_size"))
        for name in ("floor", "spot")
    }
    config = other['module.first.tencentcloud_as_scaling_config.machines["spot"]']

    assert (1, 4) == tuple(plan[f'{GROUPS}["floor"]'][key] for key in ("min_size", "max_size"))
    assert f'{GROUPS}["spot"]' not in plan
    assert {"floor": (1, 1), "spot": (1, 3)} == sizes
    assert ("SPOTPAID", "50") == (config["instance_charge_type"], config["spot_max_price"])


def test_scaling_is_by_traffic_or_as_the_article_has_it(
    other: dict[str, Any], plan: dict[str, Any]
):
    """By default traffic is tracked, with warm-up; else CPU at 65 % for 5 minutes adds 2, then 300 s."""
    target = plan["module.first.tencentcloud_as_scaling_policy.target[0]"]
    more = other['module.first.tencentcloud_as_scaling_policy.cpu["more"]']
    asked = ("threshold", "period", "continuous_time", "adjustment_value", "cooldown")

    assert ("TARGET_TRACKING", 7, 304) == tuple(
        target[key] for key in ("policy_type", "target_value", "estimated_instance_warmup")
    )
    assert (65, 60, 5, 2, 300) == tuple(more[key] for key in asked)


def test_the_traffic_that_answers_make_is_reckoned():
    """100 calls, 70 % of them at 20 tokens of 300 bytes a second, are 3.4 Mbit/s; never under 1."""
    assert [4, 1] == [out_mbps(100), out_mbps(1)]


def test_health_is_checked_and_names_fail_over(other: dict[str, Any], plan: dict[str, Any]):
    """Each machine every 60 s; the name by IGTM where it is bought, else by a person's word."""
    name = "tencentcloud_dnspod_record.engine"
    sides = ("first", "standby")

    for side in ("inside", "outside[0]"):
        listener = plan[f"module.first.tencentcloud_clb_listener.{side}"]
        assert 60 == listener["health_check_interval_time"]
    assert ["ENABLE", "DISABLE"] == [plan[f'{name}["{side}"]']["status"] for side in sides]
    assert 60 == other["tencentcloud_igtm_monitor.engine[0]"]["check_interval"]
    assert f'{name}["first"]' not in other


def test_a_cold_standby_has_no_machine(other: dict[str, Any], plan: dict[str, Any]):
    """Its group is at zero; one that is warm has one."""
    name = GROUPS.replace("first", "standby[0]") + '["floor"]'

    assert [0, 1] == [found[name]["min_size"] for found in (plan, other)]


def test_roles_are_least(plan: dict[str, Any]):
    """A machine reads weights and its key; the worker its jobs and the key, and puts answers."""
    done = {
        who: sorted(
            action
            for each in json.loads(plan[f"{who}.tencentcloud_cam_policy.{name}"]["document"])["statement"]
            for action in each["action"]
        )
        for who, name in (("module.first", "machine"), ("module.patient[0]", "worker"))
    }  # fmt: skip

    assert ["cos:GetBucket", "cos:GetObject", "cos:HeadObject", "ssm:GetSecretValue"] == done[
        "module.first"
    ]
    assert [
        "cos:DeleteObject", "cos:GetBucket", "cos:GetObject", "cos:HeadObject", "cos:PutObject",
        "ssm:GetSecretValue",
    ] == done["module.patient[0]"]  # fmt: skip


def test_storage_is_private_encrypted_and_keeps_versions(plan: dict[str, Any]):
    """Both buckets; and the first refuses whoever comes without TLS."""
    for name in ("here", "standby[0]"):
        bucket = plan[f"tencentcloud_cos_bucket.{name}"]
        assert ("private", True, "AES256") == tuple(
            bucket[key] for key in ("acl", "versioning_enable", "encryption_algorithm")
        )
    policy = json.loads(plan["tencentcloud_cos_bucket_policy.here"]["policy"])
    assert {"bool_equal": {"cos:secure-transport": "false"}} == policy["Statement"][0]["Condition"]


def test_there_is_a_budget_only_where_somebody_names_one(
    other: dict[str, Any], plan: dict[str, Any]
):
    """No price of Tencent Cloud's is known, so none is made by itself."""
    assert "tencentcloud_billing_budget.month[0]" not in plan
    assert "5000" == other["tencentcloud_billing_budget.month[0]"]["budget_quota"]


def test_the_output_is_a_backend_of_a_fleet(terraform: Terraform, plan: dict[str, Any]):
    """What Terraform puts out is taken into a fleet file as it is."""
    assert plan
    shown = terraform.shown("plan")["planned_values"]["outputs"]["baseload_backends"]["value"]
    models = "models: {m: {tiers: [{tencent: {model: r1-7b}}]}}\n"
    fleet = parse_fleet(shown + models, "baseload.yaml", {"TENCENT_ENGINE_KEY": "k"})

    assert "https://engine.tencent.example.com/v1" == fleet.backends["tencent"].url


def test_a_machine_starts_the_engine(terraform: Terraform, tmp_path: Path):
    """Weights are fetched and held against their sums; the engine gets its arguments and its key."""
    (tmp_path / "root/etc/docker").mkdir(parents=True)
    (tmp_path / "root/etc/docker/daemon.json").write_text('{"runtimes": {}}')
    script = templated(terraform, "region/boot.sh.tftpl", {
        "engine": {"image": "engine:1", "port": 8000, "answer_s": 600},
        "args": json.dumps(["serve", "it's $HOME", "--api-key=@KEY@"]), "settings": "{}",
        "role": "machine", "secret": "key", "region": "ap-guangzhou",
        "weights": {"bucket": "w-1", "region": "ap-guangzhou", "prefix": "m/"},
    })  # fmt: skip
    calls = booted(script, tmp_path, {"tccli": """echo '{"SecretString": "k3y"}'"""})
    run = next(each for each in calls if each[:2] == ["docker", "run"])
    settings = json.loads((tmp_path / "root/etc/docker/daemon.json").read_text())

    assert ["serve", "engine:1", "it's $HOME", "--api-key=k3y"] == run[
        run.index("--entrypoint") + 1 :
    ]
    assert ["coscli", "sync", "cos://w-1/m/"] == next(
        each[:3] for each in calls if each[0] == "coscli"
    )
    assert ["runtimes", "data-root"] == list(settings)
    assert "VLLM_API_KEY=k3y\n" == (tmp_path / "root/run/baseload/key").read_text()
    assert "k3y" not in script


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("region: ap-guangzhou", "region: ap-guangzho", "tencent has no region `ap-guangzho`"),
        ("https://weights-1250000000.cos.ap-guangzhou.myqcloud.com/r1-7b/", "s3://a/b", "fetch weights"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused(tmp_path: Path, old: str, new: str, said: str):
    """Unknown regions and weights from elsewhere are named."""
    (tmp_path / "baseload.yaml").write_text(FULL.read_text().replace(old, new))

    with pytest.raises(FleetFileError) as refused:
        picture(tmp_path / "baseload.yaml")
    assert said in str(refused.value)
