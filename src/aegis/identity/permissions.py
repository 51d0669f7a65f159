"""What differs between two directories, in words that can be recorded: who, what of them, before and after.

An agent, a person or a role that comes or goes is one change with everything that it held; one that stays is a change for each
field that differs. Order of roles and scopes means nothing and is no change.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from aegis.crypto.canonical import canon
from aegis.identity.directory import AgentEntry, Directory, PersonEntry, RoleEntry

ADDED, REMOVED = "added", "removed"
_Entry = AgentEntry | PersonEntry | RoleEntry


class Change(Struct, frozen=True, kw_only=True):
    """One permission that changed. `who` is `agent:NAME`, `person:NAME` or `role:NAME`; `what` a field, `added` or `removed`."""

    who: str
    what: str
    before: Any = None
    after: Any = None


def changes(before: Directory | None, after: Directory) -> tuple[Change, ...]:
    """Everything that differs, by name. Before the first directory there was nobody."""
    one, two = _entries(before) if before is not None else {}, _entries(after)
    return tuple(change for who in sorted(one.keys() | two.keys()) for change in _changed(who, one.get(who), two.get(who)))


def canonical(directory: Directory) -> bytes:
    """The canonical form of a directory: what is kept of it, and what its digest is over."""
    return canon(msgspec.to_builtins(directory))


def _entries(directory: Directory) -> dict[str, _Entry]:
    roles = {f"role:{name}": entry for name, entry in (directory.roles or {}).items()}
    return {**directory.agents, **directory.people, **roles}


def _changed(who: str, before: _Entry | None, after: _Entry | None) -> Iterator[Change]:
    one, two = _fields(before), _fields(after)
    if one is None or two is None:
        yield Change(who=who, what=ADDED if one is None else REMOVED, before=one, after=two)
        return
    for field in one:
        if one[field] != two[field]:
            yield Change(who=who, what=field, before=one[field], after=two[field])


def _fields(entry: _Entry | None) -> Mapping[str, Any] | None:
    """What an entry says, as plain values; its name is told already."""
    if entry is None:
        return None
    return {
        name: sorted(value) if isinstance(value, list | tuple) else value
        for name, value in msgspec.to_builtins(entry).items()
        if name not in ("id", "name")
    }
