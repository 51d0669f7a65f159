"""What gates look at, and what they say: facts in, findings and factors out."""

from collections.abc import Mapping
from typing import Any, Literal, Protocol

import msgspec
from msgspec import Struct

from aegis.crypto.canonical import canon
from aegis.crypto.digest import sha256
from aegis.identity.directory import Directory
from aegis.model.contract import Contract
from aegis.model.principal import Principal
from aegis.policy.ir import Policy
from aegis.workflow.gates.document import Gates
from aegis.workflow.graph import Amount, Budget, Workflow

Level = Literal["refuse", "person", "note"]
Verdict = Literal["pass", "person", "refuse"]
_DOMAIN = b"aegis-gates-v1\0"


class Finding(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one gate has to say about a plan, at `place` (`file:line:column`).

    `refuse`: this plan is not started. `person`: somebody must look. `note`: worth knowing, and no more.
    """

    gate: str
    code: str
    level: Level
    text: str
    step: str = ""
    place: str = ""


class Factor(Struct, frozen=True, kw_only=True):
    """One line of the sum: `subtotal` is `count` times `weight`. `steps` are those that were counted."""

    name: str
    count: int
    weight: int
    subtotal: int
    steps: tuple[str, ...] = ()


class Cost(Struct, frozen=True, kw_only=True):
    """What the plan needs at least and at most, as far as can be told before it runs, against its budget."""

    least: Amount
    most: Amount
    budget: Budget


class Scene(Struct, frozen=True, kw_only=True):
    """What gates read beside the plan. `input` is that of the run, `None` while it is not known.

    `proposer` is the agent that thought the plan up, `None` for one that people wrote. `signed`: somebody vouches for this very
    definition. `halted` maps `tenant`, `tool:NAME` and `agent:NAME` to why they are halted; `None`: it cannot be read.
    """

    directory: Directory
    contracts: Mapping[str, Contract]
    policy: Policy | None
    gates: Gates
    tenant_data: Mapping[str, Any] = {}
    environment: str = ""
    halted: Mapping[str, str] | None = None
    input: Any = None
    proposer: Principal | None = None
    signed: bool = False


class Gate(Protocol):
    """A reviewer of plans: pure. If it raises, the plan is refused."""

    @property
    def name(self) -> str:
        """Stable name that findings show."""

    def __call__(self, plan: Workflow, scene: Scene) -> tuple[Finding, ...]:
        """All that this gate has to say."""


class GateReport(Struct, frozen=True, kw_only=True):
    """All gates together. `risk` is the sum of the subtotals of `factors`, to the unit."""

    plan: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    factors: tuple[Factor, ...]
    risk: int
    cost: Cost

    @property
    def digest(self) -> str:
        """Digest of all that the report says."""
        return sha256(_DOMAIN, canon(msgspec.to_builtins(self)))
