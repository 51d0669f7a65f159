"""Several bots in one process: each a worker with a token of its own, all of the agent that `AEGIS_AGENT` names."""

import os
import signal
import threading
import time
from datetime import timedelta
from typing import Any

from aegis.sdk.agent import Agent
from aegis.sdk.worker import Task, Worker

QUEUE, WORK, BOTS = os.environ["QUEUE"], os.environ["WORK"], int(os.environ["BOTS"])
DAWDLES_SECONDS = 0.05


def do(task: Task) -> Any:
    """The work, and a moment in which a bot that is killed has done it and not said so."""
    done = task.call("floor.work", {"shelf": task.input["shelf"], "work": WORK}, key="work")
    time.sleep(DAWDLES_SECONDS)
    return done


def main() -> None:
    """Until SIGTERM, which lets each bot finish its task."""
    url, agent_id, tenant, key = (os.environ[f"AEGIS_{name}"] for name in ("URL", "AGENT", "TENANT", "KEY"))
    bots = [
        Worker(url, Agent(url, agent_id, tenant=tenant, key=key), QUEUE, do, name=f"bot {number}", wait=timedelta(seconds=2))
        for number in range(BOTS)
    ]

    def stop(*_: object) -> None:
        for bot in bots:
            bot.stop()

    signal.signal(signal.SIGTERM, stop)
    threads = [threading.Thread(target=bot.run) for bot in bots]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main()
