"""An event as a CloudEvent: `data` is the body of the event, so its leaf in the log can be worked out from the record.

`source` and `id` name the event in the whole world, as CloudEvents asks: the origin of the log and the id within it. `sequence`
orders the events of one source (the extension of that name: text whose order is theirs); `traceparent` is the distributed tracing
extension.

Source: CloudEvents 1.0.2, sections 2 and 3; its JSON format, section 3; its extensions `sequence` and `distributed-tracing`.
"""

from typing import Any

import msgspec

from aegis.journal.export.parts import text

TYPE = "dev.aegis.audit.{}.v1"
_DIGITS = 16  # of 2^53 - 1, the greatest `seq` that has a canonical form


def record(body: bytes) -> bytes:
    """The CloudEvent of a stored body, in the structured form."""
    told = msgspec.json.decode(body)
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": told["id"],
        "source": told["origin"],
        "type": TYPE.format(told["type"]),
        "time": told["time"],
        "sequence": f"{told['seq']:0{_DIGITS}}",
        "datacontenttype": "application/json",
    }
    if told["request_id"]:
        event["subject"] = told["request_id"]
    if (trace := text(told, "trace_id")) and (span := text(told, "span_id")):
        event["traceparent"] = f"00-{trace}-{span}-01"
    return msgspec.json.encode({**event, "data": msgspec.Raw(body)})
