"""How long may an engine take to start and to end, and what follows for probes and scaling?

All from what was settled: weights read from local NVMe (`load_s`), warm-up, and the whole way from
a placed pod to the first token (`start_s`), which has image and staging in it. Figures are those
of the planner; a node's disk or a slow source takes longer, so what is waited for has slack. Slack
costs little here: only an engine that hangs at its start is found later.

Not here: the probes themselves (`pods`).
"""

from math import ceil
from typing import Final

from baseload.plan.transport.loading import WARM_UP_S
from baseload.render.kubernetes.engine.names import About
from baseload.render.picture import Engine, whole_s

SLACK: Final = 3.0
"""Over loading and warm-up: larger models capture more graphs than the one that was measured."""
DISK_SLACK: Final = 4.0
"""Over loading, where weights lie on the node's disk and not on NVMe."""
STARTUP_MIN_S: Final = 600
PERIOD_S: Final = 10
ENDPOINTS_S: Final = 15
"""Until every gateway has heard that a pod ends; it serves on meanwhile."""
EXIT_S: Final = 30
"""For an engine to be gone once its last answer is out."""
POLICY_MAX_S: Final = 1800
WINDOW_MAX_S: Final = 3600
"""The API server's bounds on periods and windows of scaling."""


def startup_failures(about: About) -> int:
    """Give the start-up probe's failures: times its period, they cover loading and warm-up.

    A group's leader also waits until the slowest of its machines has staged its weights.
    """
    engine = about.engine
    load_s = engine.load_s * (1.0 if engine.said.storage_class else DISK_SLACK)
    seconds = SLACK * (load_s + WARM_UP_S)
    if about.is_group:
        seconds += engine.start_s[1]
    return ceil(max(STARTUP_MIN_S, seconds) / PERIOD_S)


def startup_reason(about: About) -> str:
    """Say in one sentence what the start-up probe waits for."""
    waits_s = startup_failures(about) * PERIOD_S
    engine = about.engine
    slow = "" if engine.said.storage_class else f", {DISK_SLACK:g} times that from the node's disk"
    other = f", and {engine.start_s[1]:.0f} s for the other machines" if about.is_group else ""
    return (
        f"Start-up may take {waits_s} s: {SLACK:g} times loading ({engine.load_s:.0f} s from NVMe"
        f"{slow}) and warm-up ({WARM_UP_S:.0f} s){other}; at least {STARTUP_MIN_S} s."
    )


def progress_s(about: About) -> int:
    """Give after how long a rollout counts as stuck.

    An old pod's end, which frees the GPU, a new node, a whole start, and its slack.
    """
    engine = about.engine
    waits_s = startup_failures(about) * PERIOD_S
    return whole_s(grace_s(engine) + engine.machine_s + engine.start_s[1] + waits_s)


def grace_s(engine: Engine) -> int:
    """Give how long a pod may take to end: longer than its longest answer."""
    return ENDPOINTS_S + whole_s(engine.answer_max_s) + EXIT_S


def cold_start_s(engine: Engine) -> float:
    """Give how long it takes, at most, from no machine to a first token."""
    return engine.machine_s + engine.start_s[1]


def step_s(engine: Engine) -> int:
    """Give how long one step of scaling has to show what it did: one cold start."""
    return min(POLICY_MAX_S, whole_s(cold_start_s(engine)))


def calm_s(engine: Engine) -> int:
    """Give how long it has to be calm before a replica goes: more than two cold starts."""
    return min(WINDOW_MAX_S, whole_s(2 * cold_start_s(engine)) + 60)
