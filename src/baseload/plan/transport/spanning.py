"""What does a faster network buy for a replica that spans machines?

Two turns are looked at: one that writes a token of each of so many answers, and one that reads so
many tokens of a prompt. For each network stands what it takes at least (bytes over its ports, and
its delays, as far as they are not hidden behind the links inside machines), and how long the whole
turn is predicted to take over it. Networks by RDMA have a port for each accelerator; what goes
through the machine's own TCP has one port for the machine.

With a pipeline, as many turns are under way as there are stages; each carries what is asked.

Not here: what is sent (`fabric`), the turn (`speed.engine`).
"""

from collections.abc import Iterable
from math import inf

import msgspec

from baseload.plan.catalog.rows import Link
from baseload.plan.hardware.memory import TURN_TOKENS
from baseload.plan.models.shape import Shape
from baseload.plan.speed.engine import engine_of
from baseload.plan.speed.layout import Build, Layout
from baseload.plan.transport.fabric import Hops, token_bytes, traffic, turn_s

ANSWERS = 64
"""Answers that one turn writes a token of."""
CONTEXT = 4096
"""Tokens that each of them looks back on."""
PROMPT = TURN_TOKENS
"""Tokens of one prompt that one turn reads."""
TCP = "ethernet"
"""How rows of networks begin that go through a machine's TCP."""


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of turn over one network."""

    network_s: float
    """That the network takes at least."""
    seconds: float
    """The whole turn, as predicted."""
    share: float
    """Of the network in the turn."""


class Over(msgspec.Struct, frozen=True, kw_only=True):
    """Both turns over one network."""

    network: str
    ports: int
    """Of one machine."""
    machine_bytes_s: float
    """One way, over all its ports."""
    is_verified: bool
    writing: Turn
    reading: Turn


class Spanning(msgspec.Struct, frozen=True, kw_only=True):
    """One replica over each network."""

    model: str
    precision: str
    layout: Layout
    machines: int
    answers: int
    context: int
    prompt: int
    between_bytes_token: float
    """Out of one machine, for each token that a turn writes or reads."""
    networks: tuple[Over, ...]
    """The one with the shortest turns first."""


def spanning(
    shape: Shape, build: Build, networks: Iterable[Link], answers: int = ANSWERS
) -> Spanning | None:
    """Give what each network costs a replica; None if it stays in one machine."""
    layout = build.layout
    if layout.machines == 1:
        return None
    parts = traffic(shape, layout, PROMPT)
    found = [_over(shape, build, network, answers) for network in networks]
    return Spanning(
        model=shape.name, precision=build.precision, layout=layout, machines=layout.machines,
        answers=answers, context=CONTEXT, prompt=PROMPT,
        between_bytes_token=token_bytes(parts, PROMPT)[1],
        networks=tuple(sorted(found, key=lambda each: each.writing.seconds + each.reading.seconds)),
    )  # fmt: skip


def ports_of(network: Link, per_machine: int) -> int:
    """Give how many ports of a network a machine has."""
    return 1 if network.name.startswith(TCP) else per_machine


def best_of(found: Spanning, kind: str) -> Over | None:
    """Give the fastest of the networks whose names begin so."""
    return next((each for each in found.networks if each.network.startswith(kind)), None)


def _over(shape: Shape, build: Build, network: Link, answers: int) -> Over:
    layout = build.layout
    ports = ports_of(network, layout.per_machine)
    each = msgspec.structs.replace(network, bytes_s=network.bytes_s * ports / layout.per_machine)
    engine = engine_of(shape, msgspec.structs.replace(build, network=each), kv_tokens=0)
    stages = layout.pp
    writing_s = engine.turn_s(answers * stages, CONTEXT, 0, 0, 0)
    reading_s = engine.turn_s(0, 0, PROMPT * stages, PROMPT / 2, PROMPT // layout.dp)
    return Over(
        network=network.name, ports=ports, machine_bytes_s=network.bytes_s * ports,
        is_verified=network.verified,
        writing=_turn(_network_s(shape, build, each, answers), writing_s),
        reading=_turn(_network_s(shape, build, each, PROMPT), reading_s),
    )  # fmt: skip


def _turn(network_s: float, seconds: float) -> Turn:
    return Turn(network_s=network_s, seconds=seconds, share=network_s / seconds)


def _network_s(shape: Shape, build: Build, network: Link, tokens: int) -> float:
    """Give how much longer sending takes than over a network that takes no time."""
    layout, row = build.layout, build.accelerator
    inside = row.link_bytes_s or row.pcie_bytes_s or inf  # Unknown: nothing hides behind it.
    near = msgspec.structs.replace(network, name="inside", bytes_s=inside, latency_s=0.0)
    none = msgspec.structs.replace(network, name="none", bytes_s=inf, latency_s=0.0)
    parts = traffic(shape, layout, tokens)
    hops = Hops(inside=near, between=network, ports=layout.per_machine)
    return turn_s(parts, hops) - turn_s(parts, msgspec.structs.replace(hops, between=none))
