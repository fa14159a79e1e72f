"""From calls to figures: throughput, first tokens, time between tokens, errors."""

from collections.abc import Sequence
from statistics import median
from typing import Any

from client import Call


def quantile(values: Sequence[float], share: float) -> float:
    """Give the value below which this share lies; 0 for none."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def figures(calls: list[Call]) -> dict[str, Any]:
    """Sum up calls that were made together."""
    good = [call for call in calls if not call.error]
    errors: dict[str, int] = {}
    for call in calls:
        if call.error:
            errors[call.error[:120]] = errors.get(call.error[:120], 0) + 1
    found: dict[str, Any] = {"calls": len(calls)}
    if good:
        took_s = max(call.ended for call in calls) - min(call.sent for call in calls)
        first_ms = [1e3 * (call.first - call.sent) for call in good]
        between_ms = [1e3 * (c.ended - c.first) / (c.tokens - 1) for c in good if c.tokens > 1]
        found |= {
            "tokens": sum(call.tokens for call in good),
            "seconds": round(took_s, 3),
            "tokens_s": round(sum(call.tokens for call in good) / took_s, 1),
            "ttft_ms": round(median(first_ms), 2),
            "ttft_p95_ms": round(quantile(first_ms, 0.95), 2),
            "tpot_ms": round(median(between_ms), 3) if between_ms else None,
        }
    return found | ({"errors": errors} if errors else {})


def steady(calls: list[Call], begins: float, ends: float) -> dict[str, Any]:
    """Sum up what happened in a window: tokens of calls count by the part that lies in it."""
    tokens = 0.0
    for call in calls:
        if call.error or call.tokens < 2:
            continue
        length = max(call.ended - call.first, 1e-9)
        inside = min(call.ended, ends) - max(call.first, begins)
        tokens += call.tokens * max(0.0, inside) / length
    found = figures([call for call in calls if begins <= call.sent <= ends])
    return found | {
        "tokens_s": round(tokens / (ends - begins), 1),
        "seconds": round(ends - begins, 1),
    }


def middle(rounds: list[dict[str, Any]], name: str) -> float:
    """Give the median of one figure over rounds."""
    return round(median(each[name] for each in rounds), 4)
