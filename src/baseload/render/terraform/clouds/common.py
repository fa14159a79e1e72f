"""What is every cloud's root module told of a fleet, and in the same words?

What a fleet is does not depend on the cloud: its names, what runs on a machine and how long that
takes, what a machine costs. Each of these is said once, here; prices are the catalogue's, in
comments with their day. A cloud's own module says what only it is asked.

Not here: the order of a cloud's settings, where its weights and its state are.
"""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from baseload.config.references import variables_in
from baseload.plan.catalog.rows import Instance
from baseload.render.command import Where, command_of, image_of, sequences_of
from baseload.render.picture import Engine, Group, Picture, whole_s
from baseload.render.terraform.hcl import Setting

IMAGES_GB: Final = 100
"""Of the data volume: for container images."""
WEIGHTS_SPARE: Final = 1.2
CHOOSE: Final = "Yours to fill in; no image is guessed. "
"""Said of what cannot be known from the fleet file."""


def places(group: Group, picture: Picture) -> tuple[Setting, ...]:
    """Say what everything is called, and where it is."""
    said = group.said
    return (
        Setting(name="name", value=picture.deploy.name, about="What everything is called."),
        Setting(name="region", value=said.region, about="Where it runs, and what stands by."),
        Setting(name="standby_region", value=group.standby_region),
        Setting(name="standby", value=said.standby),
    )


def names(host: str, group: Group, picture: Picture) -> tuple[Setting, ...]:
    """Say under which name it is called, and with which key."""
    return (
        Setting(name="zone", value=group.said.zone or "", about="Its name and its key."),
        Setting(name="host", value=host),
        Setting(name="engine_key_reference", value=_key_of(group, picture)),
    )


def host_of(group: Group, picture: Picture) -> str:
    """Give the name under which the gateway calls: the backend's, unless it is outside the zone."""
    backend = picture.fleet.backends.get(group.engine.name)
    host = urlsplit(backend.url or "").hostname or "" if backend else ""
    zone = group.said.zone
    if zone and not host.endswith(f".{zone}"):
        return f"{group.engine.slug}.{zone}"
    return host


def _key_of(group: Group, picture: Picture) -> str:
    """Say how the fleet file refers to the engine's key, or could."""
    backend = picture.fleet.backends.get(group.engine.name)
    key = (backend.api_key or "") if backend else ""
    if variables_in(key):
        return key
    return f"${{{group.engine.slug.upper().replace('-', '_')}_ENGINE_KEY}}"


def machine_of(group: Group) -> str:
    """Say what a machine is, what of it is used, and what it costs."""
    instance, used = group.instance, group.engine.layout.accelerators
    idle = "" if used >= instance.count else f"The engine takes {used} of its GPUs.\n"
    return f"{instance.count} x {instance.accelerator}. {idle}{_price_of(instance)}"


def _price_of(instance: Instance) -> str:
    """Say what a machine costs, as of which day, and who says so."""
    if instance.on_demand_usd_hour is None:
        return "No price of it is known."
    usd = instance.on_demand_usd_hour
    lines = [
        f"On demand {usd:g} USD/h, in {instance.region} on {instance.seen}.",
        f"Source: {instance.source}",
    ]
    if instance.spot_usd_hour is not None:
        seen = instance.spot_seen or instance.seen
        lines.insert(1, f"Spot some {instance.spot_usd_hour:g} USD/h, on {seen}.")
    return "\n".join(lines)


def mix(group: Group) -> tuple[Setting, ...]:
    """Say which machines are spot."""
    about = "Machines above the floor, where spot; how scaled."
    return (
        Setting(name="spot", value=group.said.spot, about=about),
        Setting(name="floor", value=group.said.floor),
    )


def weights_gb(engine: Engine) -> float:
    """Give what weights take of a disk, with room to spare."""
    return engine.weights_bytes * WEIGHTS_SPARE / 1e9


def engine_of(engine: Engine, picture: Picture, longest_s: tuple[int, int]) -> tuple[Setting, ...]:
    """Say what runs on each machine; a cloud waits no longer than `longest_s` for start, answer."""
    least, most = engine.start_s
    start_s_max, answer_s_max = longest_s
    where = Where(model="/weights", api_key="@KEY@")
    return (
        Setting(name="engine_name", value=engine.name, about="What runs on each machine."),
        Setting(name="engine_image", value=image_of(engine, picture.deploy.gateway.image)),
        Setting(name="engine_args", value=list(command_of(engine, where))),
        Setting(
            name="sequences", value=sequences_of(engine),
            about=f"Calls at once, with {engine.said.context} tokens each.",
        ),
        Setting(
            name="start_s", value=min(start_s_max, whole_s(most)),
            about=f"Reckoned: {least:.0f} to {most:.0f} s from a machine to its first token.",
        ),
        Setting(
            name="answer_s", value=min(answer_s_max, whole_s(engine.answer_max_s)),
            about="The longest that the fleet file allows a call.",
        ),
    )  # fmt: skip


def changed(
    settings: tuple[Setting, ...], own: dict[str, Callable[[Any], Any]]
) -> tuple[Setting, ...]:
    """Change the values of settings that are named."""
    return tuple(
        msgspec.structs.replace(each, value=own[each.name](each.value))
        if each.name in own
        else each
        for each in settings
    )
