"""Contracts change while policies stand on them: one never decides by what the other does not know."""

from concurrent.futures import ThreadPoolExecutor

from provenance.hands import aegis, denied, edit, file_of, read, told, within, write
from registry import shipped
from registry.shipped import status

ALICE = ("--as", "person:alice", "--reason", "looked", "--tenant", "acme")
LINE = '    records.read: {version: ">=1.0.0 <2.0.0", args: {id: string}}'


def drawn(w, tool="records.read@1"):
    """Let the policy draw the tool's line from its contract."""
    path = w.root / "tenants/acme/policy.yaml"
    found = path.read_text()
    assert LINE in found
    return found.replace(LINE, f"    records.read: {{contract: {tool}}}")


def with_argument(text):
    """The contract with an optional argument more, as version 1.1.0."""
    newer = text.replace("version: 1.0.0", "version: 1.1.0").replace("maxLength: 40}}", "maxLength: 40}, page: {type: integer}}")
    return newer.replace(
        'call: {method: GET, path: "/records/{id}"}', 'call: {method: GET, path: "/records/{id}", query: {page: page}}'
    )


def paged(w):
    return w.call("records.read", {"id": "r1", "page": 2}, token=w.token("agent:reader"))


def test_a_set_in_files_is_compiled_with_the_contracts_that_serve(on_sqlite):
    w = on_sqlite
    before = status(w).digest
    write(w.root / "tenants/acme/policy.yaml", drawn(w))
    within(15, lambda: status(w).digest != before)
    assert paged(w).status_code == 422
    write(file_of(w, "records.read-1.1"), with_argument(file_of(w).read_text()))
    within(15, lambda: paged(w).status_code == 200)
    assert w.tool.requests[-1]["path"] == "/records/r1?page=2"


def test_contracts_that_the_set_cannot_stand_on_are_refused_and_the_old_ones_go_on(on_sqlite):
    w = on_sqlite
    before = status(w).digest
    write(w.root / "tenants/acme/policy.yaml", drawn(w))
    within(15, lambda: status(w).digest != before)
    text = file_of(w).read_text()
    file_of(w).unlink()
    (event,) = within(15, lambda: told(w, "contracts_refused"))
    assert w.app.toolbox.refused()
    assert "records.read@1" in event["detail"]
    assert event["what"] == "serving"
    assert read(w).status_code == 200
    assert w.call("pay.ask", {"amount": 5}, "k").status_code == 200
    write(file_of(w), text)
    within(15, lambda: not w.app.toolbox.refused())
    assert read(w).status_code == 200


def test_set_and_contract_may_change_together(on_sqlite):
    """Whichever is looked at first: a set that needs a contract which is not there yet is refused, and taken once it is."""
    w = on_sqlite
    path = w.root / "tenants/acme/policy.yaml"
    changed = drawn(w, "records.read@2").replace("id: read.allow", "id: read.second")
    write(path, changed)
    within(15, lambda: status(w).refused)
    second = file_of(w).read_text().replace("version: 1.0.0", "version: 2.0.0")
    write(file_of(w, "records.read-2"), second)
    within(15, lambda: not status(w).refused)
    within(15, lambda: "read.second" in shipped.rules(w))


def test_a_version_of_the_registry_outlives_the_contract_that_it_was_built_with(w):
    shipped.shipped(w, drawn(w))
    within(15, lambda: status(w).enforced == 1)
    edit(w, "description: Reads.", "description: Reads well.")
    within(15, lambda: denied(w, "tool#digest_mismatch"))
    aegis(w, "tools", "approve", "records.read@1.0.0", *ALICE)
    within(15, lambda: read(w).status_code == 200)
    assert status(w).enforced == 1
    assert not told(w, "contracts_refused")
    w.stop()
    w.start()
    assert read(w).status_code == 200, "the text of the former contract is kept, so the version still compiles"
    assert (status(w).enforced, status(w).refused) == (1, ())
    number = shipped.shipped(w, drawn(w))
    within(15, lambda: status(w).enforced == number)
    assert read(w).status_code == 200


def test_a_version_built_with_the_new_content_waits_for_nobody(on_sqlite):
    """It may be active before its contract is approved: calls are denied for the contract alone."""
    w = on_sqlite
    shipped.shipped(w, drawn(w))
    within(15, lambda: status(w).enforced == 1)
    edit(w, "description: Reads.", "description: Reads well.")
    within(15, lambda: denied(w, "tool#digest_mismatch"))
    number = shipped.shipped(w, drawn(w))
    within(15, lambda: status(w).enforced == number)
    assert denied(w, "tool#digest_mismatch")
    aegis(w, "tools", "approve", "records.read@1.0.0", *ALICE)
    within(15, lambda: read(w).status_code == 200)


def test_versions_that_do_not_say_what_they_change_are_refused(on_sqlite):
    w = on_sqlite
    narrower = file_of(w).read_text().replace("version: 1.0.0", "version: 1.0.1").replace("maxLength: 40", "maxLength: 4")
    write(file_of(w, "records.read-1.0.1"), narrower)
    (event,) = within(15, lambda: told(w, "contracts_refused"))
    assert "needs version 2.0.0" in event["detail"]
    assert read(w).status_code == 200
    args = ("tools", "approve", "records.read@1.0.1", *ALICE)
    aegis(w, *args, code=2)


def test_a_call_that_broke_off_is_settled_by_the_contract_under_which_it_was_made(on_sqlite):
    w = on_sqlite
    w.tool.mood = "wait"
    w.tool.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(w.call, "pay.ask", {"amount": 7}, "k1")  # the tool is silent for longer than it may be
        assert w.tool.arrived.wait(10)
        w.tool.mood = "mute"  # and for now it does not say what became of the call
        first = running.result()
    assert first.json()["code"] == "settling"
    edit(w, "description: Pays.", "description: Pays well.", tool="pay.ask")
    problem = within(15, lambda: _mismatch(w, "pay.ask"))
    assert problem
    aegis(w, "tools", "approve", "pay.ask@1.0.0", *ALICE)
    within(15, lambda: not _mismatch(w, "pay.ask"))
    w.tool.mood = "ok"
    w.tool.gate.set()
    request_id = first.json()["request_id"]
    ends = within(15, lambda: [e["outcome"] for e in w.events(request_id) if e.get("outcome", "interrupted") != "interrupted"])
    assert ends == ["done"]


def _mismatch(w, tool):
    told_now = w.post("/v1/decide", {"tool": tool, "arguments": {"amount": 1}}, None, idempotency_key="probe")
    return told_now.json().get("rule") == "tool#digest_mismatch"


def test_a_new_tool_is_reached_with_its_credential_and_without_a_restart(on_sqlite):
    w = on_sqlite
    (w.root / "second.secret").write_text("another-secret")
    text = file_of(w, "pay.honours").read_text()
    newer = text.replace("version: 1.0.0", "version: 1.0.1").replace("file: tool.secret", "file: second.secret")
    write(file_of(w, "pay.honours-1.0.1"), newer)
    within(15, lambda: w.get("/v1/tools/pay.honours").json()["version"] == "1.0.1")
    assert w.call("pay.honours", {"amount": 5}, "k").status_code == 200
    assert w.tool.requests[-1]["headers"]["authorization"] == "Bearer another-secret"
