"""The rows that a decision turns on, as they were read; a unit requires that they still stand so."""

from collections.abc import Sequence

from aegis.journal.store import Store
from aegis.journal.unit import Row
from aegis.model.call import claim_id
from aegis.model.proposal import Proposal

Ref = tuple[str, str]
CALL, CLAIM, APPROVAL, RUN, ALLOWANCE, RESOURCE = "call", "claim", "approval", "run", "allowance", "resource"


class Known:
    """Rows as they were read; `None` stands for a row that does not exist."""

    def __init__(self) -> None:
        self.rows: dict[Ref, Row | None] = {}

    def version(self, ref: Ref) -> int:
        """The version to require of a row: 0 when it must not exist."""
        row = self.rows.get(ref)
        return row.version if row else 0

    async def read(self, store: Store, tenant: str, refs: Sequence[Ref]) -> None:
        """Read these rows, or read them again."""
        found = await store.rows(tenant, refs)
        self.rows.update({ref: found.get(ref) for ref in refs})


def claim_ref(proposal: Proposal) -> list[Ref]:
    """The claim of the proposal's idempotency key; nothing when it has no key."""
    if not proposal.idempotency_key:
        return []
    return [(CLAIM, claim_id(proposal.principal.agent_id, proposal.idempotency_key))]
