"""Metrics in the JSON encoding of OTLP, from the registries that Prometheus reads: there is one source of every number.

Counters and histograms are cumulative since the start of the process, as they are for Prometheus.

Source: opentelemetry/proto/metrics/v1/metrics.proto; OpenTelemetry, "Prometheus and OpenMetrics Compatibility".
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from prometheus_client import Metric

from aegis.adapters.otlp.encode import SCOPE, attributes
from aegis.model import conventions as names

_CUMULATIVE = 2


def metrics(families: Iterable[Metric], resource: Mapping[str, str], *, start_ns: int, now_ns: int) -> bytes:
    """The body of an `ExportMetricsServiceRequest`."""
    times = {"startTimeUnixNano": str(start_ns), "timeUnixNano": str(now_ns)}
    found = [each for family in families if (each := _metric(family, times)) is not None]
    scope = {"scope": SCOPE, "schemaUrl": names.SCHEMA_URL, "metrics": found}
    return orjson.dumps({"resourceMetrics": [{"resource": {"attributes": attributes(resource)}, "scopeMetrics": [scope]}]})


def _metric(family: Metric, times: Mapping[str, str]) -> dict[str, Any] | None:
    measure = names.BY_PROMETHEUS.get(family.name)
    if measure is None or not family.samples:
        return None
    told = {"name": measure.otlp, "unit": measure.unit, "description": measure.tells}
    if family.type == "histogram":
        return told | {"histogram": {"aggregationTemporality": _CUMULATIVE, "dataPoints": _distributions(family, times)}}
    wanted = f"{family.name}_total" if family.type == "counter" else family.name
    points = [
        {**times, "attributes": _labels(sample.labels), "asDouble": sample.value}
        for sample in family.samples
        if sample.name == wanted
    ]
    if family.type == "counter":
        return told | {"sum": {"aggregationTemporality": _CUMULATIVE, "isMonotonic": True, "dataPoints": points}}
    return told | {"gauge": {"dataPoints": points}}


def _distributions(family: Metric, times: Mapping[str, str]) -> list[dict[str, Any]]:
    """One point for each set of labels. Prometheus counts what is at most a bound, OTLP what lies between two."""
    found: dict[tuple[tuple[str, str], ...], dict[str, Any]] = {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        point = found.setdefault(tuple(sorted(labels.items())), {"labels": labels, "up_to": []})
        if sample.name.endswith("_bucket"):
            point["up_to"].append((float(sample.labels["le"]), int(sample.value)))
        elif sample.name.endswith("_sum"):
            point["sum"] = sample.value
    return [_distribution(point, times) for point in found.values()]


def _distribution(point: Mapping[str, Any], times: Mapping[str, str]) -> dict[str, Any]:
    up_to = sorted(point["up_to"])
    counts = [count - before for (_, count), before in zip(up_to, [0, *(count for _, count in up_to)], strict=False)]
    return {
        **times,
        "attributes": _labels(point["labels"]),
        "count": str(up_to[-1][1]),
        "sum": point["sum"],
        "bucketCounts": [str(count) for count in counts],
        "explicitBounds": [bound for bound, _ in up_to if not math.isinf(bound)],
    }


def _labels(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    return attributes({names.LABELS.get(name, f"aegis.{name}"): value for name, value in labels.items()})
