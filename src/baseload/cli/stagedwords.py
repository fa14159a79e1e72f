"""What is said of a staged model: how fast it was, what bound it, what it spares each start?"""

from typing import Any

from baseload.engines.weights.copying import Copied
from baseload.engines.weights.staging import Load, Pair

_STEPS = {
    "read": "reading the source",
    "hash": "the processor, which reckons digests",
    "write": "writing the target",
}


def staged(
    done: Copied | None, pair: Pair | None, loads: tuple[Load, Load] | None
) -> dict[str, Any]:
    """Give all that is known as plain values; times in seconds, rates in bytes/s."""
    told: dict[str, Any] = {"is_new": done is not None}
    if done is not None:
        step, share = done.spent.bound()
        told |= {
            "size_bytes": done.size_bytes,
            "seconds": round(done.seconds, 3),
            "bytes_s": round(done.bytes_s),
            "cloned_bytes": done.cloned_bytes,
            "past_cache": done.is_direct,
            "bound_by": step,
            "bound_share": round(share, 3),
        }
    if pair is not None:
        told["pair"] = {
            "read_bytes_s": round(pair.read_bytes_s),
            "write_bytes_s": round(pair.write_bytes_s),
            "copy_bytes_s": round(pair.copy_bytes_s),
        }
        if done is not None:
            told["ratio"] = round(done.bytes_s / max(pair.copy_bytes_s, 1.0), 3)
    if loads is not None:
        told["load"] = {"source": load_row(loads[0]), "target": load_row(loads[1])}
        told["spared_s"] = round(loads[0].past_cache_s - loads[1].past_cache_s, 3)
    return told


def load_row(load: Load) -> dict[str, Any]:
    """Give how long reading a model takes as plain values."""
    return {
        "size_bytes": load.size_bytes,
        "past_cache_bytes_s": round(load.past_cache_bytes_s),
        "past_cache_s": round(load.past_cache_s, 3),
        "cached_s": round(load.cached_s, 3),
    }


def load_words(row: dict[str, Any]) -> str:
    """Say how long reading a model takes."""
    return (
        f"{row['size_bytes'] / 1e6:,.0f} MB take {row['past_cache_s']:,.2f} s from the disk "
        f"({_rate(row['past_cache_bytes_s'])}), {row['cached_s']:,.2f} s from the page cache"
    )


def staged_words(told: dict[str, Any]) -> list[str]:
    """Say it in lines."""
    lines = []
    if told["is_new"]:
        size = f"{told['size_bytes'] / 1e6:,.0f} MB in {told['seconds']:,.2f} s"
        line = f"{size}, {_rate(told['bytes_s'])}, verified"
        if told["cloned_bytes"]:
            line += "; the file system let the copy share its blocks with the source"
        elif "ratio" in told:
            line += f": {told['ratio']:.0%} of what these disks give without digests"
        if not told["past_cache"]:
            line += "; through the page cache, since the file system has no other way"
        lines.append(line)
        share = f"{told['bound_share']:.0%} of the time"
        lines.append(f"bound by {_STEPS[told['bound_by']]} ({share})")
    if "pair" in told:
        pair = told["pair"]
        lines.append(
            f"the disks: reading {_rate(pair['read_bytes_s'])}, writing "
            f"{_rate(pair['write_bytes_s'])}, from one to the other {_rate(pair['copy_bytes_s'])}"
        )
    if "load" in told:
        lines.append(f"from the source, {load_words(told['load']['source'])}")
        lines.append(f"from the target, {load_words(told['load']['target'])}")
        lines.append(f"so each start from the target reads {told['spared_s']:,.2f} s less")
    return lines


def _rate(bytes_s: float) -> str:
    return f"{bytes_s / 1e9:,.2f} GB/s" if bytes_s >= 1e9 else f"{bytes_s / 1e6:,.0f} MB/s"
