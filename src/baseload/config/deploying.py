"""Where a fleet is to run: what `baseload render` turns into Kubernetes, Terraform and monitoring.

A part of the fleet file like those of `fleet.py`; a running gateway passes it over. Nothing here is
needed to serve calls, and everything has a default but which models run on which accelerators.

Not here: whether a model fits what is named (`render.picture`), what clouds rent (`plan.catalog`).
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

FilledIn = Annotated[str, Meta(extra={"filled in": True})]
Dns = Annotated[
    str,
    Meta(
        pattern="^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$",
        description="At most 40 of a to z, 0 to 9 and `-`, beginning with a letter.",
    ),
]
Count = Annotated[int, Meta(ge=1, le=10_000)]
Host = Annotated[str, Meta(pattern="^[a-z0-9.-]{1,253}$", description="A DNS name, in lower case.")]
CloudName = Literal["aws", "azure", "tencent"]


class GatewayDeploy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the gateway itself runs in a cluster."""

    image: Annotated[str, Meta(min_length=1, description="Its image, with a tag.")] = (
        "baseload:0.1.0"
    )
    replicas: Annotated[Count, Meta(description="Gateways, at least.")] = 3
    replicas_max: Annotated[Count, Meta(description="Gateways, at most.")] = 12
    in_flight: Annotated[
        Count, Meta(description="Calls in flight, for each gateway, above which one is added.")
    ] = 200
    cpu: Annotated[float, Meta(gt=0, le=256, description="Cores that are asked for.")] = 1.0
    memory_mb: Annotated[int, Meta(ge=64, description="Memory, asked for and at most.")] = 512
    expose: Annotated[
        Literal["gateway", "ingress", "none"],
        Meta(description="By a Gateway API route, by an Ingress, or inside the cluster only."),
    ] = "none"
    hosts: Annotated[tuple[Host, ...], Meta(description="Names under which callers reach it.")] = ()
    parent: Annotated[
        str,
        Meta(
            pattern="^([a-z0-9-]+/)?[a-z0-9.-]+$",
            description="The Gateway (`namespace/name`), or the Ingress class.",
            examples=["gateways/public"],
        ),
    ] = "public"
    tls_secret: (
        Annotated[str, Meta(pattern="^[a-z0-9.-]+$", description="The Secret of an Ingress' TLS.")]
        | None
    ) = None


class EngineDeploy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model server that is to be deployed, under the name of the backend that it is."""

    name: FilledIn = ""
    """The backend that it stands for, filled in from the mapping's key."""
    model: Annotated[
        str,
        Meta(
            min_length=1,
            description="A model that `baseload plan` knows, or the path of its config.json.",
            examples=["deepseek-r1-distill-qwen-32b"],
        ),
    ]
    weights: Annotated[
        str,
        Meta(
            pattern="^(hf|s3|https|pvc)://[!-~]+$",
            description="From hf://ORG/NAME, s3://BUCKET/PATH, https://…/, pvc://CLAIM/PATH.",
            examples=["hf://deepseek-ai/DeepSeek-R1-Distill-Qwen-32B"],
        ),
    ]
    accelerator: (
        Annotated[
            str, Meta(description="A name of `baseload catalog`.", examples=["h100", "mi300x"])
        ]
        | None
    ) = None
    """None: the plan says."""
    per_machine: (
        Annotated[Count, Meta(description="Accelerators of one machine that a replica takes.")]
        | None
    ) = None
    """None: as the plan says, or 1."""
    machines: Annotated[Count, Meta(description="Machines that one replica takes.")] | None = None
    """None: as the plan says, or 1."""
    precision: (
        Annotated[
            Literal["fp32", "bf16", "fp8", "int8", "int4", "fp4"],
            Meta(description="Of weights; the model's own where absent."),
        ]
        | None
    ) = None
    context: Annotated[
        int, Meta(ge=256, le=10_000_000, description="Tokens of one call, answer included.")
    ] = 16_384
    engine: Annotated[
        Literal["vllm", "sglang", "llama.cpp"], Meta(description="The model server.")
    ] = "vllm"
    image: (
        Annotated[str, Meta(min_length=1, description="Its image; a usual one if absent.")] | None
    ) = None
    replicas: Annotated[Count, Meta(description="At least, while it is not at zero.")] | None = None
    """None: as the plan says, or 1."""
    replicas_max: Annotated[Count, Meta(description="At most.")] | None = None
    """None: as `replicas`."""
    to_zero: Annotated[
        bool, Meta(description="Stop the last one when nobody calls; the gateway holds who comes.")
    ] = False
    sharing: Annotated[
        Literal["none", "mps", "dra"],
        Meta(description="Whether engines share one GPU: through MPS, or MPS by a DRA claim."),
    ] = "none"
    share: Annotated[
        int, Meta(ge=1, le=48, description="With `sharing`: how many engines one GPU carries.")
    ] = 1
    scale_on: Annotated[
        Literal["load", "cpu", "none"],
        Meta(description="Queue, KV cache and first tokens; or the article's CPU at 70 %."),
    ] = "load"
    storage_class: Annotated[
        str,
        Meta(
            pattern="^[a-z0-9.-]*$",
            description="StorageClass of local NVMe; empty: the node's disk.",
        ),
    ] = ""
    node_labels: Annotated[
        dict[str, str], Meta(description="Labels of the nodes it runs on, over the usual ones.")
    ] = {}


class Site(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Kubernetes cluster: what is different there."""

    name: FilledIn = ""
    engines: (
        Annotated[tuple[str, ...], Meta(description="Engines that run here; all if absent.")] | None
    ) = None
    replicas: Annotated[Count, Meta(description="Gateways here.")] | None = None
    engine_replicas: Annotated[
        dict[str, Count], Meta(description="Replicas of single engines here, at least.")
    ] = {}
    hosts: Annotated[tuple[Host, ...], Meta(description="Names of the gateway here.")] = ()
    storage_class: (
        Annotated[str, Meta(pattern="^[a-z0-9.-]+$", description="Of local NVMe here.")] | None
    ) = None
    quota: Annotated[
        dict[str, Count],
        Meta(description="Accelerators that there are, by name.", examples=[{"h100": 16}]),
    ] = {}


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One environment of a cloud: what its variable file says differently."""

    name: FilledIn = ""
    replicas: Annotated[int, Meta(ge=0, le=10_000, description="Machines wanted.")] | None = None
    replicas_max: Annotated[Count, Meta(description="Machines at most.")] | None = None
    budget_usd_month: (
        Annotated[float, Meta(gt=0, description="What it may cost; from the catalogue if absent.")]
        | None
    ) = None


class Cloud(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A group of GPU machines in a cloud, and what belongs to it."""

    name: FilledIn = ""
    engine: Annotated[
        str, Meta(min_length=1, description="The engine of `deploy.engines` that runs there.")
    ]
    region: Annotated[str, Meta(min_length=1, examples=["us-east-1"], description="Its region.")]
    standby_region: (
        Annotated[str, Meta(min_length=1, description="A second region that stands by.")] | None
    ) = None
    standby: Annotated[
        Literal["none", "warm", "cold"],
        Meta(description="There: one machine that runs, or all at zero until it is needed."),
    ] = "none"
    instance: (
        Annotated[str, Meta(description="A name of `baseload catalog`.", examples=["p5.48xlarge"])]
        | None
    ) = None
    """None: the plan says."""
    image: Annotated[
        str,
        Meta(description="The machine image (AMI, Azure or CVM image) with drivers and Docker."),
    ] = ""
    replicas: Annotated[int, Meta(ge=0, le=10_000, description="Machines wanted.")] | None = None
    """None: as the plan says, or 1."""
    replicas_max: Annotated[Count, Meta(description="Machines at most.")] | None = None
    """None: twice as many as wanted, and two at least."""
    spot: Annotated[bool, Meta(description="Whether machines above the floor are spot.")] = False
    floor: Annotated[int, Meta(ge=0, description="Machines that are always on demand.")] = 1
    scaling: Annotated[
        Literal["target", "cpu"],
        Meta(description="Target tracking with warm-up, or the article's steps on CPU."),
    ] = "target"
    quota: Annotated[Count, Meta(description="Machines that the account may have.")] | None = None
    zone: Annotated[Host, Meta(description="The DNS zone for health-checked names.")] | None = None
    bucket: (
        Annotated[str, Meta(pattern="^[a-z0-9-]{3,63}$", description="Object storage to be made.")]
        | None
    ) = None
    patient: Annotated[
        bool, Meta(description="A queue with a serverless worker for jobs that can wait.")
    ] = False
    alarm_email: (
        Annotated[str, Meta(pattern="^[^@ ]+@[^@ ]+$", description="Who hears alarms.")] | None
    ) = None
    state_bucket: (
        Annotated[str, Meta(pattern="^[a-z0-9-]{3,63}$", description="Terraform's remote state.")]
        | None
    ) = None
    environments: Annotated[
        dict[Dns, Environment], Meta(description="A variable file for each; `prod` if none.")
    ] = {}


class Receiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is paged."""

    kind: Annotated[
        Literal["webhook", "slack", "pagerduty", "email"], Meta(description="By what means.")
    ]
    to: Annotated[
        str,
        Meta(
            pattern="^[!-~]*$",
            description="An e-mail address; for others the URL or key, as a variable.",
            examples=["${PAGERDUTY_KEY}"],
            extra={"secret": True, "address": True},
        ),
    ]


class Smtp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By which server receivers of e-mail are written to."""

    host: Annotated[
        str,
        Meta(
            pattern="^[A-Za-z0-9.-]+:[0-9]+$",
            description="host:port.",
            examples=["smtp.example.com:587"],
        ),
    ]
    sender: Annotated[
        str,
        Meta(
            pattern="^[^@ ]+@[^@ ]+$",
            description="Whom alerts come from.",
            examples=["alerts@example.com"],
        ),
    ]
    user: Annotated[str, Meta(description="Whom it knows; nobody if absent.")] = ""
    password: Annotated[
        str,
        Meta(
            pattern="^[!-~]*$",
            description="Of that user, as a variable.",
            examples=["${SMTP_PASSWORD}"],
            extra={"secret": True},
        ),
    ] = ""


class Monitoring(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What callers are promised, and who hears when it is not kept."""

    availability: Annotated[
        float, Meta(gt=0.5, lt=1, description="Part of calls that must not fail.")
    ] = 0.999
    first_token_s: Annotated[
        float, Meta(gt=0, le=524, description="First tokens are promised within.")
    ] = 4.0
    first_token_share: Annotated[
        float, Meta(gt=0.5, lt=1, description="For this part of calls.")
    ] = 0.95
    page: Annotated[Receiver, Meta(description="Who is woken.")] | None = None
    ticket: Annotated[Receiver, Meta(description="Who reads it in the morning.")] | None = None
    smtp: Annotated[Smtp, Meta(description="The server for receivers of e-mail.")] | None = None
    interval_s: Annotated[int, Meta(ge=1, le=300, description="Between scrapes.")] = 15
    backup_max_h: Annotated[
        float, Meta(gt=0, description="Hours after which a backup is too old.")
    ] = 26.0


class Deploy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the fleet is to run."""

    name: Annotated[Dns, Meta(description="The installation's name.")] = "baseload"
    namespace: Annotated[Dns, Meta(description="Its namespace in clusters.")] = "baseload"
    gateway: Annotated[GatewayDeploy, Meta(description="The gateway in a cluster.")] = (
        GatewayDeploy()
    )
    scaler: Annotated[
        Literal["keda", "hpa"],
        Meta(description="KEDA, or HPAs on metrics of the Prometheus adapter."),
    ] = "keda"
    prometheus: Annotated[
        str, Meta(pattern="^https?://[!-~]+$", description="Where scalers ask for metrics.")
    ] = "http://prometheus-operated.monitoring.svc:9090"
    engines: Annotated[
        dict[str, EngineDeploy], Meta(description="Model servers to deploy, by backend.")
    ] = {}
    sites: Annotated[
        dict[Dns, Site], Meta(description="Clusters, each with an overlay of its own.")
    ] = {}
    clouds: Annotated[
        dict[CloudName, Cloud], Meta(description="GPU groups in clouds, by Terraform.")
    ] = {}
    monitoring: Annotated[Monitoring, Meta(description="Objectives and who is told.")] = (
        Monitoring()
    )
