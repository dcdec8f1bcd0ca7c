"""Traces and metrics from the first RPC: OpenTelemetry, silent until it is switched on.

Set `OTEL_EXPORTER_OTLP_ENDPOINT` and `modelkeep up` exports both. Without it the API's
no-op providers cost next to nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, Observation

SECONDS: Final = (
    0.0005,
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.25,
    0.5,
    1,
    2.5,
    5,
)
"""OpenTelemetry's default buckets are for milliseconds: useless here."""

tracer = trace.get_tracer("modelkeep")
_meter = metrics.get_meter("modelkeep")

rpc_duration = _meter.create_histogram(
    "rpc.server.call.duration",
    unit="s",
    description="Time to answer a call",
    explicit_bucket_boundaries_advisory=SECONDS,
)
append_duration = _meter.create_histogram(
    "modelkeep.append.duration",
    unit="s",
    description="From a decided command to its durable event",
    explicit_bucket_boundaries_advisory=SECONDS,
)


Span = AbstractContextManager[object]
_silent = nullcontext()
_tracing = False


def span(name: str, parent: Context | None = None) -> Span:
    """Open a span around a call; nothing at all while nobody listens."""
    if not _tracing:
        return _silent
    return tracer.start_as_current_span(
        name, context=parent, kind=trace.SpanKind.SERVER, record_exception=False
    )


def observe(
    name: str, unit: str, of: Callable[[], Iterable[tuple[str, float]]]
) -> None:
    """Publish a gauge whose (follower, value) pairs are asked for at each export."""

    def callback(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, {"follower": who}) for who, value in of()]

    _meter.create_observable_gauge(name, [callback], unit=unit)


def switch_on(service: str, version: str) -> Callable[[], None]:
    """Export to the OTLP endpoint in the environment, if any; return how to stop."""
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return lambda: None
    # Imported here: only who exports pays for the exporter.
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import (  # noqa: PLC0415
        OTLPMetricExporter,
    )
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415
    from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415
        PeriodicExportingMetricReader,
    )
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.name": service, "service.version": version})
    meters = MeterProvider(
        [PeriodicExportingMetricReader(OTLPMetricExporter())], resource=resource
    )
    traces = TracerProvider(resource=resource)
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    metrics.set_meter_provider(meters)
    trace.set_tracer_provider(traces)
    globals()["_tracing"] = True

    def stop() -> None:
        traces.shutdown()
        meters.shutdown()

    return stop
