"""Spans in the JSON encoding of OTLP: ids as hexadecimal text, 64-bit numbers as decimal text, names in lowerCamelCase.

Texts are cut, and what a terminal or a log could take for a command is left out: a span is data, whatever an agent wrote into it.

Source: OTLP specification 1.5, "JSON Protobuf Encoding"; opentelemetry/proto/trace/v1/trace.proto.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from aegis.model import conventions as names
from aegis.model.span import Kind, Span, Value

MAX_TEXT = 256
MAX_ITEMS = 64
_KINDS = {Kind.INTERNAL: 1, Kind.SERVER: 2, Kind.CLIENT: 3, Kind.PRODUCER: 4}
_ERROR = 2
SCOPE = {"name": names.SCOPE}


def traces(spans: Iterable[Span], resource: Mapping[str, str]) -> bytes:
    """The body of an `ExportTraceServiceRequest`."""
    scope = {"scope": SCOPE, "schemaUrl": names.SCHEMA_URL, "spans": [span(each) for each in spans]}
    return orjson.dumps({"resourceSpans": [{"resource": {"attributes": attributes(resource)}, "scopeSpans": [scope]}]})


def span(found: Span) -> dict[str, Any]:
    """One span."""
    told: dict[str, Value] = {**found.attributes, **({names.ERROR_TYPE: found.error} if found.error else {})}
    encoded: dict[str, Any] = {
        "traceId": found.trace_id,
        "spanId": found.span_id,
        "flags": int(found.flags, 16),
        "name": text(found.name),
        "kind": _KINDS[found.kind],
        "startTimeUnixNano": f"{found.start_us}000",
        "endTimeUnixNano": f"{found.end_us}000",
        "attributes": attributes(told),
    }
    if found.parent_id:
        encoded["parentSpanId"] = found.parent_id
    if found.links:
        encoded["links"] = [{"traceId": trace_id, "spanId": span_id} for trace_id, span_id in found.links]
    if found.error:
        encoded["status"] = {"code": _ERROR, "message": text(found.error)}
    return encoded


def attributes(told: Mapping[str, Value]) -> list[dict[str, Any]]:
    """A list of `KeyValue`."""
    return [{"key": name, "value": _value(value)} for name, value in told.items()]


def text(value: str) -> str:
    """`value` cut, and without characters that are not printed."""
    cut = value[:MAX_TEXT]
    return cut if cut.isprintable() else "".join(char for char in cut if char.isprintable())


def _value(value: Value) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, str):
        return {"stringValue": text(value)}
    return {"arrayValue": {"values": [{"stringValue": text(each)} for each in value[:MAX_ITEMS]]}}
