"""Retriever and validator: reads metrics or logs, and looks afterwards whether the fix has helped."""

from typing import Any

from agents import work

from aegis.sdk.worker import Task, TaskFailed

HEALTHY_PERCENT = 1


def watch(task: Task) -> Any:
    """Readings in the step `metrics`, lines in `logs`, the verdict in `verify`."""
    service = {"service": task.input["service"]}
    if task.step == "logs":
        return task.call("logs.search", service)
    found = task.call("metrics.read", service)
    if task.step == "metrics":
        return found
    if found["error_percent"] > HEALTHY_PERCENT:
        raise TaskFailed("still_burning", "the fix has not helped")
    return {"error_percent": found["error_percent"]}


if __name__ == "__main__":
    work("watch", watch)
