"""A double of Terraform's providers for AWS and for archives; some of it makes things in moto.

    python aws_double.py SCHEMA.json.gz AWS.sock ARCHIVE.sock

Machines, their template and group, what they stand in, buckets and queues are made, read, changed
and deleted in moto, which imitates AWS; whoever asks afterwards asks moto. Everything else is made
up. This is not hashicorp/aws: its checks of values, its defaults and its waiting are not here, and
neither are AWS' quotas, permissions and prices. Both regions of a configuration are one here.
"""

import gzip
import json
import sys
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import boto3
import grpc
import msgpack
from double import Double, _made_up, _read, _written, pb, rpc
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
FOUND = {
    "aws_availability_zones": {"names": [f"{REGION}{zone}" for zone in "abcd"]},
    "aws_caller_identity": {"account_id": "123456789012"},
    "aws_ec2_instance_type_offerings": {"locations": [f"{REGION}{zone}" for zone in "bd"]},
    "aws_partition": {"partition": "aws"},
    "aws_region": {"region": REGION},
}
"""What data sources find: machines are in two of four zones."""
State = dict[str, Any]


class Aws(Double):
    """Makes what is in `MADE` in moto, and the rest up."""

    def __init__(self, schema: dict[str, Any], endpoint: str) -> None:
        super().__init__(schema)
        session = boto3.Session("key", "secret", region_name=REGION)
        self._clients = {
            name: session.client(name, endpoint_url=endpoint)
            for name in ("ec2", "autoscaling", "s3", "sqs")
        }

    def UpgradeResourceState(self, request: Any, context: Any) -> Any:  # noqa: N802
        state = json.loads(request.raw_state.json)
        return pb.UpgradeResourceState.Response(upgraded_state=_written(state))

    def ReadDataSource(self, request: Any, context: Any) -> Any:  # noqa: N802
        found = _read(super().ReadDataSource(request, context).state)
        return pb.ReadDataSource.Response(state=_written(found | FOUND.get(request.type_name, {})))

    def PlanResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        """A changed template has another version, known once it is made."""
        prior, wanted = _read(request.prior_state), _read(request.proposed_new_state)
        if request.type_name == "aws_launch_template" and prior and wanted and prior != wanted:
            wanted["latest_version"] = msgpack.ExtType(0, b"\0")
            return pb.PlanResourceChange.Response(planned_state=_written(wanted))
        return super().PlanResourceChange(request, context)

    def ApplyResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        prior, planned = _read(request.prior_state), _read(request.planned_state)
        make, _, delete = MADE.get(request.type_name, (None, None, None))
        if planned is None:
            if delete:
                delete(self._clients, prior)
            return pb.ApplyResourceChange.Response(new_state=_written(None))
        made = make(self._clients, prior, planned) if make else {}
        described = self._schema["resource_schemas"][request.type_name]["block"]["attributes"]
        for name, value in planned.items():
            if isinstance(value, msgpack.ExtType):
                planned[name] = made.get(name, _made_up(described[name]["type"], name))
        return pb.ApplyResourceChange.Response(new_state=_written(planned))

    def ReadResource(self, request: Any, context: Any) -> Any:  # noqa: N802
        state = _read(request.current_state)
        read = MADE.get(request.type_name, (None, None, None))[1]
        if read:
            found = read(self._clients, state)
            state = None if found is None else state | found
        return pb.ReadResource.Response(new_state=_written(state))


# -- what is made in moto: how it is made or changed, read again, and deleted ------------------


def _vpc(aws: Any, prior: State | None, wanted: State) -> State:
    made = aws["ec2"].create_vpc(CidrBlock=wanted["cidr_block"]) if not prior else None
    return {"id": made["Vpc"]["VpcId"]} if made else {}


def _subnet(aws: Any, prior: State | None, wanted: State) -> State:
    if prior:
        return {}
    made = aws["ec2"].create_subnet(
        VpcId=wanted["vpc_id"], CidrBlock=wanted["cidr_block"],
        AvailabilityZone=wanted["availability_zone"],
    )  # fmt: skip
    return {"id": made["Subnet"]["SubnetId"]}


def _security_group(aws: Any, prior: State | None, wanted: State) -> State:
    if prior:
        return {}
    made = aws["ec2"].create_security_group(
        GroupName=wanted["name"], Description=wanted["description"], VpcId=wanted["vpc_id"]
    )
    return {"id": made["GroupId"]}


def _launch_template(aws: Any, prior: State | None, wanted: State) -> State:
    (metadata,), (network,) = wanted["metadata_options"], wanted["network_interfaces"]
    data = {
        "ImageId": wanted["image_id"],
        "InstanceType": wanted["instance_type"],
        "UserData": wanted["user_data"],
        "MetadataOptions": {
            "HttpTokens": metadata["http_tokens"],
            "HttpPutResponseHopLimit": metadata["http_put_response_hop_limit"],
        },
        "NetworkInterfaces": [
            {
                "DeviceIndex": 0,
                "AssociatePublicIpAddress": network["associate_public_ip_address"] == "true",
                "Groups": network["security_groups"],
            }
        ],
        "BlockDeviceMappings": [
            {
                "DeviceName": each["device_name"],
                "Ebs": {
                    "VolumeType": each["ebs"][0]["volume_type"],
                    "VolumeSize": each["ebs"][0]["volume_size"],
                    "Encrypted": each["ebs"][0]["encrypted"] == "true",
                },
            }
            for each in wanted["block_device_mappings"]
        ],
    }
    name = {"LaunchTemplateName": wanted["name"], "LaunchTemplateData": data}
    if prior:
        made = aws["ec2"].create_launch_template_version(**name)["LaunchTemplateVersion"]
        return {"latest_version": made["VersionNumber"]}
    made = aws["ec2"].create_launch_template(**name)["LaunchTemplate"]
    return {"id": made["LaunchTemplateId"], "latest_version": made["LatestVersionNumber"]}


def _group(aws: Any, prior: State | None, wanted: State) -> State:
    (policy,) = wanted["mixed_instances_policy"]
    (template,), (spread,) = policy["launch_template"], policy["instances_distribution"]
    (wanted_template,) = template["launch_template_specification"]
    said = {
        "AutoScalingGroupName": wanted["name"],
        "MinSize": wanted["min_size"],
        "MaxSize": wanted["max_size"],
        "VPCZoneIdentifier": ",".join(wanted["vpc_zone_identifier"]),
        "HealthCheckType": wanted["health_check_type"],
        "HealthCheckGracePeriod": wanted["health_check_grace_period"],
        "MixedInstancesPolicy": {
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {
                    "LaunchTemplateId": wanted_template["launch_template_id"],
                    "Version": wanted_template["version"],
                },
                "Overrides": [
                    {"InstanceType": each["instance_type"]} for each in template["override"]
                ],
            },
            "InstancesDistribution": {
                "OnDemandBaseCapacity": spread["on_demand_base_capacity"],
                "OnDemandPercentageAboveBaseCapacity": spread[
                    "on_demand_percentage_above_base_capacity"
                ],
                "SpotAllocationStrategy": spread["spot_allocation_strategy"],
            },
        },
    }
    change = aws["autoscaling"].update_auto_scaling_group if prior else (
        aws["autoscaling"].create_auto_scaling_group
    )  # fmt: skip
    change(**said)
    return {"id": wanted["name"]}


def _group_now(aws: Any, state: State) -> State | None:
    found = aws["autoscaling"].describe_auto_scaling_groups(AutoScalingGroupNames=[state["id"]])
    for group in found["AutoScalingGroups"]:
        return {"min_size": group["MinSize"], "max_size": group["MaxSize"]}
    return None


def _bucket(aws: Any, prior: State | None, wanted: State) -> State:
    if not prior:
        aws["s3"].create_bucket(Bucket=wanted["bucket"])
    return {"id": wanted["bucket"], "arn": f"arn:aws:s3:::{wanted['bucket']}"}


def _versioning(aws: Any, prior: State | None, wanted: State) -> State:
    status = wanted["versioning_configuration"][0]["status"]
    aws["s3"].put_bucket_versioning(
        Bucket=wanted["bucket"], VersioningConfiguration={"Status": status}
    )
    return {"id": wanted["bucket"]}


def _versioning_now(aws: Any, state: State) -> State:
    found = aws["s3"].get_bucket_versioning(Bucket=state["bucket"])
    (said,) = state["versioning_configuration"]
    return {"versioning_configuration": [said | {"status": found.get("Status", "Disabled")}]}


def _queue(aws: Any, prior: State | None, wanted: State) -> State:
    if prior:
        return {}
    url = aws["sqs"].create_queue(QueueName=wanted["name"])["QueueUrl"]
    found = aws["sqs"].get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    return {"id": url, "url": url, "arn": found["Attributes"]["QueueArn"]}


def _deleting(service: str, action: str, **names: Any) -> Callable[[Any, State], None]:
    def delete(aws: Any, state: State) -> None:
        given = {key: state.get(value, value) for key, value in names.items()}
        getattr(aws[service], action)(**given)

    return delete


MADE: dict[str, tuple[Any, Any, Any]] = {
    "aws_vpc": (_vpc, None, _deleting("ec2", "delete_vpc", VpcId="id")),
    "aws_subnet": (_subnet, None, _deleting("ec2", "delete_subnet", SubnetId="id")),
    "aws_security_group": (
        _security_group, None, _deleting("ec2", "delete_security_group", GroupId="id"),
    ),
    "aws_launch_template": (
        _launch_template, None, _deleting("ec2", "delete_launch_template", LaunchTemplateId="id"),
    ),
    "aws_autoscaling_group": (
        _group, _group_now, lambda aws, state: aws["autoscaling"].delete_auto_scaling_group(
            AutoScalingGroupName=state["id"], ForceDelete=True
        ),
    ),
    "aws_s3_bucket": (_bucket, None, _deleting("s3", "delete_bucket", Bucket="id")),
    "aws_s3_bucket_versioning": (_versioning, _versioning_now, None),
    "aws_sqs_queue": (_queue, None, _deleting("sqs", "delete_queue", QueueUrl="id")),
}  # fmt: skip


def _schema(path: Path) -> dict[str, Any]:
    with gzip.open(path, "rt") as file:
        found: dict[str, Any] = json.load(file)
    return found


def _serve(served: Double, socket: str) -> grpc.Server:
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    rpc.add_ProviderServicer_to_server(served, server)
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    return server


def main(schema: str, aws_socket: str, archive_socket: str) -> None:
    """Serve until standard input closes; say where moto is."""
    path = Path(schema)
    described, archive = _schema(path), _schema(path.with_name("archive.json.gz"))
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    servers = [
        _serve(Aws(described, endpoint), aws_socket),
        _serve(Double(archive), archive_socket),
    ]
    sys.stdout.write(f"{endpoint}\n")
    sys.stdout.flush()
    sys.stdin.read()
    for server in servers:
        server.stop(grace=0)
    moto.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
