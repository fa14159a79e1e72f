"""How a fleet is watched: what is logged, and where traces go. Parts of the fleet file."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Log(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is written to standard error."""

    format: Annotated[
        Literal["console", "json"], Meta(description="For people, or one JSON object a line.")
    ] = "console"
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least that is written.")
    ] = "info"
    calls: Annotated[bool, Meta(description="A line for each finished call, without content.")] = (
        False
    )
    bodies: Annotated[
        bool,
        Meta(description="For debugging only: PROMPTS AND ANSWERS are written, in clear text."),
    ] = False


class Otel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where traces and metrics go in OpenTelemetry's form; without an endpoint, nowhere."""

    endpoint: (
        Annotated[
            str,
            Meta(
                pattern="^https?://[!-~]+$",
                description="Base URL of an OTLP/HTTP receiver.",
                examples=["http://127.0.0.1:4318"],
            ),
        ]
        | None
    ) = None
    sample: Annotated[
        float,
        Meta(ge=0, le=1, description="Share of calls that are traced, unless a caller's trace is."),
    ] = 1.0
    headers: Annotated[
        dict[str, Annotated[str, Meta(extra={"secret": True})]],
        Meta(description="Headers for the receiver, its token, say."),
    ] = {}
    service: Annotated[str, Meta(min_length=1, description="The name under which it appears.")] = (
        "baseload"
    )
