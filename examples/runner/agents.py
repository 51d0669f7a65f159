"""How an agent of the examples begins: a process with its own key, which leases its tasks from a queue until SIGTERM."""

import os
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from aegis.sdk.agent import Agent
from aegis.sdk.worker import Task, Worker


def work(queue: str, handler: Callable[[Task], Any]) -> None:
    """Do the tasks of this queue that are for this agent, one after the other."""
    url, agent_id = os.environ["AEGIS_URL"], os.environ["AEGIS_AGENT"]
    agent = Agent(url, agent_id, tenant=os.environ["AEGIS_TENANT"], key=os.environ["AEGIS_KEY"])
    Worker(url, agent, queue, _slowed(handler), name=f"{agent_id} {os.getpid()}", wait=timedelta(seconds=2)).run()


def _slowed(handler: Callable[[Task], Any]) -> Callable[[Task], Any]:
    """With `THINKING` seconds before each task, so that a reader sees them at work."""
    seconds = float(os.environ.get("THINKING", "0"))

    def slowly(task: Task) -> Any:
        time.sleep(seconds)
        return handler(task)

    return slowly if seconds else handler
