"""Those who call, as far as it is known before they do."""

from msgspec import Struct

from aegis.model.principal import Link

ROLE, AGENT = "role", "agent"
NOBODY_YET = "agent:nobody-yet"
"""Stands for the agent of a role that no agent has."""


class Caller(Struct, frozen=True, kw_only=True):
    """One way in which a row's calls can come: a token of this agent with these roles.

    `None` is unknown: the proof then holds for every value, and no example is looked for where the roles are. `chains` are chains
    that the agent can really stand at the end of; `alone` says that it can stand at the end of none.
    """

    agent_id: str | None
    roles: tuple[str, ...] | None
    trust: int | None
    scopes: tuple[str, ...]
    chains: tuple[tuple[Link, ...], ...] = ()
    alone: bool = False


class Asker(Struct, frozen=True, kw_only=True):
    """A row of the matrix: a role or an agent, and all ways in which its calls can come, the fullest first."""

    name: str
    kind: str
    callers: tuple[Caller, ...]
