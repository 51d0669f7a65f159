"""Workers of the SDK: they take tasks, do them, keep them, and stop."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta

from aegis.sdk.worker import AsyncWorker, TaskFailed, Worker
from messages.post import until
from queues.work import work

SERVE = """
import sys
from aegis.sdk.worker import Worker
url, token = sys.argv[1:]
def handle(task):
    print("took", flush=True)
    sys.stdin.readline()
    return {"slow": True}
Worker(url, token, "away", handle).run()
print("ended", flush=True)
"""


def test_a_worker_does_tasks_with_their_authority(on_sqlite):
    run = on_sqlite.begin("away", amount=7)

    def handle(task):
        task.model("m-1", seed=3, tokens=5)
        return task.call("pay.honours", {"amount": task.input["amount"]})

    worker = Worker(on_sqlite.url, on_sqlite.token(), "away", handle, name="w1")
    thread = threading.Thread(target=worker.run)
    thread.start()
    state = on_sqlite.until(run, "succeeded")
    worker.stop()
    assert state.output == {"found": {"id": 1}}
    assert (state.spent.tokens, on_sqlite.of_type("task_leased")[0]["worker"]) == (5, "w1")
    on_sqlite.begin("away", key="k2", amount=7)  # lets go of the worker that waits
    thread.join(20)
    assert not thread.is_alive()


def test_an_async_worker_does_several_tasks_at_once(tmp_path):
    with work(tmp_path, fans=8) as made:
        run = made.begin("away", amount=1, items=list(range(8)))
        both = []

        async def serve():
            together = asyncio.Event()

            async def handle(task):
                both.append(task.input["amount"])
                if len(both) > 1:
                    together.set()
                await asyncio.wait_for(together.wait(), 10)
                if len(both) == 8:
                    worker.stop()
                return (await task.call("pay.honours", {"amount": 1}))["id"]

            worker = AsyncWorker(made.url, made.token(), "away", handle, most=2, wait=timedelta(seconds=1))
            await worker.run()
            return worker.done

        assert asyncio.run(serve()) == 8
        assert sorted(made.until(run, "succeeded").output["found"]) == list(range(1, 9))


def test_what_a_handler_raises_is_why_the_task_failed(on_sqlite):
    raised = [TaskFailed("no_source", "nobody answered", again=True), ValueError("a secret")]
    run = on_sqlite.begin("away", amount=7)

    def handle(task):
        raise raised.pop(0)

    with Worker(on_sqlite.url, on_sqlite.token(), "away", handle) as worker:
        assert worker.step() is True
        assert until(worker.step) is True
    state = on_sqlite.until(run, "failed")
    assert (state.nodes["find"].why, state.nodes["find"].text) == ("agent_error", "the agent raised ValueError")
    kinds = [event["reason"] for event in on_sqlite.events(run) if event["type"] == "workflow_failed"]
    assert kinds == ["no_source", "agent_error"]


def test_heartbeats_keep_a_slow_task(tmp_path):
    with work(tmp_path, lease=1) as made:
        run = made.begin("away", amount=7)
        go = threading.Event()
        worker = Worker(made.url, made.token(), "away", lambda _: go.wait(10))
        thread = threading.Thread(target=worker.step)
        thread.start()
        until(lambda: made.of_type("task_leased"))
        go.wait(1.6)  # longer than the lease, and than the sweep that would see it lapse
        assert made.of_type("task_lapsed") == []
        go.set()
        thread.join(10)
        worker.close()
        made.until(run, "succeeded")
        assert worker.done == 1


def test_a_worker_finishes_its_task_when_it_is_told_to_stop(on_sqlite):
    run = on_sqlite.begin("away", amount=7)
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, on_sqlite.url, on_sqlite.token()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "took\n"
        os.kill(process.pid, signal.SIGTERM)
        process.stdin.write("go\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ended\n"
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        process.wait()
    assert on_sqlite.until(run, "succeeded").output == {"found": {"slow": True}}
