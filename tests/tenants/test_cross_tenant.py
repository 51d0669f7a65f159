"""Whatever of another tenant's is shown at whatever path: it is not there, and the answer is the one for what exists nowhere.

The table has rows for every route: a new one without rows fails `test_every_route_has_its_rows`. A row makes one attempt with a set
of identifiers; it is made with those of the owner and again with identifiers of nothing, and the two whole answers must be equal.
"""

# ruff: noqa: ARG005 - a row takes the identifiers whether or not it needs them

import json
import re

import pytest
from tests.tenants.two import CURIOUS, MEMO, OWNER, Two, nowhere

from aegis.runtime.runs.operating import Wanted
from aegis.surfaces.gateway import routes
from authority.agents import Bot
from gates.plans import plan
from runs.operated import body_of, drawn, path, signed

NOT_THERE = {404}
REFUSED = {401, 403, 404, 409, 422}
OWN, CREDENTIAL = "own", "credential"
_VARYING = {"date", "aegis-request-id", "traceparent"}


def own(w, **more):
    return w.token("agent:payer", CURIOUS, **more)


def person(w):
    return w.person_token("person:alice", CURIOUS)


def send(w, kind, **more):
    return w.post("/v1/messages", w.envelope(kind, data={"text": "x"}, **more), own(w))


def said(w, held, tenant):
    """A person's own signed answer to an approval, which they never saw."""
    card = {"approval_id": held, "request_hash": "sha256:" + "0" * 64}
    return w.statement(card, "person:alice", tenant)


def operates(w, i, action, **more):
    """What a person signs about a run that is not of their tenant."""
    wanted = drawn(Wanted(action=action, run=i.run, **more))
    statement = signed(w, wanted, "person:alice", CURIOUS)
    return w.post(path(wanted), body_of(wanted) | {"statement": statement}, person(w))


# (route, name) -> (the attempt, the statuses that are right). `OWN`: the identifier is free in the caller's own tenant, and so the
# call is the caller's own, begun anew. `CREDENTIAL`: a text that the owner's key signed is refused as what it is, 401 or 403; whoever
# holds it knows that it exists.
ROWS = {
    ("POST /v1/decide", "a tool"): (lambda w, i: w.post("/v1/decide", {"tool": i.tool, "arguments": {"id": "1"}}, own(w)), REFUSED),
    ("POST /v1/decide", "a parent request"): (lambda w, i: w.post("/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 1}, "parent_agent_id": "agent:payer", "parent_request_id": i.decided}, own(w, parent=("agent:payer", i.decided))), REFUSED),
    ("POST /v1/decide", "a key"): (lambda w, i: w.post("/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 5}}, own(w), idempotency_key="open-key"), OWN),
    ("POST /v1/decide", "an override token"): (lambda w, i: w.post("/v1/decide", {"tool": "pay.honours", "arguments": {"amount": 1600, "memo": MEMO}}, own(w), aegis_override=i.override), CREDENTIAL),
    ("POST /v1/decide/{request_id}/outcome", "a decided request"): (lambda w, i: w.post(f"/v1/decide/{i.decided}/outcome", {"done": True, "result": None}, own(w)), NOT_THERE),
    ("POST /v1/decide/{request_id}/outcome", "a finished request"): (lambda w, i: w.post(f"/v1/decide/{i.request}/outcome", {"done": False}, own(w)), NOT_THERE),
    ("POST /v1/decide/{request_id}/outcome", "a delegation"): (lambda w, i: w.post(f"/v1/decide/{i.delegation_request}/outcome", {"done": True}, own(w)), NOT_THERE),
    ("POST /v1/tools/{tool}/call", "a tool"): (lambda w, i: w.call(i.tool, {"id": "1"}, "", own(w)), REFUSED),
    ("POST /v1/tools/{tool}/call", "a parent request"): (lambda w, i: w.call("pay.honours", {"amount": 1}, "p", own(w, parent=("agent:payer", i.decided)), parent_agent_id="agent:payer", parent_request_id=i.decided), REFUSED),
    ("POST /v1/tools/{tool}/call", "a parent request that the token does not name"): (lambda w, i: w.call("pay.honours", {"amount": 1}, "p", own(w), parent_agent_id="agent:payer", parent_request_id=i.decided), REFUSED),
    ("POST /v1/tools/{tool}/call", "a delegation's request as parent"): (lambda w, i: w.call("pay.honours", {"amount": 1}, "p", own(w, parent=("agent:desk", i.delegation_request)), parent_agent_id="agent:desk", parent_request_id=i.delegation_request), REFUSED),
    ("POST /v1/tools/{tool}/call", "a key"): (lambda w, i: w.call("pay.honours", {"amount": 5, "memo": MEMO}, i.key, own(w)), OWN),
    ("POST /v1/tools/{tool}/call", "an override token"): (lambda w, i: w.call("pay.honours", {"amount": 1600, "memo": MEMO}, "o", own(w), aegis_override=i.override), CREDENTIAL),
    ("POST /v1/tools/{tool}/call", "a key of an approved call"): (lambda w, i: w.call("pay.honours", {"amount": 1600, "memo": MEMO}, "approved-key", own(w)), {403}),
    ("GET /v1/runs", "an agent"): (lambda w, i: w.get("/v1/runs", own(w)), {200}),
    ("GET /v1/runs", "a workflow of the owner, for a person"): (lambda w, i: w.get(f"/v1/runs?workflow={i.kind}&after={i.run}", person(w)), {200}),
    ("GET /v1/runs/{run}", "a run"): (lambda w, i: w.get(f"/v1/runs/{i.run}", own(w)), NOT_THERE),
    ("GET /v1/runs/{run}", "its values, for a person"): (lambda w, i: w.get(f"/v1/runs/{i.run}?values=true", person(w)), NOT_THERE),
    ("GET /v1/runs/{run}/events", "a run"): (lambda w, i: w.get(f"/v1/runs/{i.run}/events", person(w)), NOT_THERE),
    ("POST /v1/runs/{run}/cancel", "a run"): (lambda w, i: w.post(f"/v1/runs/{i.run}/cancel", {}, own(w)), NOT_THERE),
    ("POST /v1/runs/{run}/cancel", "a run, signed by a person"): (lambda w, i: operates(w, i, "cancel"), NOT_THERE),
    ("POST /v1/runs/{run}/signal", "a run"): (lambda w, i: w.post(f"/v1/runs/{i.run}/signal", {"name": "opened", "key": "1"}, own(w)), NOT_THERE),
    ("POST /v1/runs/{run}/signal", "a run, signed by a person"): (lambda w, i: operates(w, i, "signal", signal="opened", key="1"), NOT_THERE),
    **{
        (f"POST /v1/runs/{{run}}/steps/{{node}}/{action}", "a step"): (
            lambda w, i, action=action: operates(w, i, action, node="gate", **({"arguments": {}} if action == "edit" else {})), NOT_THERE
        )
        for action in ("retry", "requeue", "edit", "discard", "settle")
    },
    ("GET /v1/tools", "an agent"): (lambda w, i: w.get("/v1/tools", own(w)), {200}),
    ("GET /v1/tools", "a person"): (lambda w, i: w.get("/v1/tools", person(w)), {200}),
    ("GET /v1/tools/{tool}", "a tool"): (lambda w, i: w.get(f"/v1/tools/{i.tool}", own(w)), NOT_THERE),
    ("GET /v1/tools/{tool}", "a tool, for a person"): (lambda w, i: w.get(f"/v1/tools/{i.tool}", person(w)), NOT_THERE),
    ("GET /v1/tools/{tool}", "a message"): (lambda w, i: w.get(f"/v1/tools/message.{i.kind}", own(w)), NOT_THERE),
    ("GET /v1/approvals", "all"): (lambda w, i: w.get("/v1/approvals?state=all", person(w)), {200}),
    ("GET /v1/approvals", "approved"): (lambda w, i: w.get("/v1/approvals?state=approved", person(w)), {200}),
    ("GET /v1/approvals", "after the owner's"): (lambda w, i: w.get(f"/v1/approvals?state=all&after={i.held}", person(w)), {200}),
    ("POST /v1/channels/{tenant}/{channel}/answers", "the owner's statement"): (lambda w, i: w.post(f"/v1/channels/{OWNER}/desk/answers", {"statement": said(w, i.held, OWNER)}, person(w)), CREDENTIAL),
    ("GET /v1/approvals/{approval_id}", "held, an agent"): (lambda w, i: w.get(f"/v1/approvals/{i.held}", own(w)), NOT_THERE),
    ("GET /v1/approvals/{approval_id}", "approved, an agent"): (lambda w, i: w.get(f"/v1/approvals/{i.approved}", own(w)), NOT_THERE),
    ("GET /v1/approvals/{approval_id}", "held, a person"): (lambda w, i: w.get(f"/v1/approvals/{i.held}", person(w)), NOT_THERE),
    ("GET /v1/approvals/{approval_id}", "a request id"): (lambda w, i: w.get(f"/v1/approvals/{i.request}", person(w)), NOT_THERE),
    ("POST /v1/approvals/{approval_id}/answer", "with an own statement"): (lambda w, i: w.post(f"/v1/approvals/{i.held}/answer", {"statement": said(w, i.held, CURIOUS)}, person(w)), NOT_THERE),
    ("POST /v1/approvals/{approval_id}/answer", "with the owner's statement"): (lambda w, i: w.post(f"/v1/approvals/{i.held}/answer", {"statement": said(w, i.held, OWNER)}, person(w)), REFUSED),
    ("POST /v1/approvals/{approval_id}/answer", "by an agent"): (lambda w, i: w.post(f"/v1/approvals/{i.held}/answer", {"statement": "x"}, own(w)), {403}),
    ("GET /v1/requests/{request_id}", "a request, an agent"): (lambda w, i: w.get(f"/v1/requests/{i.request}", own(w)), NOT_THERE),
    ("GET /v1/requests/{request_id}", "a request, a person"): (lambda w, i: w.get(f"/v1/requests/{i.request}", person(w)), NOT_THERE),
    ("GET /v1/requests/{request_id}", "a decided one"): (lambda w, i: w.get(f"/v1/requests/{i.decided}", person(w)), NOT_THERE),
    ("GET /v1/requests/{request_id}", "an event id"): (lambda w, i: w.get(f"/v1/requests/{i.event}", person(w)), NOT_THERE),
    ("GET /v1/requests/{request_id}", "a message"): (lambda w, i: w.get(f"/v1/requests/{i.message}", person(w)), NOT_THERE),
    ("POST /v1/token", "a delegation"): (lambda w, i: Bot(w, "agent:planner", CURIOUS).ask(delegation=i.delegation), CREDENTIAL),
    ("POST /v1/token", "an assertion for another issuer"): (lambda w, i: Bot(w, "agent:payer", CURIOUS).ask(assertion=Bot(w, "agent:payer", CURIOUS).assertion(tenant=OWNER)), {401}),
    ("POST /v1/token", "an agent"): (lambda w, i: Bot(w, "agent:payer", CURIOUS).ask(client_id=i.agent), REFUSED),
    ("POST /v1/delegations", "an agent"): (lambda w, i: Bot(w, "agent:desk", CURIOUS).get().hand(i.agent), REFUSED),
    ("POST /v1/delegations", "a tool"): (lambda w, i: Bot(w, "agent:desk", CURIOUS).get().hand("agent:planner", tools=[{"tool": i.tool}]), {200, *REFUSED}),
    ("POST /v1/delegations", "a parent request"): (lambda w, i: w.post("/v1/delegations", {"to": "agent:planner", "parent_agent_id": "agent:desk", "parent_request_id": i.delegation_request}, w.token("agent:desk", CURIOUS, parent=("agent:desk", i.delegation_request))), REFUSED),
    ("POST /v1/delegations/{request_id}/end", "a delegation"): (lambda w, i: Bot(w, "agent:desk", CURIOUS).get().end(i.delegation_request), NOT_THERE),
    ("POST /v1/delegations/{request_id}/end", "a decided request"): (lambda w, i: Bot(w, "agent:payer", CURIOUS).get().end(i.decided), NOT_THERE),
    ("POST /v1/plans", "a plan in the name of the owner"): (lambda w, i: w.post("/v1/plans", {"plan": plan(tenant=OWNER)}, own(w), idempotency_key="a-plan"), REFUSED),
    ("POST /v1/plans", "a plan that acts as an agent of the owner"): (lambda w, i: w.post("/v1/plans", {"plan": plan(tenant=CURIOUS, run_as=i.agent)}, own(w), idempotency_key="b-plan"), REFUSED),
    ("POST /v1/plans", "a plan with a tool of the owner"): (lambda w, i: w.post("/v1/plans", {"plan": plan({"open": {"tool": i.tool, "role": "retriever", "args": {"id": "1"}}}, tenant=CURIOUS)}, own(w), idempotency_key="c-plan"), REFUSED),
    ("GET /v1/plans/{plan_id}", "a plan, an agent"): (lambda w, i: w.get(f"/v1/plans/{i.plan}", own(w)), NOT_THERE),
    ("GET /v1/plans/{plan_id}", "a plan, a person"): (lambda w, i: w.get(f"/v1/plans/{i.plan}", person(w)), NOT_THERE),
    ("POST /v1/queues/{queue}/lease", "a queue of the owner"): (lambda w, i: w.post(f"/v1/queues/{i.kind}/lease", {}, own(w)), NOT_THERE),
    ("POST /v1/tasks/{task_id}/heartbeat", "a leased task"): (lambda w, i: w.post(f"/v1/tasks/{i.task}/heartbeat", {"lease": i.task_lease}, own(w)), NOT_THERE),
    ("POST /v1/tasks/{task_id}/complete", "a leased task"): (lambda w, i: w.post(f"/v1/tasks/{i.task}/complete", {"lease": i.task_lease, "output": {}}, own(w)), NOT_THERE),
    ("POST /v1/tasks/{task_id}/fail", "a leased task"): (lambda w, i: w.post(f"/v1/tasks/{i.task}/fail", {"lease": i.task_lease, "kind": "x"}, own(w)), NOT_THERE),
    ("POST /v1/messages", "a message of the owner"): (lambda w, i: send(w, i.kind), REFUSED),
    ("POST /v1/messages", "to an agent of the owner"): (lambda w, i: w.post("/v1/messages", w.envelope(to=i.agent), own(w)), REFUSED),
    ("POST /v1/messages/lease", "a message of the owner"): (lambda w, i: w.lease(i.kind, "1.0", tenant=CURIOUS), NOT_THERE),
    ("POST /v1/messages/lease", "what waits for an agent of the same name"): (lambda w, i: w.lease(tenant=CURIOUS), {200}),
    ("POST /v1/messages/{message_id}/ack", "a leased message"): (lambda w, i: w.ack({"message_id": i.message, "lease": i.lease}, tenant=CURIOUS), NOT_THERE),
    ("POST /v1/messages/{message_id}/nack", "a leased message"): (lambda w, i: w.post(f"/v1/messages/{i.message}/nack", {"lease": i.lease, "reason": "x"}, w.as_agent("agent:store", CURIOUS)), NOT_THERE),
}  # fmt: skip


def written(method, pattern):
    return f"{method} /{'/'.join(pattern)}"


def test_every_route_has_its_rows():
    known, rows = {written(*route) for route in routes.ROUTES}, {route for route, _ in ROWS}
    assert known - rows == set(), "add rows: what can a caller of one tenant try here with identifiers of another?"
    assert rows - known == set(), "the route is gone: take its rows away"


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def two(request, tmp_path_factory):
    url = "sqlite:data/aegis.db"
    if request.param == "postgres":
        from tests.postgres_server import migrated_database

        url = migrated_database()
    w = Two(tmp_path_factory.mktemp("two"), url)
    try:
        w.start()
        yield w, w.owned()
    finally:
        w.close()


def seen(told, ids):
    """The whole answer, but for what differs between any two answers and for what was asked."""
    headers = sorted((name, value) for name, value in told.headers.items() if name not in _VARYING)
    body = told.text
    for value in sorted((value for value in ids.each() if value), key=len, reverse=True):
        body = body.replace(value, "<asked>")
    for pattern in (
        r'"(request_id|seq|delegation|expires_in|approval_id)": ?("[^"]*"|\d+)',
        r'"(explain|approval_url|next|origin)": ?"[^"]*"',
    ):
        body = re.sub(pattern, r'"\1":"<any>"', body)
    return told.status_code, [pair for pair in headers if pair[0] != "content-length"], body


def journal(w, tenant):
    return w.events(tenant=tenant)


@pytest.mark.parametrize(("route", "name"), list(ROWS), ids=lambda part: part.replace(" ", "-"))
def test_what_is_another_tenants_is_not_there(two, route, name):
    w, ids = two
    attempt, right = ROWS[route, name]
    owners, own_before, noise = journal(w, OWNER), len(journal(w, CURIOUS)), sum_of_noise(w)
    told = attempt(w, ids)
    if right is OWN:
        assert told.status_code in (200, 202), told.text
        assert "repeat_of" not in told.json()
        return
    other = attempt(w, nowhere(ids))
    if right is CREDENTIAL:
        assert {told.status_code, other.status_code} <= {401, 403}, told.text
    else:
        assert told.status_code in right, told.text
        assert seen(told, ids) == seen(other, nowhere(ids))
    body = seen(told, ids)[2]
    for mine in (*ids.each(), MEMO, OWNER, "vault.open", "hidden"):
        assert mine not in body
        assert mine not in str(seen(told, ids)[1])
    assert journal(w, OWNER) == owners, "the owner's journal tells of an attempt that is none of theirs"
    if told.status_code == 401:
        assert sum_of_noise(w) >= noise + 2 or len(journal(w, CURIOUS)) == own_before + 2
    elif told.status_code != 200:
        fresh = journal(w, CURIOUS)[own_before:]
        assert {told.json()["request_id"], other.json()["request_id"]} <= {event.get("request_id") for event in fresh}


def sum_of_noise(w):
    import asyncio

    from aegis.app import open_store
    from aegis.runtime.clock import Clock

    async def read():
        await w.app.gate.store.noise()  # writes what was counted
        store = await open_store(w.settings, Clock(w.hand))
        try:
            return sum(kind.count for kind in await store.noise())
        finally:
            await store.close()

    return asyncio.run(read())


def test_what_the_owner_had_is_as_it_was(two):
    w, ids = two
    assert w.get(f"/v1/approvals/{ids.held}").json()["state"] == "pending"
    assert w.ack({"message_id": ids.message, "lease": ids.lease}).status_code == 200
    assert w.post(f"/v1/decide/{ids.decided}/outcome", {"done": True, "result": None}).status_code == 200
    told = w.call("pay.honours", {"amount": 1600, "memo": MEMO}, "approved-key", aegis_override=ids.override)
    assert told.status_code == 200, told.text
    assert json.loads(Bot(w, "agent:planner").ask(delegation=ids.delegation).text)["access_token"]
    assert w.fsck() == []
