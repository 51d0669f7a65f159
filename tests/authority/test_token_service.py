"""The token service over real HTTP: an agent shows its key and gets a token; a child redeems what was handed down to it."""

from authority.agents import Bot, child_of


def test_an_agent_gets_a_token_by_its_own_key_and_may_act(w):
    payer = Bot(w, "agent:payer").get()
    told = payer.call("pay.honours", {"amount": 5}, "k1")
    assert told.status_code == 200, told.text
    issued = next(e for e in w.events() if e["type"] == "token_issued")
    decided = next(e for e in w.events(told.json()["request_id"]) if e["type"] == "decision")
    assert (issued["agent_id"], issued["grant"], issued["token_jti"]) == ("agent:payer", "client_credentials", decided["token_jti"])


def test_a_chain_of_three_agents_acts_by_what_was_handed_down_and_the_journal_tells_who_for_whom(w):
    desk = Bot(w, "agent:desk").get()
    planner, _ = child_of(desk, "agent:planner", scopes=["pay.*"], task="order-7")
    payer, request_id = child_of(
        planner, "agent:payer", tools=[{"tool": "pay.honours", "limits": {"amount": {"max": 100}}, "calls": 1}]
    )
    told = payer.call("pay.honours", {"amount": 5}, "k1")
    assert told.status_code == 200, told.text
    event = next(e for e in w.events(told.json()["request_id"]) if e["type"] == "decision")
    assert event["actor"]["act"] == [{"sub": "agent:payer"}, {"sub": "agent:planner"}, {"sub": "agent:desk"}]
    assert event["parent_request_id"] == request_id
    assert len(event["token_ancestors"]) == 4


def test_a_planner_cannot_make_the_payer_pay_what_was_not_handed_down(w):
    planner = Bot(w, "agent:planner").get()
    assert planner.call("pay.honours", {"amount": 5}, "own").json()["rule"] == "default-deny"
    payer, _ = child_of(planner, "agent:payer", tools=[{"tool": "pay.honours", "limits": {"amount": {"max": 100}}, "calls": 1}])
    assert payer.call("pay.honours", {"amount": 101}, "k1").json()["rule"] == "authority.limit"
    assert payer.call("pay.ask", {"amount": 5}, "k2").json()["rule"] in ("authority.tool", "chain.scope")
    assert payer.call("pay.honours", {"amount": 100}, "k3").status_code == 200
    assert payer.call("pay.honours", {"amount": 1}, "k4").json()["rule"] == "authority.calls"
    assert payer.call("pay.honours", {"amount": 100}, "k3").status_code == 200, "the same key gets its recorded result"


def test_a_task_ends_with_the_request_that_it_stands_on_at_any_depth(w):
    desk = Bot(w, "agent:desk").get()
    planner, first = child_of(desk, "agent:planner", scopes=["pay.*"])
    payer, second = child_of(planner, "agent:payer", scopes=["pay.honours"])
    assert payer.call("pay.honours", {"amount": 1}, "k1").status_code == 200
    assert planner.end(first).status_code == 404, "only who handed it down ends it"
    assert desk.end(first).status_code == 200
    assert payer.call("pay.honours", {"amount": 1}, "k2").json()["rule"] == "chain.ended"
    assert planner.end(second).status_code == 200
    assert payer.call("pay.honours", {"amount": 1}, "k3").status_code == 403


def test_a_credential_for_one_task_is_good_for_that_task_only_and_dies_with_it(w):
    payer = Bot(w, "agent:payer").get()
    task, request_id = child_of(payer, "agent:payer", tools=[{"tool": "pay.honours", "calls": 2}], task="invoice-1")
    assert task.call("pay.honours", {"amount": 1}, "k1", task="invoice-1").status_code == 200
    assert task.call("pay.honours", {"amount": 1}, "k2", task="invoice-2").json()["rule"] == "chain.task_mismatch"
    assert task.call("pay.neither", {"amount": 1}, "k3").status_code == 403
    assert payer.end(request_id).status_code == 200
    assert task.call("pay.honours", {"amount": 1}, "k4").json()["rule"] == "chain.ended"
