"""The input document: everything that rules can read about one call, as plain JSON.

It holds what native evaluation sees in its view, place by place, with null for nothing; the host works out local time and the parts
of URLs and addresses. An argument whose text has no single reading has no parts, and then the contract is violated in both engines.

OPA takes `1` and `1.0` for one value (it even remembers the result of a function for both), while rules tell an integer from a
float. So a float without a fraction is written as `0.5` wherever no argument of type `number` stands: rules can ask nothing of it
but that it is no integer. Hand-written Rego could ask more, so such a call of its tools is refused.
"""

from collections.abc import Mapping
from typing import Any

from aegis.crypto.ijson import MAX_INTEGER
from aegis.errors import CanonicalError
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.hosts import Ambiguous
from aegis.policy.ir import Kind, Labels, Policy, ToolLine
from aegis.policy.parsed import READERS
from aegis.policy.view import CLOCK
from aegis.policy.zone import local, zone

NO_INTEGER = 0.5
Parts = Mapping[str, Mapping[str, Any]]


def document(proposal: Proposal, facts: Facts, policy: Policy, parsed: Parts | None = None) -> dict[str, Any]:
    """The input for the entry point of `policy`; `parsed` are the parts of arguments, if the caller has them already.

    Raises:
        CanonicalError: The call has no form that every reader of JSON holds alike (NaN, a number beyond 2^53 - 1, a lone
            surrogate). Deny it: no engine can be asked.
    """
    line = policy.tools.get(proposal.tool)
    found = {
        "tenant": proposal.principal.tenant or None,
        "environment": _environment(proposal, facts),
        "tool": proposal.tool,
        "version": proposal.tool_version or None,
        **_principal(proposal),
        "args": proposal.arguments,
        "parsed": parts(proposal, line) if parsed is None else parsed,
        "now": _now(facts, policy),
        "labels": {"call": _listed(facts.call_labels), "run": _listed(facts.run_labels)},
        "tool_labels": _labels(line.labels if line else Labels()),
        **{group: _stated(facts, group) for group in ("budget", "risk", "confidence")},
        "history": {name: facts.history.get(name) for name in policy.terms},
    }
    check(found)
    return found | {"args": _written(proposal, policy)}


def _written(proposal: Proposal, policy: Policy) -> Any:
    """The arguments with what stands for floats."""
    line = policy.tools.get(proposal.tool)
    if line is None or type(proposal.arguments) is not dict:
        return proposal.arguments
    numbers = {name for name, argument in line.args.items() if argument.kind is Kind.NUMBER}
    strict = any(line.name in module.tools for module in policy.rego)
    try:
        return {
            name: value if name in numbers else _apart(value, strict=strict) for name, value in proposal.arguments.items()
        }  # fmt: skip
    except RecursionError:
        raise CanonicalError("nested too deeply") from None


def _apart(value: Any, *, strict: bool) -> Any:
    kind = type(value)
    if kind is dict:
        return {name: _apart(child, strict=strict) for name, child in value.items()}
    if kind is list:
        return [_apart(child, strict=strict) for child in value]
    if kind is not float or not value.is_integer():
        return value
    if strict:
        raise CanonicalError("a float without a fraction, which Rego takes for an integer")
    return NO_INTEGER


def parts(proposal: Proposal, line: ToolLine | None) -> dict[str, Mapping[str, Any]]:
    """The parts of URL and e-mail arguments; what cannot be read has none."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, argument in line.args.items() if line and type(proposal.arguments) is dict else ():
        value = proposal.arguments.get(name)
        if argument.kind in READERS and type(value) is str:
            try:
                found[name] = READERS[argument.kind](value)
            except Ambiguous:
                continue
    return found


def check(value: Any) -> None:
    """Whether a document means the same to every reader of JSON.

    Raises:
        CanonicalError: It does not; the message says why, never what stood there.
    """
    stack = [value]
    while stack:
        item = stack.pop()
        kind = type(item)
        if kind is dict:
            stack.extend(item)
            stack.extend(item.values())
            if not all(type(key) is str for key in item):
                raise CanonicalError("object keys must be strings")
        elif kind is list:
            stack.extend(item)
        elif kind is str:
            _check_text(item)
        elif kind is int or kind is float:
            _check_number(item)
        elif kind is not bool and item is not None:
            raise CanonicalError(f"`{kind.__name__}` has no form in JSON")


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise CanonicalError("a lone surrogate has no form in JSON") from None


def _check_number(number: float) -> None:
    if not abs(number) <= MAX_INTEGER:  # false for NaN as well
        raise CanonicalError("a number beyond 2^53 - 1, NaN or infinity")


def _environment(proposal: Proposal, facts: Facts) -> str | None:
    """The environment; nothing when proposal and facts name different ones."""
    said, seen = proposal.environment, facts.environment
    if said and seen and said != seen:
        return None
    return said or seen or None


def _principal(proposal: Proposal) -> dict[str, Any]:
    who = proposal.principal
    return {
        "agent": {"id": who.agent_id or None, "roles": list(who.roles), "scopes": list(who.scopes), "trust": who.trust},
        "subject": {"id": who.subject or None},
        "chain": [{"id": link.agent_id or None, "trust": link.trust} for link in who.chain],
        "run": {"id": who.txn or None, "task": who.task or None},
    }


def _now(facts: Facts, policy: Policy) -> dict[str, str | None]:
    time, weekday = (None, None) if CLOCK in facts.stale else local(facts.now, zone(policy.timezone))
    return {"time": time, "weekday": weekday}


def _listed(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)


def _labels(labels: Labels) -> dict[str, Any]:
    return {
        "emits": list(labels.emits),
        "sink": labels.sink or None,
        "source": labels.source or None,
        "region": labels.region or None,
    }


def _stated(facts: Facts, group: str) -> dict[str, int]:
    """The numbers of one group that the issuer of the token signed."""
    return {name.removeprefix(f"{group}."): value for name, value in facts.stated.items() if name.startswith(f"{group}.")}
