"""Editing a directory is granting and taking away: it acts within a second in every process, and leaves an event of what changed."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from aegis.adapters.directory import DirectoryDesk
from aegis.app import open_app
from aegis.identity.directory import parse_directory
from aegis.model.document import parse
from aegis.runtime.clock import Clock
from aegis.runtime.permission_rows import KIND, last
from aegis.runtime.ruling import ruled
from gateway.test_two_processes import Second
from gateway.world import DIRECTORY
from registry.shipped import promote, push, run, text, within


def path_of(w, tenant="acme"):
    return w.root / "tenants" / tenant / "directory.yaml"


def edit(w, *pairs, tenant="acme"):
    """Replace the file by one with these words replaced."""
    found = DIRECTORY.format(tenant=tenant)
    for old, new in pairs:
        assert old in found
        found = found.replace(old, new)
    temporary = path_of(w, tenant).with_suffix(".new")
    temporary.write_text(found)
    temporary.replace(path_of(w, tenant))


def told(w, kind="permissions_changed", tenant="acme"):
    return [event for event in w.events(tenant=tenant) if event["type"] == kind]


FOUND = parse_directory(parse(DIRECTORY.format(tenant="acme"), source="directory.yaml"))
ALL = len(FOUND.agents) + len(FOUND.people)
PAYER = 'agent:payer: {roles: [treasury], scopes: ["*"], trust: 4}'
OFF = PAYER, PAYER.replace("trust: 4", "trust: 4, enabled: false")


def pays(w, key, **more):
    return w.call("pay.ask", {"amount": 5}, key, **more)


def test_an_agent_that_is_disabled_is_out_while_the_gateway_runs_and_back_when_it_is_enabled(w):
    token = w.token()
    assert pays(w, "k1", token=token).status_code == 200
    edit(w, OFF)
    within(15, lambda: pays(w, "k2", token=token).status_code == 401)
    assert pays(w, "k2", token=token).json()["detail"] == "refused: agent_disabled"
    assert pays(w, "k2", token=w.token("agent:other")).status_code == 200
    edit(w)
    within(15, lambda: pays(w, "k3", token=token).status_code == 200)


def test_a_role_that_is_taken_away_opens_nothing_any_more(on_sqlite):
    w = on_sqlite
    edit(w, (PAYER, PAYER.replace("[treasury]", "[]")))
    within(15, lambda: pays(w, "k1").status_code == 401)
    assert pays(w, "k1").json()["detail"] == "refused: role_not_held"
    assert pays(w, "k1", token=w.token(roles=())).json()["rule"] == "default-deny"


def test_an_agent_that_is_added_can_call_at_once(on_sqlite):
    w = on_sqlite
    token = w.token("agent:new")
    assert pays(w, "k1", token=token).status_code == 401
    edit(w, (PAYER, PAYER + '\n    agent:new: {roles: [treasury], scopes: ["*"]}'))
    within(15, lambda: pays(w, "k1", token=token).status_code == 200)


def test_a_person_who_is_disabled_answers_nothing_any_more(on_sqlite):
    w = on_sqlite
    approval = w.call("pay.honours", {"amount": 1500}, "k1").json()["approval_id"]
    edit(w, ("person:alice: {roles: [lead]}", "person:alice: {roles: [lead], enabled: false}"))
    within(15, lambda: w.get(f"/v1/approvals/{approval}", w.person_token()).status_code == 401)
    assert w.approve(approval, "person:bob").status_code == 200


def test_a_change_is_an_event_with_what_was_before_and_what_is_now(w):
    first = told(w)
    assert [(event["digest_before"], len(event["changes"])) for event in first] == [("", ALL)]
    assert {(each["what"], each["before"]) for each in first[0]["changes"]} == {("added", None)}
    edit(w, OFF, ("person:carol: {roles: [clerk]}", "person:carol: {roles: [lead, clerk]}"), ("    agent:off:", "    agent:of:"))
    within(15, lambda: len(told(w)) == 2)
    event = told(w)[1]
    gone = {"roles": [], "scopes": [], "trust": 0, "enabled": False, "owner": "", "may_delegate_to": None}
    gone |= {"proof_required": False, "prompt": ""}
    assert event["changes"] == [
        {"who": "agent:of", "what": "added", "before": None, "after": gone},
        {"who": "agent:off", "what": "removed", "before": gone, "after": None},
        {"who": "agent:payer", "what": "enabled", "before": True, "after": False},
        {"who": "person:carol", "what": "roles", "before": ["clerk"], "after": ["clerk", "lead"]},
    ]
    assert event["digest_before"] == first[0]["digest_after"] != event["digest_after"]
    assert event["gateway"] == w.app.gate.instance
    assert told(w, tenant="globex")[0]["changes"]
    assert len(told(w, tenant="globex")) == 1
    assert w.fsck() == []


def test_what_changed_while_no_process_ran_is_told_at_the_start_and_only_then(w):
    w.stop()
    edit(w, OFF)
    w.start()
    assert [len(event["changes"]) for event in told(w)] == [ALL, 1]
    w.stop()
    w.start()
    assert len(told(w)) == 2


def test_words_that_grant_nothing_are_no_change(on_sqlite):
    w = on_sqlite
    before = w.app.directories
    path_of(w).write_text(path_of(w).read_text() + "# a comment\n")
    within(15, lambda: DirectoryDesk(w.settings.tenants).stamps(["acme"])["acme"] == before._seen["acme"].stamp)
    assert len(told(w)) == 1


def test_two_gateways_take_a_change_over_and_tell_of_it_once(w):
    second = Second(w)
    second.start()
    try:
        assert len(told(w)) == 1
        edit(w, OFF)
        for gateway in (w, second):
            within(15, lambda gateway=gateway: pays(gateway, "k1").status_code == 401)
            within(15, lambda: len(told(w)) == 2)
        path_of(w).write_text("spec: [")
        for gateway in (w, second):
            within(15, lambda gateway=gateway: gateway.app.directories.refused("acme"))
        within(15, lambda: told(w, "directory_refused"))
        time.sleep(0.6)  # both have had their turn
        assert [len(told(w, kind)) for kind in ("permissions_changed", "directory_refused")] == [2, 1]
    finally:
        second.stop()


def test_of_many_processes_that_start_at_once_one_tells_what_changed(w):
    w.stop()
    edit(w, OFF)

    async def one():
        app = await open_app(w.settings, clock=Clock(w.hand))
        try:
            await app.directories.refresh()
        finally:
            await app.gate.store.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: asyncio.run(one()), range(8)))
    assert [len(event["changes"]) for event in told(w)] == [ALL, 1]


BROKEN = {
    "half a line": lambda found: found[: found.index("trust")],
    "an unknown key": lambda found: found.replace("trust: 4", "turst: 4"),
    "another tenant": lambda found: found.replace("tenant: acme", "tenant: globex"),
    "empty": lambda _: "",
    "a role that is not defined": lambda found: found + "  roles: {treasury: {}}\n",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_changes_nothing_and_is_told_once(on_sqlite, broken):
    w = on_sqlite
    path_of(w).write_text(broken(DIRECTORY.format(tenant="acme")))
    within(15, lambda: told(w, "directory_refused"))
    assert pays(w, "k1").status_code == 200
    assert w.get("/readyz").status_code == 200
    assert "directory.yaml" in w.app.directories.refused("acme")
    assert w.app.directories.refused("globex") == ""
    time.sleep(0.6)
    (event,) = told(w, "directory_refused")
    assert event["what"].startswith("sha256:")
    assert len(told(w)) == 1
    edit(w, OFF)
    within(15, lambda: pays(w, "k2").status_code == 401)
    assert w.app.directories.refused("acme") == ""


def test_a_file_that_vanishes_changes_nothing(on_sqlite):
    w = on_sqlite
    path_of(w).unlink()
    within(15, lambda: told(w, "directory_refused"))
    assert pays(w, "k1").status_code == 200
    edit(w)
    within(15, lambda: not w.app.directories.refused("acme"))
    assert len(told(w)) == 1


def test_a_file_that_is_still_being_written_is_not_taken_although_what_is_there_would_load(on_sqlite):
    w = on_sqlite
    whole = DIRECTORY.format(tenant="acme")
    half = whole[: whole.index("    agent:other")]

    async def turns(app):
        await app.directories.refresh()
        path_of(w).write_text(half)
        await app.directories.refresh()
        seen = set(app.gate.tenant("acme").directory.agents)
        path_of(w).write_text(whole + "    person:dora: {roles: [lead]}\n")
        await app.directories.refresh()
        await app.directories.refresh()
        return seen, app.gate.tenant("acme").directory

    w.stop()
    seen, now = run(w, turns)
    assert "agent:other" in seen
    assert {"agent:other", "person:dora"} <= {*now.agents, *now.people}


def test_a_policy_that_is_swapped_in_meanwhile_does_not_bring_an_old_directory_back(on_sqlite):
    w = on_sqlite

    async def turns(app):
        await app.directories.refresh()
        old = app.gate.tenant("acme")
        edit(w, OFF)
        await app.directories.refresh()
        await app.directories.refresh()
        app.gate.snapshot.swap({**{each.name: each for each in app.gate.snapshot}, "acme": old})
        await app.directories.refresh()
        return app.gate.tenant("acme").directory.agents["agent:payer"].enabled

    w.stop()
    assert run(w, turns) is False


def test_a_policy_that_was_compiled_meanwhile_is_served_under_the_directory_of_now(on_sqlite):
    w = on_sqlite

    async def turns(app):
        await app.rollout.refresh()
        base = app.gate.tenant("acme")  # what a slow compilation started from
        edit(w, OFF)
        await app.directories.refresh()
        await app.directories.refresh()
        app.gate.snapshot.put(ruled(base, base.enforced, base.shadow), base=base)
        return app.gate.tenant("acme").directory.agents["agent:payer"].enabled

    w.stop()
    assert run(w, turns) is False


def test_a_policy_is_promoted_and_a_directory_changed_at_once_and_both_hold(w):
    async def ship(app):
        await promote(w, app, await push(w, app, text(w, 7)))

    with ThreadPoolExecutor(2) as pool:
        shipped, changed = pool.submit(run, w, ship), pool.submit(edit, w, OFF)
        shipped.result(), changed.result()
    within(15, lambda: w.call("records.read", {"id": "a"}, token=w.token("agent:other")).status_code == 200)
    within(15, lambda: pays(w, "k1").status_code == 401)
    within(15, lambda: "read.v7" in {rule.id for rule in w.app.gate.tenant("acme").enforced.policy.rules})
    assert not w.app.gate.tenant("acme").directory.agents["agent:payer"].enabled


def test_a_row_that_cannot_be_read_is_told_as_a_first_sight_and_blocks_nothing(w):
    from aegis.journal.unit import Put, Unit
    from aegis.model.event import Event

    async def spoil(app):
        event = Event(id="spoil", type="test", tenant="acme", time=w.hand())
        await app.gate.store.commit(Unit(tenant="acme", events=(event,), writes=(Put(kind=KIND, id=KIND, body=b'{"agents": 7}'),)))
        await app.directories.refresh()
        return await last(app.gate.store, "acme")

    w.stop()
    found = run(w, spoil)
    assert [len(event["changes"]) for event in told(w)] == [ALL, ALL]
    assert found.directory is not None
