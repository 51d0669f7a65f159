"""Times such as `30m` in documents."""

from datetime import timedelta

from aegis.model.node import Node, named

LONGEST = timedelta(days=30)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(node: Node) -> timedelta:
    """A whole number and one of the units s, m, h, d; at most 30 days."""
    if not isinstance(node.value, str):
        raise node.fail(f"expected a time such as `30m` (units s, m, h, d), found {named(node.value)}")
    number, unit = node.value[:-1], node.value[-1:]
    if unit not in UNITS or not (number.isascii() and number.isdigit()) or len(number) > 7 or number[0] == "0":
        raise node.fail(f"`{node.value}` is not a time; expected a whole number and a unit (s, m, h, d), such as `30m`")
    found = timedelta(seconds=seconds(node.value))
    if found > LONGEST:
        raise node.fail(f"expected at most {LONGEST.days} days")
    return found


def seconds(text: str) -> int:
    """The seconds of a time that `duration` has read."""
    return int(text[:-1]) * UNITS[text[-1]]
