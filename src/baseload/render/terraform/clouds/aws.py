"""What is the AWS root module told of a fleet?

Sizes and times follow from the engine: what its weights take on a disk, how long it takes to start,
how many calls a machine holds. Prices are the catalogue's, in comments with their day; no machine
image is guessed, since AMIs belong to one region and age within weeks.

Not here: what is made of it (`modules/aws/`).
"""

from math import ceil
from typing import Final
from urllib.parse import urlsplit

import msgspec

from baseload.config.references import variables_in
from baseload.plan.catalog.rows import Instance
from baseload.render.command import Where, command_of, image_of, sequences_of
from baseload.render.picture import Group, Picture, whole_s
from baseload.render.terraform.hcl import Setting

IMAGES_GB: Final = 100
"""Of the data volume: for container images."""
WEIGHTS_SPARE: Final = 1.2
START_S_MAX: Final = 7200
ANSWER_S_MAX: Final = 3600
"""The most that auto scaling and a balancer wait."""
CHOOSE: Final = "Yours to fill in; no image is guessed. "
"""Said of what cannot be known from the fleet file."""


def settings(group: Group, picture: Picture) -> tuple[Setting, ...]:
    """Give the values of the root module's variables."""
    return (
        *_places(group, picture),
        *_names(group, picture),
        *_machines(group),
        *_engine(group, picture),
        *_rest(group),
    )


def apart(settings: tuple[Setting, ...], environment: str) -> tuple[Setting, ...]:
    """Give another environment a bucket and a host of its own: names that are unique."""
    said = {each.name: each.value for each in settings}
    bucket = f"{said['bucket']}-{environment}" if said["bucket"] else ""
    own = {"host": f"{environment}.{said['host']}", "bucket": bucket}
    if said["weights_bucket"] == said["bucket"]:
        own["weights_bucket"] = bucket
    return tuple(
        msgspec.structs.replace(each, value=own.get(each.name, each.value)) for each in settings
    )


def state(group: Group, environment: str) -> tuple[Setting, ...]:
    """Say where an environment keeps its state."""
    bucket = group.said.state_bucket
    return (
        *((Setting(name="bucket", value=bucket, about="It is there already, with versioning."),)
          if bucket else ()),
        Setting(
            name="key", value=f"baseload/{environment}.tfstate",
            about="" if bucket else "Which bucket: -backend-config=bucket=NAME",
        ),
        Setting(name="region", value=group.said.region),
        Setting(name="encrypt", value=True),
        Setting(name="use_lockfile", value=True),
    )  # fmt: skip


def host_of(group: Group, picture: Picture) -> str:
    """Give the name under which the gateway calls: the backend's, unless it is outside the zone."""
    backend = picture.fleet.backends.get(group.engine.name)
    host = urlsplit(backend.url or "").hostname or "" if backend else ""
    zone = group.said.zone
    if zone and not host.endswith(f".{zone}"):
        return f"{group.engine.slug}.{zone}"
    return host


def _places(group: Group, picture: Picture) -> tuple[Setting, ...]:
    said = group.said
    return (
        Setting(name="name", value=picture.deploy.name, about="What everything is called."),
        Setting(name="region", value=said.region, about="Where it runs, and what stands by."),
        Setting(name="standby_region", value=group.standby_region),
        Setting(name="standby", value=said.standby),
    )


def _names(group: Group, picture: Picture) -> tuple[Setting, ...]:
    backend = picture.fleet.backends.get(group.engine.name)
    key = (backend.api_key or "") if backend else ""
    if not variables_in(key):
        key = f"${{{group.engine.slug.upper().replace('-', '_')}_ENGINE_KEY}}"
    return (
        Setting(name="zone", value=group.said.zone or "", about="Its name and its key."),
        Setting(name="host", value=host_of(group, picture)),
        Setting(name="engine_key_reference", value=key),
        *(() if group.said.zone else (
            Setting(name="certificate_arn", value="", about="Yours to fill in, without a zone."),
            *((Setting(name="standby_certificate_arn", value=""),) if group.standby_region else ()),
        )),
    )  # fmt: skip


def _machines(group: Group) -> tuple[Setting, ...]:
    said, instance, engine = group.said, group.instance, group.engine
    used = engine.layout.accelerators
    idle = "" if used >= instance.count else f"The engine takes {used} of its GPUs.\n"
    weights_gb = engine.weights_bytes * WEIGHTS_SPARE / 1e9
    standby = () if not group.standby_region else (
        Setting(name="standby_image", value="", about=CHOOSE + "AMIs are of one region."),
    )  # fmt: skip
    return (
        Setting(name="image", value=said.image, about="" if said.image else CHOOSE + "An AMI."),
        *standby,
        Setting(
            name="instance_types", value=[instance.name],
            about=f"{instance.count} x {instance.accelerator}. {idle}{_price(instance)}",
        ),
        Setting(
            name="spot", value=said.spot, about="Machines above the floor, where spot; how scaled."
        ),
        Setting(name="floor", value=said.floor),
        Setting(name="spot_max_usd_hour", value=None),
        Setting(name="scaling", value=said.scaling),
        Setting(
            name="data_volume_gb", value=ceil(IMAGES_GB + weights_gb),
            about=f"Images, and weights of {engine.weights_bytes / 1e9:.0f} GB.",
        ),
    )  # fmt: skip


def _price(instance: Instance) -> str:
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


def _engine(group: Group, picture: Picture) -> tuple[Setting, ...]:
    engine = group.engine
    least, most = engine.start_s
    where = Where(model="/weights", api_key="@KEY@")
    bucket, _, path = engine.said.weights.removeprefix("s3://").partition("/")
    start_s = min(START_S_MAX, whole_s(most))
    return (
        Setting(name="engine_name", value=engine.name, about="What runs on each machine."),
        Setting(name="engine_image", value=image_of(engine, picture.deploy.gateway.image)),
        Setting(name="engine_args", value=list(command_of(engine, where))),
        Setting(name="weights_bucket", value=bucket, about="SHA256SUMS lies beside the weights."),
        Setting(name="weights_prefix", value=path.strip("/") + "/"),
        Setting(
            name="sequences", value=sequences_of(engine),
            about=f"Calls at once, with {engine.said.context} tokens each.",
        ),
        Setting(
            name="start_s", value=start_s,
            about=f"Reckoned: {least:.0f} to {most:.0f} s from a machine to its first token.",
        ),
        Setting(
            name="answer_s", value=min(ANSWER_S_MAX, whole_s(engine.answer_max_s)),
            about="The longest that the fleet file allows a call.",
        ),
    )  # fmt: skip


def _rest(group: Group) -> tuple[Setting, ...]:
    said = group.said
    return (
        Setting(name="bucket", value=said.bucket or "", about="Made here; empty: none is."),
        Setting(name="patient", value=said.patient, about="A queue for jobs that can wait."),
        Setting(name="alarm_email", value=said.alarm_email or "", about="Who hears alarms."),
    )
