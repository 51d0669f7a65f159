"""An event in the Open Cybersecurity Schema Framework, version 1.8: one event, one record.

What an event is in the vocabulary of OCSF stands in `classes.py`, one row for each type; here is what all records share. A record
can be held against the log: `metadata.log_name` is the origin, `metadata.sequence` the `seq`, `metadata.uid` the id (by which
duplicates of an export that is sent at least once are removed), and `unmapped.aegis` tells the hash of the leaf and everything that
the event holds, whether or not it has a place of its own. Events hold no arguments and no results, and so neither do records.

Records are ASCII: whatever characters stand in a name reach a terminal or a search head as escapes.

Source: schema.ocsf.io, version 1.8.0.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from aegis.crypto.merkle import leaf_hash
from aegis.journal.export import classes, terms
from aegis.journal.export.parts import number, present, text

VERSION = "1.8.0"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PRODUCT = {"name": "Aegis", "vendor_name": "Aegis"}
_ENVELOPE = frozenset({"v", "origin", "tenant", "seq", "id", "time"})
"""Fields of the body that `metadata` and `time` hold as they are."""


def record(body: bytes) -> bytes:
    """The OCSF record of a stored body."""
    return json.dumps(mapped(body), ensure_ascii=True, separators=(",", ":")).encode("ascii")


def mapped(body: bytes) -> dict[str, Any]:
    """The record before it is written down."""
    told = msgspec.json.decode(body)
    said = classes.said(told)
    kind = terms.CLASSES[said.class_uid]
    return {
        "time": _millis(told["time"]),
        "metadata": _metadata(told, kind.profiles),
        "category_uid": kind.category_uid,
        "category_name": kind.category,
        "class_uid": said.class_uid,
        "class_name": kind.name,
        "activity_id": said.activity,
        "activity_name": kind.activities.get(said.activity, said.other),
        "type_uid": said.class_uid * 100 + said.activity,
        "severity_id": said.severity,
        "severity": terms.SEVERITIES[said.severity],
        "status_id": said.status,
        "status": terms.STATUSES.get(said.status, said.pending),
        **_security(said),
        **said.fields,
        **_trace(told, kind.profiles),
        "unmapped": {"aegis": {**{k: v for k, v in told.items() if k not in _ENVELOPE}, "leaf": leaf_hash(body).hex()}},
    }


def _metadata(told: dict[str, Any], profiles: tuple[str, ...]) -> dict[str, Any]:
    found = {
        "version": VERSION,
        "product": _PRODUCT,
        "profiles": list(profiles),
        "uid": told["id"],
        "event_code": told["type"],
        "sequence": told["seq"],
        "log_name": told["origin"],
        "log_version": str(told["v"]),
        "tenant_uid": told["tenant"],
        "original_time": told["time"],
    }
    return found | ({"correlation_uid": told["request_id"]} if told["request_id"] else {})


def _security(said: terms.Said) -> dict[str, Any]:
    """What the gateway did about it, in the words of the profile `security_control`."""
    return {
        "action_id": said.action,
        "action": terms.ACTIONS[said.action],
        "disposition_id": said.disposition,
        "disposition": terms.DISPOSITIONS[said.disposition],
    }


def _trace(told: dict[str, Any], profiles: tuple[str, ...]) -> dict[str, Any]:
    """The span of a decision, or of the call itself, ends with its event, which tells how long it took."""
    trace, span = text(told, "trace_id"), text(told, "span_id")
    if "trace" not in profiles or not (trace and span):
        return {}
    end, millis = _since(_time(told["time"])), (number(told, "latency_us") or number(told, "duration_us")) // 1000
    parts = {"uid": span, "start_time": end - millis, "end_time": end, "duration": millis}
    return {"trace": {"uid": trace, "span": present({**parts, "parent_uid": text(told, "parent_span_id")})}}


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _millis(text: str) -> int:
    return _since(_time(text))


def _since(time: datetime) -> int:
    """Milliseconds since the epoch, which is what OCSF counts in."""
    return (time - _EPOCH) // timedelta(milliseconds=1)
