"""Agents that are functions."""

from aegis.runtime.runs.callables import Output


async def find(task):
    """Pay once with the agent's own authority, and say by which model."""
    paid = await task.call("pay.honours", {"amount": task.input["amount"]}, key="pay")
    task.model("model-1", version="2", prompt="find it", seed=7, tokens=30)
    if task.input["amount"] == 13:
        raise ValueError("a secret of 13")
    return Output(value={"paid": paid["id"]}, tokens=12)
