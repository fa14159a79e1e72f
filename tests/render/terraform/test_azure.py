"""The rendering for Azure, planned by real Terraform; its provider is a double that makes nothing."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from baseload.config.reading import parse_fleet
from baseload.errors import FleetFileError
from baseload.render.terraform.output import render
from tests.render.goldens import same
from tests.render.pictures import FULL, picture
from tests.render.terraform.planned import booted, initialised, planned, summaries, templated
from tests.render.terraform.running import Terraform

KEY = "-var=ssh_public_key=ssh-ed25519 AAAA"
TOLD = ("-var-file=prod.tfvars", KEY)
GROUP = "azurerm_orchestrated_virtual_machine_scale_set.machines"
PLANTED = """
resource "azurerm_lb" "unknown" {
  name                = "lb"
  location            = "eastus"
  resource_group_name = "group"
  skew                = "Standard"
}
resource "azurerm_subnet" "missing" {}
resource "azurerm_public_ip" "wrong" {
  name                = "ip"
  location            = "eastus"
  resource_group_name = "group"
  allocation_method   = "Static"
  zones               = { a = 1 }
}
resource "azurerm_orchestrated_virtual_machine_scale_set" "nested" {
  name                        = "set"
  location                    = "eastus"
  resource_group_name         = "group"
  platform_fault_domain_count = 1
  priority_mix {
    base_count = 1
  }
}
"""


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Give Terraform in the folder that was rendered for Azure, initialised."""
    files = render(picture(), ("azure",))
    yield from initialised(files, tmp_path_factory.mktemp("tf"), "azure", "hashicorp/azurerm")


@pytest.fixture(scope="module")
def plan(terraform: Terraform) -> dict[str, Any]:
    """Give what is planned for prod: each resource's values by its address."""
    return planned(terraform, *TOLD)


@pytest.fixture(scope="module")
def other(terraform: Terraform) -> dict[str, Any]:
    """Give what is planned where people choose otherwise than the fleet file, in all of it."""
    (terraform.folder / "free.tfvars").write_text("budget_usd_month = null\n")
    return planned(
        terraform, *TOLD, "-var-file=free.tfvars", "-var=scaling=cpu", "-var=standby=warm"
    )


def test_what_the_modules_are_told_is_as_it_was():
    """Variable file and backend are the golden ones."""
    told = (".tfvars", ".tfbackend")

    same("terraform-azure", [f for f in render(picture(), ("azure",)) if f.path.endswith(told)])


def test_all_of_it_is_formatted_and_valid(terraform: Terraform):
    """`terraform fmt` changes nothing, and every argument is one that azurerm has."""
    terraform("fmt", "-check", "-recursive")

    assert "The configuration is valid" in terraform("validate").stdout


def test_planted_mistakes_are_refused(terraform: Terraform):
    """The schema knows unknown arguments, missing ones, wrong types, also inside blocks."""
    assert {
        "Unsupported argument": 2, "Missing required argument": 3, "Incorrect attribute value type": 1,
    } == summaries(terraform, PLANTED)  # fmt: skip


def test_what_is_shipped_tests_itself(terraform: Terraform):
    """`terraform test` passes, with mocked providers."""
    assert "6 passed, 0 failed" in terraform("test").stdout


def test_machines_are_closed_and_encrypted(plan: dict[str, Any]):
    """No public address, no password, disks encrypted on the host, only the caller's port open."""
    group = plan[f"module.first.{GROUP}"]
    (linux,) = group["os_profile"][0]["linux_configuration"]
    rules = plan["module.first.azurerm_network_security_group.machines"]["security_rule"]
    open_ports = {each["destination_port_range"] for each in rules if each["access"] == "Allow"}

    assert group["encryption_at_host_enabled"] is True
    assert linux["disable_password_authentication"] is True
    assert not group["network_interface"][0]["ip_configuration"][0]["public_ip_address"]
    assert {"8443"} == open_ports
    assert ("*", "Deny") == (rules[-1]["destination_port_range"], rules[-1]["access"])


def test_a_floor_is_on_demand_and_the_rest_is_spot(plan: dict[str, Any]):
    """The mix of priorities has the fleet file's floor, and nothing on demand above it."""
    group = plan[f"module.first.{GROUP}"]

    assert ("Spot", -1) == (group["priority"], group["max_bid_price"])
    assert [{"base_regular_count": 1, "regular_percentage_above_base": 0}] == group["priority_mix"]


def test_scaling_is_by_load_or_as_the_article_has_it(other: dict[str, Any], plan: dict[str, Any]):
    """By default on the engine's own load, waiting longer than a start; else CPU, 65 %, +2, 300 s."""
    name = "module.first.azurerm_monitor_autoscale_setting.machines"
    out = plan[name]["profile"][0]["rule"][0]
    by_cpu = other[name]["profile"][0]["rule"][0]

    assert ("load", 0.7) == tuple(out["metric_trigger"][0][k] for k in ("metric_name", "threshold"))
    assert "PT11M" == out["scale_action"][0]["cooldown"]
    assert ("Percentage CPU", 65, "PT5M") == tuple(
        by_cpu["metric_trigger"][0][key] for key in ("metric_name", "threshold", "time_window")
    )
    assert (2, "PT5M") == tuple(by_cpu["scale_action"][0][key] for key in ("value", "cooldown"))


def test_health_is_checked_and_names_fail_over(plan: dict[str, Any]):
    """Each machine every 60 s; the name is the first region's, then that of the one that stands by."""
    ends = {
        name: plan[f'azurerm_traffic_manager_azure_endpoint.engine["{name}"]']["priority"]
        for name in ("first", "standby")
    }

    assert 60 == plan["module.first.azurerm_lb_probe.engine"]["interval_in_seconds"]
    assert {"first": 1, "standby": 2} == ends
    assert "engine.azure" == plan["azurerm_dns_cname_record.engine[0]"]["name"]


def test_a_cold_standby_has_no_machine(other: dict[str, Any], plan: dict[str, Any]):
    """Its group is at zero; one that is warm has one."""
    name = f"module.standby[0].{GROUP}"

    assert [0, 1] == [found[name]["instances"] for found in (plan, other)]


def test_roles_are_least(plan: dict[str, Any]):
    """Machines read weights and two secrets and say their load; the worker has its jobs and a key."""
    roles = sorted(
        value["role_definition_name"]
        for address, value in plan.items()
        if ".azurerm_role_assignment." in address and address.startswith(("module.f", "module.p"))
    )

    assert [
        "Azure Service Bus Data Receiver", "Key Vault Secrets User", "Key Vault Secrets User",
        "Key Vault Secrets User", "Monitoring Metrics Publisher", "Storage Blob Data Owner",
        "Storage Blob Data Reader",
    ] == roles  # fmt: skip


def test_storage_is_private_and_keeps_versions(plan: dict[str, Any]):
    """No account can be reached from outside or by a shared key; all want TLS 1.2 and keep versions."""
    accounts = [value for name, value in plan.items() if ".azurerm_storage_account." in name]

    assert 3 == len(accounts)
    for each in accounts:
        assert each["blob_properties"][0]["versioning_enabled"] is True
        assert "TLS1_2" == each["min_tls_version"]
        assert not each["public_network_access_enabled"]
        assert not each["shared_access_key_enabled"]


def test_money_is_watched(other: dict[str, Any], plan: dict[str, Any]):
    """A budget for each resource group, at the catalogue's price; none where none is known."""
    name = 'azurerm_consumption_budget_resource_group.month["first"]'

    assert 86128 == plan[name]["amount"]
    assert ["oncall@example.com"] == plan[name]["notification"][0]["contact_emails"]
    assert name not in other


def test_the_output_is_a_backend_of_a_fleet(terraform: Terraform, plan: dict[str, Any]):
    """What Terraform puts out is taken into a fleet file as it is."""
    assert plan
    shown = terraform.shown("plan")["planned_values"]["outputs"]["baseload_backends"]["value"]
    models = "models: {m: {tiers: [{azure: {model: r1-32b}}]}}\n"
    backend = parse_fleet(shown + models, "baseload.yaml", {"AZURE_ENGINE_KEY": "k"})

    assert "https://engine.azure.example.com/v1" == backend.backends["azure"].url
    assert "k" == backend.backends["azure"].api_key


def test_a_machine_starts_the_engine(terraform: Terraform, tmp_path: Path):
    """Weights are fetched and held against their sums; the engine gets its arguments and its key."""
    script = templated(terraform, "region/boot.sh.tftpl", {
        "engine": {"image": "engine:1", "port": 8000, "answer_s": 600, "sequences": 100},
        "args": json.dumps(["serve", "it's $HOME", "--api-key=@KEY@"]),
        "settings": json.dumps({"A": "b c"}), "client_id": "c", "vault_url": "https://v/",
        "weights": "https://a.blob.core.windows.net/weights/m", "publish": "https://m/metrics",
        "region": "eastus", "public": True,
    })  # fmt: skip
    answer = """echo '{"access_token": "token", "value": "k3y"}'"""
    calls = booted(script, tmp_path, {"curl": answer, "lsblk": "true"})
    run = next(each for each in calls if each[:2] == ["docker", "run"])
    started = run.index("--entrypoint")

    assert ["serve", "engine:1", "it's $HOME", "--api-key=k3y"] == run[started + 1 :]
    assert ["azcopy", "sha256sum"] == [
        each[0] for each in calls if each[0] in ("azcopy", "sha256sum")
    ]
    assert "VLLM_API_KEY=k3y\n" == (tmp_path / "root/run/baseload/key").read_text()
    assert 0o600 == (tmp_path / "root/run/baseload/key").stat().st_mode & 0o777
    assert "k3y\n" == (tmp_path / "root/run/baseload/tls.pem").read_text()
    assert "k3y" not in script
    assert [each[0] for each in calls].index("iptables") < calls.index(run)
    (proxy,) = [each for each in calls if each[:2] == ["docker", "run"] and "caddy" in each]
    assert "NET_BIND_SERVICE" == proxy[proxy.index("--cap-add") + 1]
    assert "--network" not in proxy  # the host's network has the metadata service


def test_a_machine_whose_weights_are_wrong_starts_nothing(terraform: Terraform, tmp_path: Path):
    """A file that is not what its sum says ends the start, so that the group makes another."""
    script = templated(terraform, "region/boot.sh.tftpl", {
        "engine": {"image": "engine:1", "port": 8000, "answer_s": 600, "sequences": 100},
        "args": "[]", "settings": "{}", "client_id": "c", "vault_url": "https://v/",
        "weights": "https://a/w", "publish": "https://m/", "region": "eastus", "public": False,
    })  # fmt: skip

    with pytest.raises(subprocess.CalledProcessError):
        booted(script, tmp_path, {"sha256sum": "exit 1"})
    assert b"docker" not in (tmp_path / "calls").read_bytes()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("region: eastus", "region: eastsu", "azure has no region `eastsu`"),
        ("bucket: baseloadweights", "bucket: baseload-weights", "3 to 24 of a to z and 0 to 9"),
        ("bucket: baseloadweights", "bucket: others", "in the account `baseloadweights`"),
        ("https://baseloadweights.blob.core.windows.net/weights/r1-32b/", "hf://a/b", "fetch weights"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused(tmp_path: Path, old: str, new: str, said: str):
    """Unknown regions, impossible accounts and weights from elsewhere are named."""
    (tmp_path / "baseload.yaml").write_text(FULL.read_text().replace(old, new))

    with pytest.raises(FleetFileError) as refused:
        picture(tmp_path / "baseload.yaml")
    assert said in str(refused.value)
