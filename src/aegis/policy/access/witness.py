"""Calls that were decided: looked for among the tests of the set and the generated calls at the edges of its rules.

Each is put into the mouth of the caller, given what the contract demands, and handed to `judge`, which decides it as the gateway
would, with every guard. The calls are tried as they are, then where as little as possible stands in the way, so that one rule that
stops most of them does not hide what the others let pass. The search ends when everything that the proof leaves open was seen.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.model.call import CallState
from aegis.model.contract import Contract
from aegis.model.decision import ApprovalTerms, Decision, Outcome
from aegis.model.facts import Facts, ParentCall
from aegis.model.message import MessageContract, send_key
from aegis.model.principal import Parent
from aegis.model.proposal import Proposal
from aegis.policy.access.callers import NOBODY_YET, Caller
from aegis.policy.access.inputs import Given, looking_back, pools
from aegis.policy.access.proof import ANY_RULE, Possible
from aegis.policy.access.samples import arguments
from aegis.policy.conditions import leaves
from aegis.policy.ir import Policy
from aegis.policy.nearmiss import whole_call
from aegis.policy.permitted import laid_under

Judge = Callable[[Proposal, Facts], Decision]
_PARENT = "req-parent"


class Witness(Struct, frozen=True, kw_only=True):
    """A call that was decided. `given` is the whole input, as a test of the set states it; `digest` names the contract."""

    given: Given
    outcome: Outcome
    rules: tuple[str, ...]
    terms: ApprovalTerms | None = None
    digest: str = ""


class Seen(Struct, frozen=True, kw_only=True):
    """One witness for each outcome that permits, and for each rule that held a call."""

    permits: dict[Outcome, Witness] = {}
    holds: dict[str, Witness] = {}


class Search:
    """One set with one tenant's data and contracts."""

    def __init__(
        self, policy: Policy, data: Mapping[str, Any], contracts: Mapping[str, Sequence[Contract]], judge: Judge, environment: str
    ) -> None:
        self._policy = policy
        self._data = data
        self._contracts = contracts
        self._judge = judge
        self._environment = environment
        self._calls = {tool: looking_back(policy, tool) for tool in policy.tools}
        self._effects = {rule.id: rule.effect for rule in policy.rules}
        self._pools = pools(policy, data)
        self._seeds: dict[str, list[Given]] = {}

    def seen(self, caller: Caller, tool: str, possible: Possible) -> Seen:
        """What calls of this caller to this tool were seen to come to."""
        found = Seen()
        if caller.roles is None or possible.nothing:
            return found
        for contract in self._contracts[tool]:
            for one, chain in product(self._tokens(caller, tool), ((), *caller.chains)):
                hunt = _Hunt(self, one, contract, chain)
                for witness in hunt.decided([*self._seeds.get(tool, ()), *self._pools.get(tool, ({"tool": tool},))]):
                    if _new(witness, found):
                        self._seeds.setdefault(tool, []).insert(0, hunt.bare(witness.given))
                    if self._enough(found, tool, possible):
                        return found
        return found

    def _tokens(self, caller: Caller, tool: str) -> tuple[Caller, ...]:
        """The caller, and where rules look at scopes, the same with a token for this tool alone."""
        rules = (rule for rule in self._policy.rules if rule.covers(tool))
        reads = any(leaf.path.text == "agent.scopes" for rule in rules for leaf in leaves(rule.when))
        return (caller, replace(caller, scopes=(tool,))) if reads else (caller,)

    def _enough(self, found: Seen, tool: str, possible: Possible) -> bool:
        """Whether nothing is left to look for."""
        edits = any(rule.effect is Outcome.SANITIZE and rule.covers(tool) and not rule.shadow for rule in self._policy.rules)
        wanted = 0 if not possible.permit else 2 if edits else 1
        return len(found.permits) >= wanted and possible.holds <= found.holds.keys() | {ANY_RULE}

    def again(self, witness: Witness, *, safe_mode: str = "") -> Decision:
        """The decision about a witness, in safe mode if that is asked."""
        contract = next(each for each in self._contracts[witness.given["tool"]] if each.digest == witness.digest)
        return self.decide(witness.given, contract, safe_mode=safe_mode)

    def decide(self, given: Given, contract: Contract, *, safe_mode: str = "") -> Decision:
        """The decision about one whole input."""
        proposal, facts = whole_call(self._calls[contract.name], given, self._data)
        who = proposal.principal
        parent = Parent(agent_id=who.chain[0].agent_id, request_id=_PARENT) if who.chain else None
        proposal = replace(
            proposal,
            principal=replace(who, parent=parent, stated=tuple(sorted(facts.stated.items()))),
            tool_version=contract.version,
            tool_digest=contract.digest,
            environment=self._environment,
            idempotency_key=_key(contract, proposal.arguments),
            request_id="req-1",
        )
        live = ParentCall(request_id=_PARENT, agent_id=parent.agent_id, state=CallState.DECIDED) if parent else None
        return self._judge(proposal, replace(facts, environment=self._environment, parent=live, safe_mode=safe_mode))

    def obstacles(self, decision: Decision) -> int:
        """How many rules stop the call, plus one when none allows it."""
        effects = [self._effects.get(rule, Outcome.DENY) for rule in {*decision.matched, *decision.rules}]
        stopped = sum(each in (Outcome.DENY, Outcome.APPROVAL_NEEDED) for each in effects)
        return stopped + (not decision.permits and Outcome.ALLOW not in effects)

    @property
    def environment(self) -> str:
        """Where this gateway runs."""
        return self._environment

    def default_version(self, tool: str) -> str:
        """The version that a test of the set means when it names none."""
        return whole_call(self._calls[tool], {"tool": tool}, self._data)[0].tool_version

    def sample(self, contract: Contract) -> dict[str, Any]:
        """Arguments that fit the contract, as places."""
        found = arguments(contract, self._policy.tools[contract.name])
        return {f"args.{name}": value for name, value in found.items()}


class _Hunt:
    """One caller, one version of a tool, one chain."""

    def __init__(self, search: Search, caller: Caller, contract: Contract, chain: tuple[Any, ...]) -> None:
        self._search = search
        self._contract = contract
        self._under = {"tool": contract.name, **search.sample(contract)}
        self._over: dict[str, Any] = {
            "agent.id": caller.agent_id or NOBODY_YET,
            "agent.roles": [*(caller.roles or ())],
            "agent.scopes": [*caller.scopes],
        }
        self._over |= {"args.source": self._over["agent.id"]} if isinstance(contract, MessageContract) else {}
        self._over |= {"agent.trust": caller.trust} if caller.trust is not None else {}
        self._over |= {"chain": [{"id": link.agent_id, "trust": link.trust} for link in chain]} if chain else {}
        self._over |= {"environment": search.environment} if search.environment else {}
        self._over |= {} if search.default_version(contract.name) == contract.version else {"version": contract.version}

    def bare(self, given: Given) -> dict[str, Any]:
        """An input without what is the caller's own."""
        return {path: value for path, value in given.items() if path not in self._over}

    def decided(self, pool: Sequence[Given]) -> Iterator[Witness]:
        """Every call that was not denied."""
        best: Given = {}
        lowest, witness = self._tried(best)
        yield from witness
        for given in pool:
            _, witness = self._tried(given)
            yield from witness
        for given in pool:
            tried = laid_under(best, given)
            count, witness = self._tried(tried)
            yield from witness
            if count < lowest:
                best, lowest = tried, count
        for given in pool:
            _, witness = self._tried(laid_under(best, given))
            yield from witness

    def _filled(self, path: str, value: Any) -> Any:
        """An argument; an object with what the contract demands of it besides."""
        below = self._under.get(path)
        return {**below, **value} if isinstance(below, dict) and isinstance(value, dict) else self._over.get(path, value)

    def _tried(self, given: Given) -> tuple[int, tuple[Witness, ...]]:
        whole = {**self._under, **given, **self._over} | {path: self._filled(path, value) for path, value in given.items()}
        decision = self._search.decide(whole, self._contract)
        count, digest = self._search.obstacles(decision), self._contract.digest
        if decision.outcome is Outcome.DENY:
            return count, ()
        return count, (Witness(given=whole, outcome=decision.outcome, rules=decision.rules, terms=decision.terms, digest=digest),)


def _key(contract: Contract, arguments: Mapping[str, Any]) -> str:
    """A key under which the call can come; that of most messages follows from what they are."""
    if not isinstance(contract, MessageContract) or contract.keyed == "required":
        return "key-1"
    return send_key(str(arguments.get("source")), str(arguments.get("id")))


def _new(witness: Witness, found: Seen) -> bool:
    """Keep a witness of something that was not seen before."""
    if witness.outcome is not Outcome.APPROVAL_NEEDED:
        fresh = witness.outcome not in found.permits
        found.permits.setdefault(witness.outcome, witness)
        return fresh
    fresh = any(rule not in found.holds for rule in witness.rules)
    for rule in witness.rules:
        found.holds.setdefault(rule, witness)
    return fresh
