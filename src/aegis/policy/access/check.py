"""Whether roles keep to what the directory says they are for, with a counter-example where they do not.

A role keeps to its charter when it is proven that nothing outside its `tools` can be reached by it, whatever the scopes; people
keep to it when nobody may answer a held call outside the `approves` of their roles. An agent may not have a scope that reaches
outside the tools of all its roles together. What is not proven counts as broken: a check that passes when it cannot tell protects
nobody.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from aegis.model.authority import covers, scope_within
from aegis.model.decision import Outcome
from aegis.policy.access.callers import ROLE
from aegis.policy.access.matrix import Approver, Cell, Matrix, Row
from aegis.policy.access.witness import Witness
from aegis.policy.fmt.scalars import scalar
from aegis.policy.guards import SAFE_MODE

PEOPLE = "role:"


class Charter(Struct, frozen=True, kw_only=True):
    """What a role is for, as scopes."""

    role: str
    tools: tuple[str, ...] = ()
    approves: tuple[str, ...] = ()


class Holder(Struct, frozen=True, kw_only=True):
    """An agent or a person with roles; `scopes` are those of an agent."""

    name: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...] = ()


class Finding(Struct, frozen=True, kw_only=True):
    """One way in which somebody is not kept to a charter. `example` shows it; without one it is only not proven.

    `case` is the example as a test of the set: what a role reaches fails there until the set denies it.
    """

    who: str
    tool: str
    text: str
    example: Witness | None = None
    case: dict[str, Any] | None = None


class Result(Struct, frozen=True, kw_only=True):
    """What was looked at and what was found; nothing found is proven."""

    who: str
    proven: str
    findings: tuple[Finding, ...] = ()


def check(
    matrix: Matrix,
    charters: Mapping[str, Charter],
    agents: Sequence[Holder],
    people: Sequence[Holder],
    only: Collection[str] = (),
) -> tuple[Result, ...]:
    """What keeps to the charters and what does not; of `only` these roles and who has them, else of all."""
    wanted = {*(only or charters)}
    results = [
        _reached(row, charters[row.name]) for row in matrix.rows if row.kind == ROLE and row.name in wanted & charters.keys()
    ]
    results += [_scoped(agent, charters) for agent in agents if not only or wanted & {*agent.roles}]
    for approver in matrix.people:
        roles = _roles(approver, people)
        if not only or wanted & {*roles}:
            results.append(_approving(approver, [charters[role] for role in roles if role in charters]))
    return tuple(results)


def _reached(row: Row, charter: Charter) -> Result:
    outside = [tool for tool in row.cells if not any(covers(scope, tool) for scope in charter.tools)]
    found = tuple(_beyond(row.name, tool, row.cells[tool]) for tool in outside if not row.cells[tool].none)
    proven = f"reaches none of the {len(outside)} tools outside its `tools`" if outside else "no tool lies outside its `tools`"
    return Result(who=row.name, proven=proven, findings=found)


def _beyond(role: str, tool: str, cell: Cell) -> Finding:
    witness = cell.witness
    if witness is None:
        text = f"not proven that `{role}` cannot reach `{tool}`, which is outside its `tools`; no call was found either"
        return Finding(who=role, tool=tool, text=text)
    by = ", ".join(f"`{rule}`" for rule in witness.rules)
    text = f"`{role}` reaches `{tool}`, which is outside its `tools`: {witness.outcome} by {by}"
    case = _case(f"{role} does not reach {tool}", witness, {"outcome": str(Outcome.DENY)})
    return Finding(who=role, tool=tool, text=text, example=witness, case=case)


def _scoped(agent: Holder, charters: Mapping[str, Charter]) -> Result:
    held = tuple(scope for role in agent.roles if role in charters for scope in charters[role].tools)
    outside = [scope for scope in agent.scopes if not scope_within(scope, held)]
    found = tuple(
        Finding(who=agent.name, tool=scope, text=f"scope `{scope}` of `{agent.name}` reaches outside the `tools` of its roles")
        for scope in outside
    )
    return Result(who=agent.name, proven="its scopes stay within the `tools` of its roles", findings=found)


def _approving(approver: Approver, charters: Sequence[Charter]) -> Result:
    allowed = [scope for charter in charters for scope in charter.approves]
    outside = [tool for tool in approver.cells if not any(covers(scope, tool) for scope in allowed)]
    found = tuple(finding for tool in outside for finding in _asked(approver, tool))
    proven = f"is asked about none of the {len(outside)} tools outside `approves`" if outside else "no tool lies outside `approves`"
    return Result(who=approver.name, proven=proven, findings=found)


def _asked(approver: Approver, tool: str) -> Iterator[Finding]:
    cell, who = approver.cells[tool], approver.name
    for rule, witness in cell.seen.items():
        text = f"`{rule}` lets `{who}` approve `{tool}`, which is outside `approves`"
        expect = {"outcome": str(Outcome.APPROVAL_NEEDED), "rules": [rule]}
        case = _case(f"{rule} asks {who} about {tool}", witness, expect) if rule != SAFE_MODE else None
        yield Finding(who=who, tool=tool, text=text, example=witness, case=case)
    for rule in cell.unproven:
        text = (
            f"not proven that `{rule}` cannot let `{who}` approve `{tool}`, which is outside `approves`; no call was found either"
        )
        yield Finding(who=who, tool=tool, text=text)


def _case(name: str, witness: Witness, expect: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "input": dict(witness.given), "expect": dict(expect)}


def _roles(approver: Approver, people: Sequence[Holder]) -> list[str]:
    if approver.name.startswith(PEOPLE):
        return [approver.name.removeprefix(PEOPLE)]
    return [role for person in people if person.name == approver.name for role in person.roles]


def as_yaml(case: Mapping[str, Any]) -> str:
    """A test as it can be pasted below `tests:`."""
    lines = [f"- name: {scalar(case['name'])}", "  input:"]
    lines += [f"    {scalar(path)}: {inline(value)}" for path, value in case["input"].items()]
    return "\n".join([*lines, f"  expect: {inline(case['expect'])}"])


def inline(value: Any) -> str:
    """A value of an input in one line, as YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {inline(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(inline, value)) + "]"
    return scalar(value)
