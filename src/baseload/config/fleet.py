"""What a fleet is: the frozen values that the fleet file becomes.

These structs are the single source of the file's form. The reader checks a file against them,
the JSON Schema is generated from them, and the rest of the house only ever reads them. Names of
backends and models are unique keys of their mappings, so every struct also carries its own name.
Descriptions and examples serve the mistakes' hints and the schema alike, and two marks steer the
reader: `filled in` values come from a mapping's key and cannot be written in the file, and a
`secret` value is never repeated in a mistake.

Nothing here reads files or the environment; `reading.py` does.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from baseload.config.deploying import Deploy
from baseload.config.serving import Batch, Serve
from baseload.config.tenancy import Jobs, Key, Limits, Price, Store
from baseload.config.watching import Log, Otel

Seconds = Annotated[float, Meta(gt=0, le=604_800)]  # a week: beyond it, timers overflow somewhere
FilledIn = Annotated[str, Meta(extra={"filled in": True})]
BackendName = Annotated[  # it travels in a response header
    str,
    Meta(
        pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$",
        description="A name of at most 64 letters, digits, `.`, `_` and `-`.",
    ),
]
ModelName = Annotated[
    str,
    Meta(pattern="^[!-~]{1,128}$", description="A name of at most 128 ASCII signs, no spaces."),
]


class Backend(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One place where a model can run: a URL that speaks OpenAI's API, or an engine we start."""

    name: FilledIn = ""
    """Filled in by the reader from the mapping's key."""
    url: (
        Annotated[
            str,
            Meta(
                description="Base URL up to and including `/v1`.",
                examples=["https://api.deepseek.com/v1"],
            ),
        ]
        | None
    ) = None
    engine: (
        Annotated[
            Literal["llama.cpp", "vllm", "sglang", "external"],
            Meta(
                description="A model server that baseload starts itself; `external`: one at `url` "
                "that is not started, but warmed and watched."
            ),
        ]
        | None
    ) = None
    model: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="With `engine`: a known model's name, or the path of a .gguf file or "
                "of a folder.",
                examples=["smollm2-135m-instruct"],
            ),
        ]
        | None
    ) = None
    api_key: (
        Annotated[
            str,
            Meta(
                pattern="^[!-~]*$",  # anything else would break the request's head
                description="Sent as a bearer token, so ASCII without spaces; empty: none is sent.",
                examples=["${DEEPSEEK_API_KEY}"],
                extra={"secret": True},
            ),
        ]
        | None
    ) = None
    anthropic_path: (
        Annotated[
            str,
            Meta(
                pattern="^/[!-~]*$",
                description="Path on the same host where it speaks Anthropic's Messages API.",
                examples=["/anthropic/v1/messages"],
            ),
        ]
        | None
    ) = None
    responses_path: (
        Annotated[
            str,
            Meta(
                pattern="^/[!-~]*$",
                description="Path on the same host where it speaks OpenAI's Responses API.",
                examples=["/v1/responses"],
            ),
        ]
        | None
    ) = None
    concurrency: (
        Annotated[
            int,
            Meta(
                ge=1,
                description="Calls at once. Default: 256 for a URL, the slots of an engine.",
                examples=[500],
            ),
        ]
        | None
    ) = None
    connect_s: Annotated[Seconds, Meta(description="Longest wait for a connection.")] = 3.0
    ca: Annotated[str, Meta(description="PEM file of a private CA for an https URL.")] | None = None
    account: (
        Annotated[
            str,
            Meta(
                min_length=1,
                description="Backends with equal `account` share one limit on calls at once.",
            ),
        ]
        | None
    ) = None
    prefill: Annotated[
        Literal["auto", "prefix", "continue_final_message", "assistant", "off"],
        Meta(description="How the backend can be asked to continue a text that broke off."),
    ] = "auto"
    probe_s: Annotated[
        float, Meta(ge=0, le=3600, description="Seconds between looks at its health; 0: none.")
    ] = 5.0
    cold_start_s: Annotated[
        float,
        Meta(
            ge=0,
            le=3600,
            description="Longest it takes to come up from zero replicas; calls wait that long for "
            "it instead of being refused.",
        ),
    ] = 0.0
    serve: Annotated[Serve, Meta(description="With `engine`: how it is started and warmed.")] = (
        Serve()
    )
    batch: (
        Annotated[Batch, Meta(description="How many calls and tokens it is given at once.")] | None
    ) = None
    """None: engines that are started learn it with the usual bounds; a URL has `concurrency`."""


class Target(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One backend's part in a tier: which model it is asked for, and its share of the calls."""

    backend: FilledIn = ""
    """Filled in by the reader from the mapping's key."""
    model: Annotated[
        str,
        Meta(
            min_length=1,
            description="The model's name at this backend.",
            examples=["deepseek-flash"],
        ),
    ]
    thinking: (
        Annotated[
            Literal["enabled", "disabled"],
            Meta(description="Whether it thinks first, where the caller does not say."),
        ]
        | None
    ) = None
    share: Annotated[
        int, Meta(ge=0, le=1000, description="Part of the tier's calls, against its siblings.")
    ] = 100
    weights: (
        Annotated[str, Meta(description="Backends with equal `weights` hold the very same model.")]
        | None
    ) = None
    cost_usd_mtok: (
        Annotated[
            float,
            Meta(gt=0, description="Price of a million tokens; calls spill to cheap siblings."),
        ]
        | None
    ) = None


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model's name as callers know it, and where it may be answered."""

    name: FilledIn = ""
    """Filled in by the reader from the mapping's key."""
    tiers: Annotated[
        tuple[Annotated[dict[str, Target], Meta(min_length=1)], ...],
        Meta(
            min_length=1,
            description="Tried in order; the first that can take a call does.",
            examples=[[{"deepseek": {"model": "deepseek-flash"}}]],
        ),
    ]
    headers_s: Annotated[Seconds, Meta(description="Longest wait for an answer's head.")] | None = (
        None
    )
    first_byte_s: (
        Annotated[Seconds, Meta(description="Longest wait for a first byte of any kind.")] | None
    ) = None
    first_token_s: Annotated[
        Seconds, Meta(description="Longest wait for the first token, for each attempt.")
    ] = 30.0
    stall_s: Annotated[Seconds, Meta(description="Longest silence between two tokens.")] = 30.0
    total_s: Annotated[Seconds, Meta(description="Longest a call may take, queue included.")] = (
        600.0
    )
    resume: Annotated[
        Literal["same_weights", "any", "off"],
        Meta(description="Where an answer that broke half way may be continued."),
    ] = "same_weights"
    keepalive_s: Annotated[
        float,
        Meta(ge=0, le=3600, description="Silence after which a waiting stream is sent a comment."),
    ] = 15.0
    hedge: Annotated[
        float,
        Meta(ge=0, le=0.5, description="Share of live calls that may have a second attempt."),
    ] = 0.0
    assemble: Annotated[
        bool,
        Meta(description="Ask for a stream where the caller does not, and put it together."),
    ] = True
    share_identical: Annotated[
        bool, Meta(description="Let identical calls in flight share one answer.")
    ] = False
    limits: Annotated[Limits, Meta(description="Limits of all callers together.")] = Limits()


class Queue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where calls wait when every backend they could use is full."""

    size: Annotated[int, Meta(ge=0, description="Calls that may wait at once, all models.")] = 1024
    wait_s: Annotated[Seconds, Meta(description="Longest wait before a refusal.")] = 30.0


class Inbound(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a caller's connection may cost the gateway."""

    body_mb: Annotated[float, Meta(gt=0, le=1024, description="Largest request body.")] = 32.0
    header_kb: Annotated[
        float, Meta(ge=1, le=1024, description="Largest request head, all headers together.")
    ] = 32.0
    header_s: Annotated[
        Seconds, Meta(description="Longest time from a request's first byte to its last header.")
    ] = 10.0
    body_s: Annotated[
        Seconds, Meta(description="Longest silence while a request body is being sent.")
    ] = 30.0
    idle_s: Annotated[Seconds, Meta(description="Longest idle time of a kept connection.")] = 75.0
    unread_s: Annotated[
        Seconds, Meta(description="Longest time a caller may leave its answer unread.")
    ] = 60.0
    connections: Annotated[int, Meta(ge=1, description="Open connections at once.")] = 8192


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The certificate that the clients' port shows."""

    cert: Annotated[str, Meta(description="PEM file, the chain included.")]
    key: Annotated[str, Meta(description="PEM file of the private key.")]


class Overload(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a backend counts as overloaded. Defaults are the source article's thresholds."""

    error_rate: Annotated[float, Meta(gt=0, le=1, description="Red above this share.")] = 0.05
    latency_s: Annotated[Seconds, Meta(description="Red above this, for a health ping.")] = 0.2
    queued_s: Annotated[
        Seconds, Meta(description="Red above this time in a provider's own queue.")
    ] = 5.0


class Fleet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole fleet file."""

    listen: Annotated[str, Meta(description="host:port for callers; [::1]:8080 for IPv6.")] = (
        "127.0.0.1:8080"
    )
    admin: Annotated[str, Meta(description="host:port for operators: health, metrics, status.")] = (
        "127.0.0.1:9090"
    )
    tls: Annotated[Tls, Meta(description="Serve callers over https.")] | None = None
    drain_s: Annotated[Seconds, Meta(description="Longest wait for open answers at the end.")] = (
        30.0
    )
    state_dir: Annotated[
        str, Meta(description="Where engines' logs are kept; `~` is the home directory.")
    ] = "~/.local/state/baseload"
    backends: Annotated[
        dict[BackendName, Backend],
        Meta(min_length=1, description="Places where models run, by name."),
    ]
    models: Annotated[
        dict[ModelName, Model],
        Meta(min_length=1, description="Models as callers name them, and where they are answered."),
    ]
    queue: Annotated[
        Queue, Meta(description="Where calls wait when every backend they could use is full.")
    ] = Queue()
    inbound: Annotated[
        Inbound, Meta(description="What a caller's connection may cost the gateway.")
    ] = Inbound()
    overload: Annotated[Overload, Meta(description="When a backend counts as overloaded.")] = (
        Overload()
    )
    keys: Annotated[
        tuple[Key, ...],
        Meta(description="Callers' keys; others can be made with `baseload keys create`."),
    ] = ()
    prices: Annotated[
        tuple[Price, ...], Meta(description="What backends charge, where it is not known already.")
    ] = ()
    store: Annotated[Store, Meta(description="Where what must outlive a process is kept.")] = (
        Store()
    )
    log: Annotated[Log, Meta(description="What is written to standard error.")] = Log()
    otel: Annotated[Otel, Meta(description="Where OpenTelemetry's traces and metrics go.")] = Otel()
    jobs: Annotated[Jobs, Meta(description="What batches may take.")] = Jobs()
    deploy: (
        Annotated[Deploy, Meta(description="Where it is to run, for `baseload render`.")] | None
    ) = None
    admin_token: (
        Annotated[
            str,
            Meta(
                pattern="^[!-~]{16,}$",
                description="What operators show on the `admin` port; needed off loopback.",
                examples=["${BASELOAD_ADMIN_TOKEN}"],
                extra={"secret": True},
            ),
        ]
        | None
    ) = None
    open_to_all: Annotated[
        bool, Meta(description="Serve callers without keys off loopback, too, when there are none.")
    ] = False
