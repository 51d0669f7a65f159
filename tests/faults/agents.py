"""The agent of the campaign: it is a function of the gateway's program, and pays through the gateway."""

from typing import Any

from aegis.runtime.runs.callables import Task


async def work(task: Task) -> Any:
    """Find amounts, or pay one."""
    if task.step == "look":
        return {"amounts": [1, 2, 3]}
    return await task.call("pay.honours", {"amount": task.input["amount"], "memo": "by an agent"}, key="pay")
