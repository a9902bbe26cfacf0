# Copyright: (c) 2026, Rackstead contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traces for OpenTelemetry, where the environment asks for them as the OpenTelemetry SDK has it.

Nothing of it is imported, and nothing is done, where it does not.
"""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .jobs import events
from .jobs.model import Job
from .jobs.spans import Span, of_job

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as Recorded
    from starlette.types import Scope

log = logging.getLogger("rackstead.tracing")
ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"
EXTRA = "pip install 'rackstead[otel]'"
#: Where the request's span stands in its scope, as W3C's traceparent.
TRACEPARENT = "rackstead.traceparent"
#: Seconds for the last spans to be sent when the process ends.
GRACE = 2.0


def _variable(names: tuple[str, ...]) -> tuple[str, str]:
    """The first of these variables that is set, and its value."""
    return next(((name, value) for name in names if (value := os.environ.get(name, "").strip())), ("", ""))


def traces(part: str) -> Traces | None:
    """What records this process's traces, or None. What keeps it from doing so is told in one line of the log.

    ``part`` is server or worker.
    """
    name, _endpoint = _variable(ENDPOINTS)
    wanted = os.environ.get("OTEL_TRACES_EXPORTER", "").strip().lower() in ("", "otlp")
    if not name or not wanted or os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    variable, protocol = _variable(PROTOCOLS)
    if protocol not in ("", SPOKEN):
        log.error('nothing is traced: %s: "%s" is not spoken; allowed: %s', variable, protocol, SPOKEN)
        return None
    try:
        return Traces(_provider(part))
    except ImportError:
        log.error('nothing is traced: %s is set, and the extra "otel" is not installed: %s', name, EXTRA)
        return None


def _provider(part: str) -> TracerProvider:
    """Not made the process's own: libraries that look for one there record nothing."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own = {"rackstead.part": part}
    if "service.name" not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "") and not os.environ.get("OTEL_SERVICE_NAME"):
        own["service.name"] = "rackstead"
    found = TracerProvider(resource=Resource.create(own), shutdown_on_exit=False)
    found.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return found


class Traces:
    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("rackstead")
        self._propagator = TraceContextTextMapPropagator()

    def close(self) -> None:
        """Send what is there. A collector that does not answer is not waited for long."""
        last = threading.Thread(target=self._provider.shutdown, name="last traces", daemon=True)
        last.start()
        last.join(GRACE)

    # -- jobs --------------------------------------------------------------------------------------
    def job(self, job: Job, folder: Path) -> None:
        """Record a job that is over, as part of the trace that it was submitted in. Never raises."""
        try:
            self._emit(of_job(job, events.read(folder)), self._context({"traceparent": job.traceparent}))
        except Exception:
            log.exception("job %s could not be traced", job.id)

    def _context(self, carrier: dict[str, str]) -> Context:
        from opentelemetry.context import Context

        return self._propagator.extract(carrier, Context())

    def _emit(self, span: Span, context: Context) -> None:
        from opentelemetry.trace import Status, StatusCode, set_span_in_context

        found = self._tracer.start_span(
            span.name, context, attributes=span.attributes, start_time=nanoseconds(span.start)
        )
        if span.error:
            found.set_status(Status(StatusCode.ERROR, span.error))
        for child in span.children:
            self._emit(child, set_span_in_context(found, context))
        found.end(nanoseconds(max(span.start, span.end)))

    # -- requests ----------------------------------------------------------------------------------
    def request(self, scope: Scope) -> Recorded:
        """Begin the span of a request, in its client's trace if it names one."""
        from opentelemetry.trace import SpanKind

        names = ("traceparent", "tracestate")
        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        context = self._context({name: given[name] for name in names if name in given})
        found = self._tracer.start_span(scope["method"], context, SpanKind.SERVER)
        scope[TRACEPARENT] = traceparent(found)
        return found

    def answered(self, span: Recorded, scope: Scope, status: int) -> None:
        """End it. The path itself is not told, only its pattern: somebody may have pasted a token there."""
        from opentelemetry.trace import Status, StatusCode

        route = getattr(scope.get("route"), "path", "")
        told: dict[str, str | int] = {"http.request.method": scope["method"]}
        if route:
            span.update_name(f"{scope['method']} {route}")
            told["http.route"] = route
        if status:
            told["http.response.status_code"] = status
        span.set_attributes(told)
        if status >= 500 or not status:
            span.set_status(Status(StatusCode.ERROR))
        span.end()


def nanoseconds(at: float) -> int:
    return int(at * 1e9)


def traceparent(span: Any) -> str:
    found = span.get_span_context()
    return f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"
