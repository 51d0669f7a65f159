"""While versions follow each other, every decision is made by exactly one of them, and no call is lost."""

import asyncio
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
from msgspec.structs import replace

from aegis.model.decision import PolicyRef
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.language import load
from aegis.runtime.ruling import ruled
from aegis.runtime.tenant import Ruling, Snapshot
from registry.shipped import promote, push, rollback, run, status, text, within

RULES = 12
SET = """
apiVersion: aegis.policy/v1
kind: PolicySet
metadata: {{name: core, tenant: acme, owner: o@acme.example}}
spec:
  tools: {{t: {{args: {{n: integer}}}}}}
  rules:
{rules}
"""


def version(number):
    rules = "\n".join(f"    - {{id: v{number}.r{each}, effect: allow, tools: [t]}}" for each in range(RULES))
    policy = load(SET.format(rules=rules), source="t")
    return Ruling(policy=policy, data={}, ref=PolicyRef(name="core", version=str(number)), number=number)


def of_one_version(matched, ref):
    numbers = {rule.split(".")[0].removeprefix("v") for rule in matched if rule.startswith("v")}
    assert numbers == {ref}, f"decided by {ref}, with rules of {sorted(numbers)}"


def test_threads_that_decide_while_hundreds_of_versions_are_swapped_see_one_whole_version_each(on_sqlite):
    base = on_sqlite.app.gate.tenant("acme")
    generations = [ruled(base, version(number), version(number + 100)) for number in range(5)]
    snapshot = Snapshot({"acme": generations[0]})
    principal = Principal(tenant="acme", agent_id="agent:a", subject="user:u", scopes=("*",), trust=4)
    proposal = Proposal(principal=principal, tool="t", arguments={"n": 1}, tool_version="1.0.0")
    stop, seen = threading.Event(), [set() for _ in range(4)]
    facts = Facts(now=on_sqlite.hand())

    def deciding(found):
        while not stop.is_set():
            tenant = snapshot.get("acme")
            made = decide(proposal, facts, [guard for guard in tenant.guards if "rules" in guard.name], policy=tenant.policy)
            of_one_version(made.matched, made.policy.version)
            assert {rule.split(".")[0] for rule in made.shadow} == {"shadow-revision", f"v{int(made.policy.version) + 100}"}
            found.add(made.policy.version)

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(deciding, found) for found in seen]
        for turn, tenant in zip(range(800), itertools.cycle(generations), strict=False):
            snapshot.swap({"acme": tenant})
            if turn % 4 == 0:
                threading.Event().wait(0.0005)
        stop.set()
        for each in done:
            each.result()
    assert set.union(*seen) == set("01234")


def test_activations_under_load_drop_no_call_and_mix_no_versions(w):
    """A real gateway, callers over HTTP, and another process that promotes and rolls back all the while."""
    numbers = run(w, lambda app: _pushed(w, app, 4))
    told, stop = [], threading.Event()

    def calling(place):
        headers = {"authorization": f"Bearer {w.token('agent:payer')}", "content-type": "application/json"}
        with httpx.Client(base_url=w.url, headers=headers, timeout=30) as client:
            while not stop.is_set():
                told.append(client.post("/v1/tools/records.read/call", json={"arguments": {"id": f"r{place}"}}).status_code)

    async def changing(app):
        for turn in range(24):
            await promote(w, app, numbers[turn % 4])
            if numbers[turn % 4] > 1:
                await rollback(w, app, 1)
            await asyncio.sleep(0.05)
        await promote(w, app, numbers[-1])

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(calling, place) for place in range(4)]
        try:
            run(w, changing)
            within(30, lambda: status(w).enforced == numbers[-1])
        finally:
            stop.set()
        for each in done:
            each.result()
    decisions = [event for event in w.events() if event["type"] == "decision"]
    assert set(told) == {200}
    assert len(decisions) == len(told)
    for event in decisions:
        by_files = event["policy"]["version"] not in map(str, numbers)
        assert event["rules"] == (["read.allow"] if by_files else [f"read.v{event['policy']['version']}"])
    assert len({event["policy"]["version"] for event in decisions}) > 1
    assert status(w).refused == ()
    assert w.fsck() == []


async def _pushed(w, app, count):
    return [await push(w, app, text(w, number + 1)) for number in range(count)]


def test_files_that_change_under_load_drop_no_call_and_mix_no_versions(on_sqlite):
    w = on_sqlite
    told, stop = [], threading.Event()

    def calling():
        headers = {"authorization": f"Bearer {w.token('agent:payer')}", "content-type": "application/json"}
        with httpx.Client(base_url=w.url, headers=headers, timeout=30) as client:
            while not stop.is_set():
                told.append(client.post("/v1/tools/records.read/call", json={"arguments": {"id": "r"}}).status_code)

    path, digests = w.root / "tenants/acme/policy.yaml", {status(w).digest: "read.allow"}
    versions = [text(w, number) for number in range(6)]
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(calling) for _ in range(2)]
        try:
            for number, content in enumerate(versions):
                former = status(w).digest
                path.write_text(content)
                within(30, lambda former=former: status(w).digest != former)
                digests[status(w).digest] = f"read.v{number}"
        finally:
            stop.set()
        for each in done:
            each.result()
    decisions = [event for event in w.events() if event["type"] == "decision"]
    assert set(told) == {200}
    assert len(decisions) == len(told)
    assert {(event["policy"]["digest"], *event["rules"]) for event in decisions} <= set(digests.items())
    assert len({event["policy"]["digest"] for event in decisions}) > 2


def test_the_last_three_generations_are_kept_and_no_more(on_sqlite):
    w = on_sqlite

    async def many(app):
        for number in range(1, 6):
            await push(w, app, text(w, number))
            await promote(w, app, number)
            await app.rollout.refresh()
        return sorted(pin.number for pin in app.rollout._seen["acme"].generations), app.gate.tenant("acme").enforced.number

    assert run(w, many) == ([3, 4, 5], 5)


def test_a_swap_does_not_touch_what_is_under_way(on_sqlite):
    w = on_sqlite

    async def held(app):
        before = app.gate.tenant("acme")
        copy = replace(before)
        await push(w, app, text(w, 1))
        await promote(w, app, 1)
        await app.rollout.refresh()
        assert before == copy
        assert app.gate.tenant("acme") is not before
        assert app.gate.tenant("globex") is app.gate.snapshot.get("globex")

    run(w, held)
