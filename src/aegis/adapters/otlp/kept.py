"""Spans as a collector keeps them: one `ExportTraceServiceRequest` in JSON on each line, as its file exporter writes them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec import Struct

from aegis.errors import InputError
from aegis.model import conventions as names

MAX_LINE = 64 * 1024 * 1024


class Kept(Struct, frozen=True, kw_only=True):
    """One span of ours, as it is told now; `line` is where it stands. `ids` are `trace_id`, `span_id` and `parent_span_id`."""

    line: int
    name: str
    ids: dict[str, str]
    attributes: dict[str, Any]


def kept(lines: Iterable[str]) -> Iterator[Kept]:
    """The spans of our own scope, in the order in which they stand.

    Raises:
        InputError: A line is no such request; it names the line.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if len(line) > MAX_LINE:
                raise ValueError  # noqa: TRY301 - told below, with the line
            yield from _spans(json.loads(line), number)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise InputError(f"line {number}: expected traces of OTLP in JSON, one request a line") from None


def _spans(told: dict[str, Any], number: int) -> Iterator[Kept]:
    for resource in told["resourceSpans"]:
        for scope in resource.get("scopeSpans", ()):
            if scope.get("scope", {}).get("name") != names.SCOPE:
                continue
            for span in scope.get("spans", ()):
                ids = {"trace_id": span["traceId"], "span_id": span["spanId"], "parent_span_id": span.get("parentSpanId", "")}
                attributes = {each["key"]: _value(each["value"]) for each in span.get("attributes", ())}
                yield Kept(line=number, name=str(span.get("name", "")), ids=ids, attributes=attributes)


def _value(value: dict[str, Any]) -> Any:
    if "intValue" in value:
        return int(value["intValue"])
    if "arrayValue" in value:
        return [_value(each) for each in value["arrayValue"].get("values", ())]
    return next(iter(value.values()), None)
