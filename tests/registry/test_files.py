"""Without an activation a tenant is ruled by its files: editing one is the deployment, and a broken one changes nothing."""

import pytest

from aegis.model.event import SYSTEM_TENANT
from registry.shipped import newest, rules, run, shipped, status, text, within


def edit(w, content, tenant="acme"):
    path = w.root / "tenants" / tenant / "policy.yaml"
    temporary = path.with_suffix(".new")
    temporary.write_text(content)
    temporary.replace(path)


def test_a_change_of_the_file_is_served_while_the_gateway_runs(w):
    before = status(w).digest
    edit(w, text(w, 8))
    within(15, lambda: status(w).digest != before)
    assert rules(w) == ["read.mask", "read.v8"]
    assert newest(w)["policy"]["digest"] == status(w).digest


def test_a_file_that_is_written_in_place_is_seen_too(on_sqlite):
    w = on_sqlite
    (w.root / "tenants/acme/policy.yaml").write_text(text(w, 8))
    within(15, lambda: rules(w) == ["read.mask", "read.v8"])


@pytest.mark.parametrize(
    "broken",
    [
        lambda found: found[: len(found) // 2],
        lambda found: found.replace("effect: allow", "effect: warn"),
        lambda found: found.replace("tenant: acme", "tenant: globex"),
        lambda found: found + "\n  tests:\n    - {name: t, input: {tool: records.read}, expect: {outcome: deny}}\n",
        lambda found: found.replace("args.amount: {gt: 5000}", "args.amount: {gt: 5000, lt: 10}"),
        lambda found: found.replace("id: read.mask", "id: pay.ceiling"),
        lambda _: "",
    ],
    ids=[
        "half written",
        "unknown effect",
        "another tenant",
        "its own test fails",
        "a rule that can never fire",
        "two rules with one id",
        "empty",
    ],
)
def test_a_broken_file_is_refused_and_the_old_rules_go_on(on_sqlite, broken):
    w = on_sqlite
    good = text(w, 8)
    edit(w, broken(good))
    within(15, lambda: status(w).refused)
    assert rules(w) == ["read.allow", "read.mask"]
    refused = [event for event in w.events(tenant=SYSTEM_TENANT) if event["type"] == "policy_refused"]
    assert [event["on_tenant"] for event in refused] == ["acme"]
    assert status(w, "globex").refused == ()
    edit(w, good)
    within(15, lambda: not status(w).refused)
    assert rules(w) == ["read.mask", "read.v8"]


def test_a_file_that_vanishes_changes_nothing(on_sqlite):
    w = on_sqlite
    (w.root / "tenants/acme/policy.yaml").unlink()
    within(15, lambda: status(w).refused)
    assert rules(w) == ["read.allow", "read.mask"]


def test_a_file_that_is_still_being_written_is_not_served_although_what_is_there_would_load(on_sqlite):
    w = on_sqlite
    path = w.root / "tenants/acme/policy.yaml"
    rules_of = text(w, 8).split("    - id: pay.two-eyes")
    before = status(w).digest

    async def two_turns(app):
        path.write_text(rules_of[0])  # valid by itself, without the rules that hold and mask
        await app.rollout.refresh()
        half = app.gate.tenant("acme").policy.digest
        path.write_text("    - id: pay.two-eyes".join(rules_of))
        await app.rollout.refresh()
        await app.rollout.refresh()
        return half, app.gate.tenant("acme").enforced.policy

    half, whole = run(w, two_turns)
    assert half == before
    assert {"pay.two-eyes", "read.v8"} <= {rule.id for rule in whole.rules}


def test_the_data_beside_the_set_is_watched_as_well(on_sqlite):
    w = on_sqlite
    limited = text(w, 1).replace("timezone: UTC", "timezone: UTC\n  tenant: {limits: {most: integer}}")
    (w.root / "tenants/acme/data.yaml").write_text("limits: {most: 10}\n")
    edit(w, limited.replace("gt: 5000", "gt: {ref: tenant.limits.most}"))
    within(15, lambda: rules(w) == ["read.mask", "read.v1"])
    assert w.call("pay.ask", {"amount": 50}, "k1").json()["rule"] == "pay.ceiling"
    (w.root / "tenants/acme/data.yaml").write_text("limits: {most: 100}\n")
    within(15, lambda: w.call("pay.ask", {"amount": 50}, "k1").status_code == 200)
    (w.root / "tenants/acme/data.yaml").write_text("limits: {most: many}\n")
    within(15, lambda: status(w).refused)
    assert w.call("pay.ask", {"amount": 60}, "k2").status_code == 200


def test_once_the_registry_decides_the_file_does_not(on_sqlite):
    w = on_sqlite
    shipped(w, text(w, 1))
    within(15, lambda: status(w).enforced == 1)
    edit(w, text(w, 8))
    shipped(w, text(w, 2).replace("read.v8", "read.v2"))
    within(15, lambda: status(w).enforced == 2)
    assert rules(w) == ["read.mask", "read.v2"]
