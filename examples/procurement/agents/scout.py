"""Retriever: asks the vendors' directory, or the house that rates vendors, whatever its task is."""

from typing import Any

from agents import work

from aegis.sdk.worker import Task


def look(task: Task) -> Any:
    """Offers in the step `offers`, ratings in the step `ratings`; each through the gateway, with the credential of this task."""
    tool = {"offers": "vendors.offers", "ratings": "ratings.list"}[task.step]
    return task.call(tool, {"article": task.input["article"]})


if __name__ == "__main__":
    work("sourcing", look)
