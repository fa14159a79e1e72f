"""OpenTelemetry: spans and metrics of real calls, as a receiver of OTLP decodes them.

The receiver is a double of a collector: an HTTP server that decodes what comes with the protocol's
own schema. It proves that what is sent is well formed and complete, not how a collector stores it.
"""

import asyncio
import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from baseload.config.watching import Otel
from baseload.gateway.watching import Watching
from tests.gateway.harness import Backend, chat, on_uvloop, raw, request, start_gateway
from tests.needs import give_up

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"


class Receiver:
    """A double of an OTLP/HTTP collector; `spans` and `metrics` are what came, decoded."""

    def __init__(self) -> None:
        try:
            from opentelemetry.proto.collector.metrics.v1 import (  # noqa: PLC0415
                metrics_service_pb2 as metrics,
            )
            from opentelemetry.proto.collector.trace.v1 import (  # noqa: PLC0415
                trace_service_pb2 as trace,
            )
        except ImportError:
            give_up("opentelemetry-sdk, opentelemetry-exporter-otlp-proto-http")
        self.spans: list[Any] = []
        self.metrics: dict[str, Any] = {}
        self.headers: list[dict[str, str]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.headers.append(dict(self.headers))
                if self.path == "/v1/traces":
                    for one in trace.ExportTraceServiceRequest.FromString(body).resource_spans:
                        receiver.spans += [s for scope in one.scope_spans for s in scope.spans]
                else:
                    for one in metrics.ExportMetricsServiceRequest.FromString(
                        body
                    ).resource_metrics:
                        for scope in one.scope_metrics:
                            receiver.metrics |= {metric.name: metric for metric in scope.metrics}
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.server.shutdown()
    made.server.server_close()


def attributes(span: Any) -> dict[str, Any]:
    """Give a span's attributes as plain values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


@on_uvloop
async def test_calls_become_spans_and_metrics(receiver):
    """A call's span has the conventions' names, its times and tokens, and no word of its content."""
    otel = Otel(endpoint=receiver.url, headers={"x-token": "of the receiver"})
    async with Backend() as backend, start_gateway(backend, otel=otel) as gateway:
        watching = Watching(gateway)
        await raw(gateway.address[1], chat())
        await raw(gateway.address[1], chat(stream=True))
        await watching.stop()

    first, second = sorted(receiver.spans, key=lambda span: span.start_time_unix_nano)
    found = attributes(first)
    assert ("chat m", "chat", "m", 3, 5) == (
        first.name, found["gen_ai.operation.name"], found["gen_ai.request.model"],
        found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"],
    )  # fmt: skip
    assert "b0" == found["baseload.backend"]
    assert (b"", 0) == (first.parent_span_id, first.status.code)
    assert 0 < first.end_time_unix_nano - first.start_time_unix_nano < 10e9
    assert first.trace_id != second.trace_id
    assert {
        "gen_ai.client.operation.duration", "gen_ai.client.token.usage",
        "gen_ai.server.time_to_first_token", "gen_ai.server.time_per_output_token",
    } == set(receiver.metrics)  # fmt: skip
    duration = receiver.metrics["gen_ai.client.operation.duration"].histogram.data_points
    assert 2 == sum(point.count for point in duration)
    assert {"of the receiver"} == {head["x-token"] for head in receiver.headers}
    assert b"hello" not in b"".join(span.SerializeToString() for span in receiver.spans)


@on_uvloop
async def test_a_callers_trace_goes_on_to_the_backend(receiver):
    """The call's span lies between the caller's and the backend's."""
    head = f"traceparent: 00-{TRACE}-{PARENT}-01\r\n"
    body = {"model": "m", "messages": []}
    otel = Otel(endpoint=receiver.url, sample=0.0)
    async with Backend() as backend, start_gateway(backend, otel=otel) as gateway:
        watching = Watching(gateway)
        await raw(gateway.address[1], request(body, head=head))
        await raw(gateway.address[1], request(body, head=head.replace("-01", "-00")))
        await raw(gateway.address[1], request(body))
        await watching.stop()

    (span,) = receiver.spans
    assert (TRACE, PARENT) == (span.trace_id.hex(), span.parent_span_id.hex())
    sent = [asked.headers.get("traceparent") for asked in backend.asked]
    assert [f"00-{TRACE}-{span.span_id.hex()}-01", f"00-{TRACE}-{PARENT}-00", None] == sent


@pytest.mark.parametrize("wrong", ["", "x", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{PARENT}"])
@on_uvloop
async def test_without_spans_a_header_is_passed_on_if_it_is_one(wrong):
    """What is no `traceparent` is not passed on, so it can break nothing."""
    good = f"00-{TRACE}-{PARENT}-01"
    body = {"model": "m", "messages": []}
    async with Backend() as backend, start_gateway(backend) as gateway:
        for value in (good, wrong):
            await raw(gateway.address[1], request(body, head=f"traceparent: {value}\r\n"))

    sent = [asked.headers.get("traceparent") for asked in backend.asked]
    assert good == sent[0]
    assert sent[1] in {None, wrong} if wrong.startswith("00-0") else sent[1] is None


@on_uvloop
async def test_failed_calls_say_how(receiver):
    """A call that no backend answered is an error with the fact's name."""

    async def no(asked: Any, wire: Any) -> None:
        await wire.send(b"HTTP/1.1 401 X\r\ncontent-length: 0\r\n\r\n")

    otel = Otel(endpoint=receiver.url)
    async with Backend(no) as backend, start_gateway(backend, otel=otel) as gateway:
        watching = Watching(gateway)
        await raw(gateway.address[1], chat())
        await watching.stop()

    (span,) = receiver.spans
    assert (2, "denied") == (span.status.code, attributes(span)["error.type"])


@on_uvloop
async def test_a_receiver_that_is_gone_disturbs_nobody(receiver):
    """Calls are answered as ever, and the end waits no longer than its bound."""
    receiver.server.server_close()
    otel = Otel(endpoint=receiver.url)
    async with Backend() as backend, start_gateway(backend, otel=otel) as gateway:
        watching = Watching(gateway)
        (answer,) = await raw(gateway.address[1], chat())
        async with asyncio.timeout(15):
            await watching.stop()
        left = [
            thread for thread in threading.enumerate() if thread.name.lower().startswith("otel")
        ]
        for (
            thread
        ) in left:  # They still try, with pauses drawn from `random`: no other test's matter.
            await asyncio.to_thread(thread.join, 30)

    assert 200 == answer.status
    assert not any(thread.is_alive() for thread in left)
