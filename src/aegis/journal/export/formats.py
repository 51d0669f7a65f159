"""The formats of an export: a stored body in, one record out.

    jsonl         the canonical bytes themselves, so that every line can be hashed and held against the log
    ocsf          OCSF 1.8, for SIEMs (`ocsf.py`)
    cloudevents   CloudEvents 1.0, for brokers and functions (`cloudevents.py`)

Every event becomes exactly one record, and none is left out: a type that this version does not know is told as what it is, with
all that it holds. A record is one line: JSON has no line breaks inside, and nothing that an agent wrote can make one.
"""

from collections.abc import Callable, Iterable
from typing import Literal, get_args

from aegis.journal.export import cloudevents, ocsf

Format = Literal["jsonl", "ocsf", "cloudevents"]
FORMATS: tuple[str, ...] = get_args(Format)

_RECORDS: dict[str, Callable[[bytes], bytes]] = {"jsonl": bytes, "ocsf": ocsf.record, "cloudevents": cloudevents.record}
_TYPES = {
    "jsonl": "application/x-ndjson",
    "ocsf": "application/x-ndjson",
    "cloudevents": "application/cloudevents-batch+json",
}


def record(form: str, body: bytes) -> bytes:
    """One event in a format of `FORMATS`, in one line without its end."""
    return _RECORDS[form](body)


def batch(form: str, records: Iterable[bytes]) -> bytes:
    """Records as the body of one request: a line each, or the JSON array that CloudEvents calls a batch."""
    if form == "cloudevents":
        return b"[" + b",".join(records) + b"]"
    return b"".join(each + b"\n" for each in records)


def content_type(form: str) -> str:
    """The media type of a batch."""
    return _TYPES[form]
