"""Tells OpenTelemetry of finished calls, with the GenAI conventions' names.

A call's span is made after its end, from its line for the ledger: nothing is added to the call
itself but its identifiers. Lines are handed to a thread of its own, over a line of bounded length;
what does not fit is counted and dropped, because traces are a convenience and calls are not.

Names: opentelemetry.io/docs/specs/semconv/gen-ai. They are in development there, and may change.
Not here: which calls are traced (`tracing`). What callers and models say is never told.
"""

import logging
from collections import deque
from collections.abc import Mapping
from threading import Event, Thread
from typing import Any, cast
from urllib.parse import urlsplit

from baseload import __version__
from baseload.config.fleet import Backend
from baseload.config.watching import Otel
from baseload.errors import BaseloadError
from baseload.gateway.tracing import Trace
from baseload.store.entry import Entry

WAITING_MAX = 8192
"""Calls that may wait to be told of; a second of heavy traffic."""
TELL_S = 0.5
EXPORT_S = 5.0
"""How often metrics are sent."""
STOP_S_MAX = 5.0
_OPERATIONS = {
    "completions": "text_completion",
    "embeddings": "embeddings",
}
"""By the ledger's word for how it was asked; all others are chats."""
_TOKEN_EDGES = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
_SECOND_EDGES = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96)
_GAP_EDGES = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)

logger = logging.getLogger("baseload.gateway")


class OtelSink:
    """Hears of finished calls, and tells a receiver of them. `stop` sends what is left."""

    def __init__(self, settings: Otel, backends: Mapping[str, Backend]) -> None:
        """Raise BaseloadError if OpenTelemetry is not installed."""
        self.dropped = 0
        """Calls that were not told of, because too many waited."""
        self._backends = backends
        self._waiting: deque[tuple[Entry, Trace | None]] = deque()
        self._is_over = Event()
        self._sdk = _Sdk(settings)
        self._thread = Thread(target=self._run, name="otel", daemon=True)
        self._thread.start()

    def saw(self, entry: Entry, trace: Trace | None) -> None:
        """Hear of a finished call; without a trace only the metrics do."""
        if len(self._waiting) >= WAITING_MAX:
            self.dropped += 1
        else:
            self._waiting.append((entry, trace))

    def stop(self) -> None:
        """Send what is left, within a bounded time."""
        self._is_over.set()
        self._thread.join(STOP_S_MAX)

    def _run(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._is_over.wait(TELL_S)
            while self._waiting:
                entry, trace = self._waiting.popleft()
                try:
                    self._tell(entry, trace)
                except Exception:
                    logger.exception("a call could not be told to OpenTelemetry")
        self._sdk.close(STOP_S_MAX)

    def _tell(self, entry: Entry, trace: Trace | None) -> None:
        common = self._common(entry)
        if entry.outcome != "done":
            common["error.type"] = entry.outcome
        self._sdk.duration.record(entry.total_s, common)
        for kind, count in (("input", entry.prompt_tokens), ("output", entry.completion_tokens)):
            if count:
                self._sdk.tokens.record(count, common | {"gen_ai.token.type": kind})
        if entry.first_token_s is not None:
            self._sdk.first_token.record(entry.first_token_s, common)
            if entry.completion_tokens > 1:
                gap_s = (entry.total_s - entry.first_token_s) / (entry.completion_tokens - 1)
                self._sdk.gap.record(gap_s, common)
        if trace is not None:
            self._sdk.span(entry, trace, common | _details(entry))

    def _common(self, entry: Entry) -> dict[str, Any]:
        backend = self._backends.get(entry.backend)
        url = urlsplit(backend.url or "") if backend is not None else urlsplit("")
        host = url.hostname or ""
        provider = "deepseek" if f".{host}".endswith(".deepseek.com") else "baseload"
        found = {
            "gen_ai.operation.name": _OPERATIONS.get(entry.api, "chat"),
            "gen_ai.provider.name": provider,
            "gen_ai.request.model": entry.model,
            "gen_ai.response.model": entry.served,
        }
        if host:
            found["server.address"] = host
            found["server.port"] = str(url.port or (443 if url.scheme == "https" else 80))
        return found


def _details(entry: Entry) -> dict[str, Any]:
    """Give what only a span says: its values are too many for a metric's labels."""
    found: dict[str, Any] = {
        "gen_ai.usage.input_tokens": entry.prompt_tokens,
        "gen_ai.usage.output_tokens": entry.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": entry.cached_tokens,
        "gen_ai.usage.reasoning.output_tokens": entry.reasoning_tokens,
        "gen_ai.request.stream": entry.is_stream,
        "baseload.request_id": entry.request_id,
        "baseload.key": entry.key,
        "baseload.api": entry.api,
        "baseload.backend": entry.backend,
        "baseload.attempts": entry.attempts,
        "baseload.resumes": entry.resumes,
        "baseload.hedged": entry.is_hedged,
        "baseload.queue_s": entry.queue_s,
        "baseload.usage_estimated": entry.is_estimated,
    }
    if entry.first_token_s is not None:
        found["gen_ai.response.time_to_first_chunk"] = entry.first_token_s
    if entry.cost_usd is not None:
        found["baseload.cost_usd"] = entry.cost_usd
    return found


class _Sdk:
    """The library's own objects, imported only where they are wanted."""

    def __init__(self, settings: Otel) -> None:
        try:
            from opentelemetry import trace  # noqa: PLC0415 - an extra
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import (  # noqa: PLC0415
                OTLPMetricExporter,
            )
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
                OTLPSpanExporter,
            )
            from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
            from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415
                PeriodicExportingMetricReader,
            )
            from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
            from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
            from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
        except ImportError as error:
            raise BaseloadError("otel: needs `pip install baseload[otel]`") from error
        base = (settings.endpoint or "").rstrip("/")
        resource = Resource.create(
            {"service.name": settings.service, "service.version": __version__}
        )
        self._api = trace
        self._ids = _Ids()
        self._spans = TracerProvider(
            resource=resource, id_generator=cast("Any", self._ids), shutdown_on_exit=False
        )
        self._spans.add_span_processor(
            BatchSpanProcessor(OTLPSpanExporter(f"{base}/v1/traces", headers=settings.headers))
        )
        exporter = OTLPMetricExporter(f"{base}/v1/metrics", headers=settings.headers)
        reader = PeriodicExportingMetricReader(exporter, export_interval_millis=EXPORT_S * 1000)
        self._metrics = MeterProvider([reader], resource, shutdown_on_exit=False)
        self._tracer = self._spans.get_tracer("baseload", __version__)
        self._make_histograms(self._metrics.get_meter("baseload", __version__))

    def _make_histograms(self, meter: Any) -> None:
        def histogram(name: str, unit: str, text: str, edges: tuple[float, ...]) -> Any:
            return meter.create_histogram(
                name, unit, text, explicit_bucket_boundaries_advisory=edges
            )

        self.duration = histogram(
            "gen_ai.client.operation.duration", "s", "From arrival to the answer's end.",
            _SECOND_EDGES,
        )  # fmt: skip
        self.tokens = histogram(
            "gen_ai.client.token.usage", "{token}", "Tokens of prompts and answers.", _TOKEN_EDGES
        )
        self.first_token = histogram(
            "gen_ai.server.time_to_first_token", "s", "From arrival to the first token.",
            _SECOND_EDGES,
        )  # fmt: skip
        self.gap = histogram(
            "gen_ai.server.time_per_output_token", "s", "Mean time between a call's tokens.",
            _GAP_EDGES,
        )  # fmt: skip

    def span(self, entry: Entry, trace: Trace, attributes: dict[str, Any]) -> None:
        """Make the span of a call that has ended."""
        api = self._api
        context = None
        trace_id, parent_id = int(trace.trace_id, 16), int(trace.parent_id or "0", 16)
        if parent_id:
            parent = api.SpanContext(trace_id, parent_id, True, api.TraceFlags(1))
            context = api.set_span_in_context(api.NonRecordingSpan(parent))
        self._ids.trace_id, self._ids.span_id = trace_id, int(trace.span_id, 16)
        end_ns = int(entry.at * 1e9)
        name = f"{attributes['gen_ai.operation.name']} {entry.model}"
        span = self._tracer.start_span(
            name, context, api.SpanKind.CLIENT, attributes,
            start_time=end_ns - int(entry.total_s * 1e9),
        )  # fmt: skip
        if entry.outcome != "done":
            span.set_status(api.StatusCode.ERROR, entry.outcome)
        span.end(end_ns)

    def close(self, wait_s: float) -> None:
        """Send what is left."""
        self._spans.force_flush(int(wait_s * 1000))
        self._spans.shutdown()
        self._metrics.shutdown(wait_s * 1000)


class _Ids:
    """Gives spans the identifiers that their calls were given when they began."""

    trace_id = span_id = 0

    def generate_trace_id(self) -> int:
        """Give the trace's."""
        return self.trace_id

    def generate_span_id(self) -> int:
        """Give the span's."""
        return self.span_id

    def is_trace_id_random(self) -> bool:
        """Say that ours are drawn at random."""
        return True
