"""The rendering for AWS, planned and applied by real Terraform; its providers are doubles."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

from baseload.config.reading import parse_fleet
from baseload.render.terraform.output import render
from tests.render.pictures import picture
from tests.render.terraform.running import LOCAL, PYTHON, Terraform, lay, running

TOLD = (
    "-var-file=prod.tfvars",
    "-var=image=ami-0123456789abcdef0",
    "-var=standby_image=ami-0123456789abcdef1",
)
ALONE = ("-var=standby=none", "-var=standby_region=")
ASKING = """
import json, os, types, boto3, worker
sqs, s3, queue = boto3.client("sqs"), boto3.client("s3"), os.environ["QUEUE_URL"]
boto3.client("secretsmanager").create_secret(Name="engine-key", SecretString="secret")
context = types.SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000)
back = []
for body in ("{", json.dumps({"path": "/v1/x", "body": {}})):
    sqs.send_message(QueueUrl=queue, MessageBody=body)
    (message,) = sqs.receive_message(QueueUrl=queue, VisibilityTimeout=60)["Messages"]
    record = {
        "messageId": message["MessageId"], "body": body, "receiptHandle": message["ReceiptHandle"],
        "attributes": {"ApproximateReceiveCount": "1"},
    }
    failed = worker.handler({"Records": [record]}, context)["batchItemFailures"]
    back += failed
    if not failed:
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        key = f"results/{message['MessageId']}.json"
        kept = json.load(s3.get_object(Bucket=os.environ["BUCKET"], Key=key)["Body"])
asked = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])["Attributes"]
hidden = asked["ApproximateNumberOfMessagesNotVisible"]
print(kept["status"], json.dumps(kept["body"]) + f"; {len(back)} comes back; {hidden} hidden")
for each in s3.list_object_versions(Bucket=os.environ["BUCKET"])["Versions"]:
    s3.delete_object(Bucket=os.environ["BUCKET"], Key=key, VersionId=each["VersionId"])
"""
PLANTED = """
resource "aws_autoscaling_group" "unknown" {
  min_size  = 1
  max_size  = 2
  max_sise  = 2
}
resource "aws_subnet" "missing" {}
resource "aws_lb" "wrong" {
  idle_timeout = "long"
}
resource "aws_launch_template" "nested" {
  metadata_options {
    http_token = "required"
  }
}
"""


@pytest.fixture(scope="module")
def terraform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terraform]:
    """Give Terraform in the folder that was rendered for AWS, initialised."""
    folder = tmp_path_factory.mktemp("tf")
    lay(render(picture(), ("aws",)), folder)
    sockets = {f"hashicorp/{name}": folder / f"{name}.sock" for name in ("aws", "archive")}
    with running(folder / "aws", "aws_double.py", "aws.json.gz", sockets) as found:
        (found.folder / "backend_override.tf").write_text(LOCAL)
        found("init")
        yield found


@pytest.fixture(scope="module")
def plan(terraform: Terraform) -> dict[str, Any]:
    """Give what is planned for prod: each resource's values by its address."""
    terraform("plan", "-out=plan", *TOLD)
    return _values(terraform.shown("plan")["planned_values"])


@pytest.fixture(scope="module")
def applied(terraform: Terraform) -> dict[str, Any]:
    """Give what there is after prod was applied, without a standby."""
    terraform("apply", "-auto-approve", *TOLD, *ALONE)
    return _values(json.loads(terraform("show", "-json").stdout)["values"])


def _values(found: dict[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    modules = [found["root_module"]]
    while modules:
        module = modules.pop()
        modules += module.get("child_modules", [])
        values |= {each["address"]: each.get("values", {}) for each in module.get("resources", [])}
    return values


def _ask(terraform: Terraform, service: str, **asked: str) -> str:
    """Ask moto, as whoever changes things without Terraform does."""
    scope = f"AWS4-HMAC-SHA256 Credential=key/20261126/us-east-1/{service}/aws4_request"
    heads = {"authorization": f"{scope}, SignedHeaders=host, Signature=none"}
    with urlopen(Request(terraform.said, urlencode(asked).encode(), heads), timeout=10) as answer:
        return answer.read().decode()


def test_all_of_it_is_formatted_and_valid(terraform: Terraform):
    """`terraform fmt` changes nothing, and every argument is one that AWS' provider has."""
    terraform("fmt", "-check", "-recursive")

    assert "The configuration is valid" in terraform("validate").stdout
    assert "Warning" not in terraform("validate").stdout


def test_planted_mistakes_are_refused(terraform: Terraform):
    """The schema knows unknown arguments, missing ones, wrong types, also inside blocks."""
    planted = terraform.folder / "planted.tf"
    planted.write_text(PLANTED)
    try:
        said = json.loads(terraform("validate", "-json", fails=True).stdout)
        terraform("fmt", "-check", fails=True)
    finally:
        planted.unlink()

    assert {
        "Unsupported argument": 2, "Missing required argument": 1, "Incorrect attribute value type": 1,
    } == {
        each["summary"]: sum(each["summary"] == other["summary"] for other in said["diagnostics"])
        for each in said["diagnostics"]
    }  # fmt: skip


def test_what_is_shipped_tests_itself(terraform: Terraform):
    """`terraform test` passes for the root and for the fleet module, with mocked providers."""
    fleet = terraform.folder / "modules" / "fleet"
    terraform("init", at=fleet)

    assert "7 passed, 0 failed" in terraform("test").stdout
    assert "3 passed, 0 failed" in terraform("test", at=fleet).stdout


def test_machines_are_closed_and_encrypted(plan: dict[str, Any]):
    """IMDSv2 one hop far, no public address, no key pair, encrypted gp3 disks, in both regions."""
    for side in ("module.fleet", "module.standby[0]"):
        template = plan[f"{side}.aws_launch_template.engine"]
        (metadata,), (network,) = template["metadata_options"], template["network_interfaces"]

        assert ("required", 1) == (metadata["http_tokens"], metadata["http_put_response_hop_limit"])
        assert "false" == network["associate_public_ip_address"]
        assert template["key_name"] is None
        disks = [each["ebs"][0] for each in template["block_device_mappings"]]
        assert [("gp3", 100, "true"), ("gp3", 179, "true")] == [
            (each["volume_type"], each["volume_size"], each["encrypted"]) for each in disks
        ]


def test_a_group_has_a_floor_on_demand_and_time_to_start(plan: dict[str, Any]):
    """Spot comes above the floor; health counts after the engine's start and three of 60 s more."""
    group = plan["module.fleet.aws_autoscaling_group.engine"]
    (spread,) = group["mixed_instances_policy"][0]["instances_distribution"]
    (health,) = plan["module.fleet.aws_lb_target_group.engine"]["health_check"]

    assert (2, 6) == (group["min_size"], group["max_size"])
    assert (1, 0, "price-capacity-optimized") == (
        spread["on_demand_base_capacity"], spread["on_demand_percentage_above_base_capacity"],
        spread["spot_allocation_strategy"],
    )  # fmt: skip
    assert ("ELB", 325 + 180, 325) == (
        group["health_check_type"], group["health_check_grace_period"], group["default_instance_warmup"],
    )  # fmt: skip
    assert (60, "/health") == (health["interval"], health["path"])
    assert 1 == plan["module.standby[0].aws_autoscaling_group.engine"]["min_size"]


def test_machines_stand_where_there_are_any(plan: dict[str, Any]):
    """Of four zones the two that have such machines come first, with a third for the balancer."""
    subnets = [
        address for address in plan if address.startswith("module.network.aws_subnet.private")
    ]

    assert ['["us-east-1a"]', '["us-east-1b"]', '["us-east-1d"]'] == [
        address.removeprefix("module.network.aws_subnet.private") for address in sorted(subnets)
    ]


def test_roles_may_no_more_than_they_need(applied: dict[str, Any]):
    """A machine reads its weights' prefix and its key; nothing may do everything."""
    policies = {
        address: json.loads(values["policy"])["Statement"]
        for address, values in applied.items()
        if ".aws_iam_role_policy." in address
    }
    machine = {each["Sid"]: each for each in policies["module.fleet.aws_iam_role_policy.engine"]}

    assert 3 == len(policies)
    assert "arn:aws:s3:::baseload-weights/r1-32b/*" == machine["ReadWeights"]["Resource"]
    assert {"s3:prefix": ["r1-32b/*"]} == machine["ListWeights"]["Condition"]["StringLike"]
    assert ["double-arn"] == machine["Decrypt"]["Resource"]
    for each in (each for statements in policies.values() for each in statements):
        assert not any(action.endswith("*") for action in each["Action"])
        assert each["Resource"] != "*" or "Condition" in each or each["Sid"] == "JoinTheVpc"


def test_names_turn_to_the_standby(plan: dict[str, Any]):
    """One name has a primary and a secondary record, each with the health of its own region."""
    records = [
        plan[f'module.names[0].aws_route53_record.side["{side}"]']
        for side in ("primary", "secondary")
    ]
    checks = [
        plan[f'module.names[0].aws_route53_health_check.side["{side}"]']
        for side in ("primary", "secondary")
    ]

    assert ["engine.aws.example.com"] * 2 == [each["name"] for each in records]
    assert ["PRIMARY", "SECONDARY"] == [
        each["failover_routing_policy"][0]["type"] for each in records
    ]
    assert ["us-east-1", "us-west-2"] == [each["cloudwatch_alarm_region"] for each in checks]


def test_dns_goes_by_what_the_alarm_watches_now(applied: dict[str, Any]):
    """Route 53 keeps a copy of the alarm's terms, so it is told when balancer or group are others."""
    check = applied['module.names[0].aws_route53_health_check.side["primary"]']

    assert (
        '{"LoadBalancer":"double-arn_suffix","TargetGroup":"double-arn_suffix"}'
        == (check["triggers"]["watched"])
    )


def test_a_budget_is_of_one_environment(plan: dict[str, Any]):
    """Its tag is the environment's own, so another one's machines do not pass its limit."""
    (filtered,) = plan["aws_budgets_budget.month[0]"]["cost_filter"]

    assert ["user:baseload$baseload-prod"] == filtered["values"]
    machine = plan["module.fleet.aws_launch_template.engine"]["tag_specifications"][0]
    assert "baseload-prod" == machine["tags"]["baseload"]


def test_the_worker_works_with_what_was_made(terraform: Terraform, applied: dict[str, Any]):
    """What is no job is answered in the bucket; a job that fails is hidden in the queue."""
    env = {
        "PYTHONPATH": str(terraform.folder / "modules" / "patient"), "URL": "http://127.0.0.1:9",
        "AWS_ENDPOINT_URL": terraform.said, "AWS_DEFAULT_REGION": "us-east-1", "KEY": "engine-key",
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "BUCKET": "baseload-weights",
        "QUEUE_URL": terraform("output", "-raw", "patient_queue_url").stdout,
    }  # fmt: skip
    done = subprocess.run(
        [PYTHON, "-c", ASKING], env=env, capture_output=True, text=True, timeout=30, check=False
    )

    assert '400 "not a job"; 1 comes back; 1 hidden' == done.stdout.strip(), done.stderr


def test_the_group_lives_in_moto(terraform: Terraform, applied: dict[str, Any]):
    """Applied, changed from 2 machines to 5, changed behind its back, mended, destroyed."""
    told = (*TOLD, *ALONE)

    def group() -> str:
        return _ask(
            terraform, "autoscaling", Action="DescribeAutoScalingGroups", Version="2011-01-01"
        )

    assert ("<MinSize>2</MinSize>", 2) == (_tag(group(), "MinSize"), group().count("<InstanceId>"))

    terraform("apply", "-auto-approve", *told, "-var=replicas=5")
    assert ("<MinSize>5</MinSize>", 5) == (_tag(group(), "MinSize"), group().count("<InstanceId>"))
    assert "No changes" in terraform("plan", *told, "-var=replicas=5").stdout

    _ask(
        terraform, "autoscaling", Action="UpdateAutoScalingGroup", Version="2011-01-01",
        AutoScalingGroupName="baseload-prod", MinSize="1",
    )  # fmt: skip
    drifted = terraform("plan", *told, "-var=replicas=5", "-out=drift").stdout
    assert "1 to change" in drifted
    terraform("apply", "drift")
    assert "<MinSize>5</MinSize>" == _tag(group(), "MinSize")

    backends = terraform("output", "-raw", "baseload_backends").stdout
    text = backends + "models:\n  m: {tiers: [{aws: {model: r1-32b}}]}\n"
    fleet = parse_fleet(text, "baseload.yaml", {"AWS_ENGINE_KEY": "key"})
    aws = fleet.backends["aws"]
    assert ("https://engine.aws.example.com/v1", "key", 595) == (
        aws.url,
        aws.api_key,
        aws.concurrency,
    )

    terraform("destroy", "-auto-approve", *told)
    assert "" == _tag(group(), "MinSize")


def _tag(text: str, name: str) -> str:
    begin = text.find(f"<{name}>")
    return text[begin : text.find(f"</{name}>") + len(name) + 3] if begin >= 0 else ""
