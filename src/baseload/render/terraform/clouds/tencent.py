"""What is the Tencent Cloud root module told of a fleet?

Sizes and times follow from the engine, as in AWS; so do the names. What scaling there goes by is
traffic, so it is reckoned here how much of it answers make. No price is known of its machines.

Not here: what is made of it (`modules/tencent/`).
"""

from math import ceil
from typing import Final
from urllib.parse import urlsplit

from baseload.render.command import sequences_of
from baseload.render.picture import Group, Picture
from baseload.render.terraform.clouds.aws import (
    CHOOSE,
    IMAGES_GB,
    WEIGHTS_SPARE,
    host_of,
    key_of,
    price_of,
)
from baseload.render.terraform.clouds.azure import changed, engine_of, places
from baseload.render.terraform.hcl import Setting

START_S_MAX: Final = 7200
ANSWER_S_MAX: Final = 840
"""The most that a group waits for a machine, and a function runs less what it needs itself."""
PACE_TOKENS_S: Final = 20.0
"""Of one answer: what DeepSeek's own service streams."""
TOKEN_BYTES: Final = 300.0
"""Of one token that is streamed, as an event of JSON by itself (assumed)."""
LOAD_WANTED: Final = 0.7
"""Part of the calls that a machine holds which it is to have."""


def settings(group: Group, picture: Picture) -> tuple[Setting, ...]:
    """Give the values of the root module's variables."""
    said = group.said
    return (
        *places(group, picture),
        *_zones(group),
        *_names(group, picture),
        *_machines(group),
        *engine_of(group.engine, picture, (START_S_MAX, ANSWER_S_MAX)),
        *_storage(group),
        Setting(name="patient", value=said.patient, about="A folder for jobs that can wait."),
        Setting(
            name="alarm_users", value=[],
            about=CHOOSE.split(";")[0] + ": ids of CAM users, who have addresses there"
            + (f", as {said.alarm_email}." if said.alarm_email else "."),
        ),
    )  # fmt: skip


def apart(settings: tuple[Setting, ...], environment: str) -> tuple[Setting, ...]:
    """Give another environment a bucket and a name of its own: both are unique in the world."""
    own = {
        "host": lambda host: f"{environment}.{host}" if host else "",
        "bucket": lambda name: f"{name}-{environment}" if name else "",
    }
    return changed(settings, own)


def state(group: Group, environment: str) -> tuple[Setting, ...]:
    """Say where an environment keeps its state."""
    return (
        Setting(
            name="region", value=group.said.region,
            about="Which bucket, with the account's number: -backend-config=bucket="
            f"{group.said.state_bucket or 'NAME'}-APPID",
        ),
        Setting(name="prefix", value="baseload"),
        Setting(name="key", value=f"{environment}.tfstate"),
        Setting(name="encrypt", value=True),
    )  # fmt: skip


def _zones(group: Group) -> tuple[Setting, ...]:
    example = f"as {group.said.region}-3."
    standby = () if not group.standby_region else (Setting(name="standby_zones", value=[]),)
    about = CHOOSE.split(";")[0] + ": zones that have such machines, " + example
    return (Setting(name="zones", value=[], about=about), *standby)


def _names(group: Group, picture: Picture) -> tuple[Setting, ...]:
    zone = group.said.zone
    certificate = (
        Setting(name="certificate_id", value="", about="Yours to fill in: of this name."),
        Setting(name="igtm_package", value="", about="Empty: a person fails over, not IGTM."),
    )
    return (
        Setting(name="zone", value=zone or "", about="Its name and its key."),
        Setting(name="host", value=host_of(group, picture) if zone else ""),
        Setting(name="engine_key_reference", value=key_of(group, picture)),
        *(certificate if zone else ()),
    )


def _machines(group: Group) -> tuple[Setting, ...]:
    said, instance, engine = group.said, group.instance, group.engine
    used = engine.layout.accelerators
    idle = "" if used >= instance.count else f"The engine takes {used} of its GPUs.\n"
    weights_gb = engine.weights_bytes * WEIGHTS_SPARE / 1e9
    standby = () if not group.standby_region else (
        Setting(name="standby_image", value="", about=CHOOSE + "Images are of one region."),
    )  # fmt: skip
    return (
        Setting(name="image", value=said.image, about="" if said.image else CHOOSE + "CVM's."),
        *standby,
        Setting(
            name="instance_types", value=[instance.name],
            about=f"{instance.count} x {instance.accelerator}. {idle}{price_of(instance)}",
        ),
        Setting(
            name="spot", value=said.spot, about="Machines above the floor, where spot; how scaled."
        ),
        Setting(name="floor", value=said.floor),
        *((Setting(name="spot_max_hour", value="", about=CHOOSE + "In the account's currency."),)
          if said.spot else ()),
        Setting(name="scaling", value=said.scaling),
        Setting(
            name="out_mbps", value=out_mbps(sequences_of(engine)),
            about=f"{LOAD_WANTED:.0%} of the calls at once, {PACE_TOKENS_S:g} tokens/s each, "
            f"{TOKEN_BYTES:g} bytes a token.",
        ),
        Setting(
            name="data_volume_gb", value=ceil((IMAGES_GB + weights_gb) / 10) * 10,
            about=f"Images, and weights of {engine.weights_bytes / 1e9:.0f} GB.",
        ),
    )  # fmt: skip


def out_mbps(sequences: int) -> int:
    """Give the traffic that a machine's answers make while it has as many as it is to have."""
    bits_s = sequences * LOAD_WANTED * PACE_TOKENS_S * TOKEN_BYTES * 8
    return max(1, ceil(bits_s / 1e6))


def _storage(group: Group) -> tuple[Setting, ...]:
    bucket, region, prefix = weights_of(group.engine.said.weights)
    return (
        Setting(
            name="bucket", value=group.said.bucket or "",
            about="Made here; the account's number is added.",
        ),
        Setting(
            name="weights_bucket", value=bucket, about="SHA256SUMS lies beside the weights."
        ),
        Setting(name="weights_region", value=region),
        Setting(name="weights_prefix", value=prefix),
    )  # fmt: skip


def weights_of(url: str) -> tuple[str, str, str]:
    """Give bucket, region and folder of an object's URL in COS."""
    split = urlsplit(url)
    name, _, rest = (split.hostname or "").partition(".cos.")
    return name, rest.partition(".")[0], split.path.strip("/") + "/"
