"""A gateway that exports while it serves: real calls, a real receiver, both stores."""

import json
import subprocess
import sys
import time

import httpx
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event
from msgspec.structs import replace
from tests.export.official import faults

from aegis.app import open_app
from aegis.crypto.merkle import leaf_hash
from aegis.errors import ConfigError
from aegis.journal.export.formats import record
from aegis.settings import ExportSettings
from gateway.test_two_processes import Second
from gateway.world import World


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def exporting(request, tmp_path, far):
    """Starts a gateway that exports to the far end."""
    made = []

    def start(**options):
        url = "sqlite:data/aegis.db"
        if request.param == "postgres":
            from tests.postgres_server import migrated_database

            url = migrated_database()
        w = World(tmp_path, url)
        made.append(w)
        w.settings = replace(w.settings, export=ExportSettings(url=far.url, **options))
        w.start()
        return w

    yield start
    for w in made:
        w.close()


def run(w):
    """Calls that come to every end that this world knows."""
    answers = [w.call("pay.honours", {"amount": n}, f"k{n}").status_code for n in (1, 1, 9000)]
    held = w.call("pay.honours", {"amount": 1500}, "held").json()["approval_id"]
    w.approve(held)
    answers.append(w.call("pay.honours", {"amount": 1500}, "held").status_code)
    other = w.call("pay.honours", {"amount": 1501}, "no").json()["approval_id"]
    w.approve(other, approve=False)
    answers.append(w.call("pay.honours", {"amount": 2, "memo": "078-05-1120"}, "memo").status_code)
    w.tool.mood = "error"
    w.call("pay.neither", {"amount": 3}, "err")
    w.tool.mood = "refuse"
    w.call("pay.neither", {"amount": 3}, "ref")
    w.tool.mood = "ok"
    w.call("pay.honours", {"wrong": 1}, "bad")
    w.call("records.read", {"id": "r"}, token=w.token("agent:reader"))
    w.call("pay.honours", {"amount": 4}, "globex", token=w.token(tenant="globex"))
    assert answers == [200, 200, 403, 200, 200]


def told(records, tenant):
    """The `seq` of the events of a tenant in the order of their first arrival, whatever the format."""
    found = (
        (each.get("tenant") or each["metadata"]["tenant_uid"], each.get("seq", each.get("metadata", {}).get("sequence")))
        for each in records
    )
    return list(dict.fromkeys(seq for whose, seq in found if whose == tenant))


def arrived(w, far):
    """Wait until the receiver has what the journals hold."""
    sizes = {tenant: len(w.events(tenant=tenant)) for tenant in ("acme", "globex")}
    deadline = time.monotonic() + 30
    while any(len(told(far.records(), tenant)) < size for tenant, size in sizes.items()) and time.monotonic() < deadline:
        time.sleep(0.05)
    for tenant, size in sizes.items():
        assert told(far.records(), tenant)[:size] == list(range(size))


def test_all_that_a_world_does_is_valid_in_every_format(on_world):
    for tenant in ("acme", "globex", "_system"):
        for body in on_world.bodies(tenant):
            found = json.loads(record("ocsf", body))
            assert faults(found) == [], json.loads(body)["type"]
            assert found["unmapped"]["aegis"]["leaf"] == leaf_hash(body).hex()
            read = from_http_event(
                HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=record("cloudevents", body))
            )
            assert read.get_data() == json.loads(body)


@pytest.fixture
def on_world(tmp_path):
    from aegis.crypto.canonical import canon

    w = World(tmp_path, "sqlite:data/aegis.db")
    w.start()
    run(w)
    time.sleep(1.2)  # a checkpoint or two
    w.bodies = lambda tenant: [canon(each) for each in w.events(tenant=tenant)]
    yield w
    w.close()


@pytest.mark.parametrize("form", ["jsonl", "ocsf"])
def test_a_gateway_sends_what_it_records(exporting, far, form):
    w = exporting(format=form, batch=7)
    run(w)
    arrived(w, far)
    if form == "ocsf":
        assert not [fault for each in far.records() for fault in faults(each)]


def test_no_secret_and_no_argument_leaves(exporting, far):
    w = exporting()
    run(w)
    arrived(w, far)
    content = far.log.read_text()
    assert "078-05-1120" not in content
    assert w.secret not in content


def test_the_operator_sees_the_lag_and_tenants_do_not(exporting, far):
    far.mood(status=401)
    w = exporting(tenants="acme")
    deadline = time.monotonic() + 20
    while 'aegis_audit_export_halted{tenant="acme"} 1.0' not in w.watch("/metrics").text and time.monotonic() < deadline:
        time.sleep(0.05)
    text = w.watch("/metrics").text
    assert 'aegis_audit_export_halted{tenant="acme"} 1.0' in text
    assert 'aegis_audit_export_lag_events{tenant="acme"}' in text
    plain = httpx.get(w.url + "/metrics").text
    assert "aegis_audit_exports_halted 1.0" in plain
    assert "acme" not in plain
    assert w.watch("/readyz").status_code == 200


def test_calls_go_on_while_the_receiver_hangs(exporting, far):
    far.mood(delay=60)
    w = exporting(batch=5)
    for n in range(20):
        assert w.call("pay.honours", {"amount": 1}, f"h{n}").status_code == 200


def test_of_two_gateways_one_exports_and_the_other_takes_over(exporting, far):
    w = exporting()
    second = Second(w)
    second.start()
    try:
        run(w)
        arrived(w, far)
        time.sleep(1.2)
        assert second.app.exports.standing() == ()
        w.stop()
        second.call("pay.honours", {"amount": 5}, "later")
        deadline = time.monotonic() + 30
        size = len(second.events())
        while len(told(far.records(), "acme")) < size and time.monotonic() < deadline:
            time.sleep(0.05)
        assert told(far.records(), "acme") == list(range(size))
    finally:
        second.stop()


async def test_a_gateway_whose_export_cannot_be_does_not_start(tmp_path):
    w = World(tmp_path, "sqlite:data/aegis.db")
    app = await open_app(replace(w.settings, export=ExportSettings(url="http://siem.example/")))
    try:
        with pytest.raises(ConfigError, match=r"export\.url: expected https"):
            await app.start()
    finally:
        await app.stop()
        w.close()


def test_with_by_command_no_gateway_exports(exporting, far):
    w = exporting(by="command")
    assert w.app.exports is None
    run(w)
    assert far.requests() == []


def ran(command):
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_a_person_moves_the_cursor_and_the_journal_tells_who_and_why(exporting, far, tmp_path):
    w = exporting(tenants="acme")
    run(w)
    size = len(w.events())
    deadline = time.monotonic() + 30
    while len(told(far.records(), "acme")) < size and time.monotonic() < deadline:
        time.sleep(0.05)
    before = len(far.records())
    (tmp_path / "aegis.toml").write_text(f'[store]\nurl = "{w.settings.store.url}"\n')
    command = [sys.executable, "-m", "aegis", "--dir", str(tmp_path), "audit", "push", "--begin-at", "3", "--tenant", "acme"]
    moved = ran([*command, "--as", "person:alice", "--reason", "lost a day"])
    assert moved.returncode == 0, moved.stderr
    assert "goes on at event 3" in moved.stdout
    while len(far.records()) < before + size - 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [each["seq"] for each in far.records()[before:]] == list(range(3, size))
    (event,) = (each for each in w.events(tenant="_system") if each["type"] == "export_moved")
    assert (event["on_tenant"], event["from"], event["to"], event["by"]) == ("acme", size, 3, "person:alice")
    for arguments in (["--as", "person:nobody", "--reason", "x"], ["--as", "person:alice"], ["--reason", "x"]):
        assert ran([*command, *arguments]).returncode == 2
    beyond = [*command[:-3], str(size + 50), *command[-2:], "--as", "person:alice", "--reason", "x"]
    assert "the log holds" in ran(beyond).stderr
