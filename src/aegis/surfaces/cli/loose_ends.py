"""What a policy set or a message names and nothing beside it has: approvers, roles, versions of tools, members of results, agents.

Such a set loads, because directory and contracts may change without it. But a call would wait for nobody, a rule about a role that
no agent has never holds, and a redaction with a slip in its path removes nothing; `aegis check` says so.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from aegis.identity.directory import Directory
from aegis.model.contract import Contract
from aegis.model.decision import Stage
from aegis.model.message import MessageContract
from aegis.model.node import nearest
from aegis.model.queue import QueueContract
from aegis.policy.conditions import leaves
from aegis.policy.ir import Leaf, Literal, Op, Policy, Rule, ToolLine
from aegis.policy.pointer import tokens
from aegis.policy.versions import parse_version, within


def loose_ends(policy: Policy, directory: Directory, contracts: list[Contract]) -> Iterator[str]:
    """A sentence for each, with the place of its rule."""
    for rule in policy.rules:
        for text in (*_approvers(rule, directory), *_roles(rule, directory), *_members(rule, contracts)):
            yield f"warning: {rule.place}: {text}"
    for line in policy.tools.values():
        versions = [contract.version for contract in contracts if contract.name == line.name]
        if line.version and versions and not any(_meets(version, line) for version in versions):
            found = ", ".join(versions)
            yield f"warning: every call of `{line.name}` is denied: no registered version is {line.version_text}, found {found}"
    for contract in contracts:
        yield from (f"warning: {contract.source}: {text}" for text in _parties(contract, directory))


def _meets(version: str, line: ToolLine) -> bool:
    found = parse_version(version)
    return found is not None and within(found, line.version)


def _roles(rule: Rule, directory: Directory) -> Iterator[str]:
    """Roles that the rule compares with and no agent has."""
    known = {role for agent in directory.agents.values() for role in agent.roles}
    compared = [leaf for leaf in leaves(rule.when) if isinstance(leaf, Leaf) and leaf.path.text == "agent.roles"]
    named = {o.value for leaf in compared if leaf.op is Op.CONTAINS for o in leaf.operands if isinstance(o, Literal)}
    for role in sorted(str(name) for name in named - known):
        yield f"`{rule.id}` looks for the role `{role}`, which no agent of the directory has{nearest(role, known)}"


def _parties(contract: Contract, directory: Directory) -> Iterator[str]:
    """Senders and addressees of a message, and agents of a queue, that the directory does not have."""
    if isinstance(contract, QueueContract):
        for each in sorted(set(contract.agents) - set(directory.agents)):
            near = nearest(each, directory.agents)
            yield f"queue `{contract.queue}` names `{each}` under `agents`, whom the directory does not have{near}"
    if not isinstance(contract, MessageContract):
        return
    known = {*directory.agents, *(f"role:{role}" for agent in directory.agents.values() for role in agent.roles)}
    for place, named in (("from", contract.senders), ("to", contract.addressees)):
        for each in sorted(set(named) - known):
            near = nearest(each, known)
            yield f"message `{contract.type}` names `{each}` under `{place}`, whom the directory does not have{near}"


def _approvers(rule: Rule, directory: Directory) -> Iterator[str]:
    people = [each for each in directory.people.values() if each.enabled]
    known = {each.id for each in people} | {f"role:{role}" for each in people for role in each.roles}
    for wanted in sorted({each for some in rule.terms.approver_sets for each in some} - known) if rule.terms else ():
        yield f"`{rule.id}` asks `{wanted}`, whom the directory does not have{nearest(wanted, known)}"


def _members(rule: Rule, contracts: list[Contract]) -> Iterator[str]:
    for redaction in rule.redactions:
        if redaction.stage is not Stage.RESPONSE:
            continue
        for contract in contracts:
            parts = tokens(redaction.path)[1:]
            if (
                contract.name in rule.tools
                and contract.output_schema is not None
                and (known := _lacking(contract.output_schema, parts))
            ):
                near = nearest(parts[-1], known)
                yield f"`{redaction.path}` is nothing that the output of `{contract.name}` {contract.version} describes{near}"


def _lacking(schema: Any, parts: tuple[str, ...]) -> list[str]:
    """The members that a schema describes where it lacks the next one of a path; empty when it has it, or says too little."""
    for part in parts:
        if not isinstance(schema, Mapping):
            return []
        if isinstance(schema.get("properties"), Mapping) and part != "*":
            if part not in schema["properties"]:
                return sorted(schema["properties"])
            schema = schema["properties"][part]
        else:
            schema = schema.get("items") if schema.get("type") == "array" else None
    return []
