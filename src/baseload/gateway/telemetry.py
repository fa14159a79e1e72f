"""Counts what happens on the data plane, and shows it to Prometheus.

Counting is plain integers in plain dicts, touched only by the event loop's thread; a scrape reads
them from the operator's thread and builds the metrics only then. Nothing is counted twice: what
the gate knows (permits, breakers, the line) is read from the gate.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from baseload.apis.openai import Usage
from baseload.core.breaker import Phase
from baseload.core.gate import Gate
from baseload.gateway.live.buckets import Buckets

EDGES_S = tuple(0.001 * 2**power for power in range(20))
"""Upper edges of all histograms: 1 ms to 524 s, each twice the last."""


POSTPONED = "postponed"
"""The outcome of a patient call that found no room or waited too long: it comes back when there is
some, and nobody was promised more."""


class Histogram:
    """Seconds, counted in buckets that double."""

    __slots__ = ("buckets", "total_s")

    def __init__(self) -> None:
        self.buckets = [0] * (len(EDGES_S) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Count one more."""
        self.buckets[bisect_left(EDGES_S, seconds)] += 1
        self.total_s += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """Give the buckets as Prometheus wants them, each holding all smaller ones."""
        below, out = 0, []
        for edge, count in zip([*map(str, EDGES_S), "+Inf"], self.buckets, strict=True):
            below += count
            out.append((edge, float(below)))
        return out


class Series:
    """What is counted for one model at one backend; an empty backend means none was reached."""

    __slots__ = ("answer_s", "completion_tokens", "cost_usd", "events", "first_token_s", "outcomes",
                 "prompt_tokens", "queued_s", "token_gap_s")  # fmt: skip

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.first_token_s = Histogram()
        self.token_gap_s = Histogram()
        """Of each streamed call the mean; a single gap costs too much to count."""
        self.answer_s = Histogram()
        self.queued_s = Histogram()
        """How long answers were waited for in the provider's own queue, where they were at all."""
        self.events = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.cost_usd: float | None = None
        """What calls have cost that ended here; None while no price is known."""

    def ended(self, outcome: str, answer_s: float, usage: Usage | None) -> None:
        """Count a call that ended here."""
        self.outcomes[outcome] += 1
        self.answer_s.add(answer_s)
        if usage is not None:
            self.prompt_tokens += usage.prompt_tokens
            self.completion_tokens += usage.completion_tokens

    def paid(self, usd: float | None) -> None:
        """Add what a call has cost, if that is known."""
        if usd is not None:
            self.cost_usd = (self.cost_usd or 0.0) + usd


class Telemetry:
    """All counters of one gateway; a collector for `prometheus_client` registries."""

    def __init__(self, gate: Gate) -> None:
        self.failures: Counter[tuple[str, str]] = Counter()
        """Attempts that were no answer, by backend and fact."""
        self.refused: Counter[int] = Counter()
        """Requests that never became a call, by HTTP status."""
        self.limited: Counter[str] = Counter()
        """Calls that a limit of their key or model refused, by the kind of limit."""
        self.attempts: Counter[str] = Counter()
        """Requests sent to each backend."""
        self.hedges = self.resumes = self.shared = self.keepalives = 0
        """Second attempts beside a first; answers continued elsewhere; calls answered from
        another's answer; comments sent to waiting callers."""
        self.lag_s = self.lag_max_s = 0.0
        """How late the event loop is, as its driver measures it."""
        self.connections = 0
        self.first_tokens: defaultdict[str, Buckets] = defaultdict(Buckets)
        """From arrival to the first token, as soon as it is there, by backend; for the page."""
        self.between_tokens = Buckets()
        """Of each call the mean, once it has ended; for the page."""
        self._gate = gate
        self._series: dict[tuple[str, str], Series] = {}

    def series(self, model: str, backend: str) -> Series:
        """Give the counters of a model at a backend. Both names come from the fleet file."""
        key = (model, backend)
        if (found := self._series.get(key)) is None:
            found = self._series[key] = Series()
        return found

    def all_series(self) -> Iterable[tuple[tuple[str, str], Series]]:
        """Give all counters by model and backend."""
        return self._series.items()

    def collect(self) -> Iterator[Metric]:
        """Give everything as Prometheus metrics."""
        yield from self._calls()
        yield from self._backends()
        waiting = GaugeMetricFamily("baseload_queue_waiting", "Calls that wait for a permit.")
        waiting.add_metric([], len(self._gate.line))
        yield waiting
        yield self._waiting()
        open_ = GaugeMetricFamily("baseload_connections", "Open connections of callers.")
        open_.add_metric([], self.connections)
        yield open_
        yield from self._efforts()
        refused = CounterMetricFamily(
            "baseload_bad_requests",
            "Requests refused before they became a call.",
            labels=["status"],
        )
        for status, count in list(self.refused.items()):
            refused.add_metric([str(status)], count)
        yield refused
        limited = CounterMetricFamily(
            "baseload_limited_calls",
            "Calls refused because a limit was reached: rpm, tpm, concurrency, usd_day, usd_month.",
            labels=["limit"],
        )
        for limit, count in list(self.limited.items()):
            limited.add_metric([limit], count)
        yield limited

    def _waiting(self) -> Metric:
        """Who waits, by model; each model of the fleet is there, for whoever scales by it."""
        waiting = GaugeMetricFamily(
            "baseload_waiting_calls", "Calls that wait for a permit.", labels=["model"]
        )
        counts = dict.fromkeys(list(self._gate.permits.plans), 0) | self._gate.line.by_model()
        for model, count in counts.items():
            waiting.add_metric([model], count)
        return waiting

    def _efforts(self) -> Iterator[Metric]:
        """What was done beyond one attempt for each call, and how late the loop is."""
        attempts = CounterMetricFamily(
            "baseload_attempts", "Requests sent to backends.", labels=["backend"]
        )
        for backend, count in list(self.attempts.items()):
            attempts.add_metric([backend], count)
        yield attempts
        for name, text, count in (
            ("hedges", "Second attempts made beside a first.", self.hedges),
            ("resumes", "Broken answers that another attempt went on with.", self.resumes),
            ("shared_calls", "Calls answered from an identical call's answer.", self.shared),
            ("keepalives", "Comments sent to callers who had nothing to read.", self.keepalives),
        ):
            yield CounterMetricFamily(f"baseload_{name}", text, value=count)
        lag = GaugeMetricFamily(
            "baseload_loop_lag_seconds", "How late the event loop is.", labels=["which"]
        )
        lag.add_metric(["last"], self.lag_s)
        lag.add_metric(["max"], self.lag_max_s)
        yield lag

    def _calls(self) -> Iterator[Metric]:
        labels = ["model", "backend"]
        calls = CounterMetricFamily(
            "baseload_calls", "Calls that ended, by outcome.", labels=[*labels, "outcome"]
        )
        events = CounterMetricFamily(
            "baseload_stream_events", "Events of streamed answers passed on.", labels=labels
        )
        tokens = CounterMetricFamily(
            "baseload_tokens", "Tokens as backends report them.", labels=[*labels, "kind"]
        )
        costs = CounterMetricFamily(
            "baseload_cost_usd", "US dollars that calls have cost, as in the ledger.", labels=labels
        )
        first = HistogramMetricFamily(
            "baseload_first_token_seconds", "From arrival to the first token.", labels=labels
        )
        gap = HistogramMetricFamily(
            "baseload_token_gap_seconds",
            "Mean time between the tokens of a streamed call, once it has ended.",
            labels=labels,
        )
        whole = HistogramMetricFamily(
            "baseload_call_seconds", "From arrival to the end of the answer.", labels=labels
        )
        queued = HistogramMetricFamily(
            "baseload_provider_queue_seconds",
            "From a provider's first sign of life to its first token, where it made callers wait.",
            labels=labels,
        )
        for key, series in list(self._series.items()):
            names = list(key)
            for outcome, count in list(series.outcomes.items()):
                calls.add_metric([*names, outcome], count)
            events.add_metric(names, series.events)
            tokens.add_metric([*names, "prompt"], series.prompt_tokens)
            tokens.add_metric([*names, "completion"], series.completion_tokens)
            if series.cost_usd is not None:
                costs.add_metric(names, series.cost_usd)
            for family, histogram in (
                (first, series.first_token_s), (gap, series.token_gap_s),
                (whole, series.answer_s), (queued, series.queued_s),
            ):  # fmt: skip
                family.add_metric(names, histogram.cumulative(), histogram.total_s)
        yield from (calls, events, tokens, costs, first, gap, whole, queued)

    def _backends(self) -> Iterator[Metric]:
        failures = CounterMetricFamily(
            "baseload_failed_attempts",
            "Attempts at backends that were no answer, by what happened.",
            labels=["backend", "fact"],
        )
        for (backend, fact), count in list(self.failures.items()):
            failures.add_metric([backend, fact], count)
        yield failures
        up = GaugeMetricFamily("baseload_backend_up", "1 if it may be asked.", labels=["backend"])
        flight = GaugeMetricFamily("baseload_in_flight", "Permits out.", labels=["backend"])
        limit = GaugeMetricFamily("baseload_limit", "Permits in all.", labels=["backend"])
        for name, seat in self._gate.seats.items():
            is_asked = seat.is_up and seat.is_open
            up.add_metric([name], is_asked and seat.breaker.phase is not Phase.OPEN)
            flight.add_metric([name], seat.in_flight)
            limit.add_metric([name], seat.limit.limit)
        yield from (up, flight, limit)
        yield from self._feelings()

    def _feelings(self) -> Iterator[Metric]:
        """How each backend does, as the gate sees it."""
        labels = ["backend"]
        level = GaugeMetricFamily(
            "baseload_backend_level", "0 is green, 1 yellow, 2 red.", labels=labels
        )
        portion = GaugeMetricFamily(
            "baseload_backend_portion", "Part of its share that it gets now.", labels=labels
        )
        parked = GaugeMetricFamily(
            "baseload_provider_queued", "Calls queued at the provider, without a token.",
            labels=labels,
        )  # fmt: skip
        tokens = GaugeMetricFamily(
            "baseload_outstanding_tokens", "What calls in flight are expected to cost.",
            labels=labels,
        )  # fmt: skip
        for name, seat in self._gate.seats.items():
            level.add_metric([name], int(seat.detector.level))
            portion.add_metric([name], seat.portion)
            parked.add_metric([name], seat.parked)
            tokens.add_metric([name], seat.tokens)
        yield from (level, portion, parked, tokens)
