"""The guard that holds a message against what its contract says of senders, sources and keys, whatever door it came through."""

from collections.abc import Mapping

from aegis.model.contract import Contract
from aegis.model.decision import Verdict
from aegis.model.facts import Facts
from aegis.model.message import MessageContract, send_key
from aegis.model.proposal import Proposal


class SenderGuard:
    """Refuses a message whose sender its contract does not name, that states another source, or whose key is not the event's."""

    name = "message"

    def __init__(self, by_digest: Mapping[str, Contract]) -> None:
        self._by_digest = by_digest

    def __call__(self, proposal: Proposal, facts: Facts) -> tuple[Verdict, ...]:  # noqa: ARG002 - the shape of a guard
        """Nothing for a call that sends no message."""
        found = self._by_digest.get(proposal.tool_digest)
        if not isinstance(found, MessageContract):
            return ()
        return (*self._sender(found, proposal), *self._source(proposal), *self._key(found, proposal))

    def _sender(self, found: MessageContract, proposal: Proposal) -> tuple[Verdict, ...]:
        who = proposal.principal
        if {who.agent_id, *(f"role:{role}" for role in who.roles)} & set(found.senders):
            return ()
        why = "the contract of the message does not name this agent, nor a role of it, under `from`"
        rule = f"{proposal.tool}#from"
        return (Verdict(guard=self.name, effect="deny", rule=rule, reason=why, field="agent.id", limit=list(found.senders)),)

    def _source(self, proposal: Proposal) -> tuple[Verdict, ...]:
        if proposal.arguments.get("source") == proposal.principal.agent_id:
            return ()
        return (self._error(f"{proposal.tool}#contract", "a message states the agent that sends it", "args.source"),)

    def _key(self, found: MessageContract, proposal: Proposal) -> tuple[Verdict, ...]:
        given = [proposal.arguments.get(name) for name in ("source", "id")]
        if found.keyed == "required" or not all(isinstance(each, str) for each in given):
            return ()  # a missing member is the schema's business
        if proposal.idempotency_key == send_key(str(given[0]), str(given[1])):
            return ()
        why = "the key of this message follows from its source and id: send it by `POST /v1/messages`"
        return (self._error(f"{proposal.tool}#idempotency-key", why, "idempotency_key"),)

    def _error(self, rule: str, reason: str, field: str) -> Verdict:
        return Verdict(guard=self.name, effect="error", rule=rule, reason=reason, field=field)
