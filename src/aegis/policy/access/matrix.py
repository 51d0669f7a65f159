"""The access matrix: for each row and tool what the proof leaves open and what was seen.

A cell is *none* only when it is proven that no call can end in anything but deny. What is named without a question mark was decided
so for the call that stands beside it. What neither proof nor example settles is *maybe*.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.model.contract import Contract
from aegis.model.decision import ApprovalTerms, Outcome
from aegis.model.message import MessageContract
from aegis.policy.access.callers import AGENT, Asker
from aegis.policy.access.proof import ANY_RULE, NOTHING, Possible, Prover
from aegis.policy.access.witness import Judge, Search, Seen, Witness
from aegis.policy.guards import OPERATORS, READ, SAFE_MODE
from aegis.policy.ir import Policy

PERMIT, HOLD = "permit", "approval"


class Ground(Struct, frozen=True, kw_only=True):
    """What decides: a set (none denies everything), its data, every registered version of each tool, and how a call is judged.

    `answerable` says whether the people of the tenant could ever give such an approval; a call that waits for others is denied.
    """

    policy: Policy | None
    data: Mapping[str, Any]
    contracts: Mapping[str, Sequence[Contract]]
    judge: Judge
    answerable: Callable[[ApprovalTerms | None], bool]
    environment: str = ""


class Cell(Struct, frozen=True, kw_only=True):
    """What calls of a row to a tool come to. `unproven` is what may be and was not seen; `conditional` that some are denied.

    `permits` is by outcome, `holds` by the rule that held the call.
    """

    permits: dict[Outcome, Witness] = {}
    holds: dict[str, Witness] = {}
    unproven: tuple[str, ...] = ()
    conditional: bool = False

    @property
    def none(self) -> bool:
        """Whether it is proven that nothing can be reached."""
        return not self.permits and not self.holds and not self.unproven

    @property
    def witness(self) -> Witness | None:
        """A call that was not denied; the one that was least stood in the way of."""
        permitted = (self.permits[each] for each in (Outcome.ALLOW, Outcome.SANITIZE) if each in self.permits)
        return next(permitted, None) or next(iter(self.holds.values()), None)

    @property
    def words(self) -> str:
        """The cell as it is shown: `none`, `maybe`, or what was seen, and `if` where it depends."""
        if self.none:
            return "none"
        seen = [str(each) for each in (Outcome.ALLOW, Outcome.SANITIZE) if each in self.permits]
        seen += [HOLD] if self.holds else []
        if not seen:
            return "maybe"
        if PERMIT in self.unproven:
            seen.append("allow?")
        if not self.holds and any(each != PERMIT for each in self.unproven):
            seen.append(f"{HOLD}?")
        return "/".join(seen) + (" if" if self.conditional else "")


class Row(Struct, frozen=True, kw_only=True):
    """A role or an agent, and its cells by tool."""

    name: str
    kind: str
    cells: dict[str, Cell]


class Approvals(Struct, frozen=True, kw_only=True):
    """The held calls of a tool that somebody may answer, by the rule that holds them; `unproven` as in a cell."""

    seen: dict[str, Witness] = {}
    unproven: tuple[str, ...] = ()

    @property
    def none(self) -> bool:
        """Whether it is proven that there are none."""
        return not self.seen and not self.unproven

    @property
    def words(self) -> str:
        """The cell as it is shown."""
        return "approves" if self.seen else "maybe" if self.unproven else "none"


class Approver(Struct, frozen=True, kw_only=True):
    """A role of people (`role:NAME`) or a person whom a rule names, and what they may answer by tool."""

    name: str
    cells: dict[str, Approvals]


class Matrix(Struct, frozen=True, kw_only=True):
    """Every row; `tools` are the columns, `people` those who answer what is held, all of it in one environment."""

    tools: tuple[str, ...]
    rows: tuple[Row, ...]
    people: tuple[Approver, ...] = ()
    environment: str = ""


def prover(ground: Ground) -> Prover:
    """The proof about calls on this ground."""
    versions = {name: [each.version for each in found] for name, found in ground.contracts.items()}
    rules = ground.policy.rules if ground.policy is not None else ()
    held = [rule for rule in rules if rule.effect is Outcome.APPROVAL_NEEDED]
    hopeless = frozenset(rule.id for rule in held if not ground.answerable(rule.terms))
    return Prover(ground.policy, ground.data, ground.environment, versions, hopeless, _senders(ground))


def _senders(ground: Ground) -> dict[str, frozenset[str]]:
    """Who may send each message, by any of its versions."""
    messages = {
        tool: [each for each in found if isinstance(each, MessageContract)]
        for tool, found in ground.contracts.items()
        if all(isinstance(each, MessageContract) for each in found)
    }
    return {tool: frozenset(name for each in found for name in each.senders) for tool, found in messages.items()}


def matrix(ground: Ground, askers: Sequence[Asker], people: Sequence[str] = ()) -> Matrix:
    """Who may do what, and which of the calls of the agents among `askers` the `people` may answer when they are held."""
    tools = tuple(sorted(ground.contracts))
    builder = _Builder(ground)
    rows = tuple(
        Row(name=asker.name, kind=asker.kind, cells={tool: builder.cell(asker, tool) for tool in tools}) for asker in askers
    )
    held = {tool: builder.held(tool, [row.cells[tool] for row in rows if row.kind == AGENT]) for tool in tools}
    answered = tuple(Approver(name=who, cells={tool: builder.answered(who, held[tool]) for tool in tools}) for who in people)
    return Matrix(tools=tools, rows=rows, people=answered, environment=ground.environment)


class _Builder:
    """Makes cells."""

    def __init__(self, ground: Ground) -> None:
        self._prover = prover(ground)
        self._contracts = ground.contracts
        self._terms = {rule.id: rule.terms for rule in ground.policy.rules} if ground.policy is not None else {}
        self._search = (
            Search(ground.policy, ground.data, ground.contracts, ground.judge, ground.environment) if ground.policy else None
        )

    def cell(self, asker: Asker, tool: str) -> Cell:
        """One cell: all ways in which the row's calls can come."""
        permits: dict[Outcome, Witness] = {}
        holds: dict[str, Witness] = {}
        possible = [self._prover.possible(caller, tool) for caller in asker.callers]
        for caller, each in zip(asker.callers, possible, strict=True):
            wanted = _left(each, permits, holds)
            seen = self._search.seen(caller, tool, wanted) if self._search else Seen()
            permits, holds = {**seen.permits, **permits}, {**seen.holds, **holds}
        open_ = {PERMIT} if any(each.permit for each in possible) and not permits else set()
        open_ |= {rule for each in possible for rule in each.holds} - holds.keys()
        conditional = bool(possible) and not (possible[0].always and not possible[0].nothing)
        return Cell(permits=permits, holds=holds, unproven=tuple(sorted(open_)), conditional=conditional)

    def held(self, tool: str, cells: Sequence[Cell]) -> Approvals:
        """Every rule that may hold calls of a tool, safe mode included."""
        seen = {rule: witness for cell in cells for rule, witness in cell.holds.items()}
        open_ = {rule for cell in cells for rule in cell.unproven if rule != PERMIT}
        if any(contract.effect != READ for contract in self._contracts[tool]):
            permitted = [witness for cell in cells for witness in cell.permits.values()]
            found = next((each for each in map(self._in_safe_mode, permitted) if each is not None), None)
            seen |= {SAFE_MODE: found} if found is not None else {}
            open_ |= {SAFE_MODE} if found is None and any(not cell.none for cell in cells) else set()
        return Approvals(seen=seen, unproven=tuple(sorted(open_ - seen.keys())))

    def answered(self, who: str, held: Approvals) -> Approvals:
        """Those of them that somebody may answer."""
        seen = {rule: witness for rule, witness in held.seen.items() if self._asks(rule, who)}
        return Approvals(seen=seen, unproven=tuple(rule for rule in held.unproven if self._asks(rule, who)))

    def _in_safe_mode(self, witness: Witness) -> Witness | None:
        assert self._search is not None, "a witness comes from a search"
        decision = self._search.again(witness, safe_mode="safe mode")
        if decision.outcome is not Outcome.APPROVAL_NEEDED or SAFE_MODE not in decision.rules:
            return None
        return replace(witness, outcome=decision.outcome, rules=decision.rules, terms=decision.terms)

    def _asks(self, rule: str, who: str) -> bool:
        if rule == ANY_RULE:
            return True
        terms = OPERATORS if rule == SAFE_MODE else self._terms.get(rule)
        return terms is not None and any(who in group for group in terms.approver_sets)


def _left(possible: Possible, permits: Mapping[Outcome, Witness], holds: Mapping[str, Witness]) -> Possible:
    """What is still to be looked for after other callers of the row."""
    if permits and possible.holds <= holds.keys():
        return NOTHING
    return Possible(permit=possible.permit and not permits, holds=possible.holds - holds.keys())
