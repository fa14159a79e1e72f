"""What are cold starts of 180, 220 and 150 s made of, and loading in 40 s instead of 5 minutes?

A start is `machine + image + engine + bytes / bandwidth`. A figure without the model's size and the
storage's bandwidth can be met by some pair of both, so what is worked out is which.

Not here: load times of the catalogue's storage kinds, what a start costs (`cost.serverless`).
"""

import msgspec

from baseload.plan.claims.claim import Claim, Given, step
from baseload.plan.cost.terms import GB
from baseload.plan.result import Formula

FIELD = "kaito-project/kaito#2325, 2026-09-07; one run, 27B on one A100, Azure"


class Starts(msgspec.Struct, frozen=True, kw_only=True):
    """What the claims say, and what is known of starts."""

    cold_s: tuple[float, ...] = (180.0, 220.0, 150.0)
    slow_s: float = 300.0
    fast_s: float = 40.0
    machine_s: float = 417.0
    """Machine ordered until the image is pulled: 284 + 126 + 7."""
    image_s: float = 101.0
    engine_s: float = 293.0
    """Container, framework, engine, compiling, warming up, without weights: 3 + 74 + 21 + 195."""
    engine_best_s: float = 57.5
    """The same on a machine of ours that had all files."""
    drive_bytes_s: float = 7e9
    models: tuple[tuple[str, float], ...] = (
        ("7B in BF16", 15.2e9),
        ("70B in BF16", 141e9),
        ("671B in FP8", 671e9),
    )


def start_s(machine_s: float, image_s: float, engine_s: float, size: float, speed: float) -> float:
    """Give a cold start: `machine + image + engine + bytes / bandwidth`, in seconds."""
    return machine_s + image_s + engine_s + size / speed


def bandwidth_bytes_s(size: float, seconds: float) -> float | None:
    """Give the bandwidth that reads so many bytes in a time; None if there is none left."""
    return size / seconds if seconds > 0.0 else None


def cold_claim(inputs: Starts | None = None) -> Claim:
    """Give the claim about cold starts, worked out."""
    it = inputs or Starts()
    before = start_s(it.machine_s, it.image_s, it.engine_s, 0.0, it.drive_bytes_s)
    return Claim(
        name="Cold starts of 180, 220 and 150 s",
        says="Cold starts take 180, 220 and 150 s on three clouds' serverless services.",
        given=(
            Given(what="machine, until it can pull", value=f"{it.machine_s:g} s", source=FIELD),
            Given(what="image of 5.6 GB", value=f"{it.image_s:g} s", source=FIELD),
            Given(what="engine without weights", value=f"{it.engine_s:g} s", source=FIELD),
            Given(what="engine, everything on the machine", value=f"{it.engine_best_s:g} s",
                  source="our H200, vLLM 0.24.0, 7B with dummy weights, 2026-11-23"),
            *_sizes(it),
        ),
        steps=(
            step("before any byte of weights, machine and image not there",
                 "machine + image + engine",
                 f"{it.machine_s:g} + {it.image_s:g} + {it.engine_s:g}", f"{before:g} s"),
            *(found for cold in it.cold_s for found in _left(it, cold)),
        ),
        verdict="follows if" if min(it.cold_s) > it.engine_best_s else "does not follow",
        because="a machine with the image on it is kept (so the machine's start is none of it), its"
        " engine starts about as fast as ours, and weights are read at the bandwidth shown. With"
        f" the measured parts of a start from nothing, {before:g} s have gone by before weights"
        f" are read: {sum(cold > before for cold in it.cold_s)} of {len(it.cold_s)} figures allow"
        " for that. Model, bandwidth and what is warm are not said.",
    )  # fmt: skip


def load_claim(inputs: Starts | None = None) -> Claim:
    """Give the claim about loading, worked out."""
    it = inputs or Starts()
    return Claim(
        name="Loading in 40 s instead of 5 minutes",
        says="NVMe over CSI cuts loading of a model from 5 minutes to 40 s.",
        given=(
            Given(what="one NVMe drive (PCIe 4)", value=f"{it.drive_bytes_s / GB:g} GB/s",
                  source="vllm-project/vllm#15862; as sold, not measured"),
            *_sizes(it),
        ),
        steps=(
            step("faster by", "slow / fast", f"{it.slow_s:g} / {it.fast_s:g}",
                 f"{it.slow_s / it.fast_s:g} times"),
            *(found for model, size in it.models for found in _loading(it, model, size)),
            step("with an engine's start in both", "(slow - engine) / (fast - engine)",
                 f"({it.slow_s:g} - {it.engine_best_s:g}) / ({it.fast_s:g} - {it.engine_best_s:g})",
                 _ratio(it.slow_s - it.engine_best_s, it.fast_s - it.engine_best_s)),
        ),
        verdict="follows if",
        because="`loading` is reading alone and bandwidth rises"
        f" {it.slow_s / it.fast_s:g} times, whatever the size; each size needs its own pair of"
        f" bandwidths ({_drives(it)}). Starting the engine, which took ours"
        f" {it.engine_best_s:g} s without reading weights, must not count.",
    )  # fmt: skip


def _sizes(it: Starts) -> tuple[Given, ...]:
    return tuple(
        Given(what=f"weights of {model}", value=f"{size / GB:g} GB", source="parameters * bytes")
        for model, size in it.models
    )


def _left(it: Starts, cold: float) -> tuple[Formula, ...]:
    left = cold - it.engine_best_s
    return (
        step(f"{cold:g} s: left for weights on a warm machine", "start - engine",
             f"{cold:g} - {it.engine_best_s:g}", f"{left:g} s"),
        *(step(f"{cold:g} s: bandwidth for {model}", "bytes / left",
               f"{size / GB:g} GB / {left:g} s", _speed(bandwidth_bytes_s(size, left)))
          for model, size in it.models),
    )  # fmt: skip


def _loading(it: Starts, model: str, size: float) -> tuple[Formula, ...]:
    slow, fast = (_speed(bandwidth_bytes_s(size, seconds)) for seconds in (it.slow_s, it.fast_s))
    read = start_s(0.0, 0.0, 0.0, size, it.drive_bytes_s)
    return (
        step(f"{model}: bandwidth before and after", "bytes / seconds",
             f"{size / GB:g} GB / {it.slow_s:g} s, / {it.fast_s:g} s", f"{slow}, {fast}"),
        step(f"{model}: read from one drive", "bytes / bandwidth",
             f"{size / GB:g} / {it.drive_bytes_s / GB:g}", f"{read:.1f} s"),
    )  # fmt: skip


def _drives(it: Starts) -> str:
    """Say how many drives read each model in the short time."""
    each = it.fast_s * it.drive_bytes_s
    parts = ", ".join(f"{size / each:.1f} for {model}" for model, size in it.models)
    return f"drives that read so fast: {parts}"


def _speed(bytes_s: float | None) -> str:
    return "none does" if bytes_s is None else f"{bytes_s / GB:.2f} GB/s"


def _ratio(slow: float, fast: float) -> str:
    return f"{slow / fast:.1f} times" if fast > 0.0 else "no bandwidth does"
