"""Attack case 21: a policy bundle of another tenant, or an older version, in the place of the one that decides."""

import pytest

from aegis.errors import AegisError, BundleError
from aegis.model.event import SYSTEM_TENANT
from aegis.policy.bundle.bundle import load
from registry.shipped import bundle, promote, push, rules, run, shipped, status, text, within
from registry.test_life_cycle import active_row, tamper


def refusals(w):
    return [event for event in w.events(tenant=SYSTEM_TENANT) if event["type"] == "policy_refused"]


def test_bundle_tenant_a_bundle_of_one_tenant_is_refused_for_another_and_the_last_good_one_stays(w):
    shipped(w, text(w, 1))
    within(15, lambda: status(w).enforced == 1)

    async def foreign(app):
        packed = bundle(w, app, text(w, 2, "globex"), "globex")
        with pytest.raises(BundleError) as caught:
            load(packed, tenant="acme", keys=app.keyring.keys.bundle_keys("acme", w.hand()))
        assert caught.value.reason in ("key", "scope")
        with pytest.raises(BundleError):  # not even with the key of the tenant that it is of
            load(packed, tenant="acme", keys=app.keyring.keys.bundle_keys("globex", w.hand()))
        number = await push(w, app, text(w, 2, "globex"), "globex")
        with pytest.raises(AegisError):
            await promote(w, app, number + 1)
        await promote(w, app, number, "globex")
        active = await app.rollout.registry.active_of("globex")
        # Somebody with the database gives the row of one tenant to the other.
        await tamper(app, active_row(type(active)(tenant="acme", counter=active.counter, envelope=active.envelope)))

    run(w, foreign)
    within(15, lambda: refusals(w))
    assert refusals(w)[-1]["on_tenant"] == "acme"
    assert refusals(w)[-1]["reason"] in ("envelope", "tenant")
    assert rules(w) == ["read.mask", "read.v1"]


def test_bundle_rollback_an_older_activation_in_the_place_of_the_newer_is_refused_and_the_newer_goes_on(w):
    shipped(w, text(w, 1))

    async def old(app):
        return await app.rollout.registry.active_of("acme")

    older = run(w, old)
    shipped(w, text(w, 2))
    within(15, lambda: status(w).enforced == 2)
    run(w, lambda app: tamper(app, active_row(older)))
    within(15, lambda: refusals(w))
    assert (refusals(w)[-1]["on_tenant"], refusals(w)[-1]["reason"]) == ("acme", "rollback")
    assert rules(w) == ["read.mask", "read.v2"]
