"""Who asks: an agent of a tenant, for a subject, with the chain of agents that handed the task down."""

from msgspec import Struct

from aegis.model.authority import Authority, Grant

ROADS = ("workflow:", "plan:")
"""How links begin that are no agents: the workflow, or the plan of an agent, in whose run a task was handed down."""


class Link(Struct, frozen=True, kw_only=True):
    """One agent of a delegation chain. `trust` (0 to 5) comes from the tenant's directory, never from the token."""

    agent_id: str
    trust: int = 0


class Parent(Struct, frozen=True, kw_only=True):
    """The call on whose behalf a delegated call is made, as the signed token states it."""

    agent_id: str
    request_id: str


class Principal(Struct, frozen=True, kw_only=True):
    """The verified caller. `chain` lists the ancestors, nearest parent first; it is empty for an agent that acts by itself.

    `subject` is the person or system for whom the chain acts; `scopes` are the tools that the token opens (`*` and `prefix.*`
    are allowed) and `grants` narrow them to limits, calls and digests; `token_id` is the `jti` of the token; `stated` are numbers
    that its issuer signed (`aegis.model.stated`).

    `ancestors` are the ids of the tokens that this one was narrowed from, and `requests` every request that it stands on (by whom,
    and which), nearest first: it is worth something only while all of them are. `prompt` is the digest of the agent's instructions.
    """

    tenant: str
    agent_id: str
    subject: str
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    trust: int = 0
    chain: tuple[Link, ...] = ()
    parent: Parent | None = None
    token_id: str = ""
    txn: str = ""
    task: str = ""
    stated: tuple[tuple[str, int], ...] = ()
    grants: tuple[Grant, ...] | None = None
    budget_micros: int | None = None
    ancestors: tuple[str, ...] = ()
    requests: tuple[Parent, ...] = ()
    prompt: str = ""

    @property
    def delegated(self) -> bool:
        """Whether another agent handed this task down, so that a live parent request is required."""
        return bool(self.chain)

    @property
    def authority(self) -> Authority:
        """What the token opens at most."""
        return Authority(scopes=self.scopes, grants=self.grants, budget_micros=self.budget_micros)

    def involves(self, person_or_agent: str) -> bool:
        """Whether this identity asked, or stands anywhere in the chain, so that it may not approve."""
        return person_or_agent in {self.agent_id, self.subject, *(link.agent_id for link in self.chain)}
