"""Forty consumers over two gateway processes: every message is one consumer's at a time, and none is lost."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from aegis.model.message import MessageContract
from messages.post import until

SERVE = """
import sys
from pathlib import Path
from aegis.settings import GatewaySettings, Settings, StoreSettings
from aegis.surfaces.gateway.server import serve
settings = Settings(root=Path(sys.argv[1]), gateway=GatewaySettings(port=0, drain_seconds=5), store=StoreSettings(url=sys.argv[2]))
serve(settings, lambda port: print(port, flush=True))
"""
CONSUME = """
import sys, httpx
url, token = sys.argv[1:]
said = httpx.post(url + "/v1/messages/lease", json={"type": "order", "accept": "1.2", "lease_seconds": 2}, headers={"authorization": "Bearer " + token})
print(said.json()["message"]["message_id"], flush=True)
sys.stdin.read()
"""


@pytest.fixture
def two(post):
    """The world's own gateway, and another process of it."""
    other = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(post.root), post.settings.store.url], stdout=subprocess.PIPE, text=True
    )
    try:
        url = f"http://127.0.0.1:{int(other.stdout.readline())}"
        until(lambda: httpx.get(url + "/readyz").status_code == 200)
        yield post, (post.url, url)
    finally:
        other.send_signal(signal.SIGTERM)
        other.wait(20)
        other.stdout.close()


def test_each_message_is_one_consumers_at_a_time_under_forty_consumers(two):
    post, urls = two
    count = 60
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(lambda n: post.send(id=f"m{n}"), range(count)))
    ids = {told.json()["messages"][0]["id"] for told in sent}
    assert len(ids) == count
    held, seen, lock, stop = set(), Counter(), threading.Lock(), threading.Event()
    token = post.as_agent("agent:store")

    def consume(number):
        with httpx.Client(base_url=urls[number % 2], headers={"authorization": f"Bearer {token}"}, timeout=60) as client:
            while not stop.is_set():
                told = client.post("/v1/messages/lease", json={"type": "order", "accept": "1.2", "lease_seconds": 120})
                assert told.status_code == 200, told.text
                taken = told.json()["message"]
                if taken is None:
                    time.sleep(0.05)
                    continue
                name = taken["message_id"]
                with lock:
                    assert name not in held, "two consumers have one message"
                    held.add(name)
                    seen[name] += 1
                    first = seen[name] == 1
                time.sleep(0.01)  # the work
                with lock:
                    held.discard(name)
                body = {"lease": taken["lease"]} | ({"reason": "once more"} if first and hash(name) % 3 == 0 else {})
                told = client.post(f"/v1/messages/{name}/{'nack' if 'reason' in body else 'ack'}", json=body)
                assert told.status_code == 200, told.text
                if "reason" not in body:
                    with lock:
                        done.add(name)
                        if len(done) == count:
                            stop.set()

    done: set[str] = set()
    timer = threading.Timer(120, stop.set)
    timer.start()
    with ThreadPoolExecutor(40) as pool:
        for future in [pool.submit(consume, number) for number in range(40)]:
            future.result()
    timer.cancel()
    assert done == ids
    leases = Counter(event["lease"] for event in post.of_type("message_leased"))
    assert set(leases.values()) == {1}
    assert sum(leases.values()) == sum(seen.values())
    assert Counter(event["message_id"] for event in post.of_type("message_acked")) == dict.fromkeys(ids, 1)
    assert post.fsck() == []


def test_a_racing_send_over_two_gateways_is_one_message(two):
    post, urls = two
    envelope, token = post.envelope(), post.as_agent("agent:payer")
    headers = {"authorization": f"Bearer {token}"}
    with ThreadPoolExecutor(16) as pool:
        told = list(
            pool.map(lambda n: httpx.post(urls[n % 2] + "/v1/messages", json=envelope, headers=headers, timeout=60), range(40))
        )
    assert {each.status_code for each in told} <= {202, 409}
    ids = {each.json()["messages"][0]["id"] for each in told if each.status_code == 202}
    assert len(ids) == 1
    assert len(post.of_type("message")) == 1


def test_the_message_of_a_consumer_that_was_killed_goes_to_another(post):
    post.send()
    consumer = subprocess.Popen(
        [sys.executable, "-c", CONSUME, post.url, post.as_agent("agent:store")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    name = consumer.stdout.readline().strip()
    os.kill(consumer.pid, signal.SIGKILL)
    consumer.wait(10)
    consumer.stdin.close()
    consumer.stdout.close()
    taken = until(post.take)
    assert (taken["message_id"], taken["deliveries"]) == (name, 2)
    assert [event["reason"] for event in post.of_type("message_lapsed")] == ["the lease ran out"]


def test_a_send_that_broke_off_is_put_in_once_when_it_is_sent_again(post):
    """The gateway dies between the mailbox and the outcome: the same envelope finds its first self."""
    envelope = post.envelope()
    mailbox = post.app.gate.recovery._tool._upstream._places[MessageContract]
    plain = mailbox.send

    async def dropped(*args, **more):
        await plain(*args, **more)
        raise ConnectionResetError

    mailbox.send = dropped
    assert post.post("/v1/messages", envelope).status_code == 500
    mailbox.send = plain
    told = until(lambda: next((said for said in [post.post("/v1/messages", envelope)] if said.status_code == 202), None))
    assert len(post.of_type("message")) == 1
    assert post.take()["message_id"] == told.json()["messages"][0]["id"]
    assert post.take() is None
