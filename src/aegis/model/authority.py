"""What a token lets its holder do at most, as a lattice: every step down a chain gives the same or less.

An authority opens tools by `scopes`. Where it also has `grants`, only the tools that they name are open, each within its limits: a
digest of the contract, bounds on arguments, a number of calls. `budget_micros` bounds what all calls together may cost, in
millionths of the tenant's unit of money.

    order of one limit    `max` smaller, `min` larger, `in` a subset, `regex` the identical text
    a key that is missing  is no limit of its own: a child takes over its parent's

Source of the shape: RFC 9396 (details of an authorization); the order is ours.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import re2
from msgspec import Struct

Scalar = str | int | bool
MAX_REGEX = 512
MAX_MATCHED = 4096
_MEMORY = 256 * 1024


class Limit(Struct, frozen=True, kw_only=True):
    """Bounds of one argument; `None` (and the empty `regex`) bound nothing. `among` is written `in`."""

    max: int | None = None
    min: int | None = None
    among: tuple[Scalar, ...] | None = None
    regex: str = ""

    def holds(self, value: Any) -> bool:
        """Whether `value` is within; a value of another kind than the bound is not."""
        whole = type(value) is int
        if (self.max is not None and not (whole and value <= self.max)) or (
            self.min is not None and not (whole and value >= self.min)
        ):
            return False
        if self.among is not None and not any(type(value) is type(one) and value == one for one in self.among):
            return False
        return not self.regex or (isinstance(value, str) and _matches(self.regex, value))

    def within(self, other: "Limit") -> bool:
        """Whether everything that this limit lets pass is known to pass `other` too."""
        return (
            (other.max is None or (self.max is not None and self.max <= other.max))
            and (other.min is None or (self.min is not None and self.min >= other.min))
            and (other.among is None or (self.among is not None and all(_among(one, other.among) for one in self.among)))
            and other.regex in ("", self.regex)
        )

    def joined(self, other: "Limit") -> "Limit":
        """This limit, with what it leaves open taken from `other`."""
        return Limit(
            max=other.max if self.max is None else self.max,
            min=other.min if self.min is None else self.min,
            among=other.among if self.among is None else self.among,
            regex=self.regex or other.regex,
        )


class Grant(Struct, frozen=True, kw_only=True):
    """One tool: with `digest` only under that contract, with `limits` (by argument) only so, with `calls` only so often."""

    tool: str
    digest: str = ""
    limits: tuple[tuple[str, Limit], ...] = ()
    calls: int | None = None

    def within(self, other: "Grant") -> bool:
        """Whether this grant opens nothing that `other` does not open."""
        mine = dict(self.limits)
        return (
            self.tool == other.tool
            and other.digest in ("", self.digest)
            and all(path in mine and mine[path].within(limit) for path, limit in other.limits)
            and (other.calls is None or (self.calls is not None and self.calls <= other.calls))
        )


class Authority(Struct, frozen=True, kw_only=True):
    """Everything that a token opens. `grants` is `None` where scopes alone say it; each tool stands in `grants` once at most."""

    scopes: tuple[str, ...] = ()
    grants: tuple[Grant, ...] | None = None
    budget_micros: int | None = None

    def grant(self, tool: str) -> Grant | None:
        """The grant of a tool."""
        return next((each for each in self.grants or () if each.tool == tool), None)

    @property
    def counted(self) -> bool:
        """Whether its use must be counted."""
        return self.budget_micros is not None or any(each.calls is not None for each in self.grants or ())


def breaches(grant: Grant, arguments: Mapping[str, Any]) -> Iterator[tuple[str, Limit]]:
    """Each argument that is not within its limit; an argument that is not there is not within any."""
    for path, limit in grant.limits:
        if not limit.holds(_at(arguments, path)):
            yield path, limit


def covers(scope: str, tool: str) -> bool:
    """Whether a scope opens a tool: `*`, the name itself, or `prefix.*`."""
    return scope in ("*", tool) or (scope.endswith(".*") and tool.startswith(scope[:-1]))


def scope_within(scope: str, held: tuple[str, ...]) -> bool:
    """Whether everything that `scope` opens is opened by one of `held`: `pay` is not within `pay.*`, which opens `pay.x` only."""
    if scope.endswith(".*"):
        return any(wide == "*" or (wide.endswith(".*") and scope.startswith(wide[:-1])) for wide in held)
    return any(covers(wide, scope) for wide in held)


def regex_complaint(pattern: str) -> str:
    """What is wrong with a pattern of RE2; empty when nothing is."""
    if len(pattern) > MAX_REGEX:
        return f"a pattern has at most {MAX_REGEX} characters"
    try:
        _compiled(pattern)
    except (re2.error, UnicodeEncodeError):
        return "not a pattern of RE2, or one that takes too much memory"
    return ""


def _matches(pattern: str, text: str) -> bool:
    """Whether the whole text matches; a text so long that looking at it would keep others waiting does not."""
    try:
        return len(text) <= MAX_MATCHED and _compiled(pattern).fullmatch(text) is not None
    except (re2.error, UnicodeEncodeError):
        return False


@lru_cache(maxsize=128)
def _compiled(pattern: str) -> Any:
    """The pattern as a program. Agents write them: what the bound of memory allows takes milliseconds, and no log quotes it."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    return re2.compile(pattern, options)


def _among(one: Scalar, many: tuple[Scalar, ...]) -> bool:
    return any(type(one) is type(other) and one == other for other in many)


def _at(arguments: Mapping[str, Any], path: str) -> Any:
    """The value at a dotted path; `None`, which no limit lets pass, when there is none."""
    value: Any = arguments
    for name in path.split("."):
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value
