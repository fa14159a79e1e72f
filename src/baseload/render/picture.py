"""What is to be rendered: the fleet file and a plan, held against the catalogue, as one value.

Everything that a template needs is worked out here, once: which accelerators an engine takes, how
its model is split over them, how long it takes to start, how long an answer may last. What cannot
be is refused here too, with its line, before a single byte is written.

Not here: reading files (`cli`), the text of anything (`kubernetes/`, `terraform/`, `monitoring/`).
"""

from math import ceil

import msgspec

from baseload.config.deploying import Cloud, Deploy, EngineDeploy
from baseload.config.fleet import Fleet
from baseload.plan.catalog.reading import Catalogue
from baseload.plan.catalog.rows import Accelerator, Instance
from baseload.plan.hardware.memory import Fit
from baseload.plan.models.shape import Shape
from baseload.plan.speed.layout import Layout

PORT = 8000
"""Where every engine listens."""
ANSWER_S_MIN = 60.0


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """One model server, with everything settled."""

    name: str
    """Of the backend that it is; its Service is called `engine-NAME`."""
    said: EngineDeploy
    """What the file says of it, for what needs no working out: image, weights, sharing, ..."""
    served: tuple[str, ...]
    """The names under which the fleet asks it for its model; at least one."""
    shape: Shape
    accelerator: Accelerator
    layout: Layout
    """`layout.per_machine` accelerators in each of `layout.machines` machines."""
    precision: str
    room: Fit
    """What one accelerator holds; of a shared one, in its share."""
    utilisation: float
    """Part of an accelerator's memory that the engine may take; of a shared one, its share."""
    sequences: int
    """Calls at once that fit with a full context each."""
    weights_bytes: float
    """Of the whole model, as it lies on disk."""
    replicas: int
    replicas_max: int
    load_s: float
    """Reading weights from local NVMe."""
    start_s: tuple[float, float]
    """Shortest and longest from a pod that is placed to its first token, image and staging of
    weights included."""
    machine_s: float
    """Longest until a machine is there for it."""
    answer_max_s: float
    """The longest that a call to it may take."""

    @property
    def slug(self) -> str:
        """Its name as Kubernetes and clouds take one."""
        return slug(self.name)


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group of machines in a cloud, with everything settled."""

    said: Cloud
    engine: Engine
    instance: Instance
    replicas: int
    """Machines wanted."""
    replicas_max: int
    standby_region: str
    """Empty: none."""
    on_demand_usd_hour: float | None
    spot_usd_hour: float | None
    seen: str
    """The day on which the price was seen."""
    budget_usd_month: float | None
    """For the machines wanted, at their prices, with a fifth to spare; None where no price is
    known."""


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """All that a rendering depends on."""

    fleet: Fleet
    """With `${NAME}` where the file refers to a variable."""
    deploy: Deploy
    engines: tuple[Engine, ...]
    """In the file's order."""
    groups: tuple[Group, ...]
    catalogue: Catalogue
    sources: tuple[str, ...]
    """Names of the files that this is made from, for headers."""
    variables: tuple[str, ...]
    """Names of variables that the fleet file refers to: each becomes a key of a Secret."""

    @property
    def in_clusters(self) -> tuple[Engine, ...]:
        """Engines that run in Kubernetes: those that no cloud's group runs."""
        taken = {group.engine.name for group in self.groups}
        return tuple(each for each in self.engines if each.name not in taken)

    @property
    def answer_max_s(self) -> float:
        """The longest that any call may take."""
        return max((each.total_s for each in self.fleet.models.values()), default=ANSWER_S_MIN)


def slug(name: str) -> str:
    """Give a name as DNS has them: a to z, 0 to 9, `-`."""
    plain = "".join(sign if sign.isalnum() and sign.isascii() else "-" for sign in name.lower())
    return plain.strip("-") or "x"


def whole_s(seconds: float) -> int:
    """Round up to whole seconds, of which there is at least one."""
    return max(1, ceil(seconds))
