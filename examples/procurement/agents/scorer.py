"""Scorer: weighs one offer, from 0 to 100. A model may judge; price and account are those of the offer, whatever it says."""

from collections.abc import Mapping
from typing import Any

import model
from agents import work

from aegis.sdk.worker import Task

INSTRUCTIONS = (
    "You score one offer from 0 (useless) to 100 (perfect): a low price counts most, then few days until delivery, "
    'then vendors that deliver on time. Format: {"score": integer}.'
)
UNKNOWN_PERCENT = 50


def score(task: Task) -> Any:
    """The offer with its score."""
    offer = task.input["offer"]
    on_time = next(
        (each["on_time_percent"] for each in task.input["ratings"] if each["vendor"] == offer["vendor"]), UNKNOWN_PERCENT
    )
    facts = {"offer": offer, "on_time_percent": on_time, "most_minor": task.input["most_minor"]}
    found = model.judge(task, INSTRUCTIONS, facts, lambda: by_rules(offer, on_time, task.input["most_minor"]))
    return {**{name: offer[name] for name in ("vendor", "account_id", "price_minor")}, "score": found.get("score")}


def by_rules(offer: Mapping[str, Any], on_time: int, most_minor: int) -> Mapping[str, Any]:
    """What is left of 100 after price, days, and how often the vendor is late."""
    if offer["price_minor"] > most_minor:
        return {"score": 0}
    return {"score": max(0, 100 - 40 * offer["price_minor"] // most_minor - 2 * offer["days"] - (100 - on_time) // 2)}


if __name__ == "__main__":
    work("sourcing", score)
