"""What halts by itself: `aegis.triggers/v1`, one document of a tenant.

    metadata   tenant
    spec       triggers: a list of
      id, reason   what it is called, and the words that refused callers read
      when         {outcomes: [failed, denied, unknown], of: NAME, more_than: N, within_seconds: S}
                   {integrity: violated | stale}
      then         {halt: NAME} or {safe: NAME}

`of` names what is counted: `tool:NAME`, `agent:NAME`, `workflow:NAME` or `tenant`; `tool:*` and the like count each for itself. In
`then`, `it` is the one that was counted. A document of one tenant never stops another one.
"""

import re
from typing import Literal, get_args

from msgspec import Struct

from aegis.model.document import Document
from aegis.model.node import Node

API_VERSION = "aegis.triggers/v1"
Outcome = Literal["failed", "denied", "unknown"]
Integrity = Literal["violated", "stale"]
TENANT, IT = "tenant", "it"
MAX_COUNT, MAX_SECONDS = 10_000, 3600
_ID = re.compile(r"[a-z][a-z0-9-]{0,63}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_COUNTED = ("tool:", "agent:", "workflow:")
_STOPPED = (*_COUNTED, "queue:", "run:")


class Trigger(Struct, frozen=True, kw_only=True):
    """One of them: either `integrity`, or more than `more_than` of `outcomes` of `of` within `within_seconds`."""

    id: str
    reason: str
    mode: Literal["halt", "safe"]
    what: str
    integrity: Integrity | Literal[""] = ""
    outcomes: frozenset[Outcome] = frozenset()
    of: str = ""
    more_than: int = 0
    within_seconds: int = 0

    def counts(self, name: str) -> bool:
        """Whether it counts what befell this name."""
        return name == self.of or (self.of.endswith(":*") and name.startswith(self.of[:-1]))

    def target(self, counted: str) -> str:
        """What it stops, once this name was counted."""
        return counted if self.what == IT else self.what


class Triggers(Struct, frozen=True, kw_only=True):
    """Those of a tenant."""

    tenant: str
    triggers: tuple[Trigger, ...] = ()

    @property
    def longest_seconds(self) -> int:
        """The longest window of any."""
        return max((each.within_seconds for each in self.triggers), default=0)


def triggers(document: Document) -> Triggers:
    """The triggers that a document states.

    Raises:
        DocumentError: With file, line and column, what was found and what was expected.
    """
    parts = ("apiVersion", "kind", "metadata", "spec")
    top = Node(document).fields(parts, parts)
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word(("Triggers",))
    tenant = top["metadata"].fields(("tenant",), ("tenant",))["tenant"].text()
    found: dict[str, Trigger] = {}
    for node in top["spec"].fields(("triggers",), ("triggers",))["triggers"].items(empty=True):
        made = _trigger(node)
        if made.id in found:
            raise node.at("id").fail(f"`{made.id}` is there already: each trigger has an id of its own")
        found[made.id] = made
    return Triggers(tenant=tenant, triggers=tuple(found.values()))


def _trigger(node: Node) -> Trigger:
    parts = node.fields(("id", "reason", "when", "then"), ("id", "reason", "when", "then"))
    name = parts["id"].text()
    if not _ID.fullmatch(name):
        raise parts["id"].fail("expected lower case letters, digits and `-`, beginning with a letter")
    when = parts["when"].fields(("outcomes", "of", "more_than", "within_seconds", "integrity"))
    base = Trigger(id=name, reason=parts["reason"].text(), mode="halt", what=TENANT)
    mode, what = _then(parts["then"], counted="integrity" not in when)
    if "integrity" in when:
        word: Integrity = _only(parts["when"], "integrity").word(get_args(Integrity))  # type: ignore[assignment]  # one of them
        return Trigger(id=base.id, reason=base.reason, mode=mode, what=what, integrity=word)
    when = parts["when"].fields(tuple(when), ("outcomes", "of", "more_than", "within_seconds"))
    return Trigger(
        id=base.id,
        reason=base.reason,
        mode=mode,
        what=what,
        outcomes=frozenset(each.word(get_args(Outcome)) for each in when["outcomes"].items()),  # type: ignore[misc]  # one of them
        of=_named(when["of"], _COUNTED, star=True),
        more_than=when["more_than"].integer(0, MAX_COUNT),
        within_seconds=when["within_seconds"].integer(1, MAX_SECONDS),
    )


def _only(node: Node, key: str) -> Node:
    return node.fields((key,), (key,))[key]


def _then(node: Node, *, counted: bool) -> tuple[Literal["halt", "safe"], str]:
    found = node.fields(("halt", "safe"))
    if len(found) != 1:
        raise node.fail("expected either `halt` or `safe`, and what it stops")
    mode: Literal["halt", "safe"] = "halt" if "halt" in found else "safe"
    if found[mode].value == IT:
        if not counted:
            raise found[mode].fail("a log is not counted: expected the name of what is stopped, such as `tenant`")
        return mode, IT
    return mode, _named(found[mode], _STOPPED, star=False)


def _named(node: Node, kinds: tuple[str, ...], *, star: bool) -> str:
    name = node.text()
    kind, colon, rest = name.partition(":")
    if name == TENANT or (f"{kind}{colon}" in kinds and (_NAME.fullmatch(rest) or (star and rest == "*"))):
        return name
    expected = ", ".join(f"`{each}NAME`" for each in kinds)
    raise node.fail(f"expected `{TENANT}`, {expected}" + (", or `*` for the name" if star else ""))
