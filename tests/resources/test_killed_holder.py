"""The gateway that carries a write out is killed: others wait for as long as the tool can still be at work on it."""

import json
import threading
import time

import httpx

from faults.kills import Gateway, free_port


def test_a_holder_that_is_killed_keeps_others_out_until_its_write_can_be_at_work_no_more(bank):
    url = bank.settings.store.url
    (bank.root / "aegis.toml").write_text(f'[store]\nurl = "{url}"\n[log]\nlevel = "warning"\n')
    other = Gateway(bank, free_port())
    other.start()
    bank.ledger.gate.clear()
    threading.Thread(target=write, args=(other.url, bank.token()), daemon=True).start()
    assert bank.ledger.arrived.wait(20)
    other.kill()
    close = {"account": "a-1", "amount": 1}
    told = bank.call("bank.close", close, "c", bank.token("agent:other"))
    assert told.json()["held_by"] == {"request_id": "req_killed", "agent_id": "agent:payer"}
    until(lambda: [row.state for row in bank.rows()] == ["settling"])
    assert bank.call("bank.close", close, "c", bank.token("agent:other")).json()["code"] == "resource-conflict"
    bank.ledger.gate.set()
    until(lambda: len(bank.ledger.done) == 1)
    bank.hand.offset += bank.app.gate.tenant("acme").contracts["bank.move"].settles_after
    assert bank.call("bank.close", close, "c", bank.token("agent:other")).status_code == 200
    assert bank.call("bank.move", close, "k").status_code == 200  # the killed one, again under its own key
    assert bank.ledger.overlaps == []
    assert bank.fsck() == []


def write(url, token):
    """A call whose caller does not care."""
    headers = {"authorization": f"Bearer {token}", "idempotency-key": "k", "content-type": "application/json"}
    body = json.dumps({"arguments": {"account": "a-1", "amount": 1}})
    try:
        httpx.post(f"{url}/v1/tools/bank.move/call", content=body, headers=headers | {"aegis-request-id": "req_killed"}, timeout=30)
    except httpx.HTTPError:
        return


def until(stands):
    deadline = time.monotonic() + 20
    while not stands():
        assert time.monotonic() < deadline
        time.sleep(0.05)
