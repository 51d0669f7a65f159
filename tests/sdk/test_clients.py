import asyncio
import threading
import time
from datetime import timedelta

import pytest

import aegis
from gateway.world import world


@pytest.fixture(scope="module")
def w(tmp_path_factory):
    with world(tmp_path_factory.mktemp("sdk")) as made:
        yield made


class Blocking:
    """The awaiting client behind the blocking one's face, so that one set of tests holds for both."""

    def __init__(self, url, token):
        self._loop = asyncio.new_event_loop()
        self._client = aegis.AsyncClient(url, token)

    def __getattr__(self, name):
        return lambda *args, **more: self._loop.run_until_complete(getattr(self._client, name)(*args, **more))

    def shut(self):
        self._loop.run_until_complete(self._client.close())
        self._loop.close()


@pytest.fixture(params=["sync", "async"])
def client(w, request):
    if request.param == "sync":
        with aegis.Client(w.url, w.token) as made:
            yield made
    else:
        made = Blocking(w.url, w.token)
        yield made
        made.shut()


def test_the_public_names_are_pinned():
    assert aegis.__all__ == ["Agent", "Client", "AsyncClient", "PolicyViolation", "ApprovalPending", "GatewayError"]
    assert all(getattr(aegis, name) for name in aegis.__all__)
    with pytest.raises(AttributeError):
        aegis.nonsense  # noqa: B018


def test_a_call_gives_its_result_and_a_repetition_says_so(client, request):
    key = request.node.name
    done = client.call("pay.honours", {"amount": 5}, key=key)
    assert (done.decision, done.repeated) == ("allow", False)
    assert client.call("pay.honours", {"amount": 5}, key=key).repeated is True


def test_a_denial_raises_with_rule_field_and_limit(client):
    with pytest.raises(aegis.PolicyViolation) as refused:
        client.call("pay.honours", {"amount": 6000}, key="x")
    assert {name: refused.value.problem[name] for name in ("rule", "field", "limit")} == {
        "rule": "pay.ceiling",
        "field": "args.amount",
        "limit": 5000,
    }


def test_a_held_call_raises_or_waits_for_the_answer(client, w, request):
    key = request.node.name
    with pytest.raises(aegis.ApprovalPending) as held:
        client.call("pay.honours", {"amount": 1500}, key=key)
    assert client.approval(held.value.approval_id)["state"] == "pending"
    answer = threading.Thread(target=lambda: (time.sleep(0.3), w.approve(held.value.approval_id)))
    answer.start()
    done = client.call("pay.honours", {"amount": 1500}, key=key, wait=timedelta(seconds=20))
    answer.join()
    assert done.approval_id == held.value.approval_id


def test_an_override_token_can_be_presented(client, w, request):
    key = request.node.name
    with pytest.raises(aegis.ApprovalPending) as held:
        client.call("pay.honours", {"amount": 1700}, key=key)
    w.approve(held.value.approval_id)
    token = client.approval(held.value.approval_id)["override_token"]
    assert client.call("pay.honours", {"amount": 1700}, key=key, override=token).decision == "allow"


def test_decide_and_outcome(client, request):
    said = client.decide("pay.honours", {"amount": 5, "memo": "123-45-6789"}, key=request.node.name)
    assert (said.decision, said.arguments["memo"]) == ("sanitize", "****")
    client.outcome(said.request_id, done=True, result={"id": 1})
    again = client.decide("pay.honours", {"amount": 5, "memo": "123-45-6789"}, key=request.node.name)
    assert (said.finished, again.finished, again.result) == (False, True, {"id": 1})
    assert [event["type"] for event in client.request(said.request_id)["events"]] == ["decision", "outcome"]


def test_tools_are_listed_and_shown(client):
    assert "pay.honours" in [tool["name"] for tool in client.tools()]
    assert client.tool("pay.honours")["effect"] == "write"


def test_other_refusals_tell_whether_to_try_again(client, w, request):
    w.tool.mood = "refuse"
    try:
        with pytest.raises(aegis.GatewayError) as refused:
            client.call("pay.honours", {"amount": 5}, key=request.node.name)
    finally:
        w.tool.mood = "ok"
    assert (refused.value.reason, refused.value.retryable) == ("tool-failed", True)


def test_a_gateway_that_is_not_there_is_one_clear_error():
    with pytest.raises(aegis.GatewayError, match="did not answer"):
        aegis.Client("http://127.0.0.1:9", "t").tools()
    with pytest.raises(aegis.errors.ConfigError, match="expected `http"):
        aegis.Client("127.0.0.1:9", "t")


def test_a_client_goes_on_after_the_gateway_came_back(w):
    with aegis.Client(w.url, w.token) as client:
        client.tools()
        client._connection.sock.close()
        assert client.tools()
