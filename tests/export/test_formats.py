"""Every event type in every format, held against the official schema of OCSF and the library of CloudEvents."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.export.official import faults

from aegis.crypto.canonical import canon
from aegis.crypto.merkle import leaf_hash
from aegis.journal.export import classes
from aegis.journal.export.formats import FORMATS, batch, content_type, record
from aegis.journal.export.ocsf import mapped
from aegis.model.event import Event, encode

# One event of each type and shape, as the gateway's own tests leave them behind.
BODIES = [line for line in (Path(__file__).parent / "events.jsonl").read_bytes().split(b"\n") if line]
NAMES = [f"{n}-{json.loads(body)['type']}" for n, body in enumerate(BODIES)]
EVENT = re.compile(r"""Event\([^()]*(?:\([^()]*\)[^()]*)*?type="(\w+)\"""")
SOURCES = Path(__file__).parents[2] / "src" / "aegis"


@pytest.mark.parametrize("body", BODIES, ids=NAMES)
def test_every_record_is_valid_by_the_official_schema(body):
    assert faults(json.loads(record("ocsf", body))) == []


@pytest.mark.parametrize("body", BODIES, ids=NAMES)
def test_a_record_of_ocsf_leads_back_to_the_log_and_drops_nothing(body):
    told, found = json.loads(body), json.loads(record("ocsf", body))
    metadata, rest = found["metadata"], found["unmapped"]["aegis"]
    assert (metadata["uid"], metadata["sequence"], metadata["log_name"]) == (told["id"], told["seq"], told["origin"])
    assert (metadata["tenant_uid"], metadata["original_time"]) == (told["tenant"], told["time"])
    assert found["time"] == int(datetime.fromisoformat(told["time"]).timestamp() * 1000)
    assert rest.pop("leaf") == leaf_hash(body).hex()
    back = rest | {name: told[name] for name in ("v", "origin", "tenant", "seq", "id", "time")}
    assert canon(back) == body
    assert found["type_uid"] == found["class_uid"] * 100 + found["activity_id"]


@pytest.mark.parametrize("body", BODIES, ids=NAMES)
def test_a_cloudevent_is_read_by_the_library_and_holds_the_bytes_of_the_leaf(body):
    told, line = json.loads(body), record("cloudevents", body)
    read = from_http_event(HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=line))
    assert (read.get_id(), read.get_source()) == (told["id"], told["origin"])
    assert read.get_type() == f"dev.aegis.audit.{told['type']}.v1"
    assert read.get_time() == datetime.fromisoformat(told["time"])
    assert read.get_extension("sequence") == f"{told['seq']:016}"
    assert read.get_data() == told
    assert body in line


@pytest.mark.parametrize("body", BODIES, ids=NAMES)
def test_a_line_of_jsonl_is_the_leaf(body):
    assert record("jsonl", body) == body


def rows():
    return {*classes._REQUESTS, *classes._CHANGES, *classes._LOG, *classes._SPECIAL}


def test_every_row_has_a_vector_and_every_vector_a_row():
    assert {json.loads(body)["type"] for body in BODIES} == rows()


def test_every_type_that_the_gateway_writes_has_a_row():
    """As far as its source spells it; a type without a row is told all the same, but not in its best class."""
    written = {kind for path in SOURCES.rglob("runtime/*.py") for kind in EVENT.findall(path.read_text("utf-8"))}
    assert len(written) > 20
    assert written - rows() == set()


@pytest.mark.parametrize(
    ("outcome", "approval", "action", "disposition"),
    [
        ("allow", "", 1, 1),
        ("deny", "", 2, 2),
        ("sanitize", "", 4, 11),
        ("approval_needed", "", 2, 14),
        ("allow", "apr_1", 1, 8),
    ],
)
def test_the_table_of_outcomes(outcome, approval, action, disposition):
    body = next(json.loads(body) for body in BODIES if b'"type":"decision"' in body)
    found = mapped(canon(body | {"decision": outcome, "approval_id": approval}))
    assert (found["action_id"], found["disposition_id"]) == (action, disposition)
    assert (found["class_uid"], found["type_uid"], found["activity_name"]) == (6003, 600399, "tools/call")


def test_an_agent_is_told_by_its_spiffe_id_and_whom_it_acts_for():
    body = next(json.loads(body) for body in BODIES if b'"type":"decision"' in body)
    actor = mapped(canon(body | {"agent_id": "agent:payer", "actor": {"sub": "user:nora"}}))["actor"]
    assert actor["app_uid"] == f"spiffe://{body['tenant']}.aegis/agent/payer"
    assert actor["user"]["uid"] == "user:nora"


_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_FIELDS = sorted({name for body in BODIES for name in json.loads(body)} - {"v", "origin", "tenant", "seq", "id", "type", "time"})
_TYPES = sorted({*classes._REQUESTS, *classes._CHANGES, *classes._LOG, *classes._SPECIAL, "of_a_later_version"})


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(_TYPES), data=st.dictionaries(st.sampled_from(_FIELDS), _JSON, max_size=8), request=_TEXT)
def test_whatever_an_event_holds_it_becomes_one_valid_record_and_stops_no_export(kind, data, request):
    event = Event(id="e", type=kind, tenant="acme", time=datetime(2026, 11, 21, tzinfo=UTC), request_id=request, data=data)
    body = encode(event, 7)
    for form in FORMATS:
        assert b"\n" not in record(form, body)
    line = record("ocsf", body)
    assert line.isascii()
    assert faults(json.loads(line)) == []


@pytest.mark.parametrize("form", FORMATS)
def test_hostile_strings_stay_one_record(form):
    hostile = '\n\r\x1b[2J\u202e\u2028\x00\x85"}{' + "A" * 1_000_000
    event = Event(id="e", type="refusal", tenant="acme", time=datetime(2026, 11, 21, tzinfo=UTC), data={"what": hostile})
    line = record(form, encode(event, 0))
    assert b"\n" not in line
    assert b"\x1b" not in line
    read = json.loads(line)
    found = {"jsonl": read, "ocsf": read.get("unmapped", {}).get("aegis", {}), "cloudevents": read.get("data", {})}[form]
    assert found["what"] == hostile


def test_a_batch_of_cloudevents_is_an_array_and_the_others_are_lines():
    records = [record("cloudevents", body) for body in BODIES[:3]]
    assert json.loads(batch("cloudevents", records)) == [json.loads(each) for each in records]
    assert content_type("cloudevents") == "application/cloudevents-batch+json"
    assert batch("jsonl", BODIES[:3]) == b"".join(body + b"\n" for body in BODIES[:3])
