from concurrent.futures import ThreadPoolExecutor


def test_a_repeated_write_gets_the_first_result_and_happens_once(w):
    first = w.call("pay.honours", {"amount": 5}, "k1").json()
    again = w.call("pay.honours", {"amount": 5}, "k1").json()
    assert again["result"] == first["result"]
    assert again["repeat_of"] == first["request_id"]
    assert again["request_id"] != first["request_id"]
    assert len(w.tool.done) == 1
    told = [e["type"] for e in w.events() if e["request_id"]]
    assert told == ["decision", "outcome", "repeat"]


def test_another_payload_under_the_same_key_is_a_conflict(w):
    w.call("pay.honours", {"amount": 5}, "k1")
    told = w.call("pay.honours", {"amount": 6}, "k1")
    assert told.status_code == 409
    assert told.json()["code"] == "idempotency-key-reused"
    assert len(w.tool.done) == 1


def test_a_write_without_a_key_is_refused_before_the_tool(w):
    told = w.call("pay.honours", {"amount": 5})
    assert told.status_code == 422
    assert told.json()["rule"] == "pay.honours#idempotency-key"
    assert w.tool.requests == []


def test_keys_of_two_agents_never_meet_and_the_tool_never_sees_them(w):
    w.call("pay.honours", {"amount": 5}, "shared-key")
    w.call("pay.honours", {"amount": 5}, "shared-key", w.token("agent:other"))
    keys = [key for _, key in w.tool.done]
    assert len(set(keys)) == 2
    assert not any("shared-key" in key for key in keys)


def test_a_call_in_flight_says_so_and_finishes_once(w):
    w.tool.mood = "wait"
    w.tool.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(w.call, "pay.honours", {"amount": 5}, "k1")
        assert w.tool.arrived.wait(10)
        told = w.call("pay.honours", {"amount": 5}, "k1")
        w.tool.gate.set()
        assert running.result().status_code == 200
    assert (told.status_code, told.json()["code"], told.headers["retry-after"]) == (409, "in-flight", "1")
    assert len(w.tool.done) == 1


def test_forty_racing_calls_of_one_key_act_once(w):
    with ThreadPoolExecutor(20) as pool:
        told = list(pool.map(lambda _: w.call("pay.neither", {"amount": 7}, "race"), range(40)))
    assert {t.status_code for t in told} <= {200, 409}
    assert [name for name, _ in w.tool.done] == ["pay.neither"]
    assert len([t for t in told if t.status_code == 200 and not t.json().get("repeat_of")]) == 1


def test_a_refusal_of_the_tool_frees_the_key(w):
    w.tool.mood = "refuse"
    told = w.call("pay.neither", {"amount": 5}, "k1")
    assert (told.status_code, told.json()["code"], told.json()["retryable"]) == (502, "tool-failed", True)
    w.tool.mood = "ok"
    assert w.call("pay.neither", {"amount": 5}, "k1").status_code == 200
    assert len(w.tool.done) == 1


def test_a_tool_that_is_down_frees_the_key(w):
    port = w.tool.port
    w.tool.close()
    told = w.call("pay.neither", {"amount": 5}, "k1")
    assert told.json()["code"] == "tool-failed"
    assert port == w.tool.port
    assert [e["outcome"] for e in w.events() if e["type"] == "outcome"] == ["reopened"]


def test_a_write_whose_result_breaks_its_contract_is_done_withheld_and_never_repeated(w):
    w.tool.mood = "lie"
    told = w.call("pay.honours", {"amount": 5}, "k1")
    assert (told.status_code, told.json()["code"]) == (502, "result-withheld")
    assert "surprise" not in told.text
    w.tool.mood = "ok"
    again = w.call("pay.honours", {"amount": 5}, "k1")
    assert (again.status_code, again.json()["code"]) == (502, "result-withheld")
    assert len(w.tool.done) == 1
    assert len([r for r in w.tool.requests if r["method"] == "POST"]) == 1


def test_a_request_id_stands_for_one_request(w):
    first = w.call("pay.honours", {"amount": 5}, "k1", aegis_request_id="mine-0001")
    assert first.json()["request_id"] == "mine-0001"
    other = w.call("pay.honours", {"amount": 6}, "k2", aegis_request_id="mine-0001")
    assert (other.status_code, other.json()["code"]) == (409, "request-id-reused")
    foreign = w.call("pay.honours", {"amount": 5}, "k1", w.token("agent:other"), aegis_request_id="mine-0001")
    assert (foreign.status_code, foreign.json()["code"]) == (409, "request-id-reused")
    same = w.call("pay.honours", {"amount": 5}, "k1", aegis_request_id="mine-0001")
    assert same.json()["repeat_of"] == "mine-0001"
    assert len(w.tool.done) == 1


def test_a_policy_that_denies_now_also_denies_the_stored_result(w):
    w.call("pay.honours", {"amount": 5}, "k1")
    told = w.call("pay.honours", {"amount": 5}, "k1", w.token(roles=()))
    assert (told.status_code, told.json()["code"]) == (403, "policy-violation")


def test_what_is_denied_now_is_denied_under_an_old_request_id_too_and_the_old_call_stands(w):
    reader = w.token("agent:reader")
    first = w.call("records.read", {"id": "x"}, token=reader, aegis_request_id="read-0001")
    assert first.status_code == 200
    assert w.call("records.read", {"id": "x"}, token=reader, aegis_request_id="read-0001").json()["repeat_of"] == "read-0001"
    told = w.call("records.read", {"id": "x"}, token=w.token("agent:reader", scopes=()), aegis_request_id="read-0001")
    assert (told.status_code, told.json()["rule"]) == (403, "chain.scope")
    assert told.json()["request_id"] != "read-0001"
    assert w.call("records.read", {"id": "x"}, token=reader, aegis_request_id="read-0001").json()["repeat_of"] == "read-0001"


def test_a_denial_under_the_request_id_of_a_call_in_flight_does_not_disturb_it(w):
    w.tool.mood = "wait"
    w.tool.gate.clear()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(w.call, "pay.honours", {"amount": 5}, "k1", aegis_request_id="pay-0001")
        assert w.tool.arrived.wait(10)
        told = w.call("pay.honours", {"amount": 5}, "k1", w.token(scopes=()), aegis_request_id="pay-0001")
        assert told.json()["rule"] == "chain.scope"
        w.tool.gate.set()
        assert running.result().status_code == 200
    w.tool.mood = "ok"
    assert w.call("pay.honours", {"amount": 5}, "k1").json()["repeat_of"] == "pay-0001"
    assert len(w.tool.done) == 1
