"""Our clients, and CloudEvents by its own library: both produce and read the same envelopes."""

import asyncio
from datetime import timedelta

import httpx
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_http_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from aegis.errors import ConfigError, GatewayError, PolicyViolation
from aegis.sdk.client import AsyncClient, Client


def test_a_client_sends_receives_and_acks(on_sqlite):
    with (
        Client(on_sqlite.url, on_sqlite.as_agent("agent:payer")) as payer,
        Client(on_sqlite.url, on_sqlite.as_agent("agent:store")) as store,
    ):
        sent = payer.send("order", "1.2.0", {"sku": "A", "amount": 3}, event_id="o-1", subject="order/1")
        assert (sent.id, sent.repeated) == ("o-1", False)
        assert payer.send("order", "1.2.0", {"sku": "A", "amount": 3}, event_id="o-1", subject="order/1").repeated
        taken = store.receive("order", accept="1.2")
        assert (taken.version, taken.source, taken.data) == ("1.2.0", "agent:payer", {"sku": "A", "amount": 3})
        assert taken.message_id == sent.messages["agent:store"]
        store.nack(taken, "later")
        again = store.receive("order", accept="1.2", lease=timedelta(seconds=5))
        assert again.deliveries == 2
        store.ack(again)
        store.ack(again)
        assert store.receive("order", accept="1.2", wait=timedelta(seconds=0.3)) is None
        with pytest.raises(GatewayError) as told:
            store.nack(taken, "late")
        assert told.value.reason == "not-found"


def test_an_async_client_says_the_same(on_sqlite):
    async def talk():
        async with (
            AsyncClient(on_sqlite.url, on_sqlite.as_agent("agent:payer")) as payer,
            AsyncClient(on_sqlite.url, on_sqlite.as_agent("agent:ann")) as ann,
        ):
            sent = await payer.send("note", "1.0.0", {"text": "hi"}, to="role:audit", key="n-1")
            taken = await ann.receive("note", accept="1.0", wait=timedelta(seconds=5))
            assert (taken.message_id, taken.data) == (sent.messages["role:audit"], {"text": "hi"})
            await ann.nack(taken, "later")
            await ann.ack(await ann.receive("note", accept="1.0"))
            return await ann.receive("note", accept="1.0")

    assert asyncio.run(talk()) is None


def test_clients_raise_what_calls_raise(on_sqlite):
    with Client(on_sqlite.url, on_sqlite.as_agent("agent:payer")) as payer:
        with pytest.raises(PolicyViolation):
            payer.send("order", "1.0.0", {"sku": "A"})
        with pytest.raises(GatewayError, match="unknown-message"):
            payer.send("oder", "1.0.0", {})
    with Client(on_sqlite.url, on_sqlite.as_agent("agent:store")) as store, pytest.raises(GatewayError, match="unknown-message"):
        store.receive("order", accept="9.0")
    with Client(on_sqlite.url, "nothing") as nobody, pytest.raises(ConfigError, match="agent's access token"):
        nobody.send("order", "1.0.0", {})


def test_a_send_that_is_held_waits_for_its_approval(on_sqlite):
    with Client(on_sqlite.url, on_sqlite.as_agent("agent:payer")) as payer:
        from aegis.errors import ApprovalPending

        with pytest.raises(ApprovalPending) as held:
            payer.send("order", "1.0.0", {"sku": "A", "amount": 2000}, event_id="big")
        on_sqlite.approve(held.value.approval_id)
        sent = payer.send("order", "1.0.0", {"sku": "A", "amount": 2000}, event_id="big", wait=timedelta(seconds=5))
        assert sent.approval_id == held.value.approval_id


def test_the_library_of_cloudevents_produces_and_reads_our_envelopes(on_sqlite):
    event = CloudEvent(
        attributes={
            "id": "ce-1", "source": "spiffe://acme.aegis/agent/payer", "type": "order", "specversion": "1.0",
            "datacontenttype": "application/json", "dataschema": "urn:aegis:message:acme:order:1.2.0", "subject": "order/9",
        },
        data={"sku": "A", "amount": 9},
    )  # fmt: skip
    message = to_structured_event(event)
    headers = {**message.headers, "authorization": f"Bearer {on_sqlite.as_agent('agent:payer')}"}
    told = httpx.post(on_sqlite.url + "/v1/messages", content=message.body, headers=headers, timeout=30)
    assert told.status_code == 202, told.text
    taken = httpx.post(
        on_sqlite.url + "/v1/messages/lease",
        json={"type": "order", "accept": "1.2"},
        headers={"authorization": f"Bearer {on_sqlite.as_agent('agent:store')}"},
        timeout=30,
    ).json()["message"]
    content = httpx.Response(200, json=taken["event"]).content
    read = from_http_event(HTTPMessage(headers={"content-type": "application/cloudevents+json"}, body=content))
    assert read.get_id() == "ce-1"
    assert (read.get_source(), read.get_type(), read.get_subject()) == ("agent:payer", "order", "order/9")
    assert read.get_dataschema() == "urn:aegis:message:acme:order:1.2.0"
    assert read.get_extension("schemaversion") == "1.2.0"
    assert read.get_time().tzinfo is not None
    assert read.get_data() == {"sku": "A", "amount": 9}
