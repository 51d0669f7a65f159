"""Many tasks and several workers: no task is done twice, and the queue keeps its limits over all of them."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import httpx
import pytest

from queues.work import work

COUNT = 60
SERVE = """
import sys
from pathlib import Path
from aegis.settings import GatewaySettings, Settings, StoreSettings
from aegis.surfaces.gateway.server import serve
settings = Settings(root=Path(sys.argv[1]), gateway=GatewaySettings(port=0, drain_seconds=5), store=StoreSettings(url=sys.argv[2]))
serve(settings, lambda port: print(port, flush=True))
"""


@pytest.fixture
def fan(tmp_path, store_url):
    """A world whose workflow hands out many tasks at once."""
    with work(tmp_path, store_url, fans=COUNT) as made:
        yield made


@pytest.fixture
def other(fan):
    """The address of a second gateway process on the same store."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(fan.root), fan.settings.store.url], stdout=subprocess.PIPE, text=True
    )
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        process.stdout.close()


def patiently(client, path, body):
    """Say it again while the gateway is too busy: two processes move one run."""
    while (told := client.post(path, json=body)).status_code == 503:
        time.sleep(0.05)
    assert told.status_code == 200, told.text
    return told


def test_two_workers_race_for_many_tasks_and_none_is_done_twice(fan, other):
    run = fan.begin("away", amount=1, items=list(range(COUNT)))
    done, lock = Counter(), threading.Lock()
    stop = time.monotonic() + 60
    headers = {"authorization": f"Bearer {fan.token('agent:payer')}"}

    def serve(name, url):
        with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
            while time.monotonic() < stop and sum(done.values()) < COUNT:
                told = patiently(client, "/v1/queues/away/lease", {"worker": name})
                task = told.json()["task"]
                if task is None:
                    time.sleep(0.01)
                    continue
                with lock:
                    done[task["input"]["amount"]] += 1
                body = {"lease": task["lease"], "output": task["input"]["amount"]}
                patiently(client, f"/v1/tasks/{task['task_id']}/complete", body)

    workers = [threading.Thread(target=serve, args=(f"w{number}", url)) for number, url in enumerate((fan.url, other))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    state = fan.until(run, "succeeded", seconds=60)
    assert done == dict.fromkeys(range(COUNT), 1)
    assert state.output == {"found": list(range(COUNT))}
    leases = Counter(event["step"] for event in fan.of_type("task_leased"))
    assert set(leases.values()) == {1}
    assert {event["worker"] for event in fan.of_type("task_leased")} == {"w0", "w1"}
    assert fan.fsck() == []


@pytest.fixture
def limited(tmp_path):
    with work(tmp_path, fans=20, limits="  concurrency: 2\n") as made:
        yield made


def test_a_queue_never_has_more_at_work_than_it_may(limited):
    run = limited.begin("away", amount=1, items=list(range(6)))
    first, second = limited.take(), limited.take()
    assert limited.lease().json()["task"] is None
    assert limited.say(first, "complete", output=1).status_code == 200
    third = limited.take()
    assert limited.lease().json()["task"] is None
    for task in (second, third):
        assert limited.say(task, "complete", output=1).status_code == 200
    for _ in range(3):
        assert limited.say(limited.take(), "complete", output=1).status_code == 200
    limited.until(run, "succeeded")


def test_a_queue_begins_only_so_many_in_a_period(tmp_path):
    from datetime import timedelta

    with work(tmp_path, fans=20, limits="  rate: {max: 2, per: 10m}\n", lease=3000) as made:
        made.begin("away", amount=1, items=list(range(4)))
        for _ in range(2):
            assert made.say(made.take(), "complete", output=1).status_code == 200
        assert made.lease().json()["task"] is None
        made.hand.offset = timedelta(minutes=11)
        assert made.take()


def test_a_full_queue_lets_tasks_wait_outside_and_takes_them_in_later(tmp_path):
    with work(tmp_path, fans=20, limits="  max_depth: 2\n") as made:
        run = made.begin("away", amount=1, items=list(range(5)))
        depth = made.inside(lambda app: app.tasks.queues.depth(app.gate.tenant("acme"), "away"))
        assert depth.ready <= 2
        for _ in range(5):
            assert made.say(made.take(wait_seconds=10), "complete", output=1).status_code == 200
        made.until(run, "succeeded")
