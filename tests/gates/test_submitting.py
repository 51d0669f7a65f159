"""Plans of agents over HTTP, on both stores: what passes starts once, what does not goes to a person or nowhere."""

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor

from aegis.app import open_store
from aegis.errors import StoreBusyError
from aegis.runtime.clock import Clock
from aegis.runtime.halts import Halt, Halts
from gates.plans import ended, pay, plan, submit

SMALL = plan()


def heavy(steps=2):
    """More and larger payments than `gates.yaml` calls small: a person must look."""
    return plan({f"pay{n}": pay(500, needs=[f"pay{n - 1}"] if n else []) for n in range(steps)})


def test_a_plan_that_passes_starts_one_run_however_often_it_is_submitted(w):
    first = submit(w, SMALL)
    assert first.status_code == 200, first.text
    assert (first.json()["state"], first.json()["risk"]) == ("started", sum(each["subtotal"] for each in first.json()["factors"]))
    assert ended(w, first.json()["run"])
    assert [name for name, _ in w.tool.done] == ["pay.honours"]
    again = submit(w, SMALL)
    assert (again.json()["run"], again.json()["plan_id"]) == (first.json()["run"], first.json()["plan_id"])
    assert submit(w, SMALL, key="k-2").json()["run"] != first.json()["run"]
    assert submit(w, json.dumps(SMALL)).json()["run"] == first.json()["run"]
    told = [event for event in w.events() if event["type"] == "plan_submitted"]
    assert [each["decision"] for each in told] == ["allow", "allow"]
    assert told[0]["plan"]["digest"] == first.json()["digest"]
    assert told[0]["gates"]["report"] == first.json()["report"]
    assert sum(each["subtotal"] for each in told[0]["factors"]) == told[0]["gates"]["risk"]
    assert w.fsck() == []


def test_a_plan_that_does_not_pass_waits_for_a_person_who_sees_why_and_then_starts_once(w):
    held = submit(w, heavy())
    assert (held.status_code, held.json()["code"]) == (403, "approval-needed")
    assert held.json()["rule"] == "gates.risk.not_small"
    approval = held.json()["approval_id"]
    assert submit(w, heavy()).json()["approval_id"] == approval
    card = w.get(f"/v1/approvals/{approval}", w.person_token()).json()
    assert card["arguments"]["plan"] == heavy()
    assert {each["code"] for each in card["arguments"]["findings"]} == {"not_small"}
    assert w.approve(approval).status_code == 200
    token = w.token()
    with ThreadPoolExecutor(4) as crowd:
        answers = list(crowd.map(lambda _: submit(w, heavy(), token=token), range(4)))
    assert {each.status_code for each in answers} <= {200, 503}, [each.text for each in answers]
    runs = {each.json()["run"] for each in answers if each.status_code == 200}
    assert len(runs) == 1
    ended(w, runs.pop())
    assert len(w.tool.done) == 2
    assert [event["type"] for event in w.events() if event["type"] == "override_used"] == ["override_used"]
    assert w.get(f"/v1/approvals/{approval}", w.person_token()).json()["state"] == "used"


def test_where_a_plan_stands_is_told_to_its_submitter_and_to_people_and_to_nobody_else(w):
    held = submit(w, heavy())
    made = next(event["plan"]["id"] for event in w.events() if event["type"] == "plan_submitted")
    path = f"/v1/plans/{made}"
    assert w.get(path).json()["state"] == "waiting"
    assert w.get(path, w.token("agent:other")).status_code == 404
    assert w.get(path, w.token(tenant="globex")).status_code == 404
    assert w.get(path, w.person_token(tenant="globex")).status_code == 404
    assert "amount" not in w.get(path).text
    w.approve(held.json()["approval_id"])
    assert w.get(path, w.person_token()).json()["state"] == "approved"
    submit(w, heavy())
    assert w.get(path).json()["state"] == "started"
    assert w.get("/v1/plans/plan_0").status_code == 404


def test_a_changed_plan_input_key_or_submitter_voids_the_approval(on_sqlite):
    w = on_sqlite
    w.approve(submit(w, heavy()).json()["approval_id"])
    for other in (
        submit(w, plan({"pay0": pay(500), "pay1": pay(501, needs=["pay0"])})),
        submit(w, heavy(), key="k-2"),
        submit(w, heavy(), agent="agent:desk"),
    ):
        assert other.status_code == 403, other.text
    assert submit(w, heavy()).status_code == 200


def test_a_plan_that_a_person_refused_stays_refused(on_sqlite):
    w = on_sqlite
    w.approve(submit(w, heavy()).json()["approval_id"], approve=False)
    answer = submit(w, heavy())
    assert (answer.status_code, answer.json()["code"], answer.json()["rule"]) == (403, "policy-violation", "approval#denied")


def test_findings_that_the_approver_did_not_see_want_another_approval(on_sqlite):
    w = on_sqlite
    first = submit(w, heavy()).json()["approval_id"]
    w.approve(first)
    path = w.root / "tenants" / "acme" / "gates.yaml"
    path.write_text(path.read_text().replace("auto_below: 60", "auto_below: 5"))
    second = submit(w, heavy())
    assert (second.status_code, second.json()["code"]) == (403, "approval-needed")
    assert second.json()["approval_id"] != first
    w.approve(second.json()["approval_id"])
    assert submit(w, heavy()).status_code == 200


def test_weights_that_no_longer_want_a_person_let_a_plan_pass_that_waits(on_sqlite):
    w = on_sqlite
    submit(w, heavy())
    path = w.root / "tenants" / "acme" / "gates.yaml"
    path.write_text(path.read_text().replace("auto_below: 60", "auto_below: 200"))
    assert submit(w, heavy()).status_code == 200


def test_a_process_that_died_between_the_decision_and_the_start_leaves_a_plan_that_starts_when_it_comes_again(on_sqlite):
    w = on_sqlite
    beginning = w.app.plans._beginning

    class Dying:
        known = beginning.known

        async def begin(self, _start):
            raise StoreBusyError("the process is gone")

    w.app.plans._beginning = Dying()
    assert submit(w, SMALL).status_code == 503
    made = next(event["plan"]["id"] for event in w.events() if event["type"] == "plan_submitted")
    assert w.get(f"/v1/plans/{made}").json()["state"] == "passed"
    w.app.plans._beginning = beginning
    run = submit(w, SMALL).json()["run"]
    ended(w, run)
    assert len(w.tool.done) == 1
    assert len([event for event in w.events() if event["type"] == "plan_submitted"]) == 1


def test_a_document_of_gates_that_is_broken_refuses_every_plan(on_sqlite):
    w = on_sqlite
    (w.root / "tenants" / "acme" / "gates.yaml").write_text("kind: Gates")
    answer = submit(w, SMALL)
    assert (answer.status_code, answer.json()["rule"]) == (403, "gates.gates.blind")


def test_an_agent_may_lend_its_plan_the_name_of_whom_it_may_hand_tasks_to_and_of_nobody_else(on_sqlite):
    w = on_sqlite
    assert submit(w, plan(run_as="agent:payer"), agent="agent:planner").status_code == 200
    answer = submit(w, plan(run_as="agent:other"), agent="agent:planner")
    assert (answer.status_code, answer.json()["rule"]) == (403, "gates.authority.run_as_not_lent")


def test_what_a_token_does_not_open_a_plan_does_not_either(on_sqlite):
    answer = submit(on_sqlite, SMALL, token=on_sqlite.token(scopes=("records.*",)))
    assert (answer.status_code, answer.json()["rule"]) == (403, "gates.authority.scope_not_held")


def test_the_input_of_a_run_must_be_one_that_the_plan_takes(on_sqlite):
    answer = submit(on_sqlite, SMALL, body={"input": {"amount": 1}})
    assert (answer.status_code, answer.json()["rule"]) == (403, "gates.definition.input")
    assert "amount" not in answer.json()["detail"]


def test_a_plan_needs_a_key_and_an_agent(on_sqlite):
    w = on_sqlite
    assert submit(w, SMALL, key="").status_code == 400
    assert submit(w, SMALL, token=w.person_token()).status_code == 403


def test_what_is_halted_submits_nothing(on_sqlite):
    w = on_sqlite
    for what, rule in (("agent:payer", "halted"), ("tool:pay.honours", "gates.authority.halted")):
        halt(w, what)
        answer = submit(w, SMALL)
        assert answer.status_code == 403
        assert rule in answer.json()["rules"]
        halt(w, what, lifted=True)
    halt(w, "tenant", mode="safe")
    assert submit(w, SMALL).json()["rule"] == "approval#nobody"  # nobody here has role operator
    assert submit(w, heavy(), key="k-9").status_code == 403
    assert w.tool.done == []


def halt(w, what, mode="halt", *, lifted=False):
    wanted = Halt(tenant="acme", what=what, mode=mode, reason="a test", by="person:alice")

    async def work():
        store = await open_store(w.settings, Clock(w.hand))
        halts = Halts(store, Clock(w.hand))
        await (halts.lift(wanted) if lifted else halts.set(wanted))
        await store.close()

    asyncio.run(work())
    deadline = time.monotonic() + 10
    while (what in {each.what for each in w.app.gate.halts.listed()}) is lifted:
        assert time.monotonic() < deadline
        time.sleep(0.05)
