"""A double of a Terraform provider: it has the schema of the real one, and makes nothing.

Started as `python double.py NAME SCHEMA.json.gz SOCKET`, it serves Terraform's plugin protocol on a
Unix socket until its standard input closes, and says on its standard output once it can be called.
Real Terraform then knows which arguments there are, of which type, and which are required. What only
the real provider knows is not proved: values that it refuses, arguments that exclude each other,
what is computed, what the cloud does.

Needs `tf` (for the protocol's messages only), which tests find in an environment of its own.
"""

import gzip
import json
import sys
from concurrent import futures
from typing import Any

import grpc
import msgpack
from tf.gen import tfplugin_pb2 as pb
from tf.gen import tfplugin_pb2_grpc as rpc

UNKNOWN = msgpack.ExtType(0, b"\0")
NESTING = pb.Schema.NestedBlock.NestingMode


def _block(described: dict[str, Any]) -> pb.Schema.Block:
    """Give a block of Terraform's JSON form (`terraform providers schema -json`) as a message."""
    return pb.Schema.Block(
        attributes=[
            pb.Schema.Attribute(
                name=name,
                type=json.dumps(each["type"]).encode(),
                required=each.get("required", False),
                optional=each.get("optional", False),
                computed=each.get("computed", False),
            )
            for name, each in described.get("attributes", {}).items()
        ],
        block_types=[
            pb.Schema.NestedBlock(
                type_name=name,
                block=_block(each["block"]),
                nesting=getattr(NESTING, each["nesting_mode"].upper()),
                min_items=each.get("min_items", 0),
                max_items=each.get("max_items", 0),
            )
            for name, each in described.get("block_types", {}).items()
        ],
    )


def _read(value: pb.DynamicValue) -> Any:
    return msgpack.unpackb(value.msgpack, ext_hook=msgpack.ExtType) if value.msgpack else None


def _written(value: Any) -> pb.DynamicValue:
    return pb.DynamicValue(msgpack=msgpack.packb(value))


def _made_up(kind: Any, name: str) -> Any:
    """Give some value of a type."""
    if kind in ("string", "number", "bool"):
        return {"string": f"double-{name}", "number": 1, "bool": False}[kind]
    if kind[0] == "object":
        return {key: _made_up(each, key) for key, each in kind[1].items()}
    return {} if kind[0] == "map" else [_made_up(kind[1], name)]


class Double(rpc.ProviderServicer):
    """Answers what Terraform asks of a provider when it validates and plans."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._schema = schema

    def GetMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.GetMetadata.Response()

    def GetProviderSchema(self, request: Any, context: Any) -> Any:  # noqa: N802
        def schemas(kind: str) -> dict[str, pb.Schema]:
            found = self._schema.get(kind, {}).items()
            return {name: pb.Schema(block=_block(each["block"])) for name, each in found}

        return pb.GetProviderSchema.Response(
            provider=pb.Schema(block=_block(self._schema["provider"]["block"])),
            resource_schemas=schemas("resource_schemas"),
            data_source_schemas=schemas("data_source_schemas"),
        )

    def ValidateProviderConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ValidateProviderConfig.Response()

    def ValidateResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ValidateResourceConfig.Response()

    def ValidateDataResourceConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ValidateDataResourceConfig.Response()

    def ConfigureProvider(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.ConfigureProvider.Response()

    def StopProvider(self, request: Any, context: Any) -> Any:  # noqa: N802
        return pb.StopProvider.Response()

    def PlanResourceChange(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Plan what is wanted, and that what is computed will be known later."""
        wanted = _read(request.proposed_new_state)
        if wanted is not None and _read(request.prior_state) is None:
            described = self._schema["resource_schemas"][request.type_name]["block"]
            for name, each in described["attributes"].items():
                if each.get("computed") and wanted.get(name) is None:
                    wanted[name] = UNKNOWN
        return pb.PlanResourceChange.Response(planned_state=_written(wanted))

    def ReadDataSource(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Find what is asked for, with made-up values."""
        found = _read(request.config)
        described = self._schema["data_source_schemas"][request.type_name]["block"]
        for name, each in described["attributes"].items():
            if each.get("computed") and found.get(name) is None:
                found[name] = _made_up(each["type"], name)
        return pb.ReadDataSource.Response(state=_written(found))


def main(schema: str, socket: str) -> None:
    """Serve until standard input closes."""
    with gzip.open(schema, "rt") as file:
        served = Double(json.load(file))
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    rpc.add_ProviderServicer_to_server(served, server)
    server.add_insecure_port(f"unix://{socket}")
    server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.stop(grace=0)


if __name__ == "__main__":
    main(*sys.argv[1:])
