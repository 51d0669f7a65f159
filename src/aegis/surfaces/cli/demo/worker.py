"""The agents that buy: each a process with a key of its own, which leases tasks and acts with the credential of the task.

They are deterministic. Where one of them would ask a model, it says by which model, version, prompt and seed its output was made.
"""

import os
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from aegis.sdk.agent import Agent
from aegis.sdk.worker import Task, Worker

PROMPT = "Weigh price against days until delivery; answer with one number."


def source(task: Task) -> Any:
    """Who sells the part, asked through the gateway."""
    return {"vendors": task.call("vendors.search", {"part": task.input["part"]})["vendors"]}


def score(task: Task) -> Any:
    """One vendor, from 0 to 100; a slow thinker, so that there is time to be killed."""
    time.sleep(float(os.environ.get("DEMO_THINKING", "0")))
    vendor, price = task.input["vendor"], task.input["vendor"]["price_minor"]
    found = max(0, 100 - 50 * price // task.input["most_minor"] - 3 * vendor["days"])
    task.model("demo-scorer", version="1", prompt=PROMPT, seed=7, tokens=40)
    deposit = price // 5
    return {
        "vendor": vendor["vendor"], "account_id": vendor["account_id"], "score": found, "price_minor": price,
        "deposit_minor": deposit, "rest_minor": price - deposit,
    }  # fmt: skip


def audit(task: Task) -> Any:
    """Whether this vendor may be paid."""
    banned = task.input["vendor"] == "Initech"
    return {"vendor": task.input["vendor"], "passed": not banned, "findings": ["on the list"] if banned else []}


HANDLERS: Mapping[str, Any] = {"agent:sourcer": source, "agent:scorer": score, "agent:auditor": audit}


def main() -> None:
    """Work until the end of the story."""
    url, name = os.environ["AEGIS_URL"], os.environ["AEGIS_AGENT"]
    agent = Agent(url, name, tenant=os.environ["AEGIS_TENANT"], key=os.environ["AEGIS_KEY"])
    sys.stdout.write("up\n")
    sys.stdout.flush()
    Worker(url, agent, "sourcing", HANDLERS[name], name=f"{name} of the demo", wait=timedelta(seconds=2)).run()


if __name__ == "__main__":
    main()
