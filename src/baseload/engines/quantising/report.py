"""What did a quantisation cost and bring? One report: as data, as a table, and in a sentence."""

import msgspec

from baseload.engines.quantising.gate import Verdict, percent
from baseload.engines.quantising.intervals import Interval
from baseload.engines.quantising.speed import Speed, ratio

CLAIM_TIMES, CLAIM_LOSS = 3.0, 0.01
"""What is said of INT8 again and again: three times as fast, with a loss under 1 %."""


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """The model in one precision."""

    name: str
    size_bytes: int
    perplexity: Interval
    loss: Interval
    """Of perplexity against the reference's, as a part of 1."""
    tasks: Interval
    """Part of the tasks that is right."""
    tasks_loss: Interval
    speed: Speed | None = None
    """None: not measured."""
    times: dict[str, float] = {}
    """Times as fast as the reference: `alone`, `together` and in `prefill`."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that was measured, and what was decided."""

    model: str
    source_kinds: str
    """Types of tensors in the source, the most frequent first."""
    target: str
    reference: str
    max_loss: float
    verdict: Verdict
    published: str | None
    """Where the result is; None: nothing was published."""
    text_tokens: int
    tasks: int
    variants: tuple[Variant, ...]
    """The reference first."""
    machine: str
    engine: str
    notes: tuple[str, ...] = ()


def with_times(variants: list[Variant]) -> tuple[Variant, ...]:
    """Give each variant its speed over that of the first one."""
    first = variants[0].speed
    return tuple(
        msgspec.structs.replace(
            variant,
            times={
                what: ratio(variant.speed, first, what) for what in ("alone", "together", "prefill")
            },
        )
        if variant.speed and first
        else variant
        for variant in variants
    )


Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
"""Heads of columns, and rows."""


def tables(report: Report) -> list[Table]:
    """Give what the model has lost and, if that was measured, what it has gained."""
    first = report.variants[0]
    lost = [_lost(each, is_first=each is first) for each in report.variants]
    shown: list[Table] = [(("precision", "size", "perplexity", "loss", "tasks right"), lost)]
    if first.speed is not None:
        heads = ("precision", "memory", "tokens/s", f"{first.speed.streams} streams", "prefill")
        shown.append((heads, [_gained(each, is_first=each is first) for each in report.variants]))
    return shown


def sentences(report: Report) -> list[str]:
    """Say what was decided, what became of a common claim here, and what else one must know."""
    target = next(each for each in report.variants if each.name == report.target)
    verdict = report.verdict
    said = [f"{report.target} {'passed' if verdict.passed else 'was refused'}: {verdict.reason}."]
    if target.times and target is not report.variants[0]:
        said.append(_gain(report, target))
    if report.reference == "source":
        said.append(f"The source is the model as it came: {report.source_kinds}.")
    return [*said, *report.notes]


def markdown(report: Report) -> str:
    """Write the report as a page of Markdown."""
    measured = (
        f"Measured on {report.machine} with {report.engine}, by {report.text_tokens:,} tokens"
    )
    lines = [f"# {report.model} in {report.target}", ""]
    lines += [f"{measured} of text and {report.tasks} tasks. Intervals are 95 %.", ""]
    for heads, rows in tables(report):
        for row in (heads, ("---",) * len(heads), *rows):
            lines.append(f"| {' | '.join(row)} |")
        lines.append("")
    lines += [f"- {sentence}" for sentence in sentences(report)]
    return "\n".join(lines) + "\n"


def _lost(variant: Variant, *, is_first: bool) -> tuple[str, ...]:
    text, tasks = variant.perplexity, variant.tasks
    return (
        variant.name,
        _megabytes(variant.size_bytes),
        f"{text.value:.3f} ({text.low:.1f} to {text.high:.1f})",
        "-" if is_first else percent(variant.loss),
        f"{tasks.value:.0%} ({tasks.low:.0%} to {tasks.high:.0%})",
    )


def _gained(variant: Variant, *, is_first: bool) -> tuple[str, ...]:
    speed = variant.speed
    if speed is None:
        return (variant.name, "-", "-", "-", "-")

    def fast(value: float, what: str) -> str:
        return f"{value:,.0f}" + ("" if is_first else f" ({variant.times[what]:.2f}x)")

    return (
        variant.name,
        _megabytes(speed.memory_bytes) if speed.memory_bytes is not None else "-",
        fast(speed.tokens_s, "alone"),
        fast(speed.streams_tokens_s, "together"),
        fast(speed.prefill_tokens_s, "prefill"),
    )


def _gain(report: Report, target: Variant) -> str:
    """Say how much faster the target is, and whether the common claim holds here."""
    times, loss = target.times["alone"], target.loss
    said = (
        f"{report.reference} to {report.target} here: {times:.2f} times the tokens/s of one "
        "stream, "
        f"{target.times['together']:.2f} times those of several, "
        f"{report.variants[0].size_bytes / target.size_bytes:.1f} times smaller, "
        f"perplexity {percent(loss)} higher."
    )
    if report.target == "int8" and report.reference == "fp32":
        fast = "reached" if times >= CLAIM_TIMES else "not reached"
        lost = "over" if loss.low > CLAIM_LOSS else "not proven to be under"
        if loss.high < CLAIM_LOSS:
            lost = "under"
        said += (
            f' "{CLAIM_TIMES:g} times faster, under {CLAIM_LOSS:.0%} loss": the speed is '
            f"{fast} on this machine, and the loss is {lost} {CLAIM_LOSS:.0%}."
        )
    bf16 = next((each for each in report.variants if each.name == "bf16"), None)
    if bf16 and bf16.speed and target.speed and bf16 is not target:
        said += f" Beside BF16, which people run, it is {ratio(target.speed, bf16.speed):.2f} times"
        said += " as fast in one stream."
    return said


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"
