"""The policy language evaluated directly, as its tables read: an oracle for everything that compiles it.

It works on the plain document and a plain input, shares no code with the compiler, and takes every comparison through three
values: `True`, `False`, and `None` for unknown. Slow and obvious on purpose.
"""

import ipaddress
import re
from typing import Any

SCALAR = (str, int, float, bool)
SURE_MOST = 2**53 - 1


def negation(value: bool | None) -> bool | None:
    return None if value is None else not value


def conjunction(values: list[bool | None]) -> bool | None:
    if any(value is False for value in values):
        return False
    return None if any(value is None for value in values) else True


def disjunction(values: list[bool | None]) -> bool | None:
    return negation(conjunction([negation(value) for value in values]))


class Rules:
    """One document, one tenant's data, one input."""

    def __init__(self, document: dict[str, Any], tenant_data: dict[str, Any], given: dict[str, Any]) -> None:
        self.spec = document["spec"]
        self.tenant_data = tenant_data
        self.given = given
        self.args = self.spec["tools"][given["tool"]]["args"]
        self.quiet = False

    def fires(self, rule: dict[str, Any]) -> bool:
        self.quiet = rule["effect"] == "sanitize"
        value = True if "when" not in rule else self.condition(rule["when"], self.given, root=True)
        fires = value is True or (value is None and rule["effect"] != "allow")
        if fires and rule["effect"] == "sanitize" and rule.get("stage", "request") == "request":
            return any(self.place(each["path"]) for each in rule["redact"])
        return fires

    def place(self, pointer: str) -> bool:
        value: Any = {"args": self.given["args"]}
        for name in pointer.split("/")[1:]:
            value = value.get(name) if isinstance(value, dict) else None
        return value is not None

    def condition(self, when: dict[str, Any], subject: Any, *, root: bool) -> bool | None:
        found = []
        for key, value in when.items():
            if key == "not":
                found.append(negation(self.condition(value, subject, root=root)))
            elif key == "history":
                found += [self.past(word, body) for word, body in value.items()]
            elif key in ("all", "any"):
                parts = [self.condition(part, subject, root=root) for part in value]
                found.append(conjunction(parts) if key == "all" else disjunction(parts))
            else:
                found += [self.test(key, op, operand, subject, root=root) for op, operand in value.items()]
        return conjunction(found)

    def past(self, word: str, body: dict[str, Any]) -> bool | None:
        """What a reading, taken elsewhere, says. The oracle knows the readings by names of its own."""
        just = body.get("immediately")
        name = {"formerly": "just" if just else "before", "count_within": "often", "sum_within": "much", "distinct_within": "many"}[
            word
        ]
        value = self.given["history"][name]
        if value is None or word == "formerly":
            return value
        compared = {op: body[op] for op in ("gt", "gte", "lt", "lte", "eq") if op in body}
        return conjunction([self.compare("integer", op, value, operand) for op, operand in compared.items()])

    def test(self, path: str, op: str, operand: Any, subject: Any, *, root: bool) -> bool | None:
        value = self.value(path, subject, root=root)
        if op == "present":
            return (value is not None) is operand
        if root and self.quiet and self.absent(path):
            return False
        if value is None:
            return None
        if op in ("any", "every", "none"):
            return self.over(op, operand, value)
        return self.compare(self.kind(path, root=root), op, value, operand)

    def value(self, path: str, subject: Any, *, root: bool) -> Any:
        value = subject
        for name in path.split("."):
            value = value.get(name) if isinstance(value, dict) else None
        return None if root and value == "" and not path.startswith(("args.", "parsed.")) else value

    def absent(self, path: str) -> bool:
        parts = path.split(".")
        if parts[0] not in ("args", "parsed"):
            return False
        return self.args[parts[1]].endswith("?") and self.given["args"].get(parts[1]) is None

    def kind(self, path: str, *, root: bool) -> str:
        parts = path.split(".")
        if root and path == "now.time":
            return "time"
        if root and parts[0] == "args" and len(parts) == 2:
            return self.args[parts[1]].removesuffix("?")
        return "other"

    def over(self, op: str, condition: dict[str, Any], value: Any) -> bool | None:
        if not isinstance(value, list):
            return None
        found = [self.condition(condition, item, root=False) if isinstance(item, dict) else None for item in value]
        if op == "every":
            return conjunction(found) if value else False
        some = disjunction(found)
        return some if op == "any" else negation(some)

    def resolved(self, operand: Any) -> Any:
        if isinstance(operand, list):
            return [self.resolved(each) for each in operand]
        if not isinstance(operand, dict):
            return operand
        if "list" in operand:
            return self.spec["lists"][operand["list"]]
        value: Any = {"tenant": self.tenant_data}
        shape: Any = {"tenant": self.spec["tenant"]}
        for name in operand["ref"].split("."):
            value = value.get(name) if isinstance(value, dict) else None
            shape = shape[name]
        return value if fits(value, shape) else None

    def compare(self, kind: str, op: str, value: Any, written: Any) -> bool | None:
        operand = self.resolved(written)
        if operand is None or (op in ("between", "outside") and None in operand):
            return None
        return COMPARE[op](kind, value, operand)


def fits(value: Any, shape: str) -> bool:
    if shape.endswith("[]"):
        return isinstance(value, list) and all(fits(item, shape[:-2]) for item in value)
    if shape == "number":
        return fits(value, "integer") or (isinstance(value, float) and abs(value) <= SURE_MOST)
    types = {"string": str, "integer": int, "boolean": bool}
    return type(value) is types[shape] and not (shape == "integer" and abs(value) > SURE_MOST)


def equal(_kind: str, value: Any, operand: Any) -> bool | None:
    return value == operand if type(value) is type(operand) else None


def number(kind: str, value: Any) -> bool:
    if type(value) is float:
        return kind == "number" and abs(value) <= SURE_MOST
    return type(value) is int


def less(kind: str, value: Any, operand: Any) -> bool | None:
    return value < operand if number(kind, value) else None


def more(kind: str, value: Any, operand: Any) -> bool | None:
    return value > operand if number(kind, value) else None


def between(kind: str, value: Any, operand: Any) -> bool | None:
    low, high = operand
    if kind == "time":
        return low <= value < high if low < high else value >= low or value < high
    return low <= value < high if number(kind, value) else None


def among(_kind: str, value: Any, operand: Any) -> bool | None:
    if type(value) not in (str, int) or (operand and type(value) is not type(operand[0])):
        return None
    return any(value == item for item in operand)


def contains(_kind: str, value: Any, operand: Any) -> bool | None:
    if not isinstance(value, list):
        return None
    if any(type(item) is type(operand) and item == operand for item in value):
        return True
    return False if all(isinstance(item, SCALAR) for item in value) else None


def text(test: Any) -> Any:
    return lambda _kind, value, operand: test(value, operand) if isinstance(value, str) else None


def length(test: Any) -> Any:
    return lambda _kind, value, operand: test(len(value), operand) if isinstance(value, str | list) else None


def matches(value: str, pattern: str) -> bool:
    # The generated patterns mean the same here, apart from `$`, which Python also lets stand before a final newline.
    return re.search(pattern.replace("$", r"\Z"), value) is not None


def listed(value: str, entries: list[str]) -> bool | None:
    if any(entry != entry.lower() or not entry or entry.endswith(".") for entry in entries):
        return None
    for entry in entries:
        if value == entry:
            return True
        if entry.startswith("*.") and not _address(value) and len(value) > len(entry) - 1 and value.endswith(entry[1:]):
            return True
    return False


def version(_kind: str, value: Any, operand: str) -> bool | None:
    if not isinstance(value, str) or not re.fullmatch(r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){2}", value):
        return None
    found = [int(part) for part in value.split(".")]
    signs = {"<": (-1,), "<=": (-1, 0), "=": (0,), ">=": (0, 1), ">": (1,)}
    for bound in operand.split(" "):
        sign = re.match(r"[<>=]+", bound).group()
        limit = [int(part) for part in bound[len(sign) :].split(".")]
        if (found > limit) - (found < limit) not in signs[sign]:
            return False
    return True


def opposite(test: Any) -> Any:
    return lambda kind, value, operand: negation(test(kind, value, operand))


def _address(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True


COMPARE = {
    "eq": equal,
    "ne": opposite(equal),
    "gt": more,
    "lte": opposite(more),
    "lt": less,
    "gte": opposite(less),
    "between": between,
    "outside": opposite(between),
    "in": among,
    "contains": contains,
    "starts_with": text(lambda value, prefix: value[: len(prefix)] == prefix),
    "ends_with": text(lambda value, suffix: not suffix or value[-len(suffix) :] == suffix),
    "matches": text(matches),
    "host_in": text(listed),
    "longer_than": length(lambda found, limit: found > limit),
    "shorter_than": length(lambda found, limit: found < limit),
    "version": version,
}
