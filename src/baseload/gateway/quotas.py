"""How is a caller told where its limits stand, and which of them it has reached?

In OpenAI's words and headers, because its clients read them: they wait for `retry-after-ms`, and
programs around them look at `x-ratelimit-remaining-tokens`. Resets are durations as Go writes them.

Not here: what the limits are and whether one is reached (`core.quota`).
"""

from functools import lru_cache
from math import ceil

from baseload.core.quota import Verdict
from baseload.gateway.refusals import Refusal

_WORDS = {
    "rpm": "requests per minute (RPM)",
    "tpm": "tokens per minute (TPM)",
    "concurrency": "requests at once (concurrency)",
    "usd_day": "US dollars a day (UTC)",
    "usd_month": "US dollars a month (UTC)",
}
_KINDS = {"tpm": "tokens", "usd_day": "insufficient_quota", "usd_month": "insufficient_quota"}
HEADS_MAX = 4096
"""Forms of heads that are kept: of each pair of limits, of which a fleet has few, one for each time
at which all is free again, which are whole seconds."""
_PREFIX = b"x-ratelimit-"
_LINES = (
    "x-ratelimit-limit-{kind}: {most}\r\n"
    "x-ratelimit-remaining-{kind}: %d\r\n"
    "x-ratelimit-reset-{kind}: {reset}\r\n"
)


def lines(verdict: Verdict) -> bytes:
    """Give the lines of an answer's head; none where neither requests nor tokens are limited."""
    requests, tokens, reset_s = verdict.requests_most, verdict.tokens_most, verdict.reset_s
    form = _form(requests, tokens, ceil(reset_s) * 1000 if reset_s >= 1 else ceil(reset_s * 1000))
    if not tokens:
        return form % verdict.requests_left if requests else b""
    if not requests:
        return form % verdict.tokens_left
    return form % (verdict.requests_left, verdict.tokens_left)


def put_into(head: bytes, verdict: Verdict) -> bytes:
    """Add the lines to a backend's; what that says of limits is of our account."""
    if _PREFIX in head:
        head = b"".join(
            line for line in head.splitlines(keepends=True) if not line.startswith(_PREFIX)
        )
    return head + lines(verdict)


@lru_cache(HEADS_MAX)
def _form(requests: int, tokens: int, milliseconds: int) -> bytes:
    reset = duration(milliseconds / 1000)
    pairs = (("requests", requests), ("tokens", tokens))
    return "".join(
        _LINES.format(kind=kind, most=most, reset=reset) for kind, most in pairs if most
    ).encode()


def duration(seconds: float) -> str:
    """Write a time as Go does: `120ms`, `1.2s`, `6m0s`, `12h0m0s`."""
    milliseconds = ceil(round(seconds * 1000, 6))
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown


def refusal(verdict: Verdict) -> Refusal:
    """Give what a caller is shown for a limit that is reached."""
    limit, words = verdict.limit, _WORDS[verdict.limit]
    kind = _KINDS.get(limit, "requests")
    is_money = kind == "insufficient_quota"
    show = _usd if is_money else _count
    most, used, asked = show(verdict.most), show(verdict.used), show(verdict.asked)
    whose = f"{words} of {verdict.scope}"
    if is_hopeless(verdict):
        way = "a smaller answer, or a larger budget" if is_money else "fewer tokens"
        message = (
            f"Request too large for {whose}: limit {most}, requested {asked}. "
            f"It can never pass; ask for {way}."
        )
    else:
        what = f"limit {most}, used {used}, requested {asked}"
        begin = "Budget reached" if is_money else "Rate limit reached"
        message = f"{begin} for {whose}: {what}. Please try again in {_pause(verdict)}."
    code = "insufficient_quota" if is_money else "rate_limit_exceeded"
    return Refusal(429, kind, code, message)


def refusal_lines(verdict: Verdict) -> bytes:
    """Give the lines of a refusal's head: when to come back, or that it is of no use."""
    if is_hopeless(verdict):
        return b"x-should-retry: false\r\n" + lines(verdict)
    after_s = verdict.retry_after_s
    when = b"retry-after: %d\r\nretry-after-ms: %d\r\n" % (ceil(after_s), ceil(after_s * 1000))
    if verdict.limit.startswith("usd"):
        when += b"x-should-retry: false\r\n"  # Clients would try for hours, or at once.
    return when + lines(verdict)


def is_hopeless(verdict: Verdict) -> bool:
    """Whether a call is beyond the whole of a limit."""
    return verdict.asked > verdict.most


def _pause(verdict: Verdict) -> str:
    after_s = verdict.retry_after_s
    return f"{after_s:.3g} s" if after_s < 60 else duration(ceil(after_s))


def _count(value: float) -> str:
    return f"{value:.0f}"


def _usd(value: float) -> str:
    return f"{value:.2f}" if value >= 1 else f"{value:.4g}"
