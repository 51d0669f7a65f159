"""The chain of trust: a delegated call stands on a live request of the agent that handed the task down.

Headers and bodies never carry authority. A delegated caller must say whose request it serves, so that it cannot act by accident
under another one, and what it says must equal what its token was signed for.
"""

from collections.abc import Iterator

from aegis.errors import IdentityError
from aegis.identity.access import MAX_DEPTH
from aegis.model.authority import covers
from aegis.model.call import LIVE
from aegis.model.decision import Verdict
from aegis.model.facts import Facts, ParentCall
from aegis.model.principal import Parent, Principal
from aegis.model.proposal import Proposal


def agree_on(what: str, signed: str, sent: str) -> None:
    """Check that what a caller sends about itself, its run or its task, if it sends it, equals what its token says.

    Raises:
        IdentityError: `txn_mismatch`, `task_mismatch` and so on, after `what`.
    """
    if sent and sent != signed:
        raise IdentityError(f"{what}_mismatch", f"the {what} that is named is not the one that the token was signed for")


def agree(signed: Parent | None, sent_agent_id: str, sent_request_id: str) -> None:
    """Check that what a caller sends about its parent equals what its token says.

    Raises:
        IdentityError: `parent_required` when a delegated caller does not name its parent, `parent_mismatch` when the two differ.
    """
    if signed is None:
        if sent_agent_id or sent_request_id:
            raise IdentityError("parent_mismatch", "a parent is named, but the token is not delegated")
        return
    if not sent_agent_id or not sent_request_id:
        raise IdentityError("parent_required", "a delegated call names `parent_agent_id` and `parent_request_id`")
    if (sent_agent_id, sent_request_id) != (signed.agent_id, signed.request_id):
        raise IdentityError("parent_mismatch", "the parent that is named is not the one that the token was signed for")


class ChainGuard:
    """Denies a delegated call whose parent is missing, another agent's, or not under way."""

    name = "chain"

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:
        """A deny verdict for each broken link; nothing when the chain holds or there is none."""
        who = proposal.principal
        found = [*self._requests(who, facts)]
        if not who.chain:
            return (self._deny("chain.parent_unexpected", "a parent without a chain"),) if who.parent else tuple(found)
        names = [who.agent_id, *(link.agent_id for link in who.chain)]
        if len(set(names)) != len(names):
            found.append(self._deny("chain.loop", "an agent stands twice in the chain", "chain"))
        if len(who.chain) > MAX_DEPTH:
            found.append(self._deny("chain.depth", "the chain is too long", "chain", MAX_DEPTH))
        return (*found, *self._parent(who, facts.parent))

    def _parent(self, who: Principal, call: ParentCall | None) -> tuple[Verdict, ...]:
        signed = who.parent
        if signed is None or call is None or call.request_id != signed.request_id:
            return (self._deny("chain.parent_missing", "no such parent request in this tenant", "parent_request_id"),)
        if not signed.agent_id == call.agent_id == who.chain[0].agent_id:
            return (self._deny("chain.parent_mismatch", "the parent request is another agent's", "parent_agent_id"),)
        if call.state not in LIVE:
            return (self._deny("chain.parent_not_live", "the parent request is not under way", "parent_request_id"),)
        if call.txn and who.txn != call.txn:
            return (self._deny("chain.run_mismatch", "the parent request belongs to another run", "txn"),)
        return ()

    def _requests(self, who: Principal, facts: Facts) -> Iterator[Verdict]:
        """Everything that the token stands on must still stand, at any depth: whose it was, and that it is under way."""
        for each in who.requests:
            if each == who.parent:
                continue  # which is looked at by itself
            call = facts.lineage.get(each.request_id)
            if call is None or call.agent_id != each.agent_id or call.state not in LIVE:
                yield self._deny("chain.ended", "a request that this task stands on is not under way", "requests")

    def _deny(self, rule: str, reason: str, field: str = "", limit: object = None) -> Verdict:
        return Verdict(guard=self.name, effect="deny", rule=rule, reason=reason, field=field, limit=limit)


class ScopeGuard:
    """Denies a tool that the caller's token does not open."""

    name = "scope"

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        """A deny verdict when no scope covers the tool."""
        scopes = proposal.principal.scopes
        if any(covers(scope, proposal.tool) for scope in scopes):
            return ()
        why = "the token does not open this tool"
        return (Verdict(guard=self.name, effect="deny", rule="chain.scope", reason=why, field="tool", limit=list(scopes)),)
