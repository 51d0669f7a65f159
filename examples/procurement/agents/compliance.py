"""Validator: may we trade with the vendor that was chosen? The list decides; a model may only add what it finds remarkable."""

from typing import Any

import model
from agents import work

from aegis.sdk.worker import Task, TaskFailed

INSTRUCTIONS = (
    "You check a purchase before people approve it. Say what they should look at: an unusual price, a score far below others. "
    'Format: {"findings": [at most three short sentences]}.'
)


def check(task: Task) -> Any:
    """A report for those who approve; a vendor on the list ends the purchase."""
    if not task.input["score"]:
        raise TaskFailed("nothing_fits", "no offer is within the limit")
    found = task.call("compliance.check", {"vendor": task.input["vendor"]})
    if found["listed"]:
        raise TaskFailed("listed", "the vendor is on a list of those with whom we do not trade")
    told = model.judge(task, INSTRUCTIONS, task.input, lambda: {"findings": ["on no list"]})
    return {"vendor": task.input["vendor"], "findings": told.get("findings")}


if __name__ == "__main__":
    work("compliance", check)
