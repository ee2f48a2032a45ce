"""Spans for OpenTelemetry, where somebody wants them: a task from its creation to its deliveries as one trace.

The extra `traces` brings the SDK; it is imported by `start` alone, and until then each of these costs a comparison. A span's
parent is the `traceparent` that is stored with the task. Spans carry ids and our own words, nothing of what a task is about.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from service import __version__

NAME: Final = "traceparent"
STOP_SECONDS: Final = 3.0
NO_EXTRA: Final = "traces need OpenTelemetry: pip install 'taskrelay[traces]'"
WANTED: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")

Said = str | int | float | bool | None


class NoExtra(Exception):
    """Spans are wanted, and what sends them is not installed."""


@dataclass(frozen=True, slots=True)
class Span:
    """A span under way. `traceparent`: names it, for whatever happens because of it."""

    traceparent: str
    _span: Any

    def end(self, **said: Said) -> None:
        self._span.set_attributes(_attributes(said))
        self._span.end()


class _Sdk:
    """The SDK as far as it is used, once it is loaded."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self.provider = provider
        self.tracer = provider.get_tracer("taskrelay", __version__)
        self.propagator = TraceContextTextMapPropagator()
        self.kinds = {"server": SpanKind.SERVER, "client": SpanKind.CLIENT, "internal": SpanKind.INTERNAL}


_sdk: _Sdk | None = None


def wanted(endpoint: str | None, environ: Mapping[str, str]) -> bool:
    """Whether spans are to be sent: an address is set, ours or the standard's, and the standard does not forbid it."""
    off = environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and (endpoint is not None or any(environ.get(name) for name in WANTED))


def start(endpoint: str | None, environ: Mapping[str, str]) -> None:
    """Send spans from now on. `endpoint`: None leaves it to OTEL_EXPORTER_OTLP_*. Raises `NoExtra`."""
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        raise NoExtra(NO_EXTRA) from error
    use(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)), named="OTEL_SERVICE_NAME" in environ)


def use(processor: Any, *, named: bool = False) -> None:
    """Hand spans to this. `named`: the environment says what we are called."""
    global _sdk
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    said = {"service.version": __version__} | ({} if named else {"service.name": "taskrelay"})
    provider = TracerProvider(resource=Resource.create(said), shutdown_on_exit=False)
    provider.add_span_processor(processor)
    _sdk = _Sdk(provider)


def stop() -> None:
    """Send what is left, for a moment: a receiver that does not answer must not hold up the end of the process."""
    global _sdk
    sdk, _sdk = _sdk, None
    if sdk is not None:
        closing = threading.Thread(target=sdk.provider.shutdown, daemon=True)
        closing.start()
        closing.join(STOP_SECONDS)


def on() -> bool:
    """Whether anybody wants spans."""
    return _sdk is not None


def begin(name: str, parent: str | None, kind: str = "internal", **said: Said) -> Span | None:
    """Begin a span; None when nobody wants any. Without a parent it begins a trace."""
    sdk = _sdk
    if sdk is None:
        return None
    span = sdk.tracer.start_span(name, _context(sdk, parent), sdk.kinds[kind], _attributes(said))
    return Span(_name_of(sdk, span), span)


def note(name: str, parent: str | None, seconds: float, kind: str = "internal", **said: Said) -> None:
    """A span that has just ended."""
    sdk = _sdk
    if sdk is None or parent is None:
        return
    now = time.time_ns()
    began = now - int(seconds * 1e9)
    span = sdk.tracer.start_span(name, _context(sdk, parent), sdk.kinds[kind], _attributes(said), start_time=began)
    span.end(end_time=now)


def _context(sdk: _Sdk, parent: str | None) -> Any:
    return sdk.propagator.extract({NAME: parent} if parent is not None else {}, context=_nothing())


def _nothing() -> Any:
    from opentelemetry.context import Context

    return Context()


def _name_of(sdk: _Sdk, span: Any) -> str:
    from opentelemetry.trace import set_span_in_context

    carrier: dict[str, str] = {}
    sdk.propagator.inject(carrier, set_span_in_context(span, _nothing()))
    return carrier[NAME]


def _attributes(said: Mapping[str, Said]) -> dict[str, str | int | float | bool]:
    return {f"taskrelay.{key}": value for key, value in said.items() if value is not None}
