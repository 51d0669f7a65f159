"""Counts the use of authority that is counted, in the commit that permits the call.

    row `allowance`, by token id    what the token may use and what is used (`aegis.model.allowance`)

A call is a use of its own token and of every counted token above it. All of these rows are required as they were read, so of many
calls that race for the last one exactly one is permitted, whatever process decides it. Attempts under one idempotency key count
once.
"""

import msgspec

from aegis.journal.unit import Put, Require
from aegis.model.allowance import Allowance, Left, allowance, left
from aegis.model.authority import Authority
from aegis.model.call import Claim
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.runtime.known import ALLOWANCE, Known, Ref, claim_ref


def refs(proposal: Proposal) -> list[Ref]:
    """The rows to be read about what is left; none for a caller whose token is not counted."""
    who = proposal.principal
    if not who.authority.counted:
        return []
    return [*((ALLOWANCE, token_id) for token_id in (who.token_id, *who.ancestors)), *claim_ref(proposal)]


def left_for(known: Known, proposal: Proposal) -> tuple[Left, ...]:
    """What each counted token leaves for this call, those left out that an earlier attempt under the same key has used."""
    already = _charged(known, proposal)
    return tuple(
        left(name, found, proposal.tool) for name, found in _counted(known, proposal.principal).items() if name not in already
    )


def charge(known: Known, proposal: Proposal, cost_micros: int, requires: list[Require], writes: list[Put]) -> tuple[str, ...]:
    """Count one use; the ids of all tokens that this call has been counted under."""
    already = _charged(known, proposal)
    counted = _counted(known, proposal.principal)
    for name, found in counted.items():
        if name not in already:
            requires.append(Require(kind=ALLOWANCE, id=name, version=known.version((ALLOWANCE, name))))
            writes.append(put(name, found.after(proposal.tool, cost_micros)))
    return tuple(dict.fromkeys((*already, *counted)))


def opened(known: Known, token_id: str, authority: Authority) -> tuple[Require, Put] | None:
    """What makes a token's allowance known to the journal before others are made from it; `None` when it is, or need not be."""
    if not authority.counted or known.rows.get((ALLOWANCE, token_id)) is not None:
        return None
    return Require(kind=ALLOWANCE, id=token_id, version=0), put(token_id, allowance(authority))


def put(token_id: str, found: Allowance) -> Put:
    """The row."""
    return Put(kind=ALLOWANCE, id=token_id, body=msgspec.json.encode(found))


def _counted(known: Known, who: Principal) -> dict[str, Allowance]:
    """The allowances in the chain: one above is known to the journal since something was made from it, or is not counted."""
    if not who.authority.counted:
        return {}
    found = {}
    for token_id in (who.token_id, *who.ancestors):
        row = known.rows.get((ALLOWANCE, token_id))
        if row is not None:
            found[token_id] = msgspec.json.decode(row.body, type=Allowance)
        elif token_id == who.token_id:
            found[token_id] = allowance(who.authority)
    return found


def _charged(known: Known, proposal: Proposal) -> tuple[str, ...]:
    for ref in claim_ref(proposal):
        row = known.rows.get(ref)
        if row is not None:
            claim = msgspec.json.decode(row.body, type=Claim)
            return claim.charged if claim.request_hash == proposal.request_hash else ()
    return ()
