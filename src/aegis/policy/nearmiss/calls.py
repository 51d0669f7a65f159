"""From values at the places of a condition to the input of a test: arguments are put together, hosts become URLs again."""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.model.stated import NAMES as STATED
from aegis.policy.ir import Kind, Policy, Rule, ToolLine
from aegis.policy.nearmiss.solve import Chosen, nested
from aegis.policy.nearmiss.values import ABSENT, sample
from aegis.policy.parsed import PORTS
from aegis.policy.pointer import tokens
from aegis.policy.selftest import call

_EMPTY_IS_ABSENT = frozenset({"environment", "subject.id", "run.id", "run.task"})
_UNKNOWN_IF_LEFT_OUT = ("budget.", "risk.", "confidence.", "history.")
_HOSTS = {"ipv4": "192.0.2.1", "ipv6": "2001:db8::1", "name": "host.example"}


def given_already(line: ToolLine, tenant: str) -> dict[str, Any]:
    """Places whose value follows from the tool that is called and from the tenant of the set."""
    labels = line.labels
    return {
        "tool": line.name,
        "tenant": tenant,
        "tool_labels.emits": list(labels.emits),
        "tool_labels.sink": labels.sink or ABSENT,
        "tool_labels.source": labels.source or ABSENT,
        "tool_labels.region": labels.region or ABSENT,
    }


def assemble(chosen: Chosen, line: ToolLine) -> dict[str, Any] | None:
    """The input of a test (paths to values) that puts the chosen values in their places; nothing when that cannot be."""
    given: dict[str, Any] = {"tool": line.name}
    arguments = nested({name[5:]: value for name, value in _by_depth(chosen) if name.startswith("args.")}, {})
    gone = {name[5:] for name, value in chosen.items() if name.startswith("args.") and value is ABSENT and name.count(".") == 1}
    for name in {name.split(".")[1] for name in chosen if name.startswith("parsed.")}:
        text = _text(line.args[name].kind, _parts(chosen, name))
        arguments |= {name: text} if text is not ABSENT else {}
        gone |= {name} if text is ABSENT else set()
    if gone & arguments.keys() or any(not line.args[name].optional for name in gone):
        return None
    for name, value in chosen.items():
        if name.startswith(("args.", "parsed.", "tool_labels.")) or name in ("tool", "tenant"):
            continue
        if value is ABSENT and name.startswith(_UNKNOWN_IF_LEFT_OUT):
            continue
        if value is ABSENT and name not in _EMPTY_IS_ABSENT:
            return None
        given[name] = "" if value is ABSENT else value
    return (
        given
        | {f"args.{name}": value for name, value in arguments.items()}
        | dict.fromkeys((f"args.{name}" for name in gone), ABSENT)
    )


def whole_call(policy: Policy, given: Mapping[str, Any], tenant_data: Mapping[str, Any] | None = None) -> tuple[Proposal, Facts]:
    """A whole call around an input, with the readings that it names."""
    proposal, facts = call(policy, {"tenant": policy.tenant, **given}, tenant_data)
    labels = {part: tuple(given[f"labels.{part}"]) for part in ("call", "run") if f"labels.{part}" in given}
    readings = replace(
        facts,
        history=dict(facts.history) | {name[8:]: value for name, value in given.items() if name.startswith("history.")},
        stated=dict(facts.stated) | {name: value for name, value in given.items() if name in STATED},
        call_labels=labels.get("call", facts.call_labels),
        run_labels=labels.get("run", facts.run_labels),
    )
    return proposal, readings


def edited(rule: Rule, line: ToolLine) -> dict[str, Any]:
    """What must stand in the arguments for a rule that edits them to have something to edit."""
    found: dict[str, Any] = {}
    for each in rule.redactions:
        head, name, *rest = tokens(each.path)
        if head != "args" or name not in line.args:
            continue
        found[".".join(("args", name, *rest))] = "sample" if rest else sample(line.args[name].kind)
    return found


def _by_depth(chosen: Chosen) -> list[tuple[str, Any]]:
    return sorted(chosen.items(), key=lambda item: item[0].count("."))


def _parts(chosen: Chosen, name: str) -> Mapping[str, Any]:
    start = f"parsed.{name}."
    return {key.removeprefix(start): value for key, value in chosen.items() if key.startswith(start)}


def _text(kind: Kind, parts: Mapping[str, Any]) -> str | None:
    """The text that is read as these parts: absent when a part is that always stands there, empty when it cannot be."""
    if any(value is ABSENT for name, value in parts.items() if name != "query"):
        return ABSENT
    if any(type(value) is not (int if name == "port" else str) for name, value in parts.items() if value is not ABSENT):
        return ""
    if kind is Kind.EMAIL:
        return f"{parts.get('local', 'someone')}@{parts.get('domain', 'mail.example')}"
    scheme = parts.get("scheme", "https")
    host = parts.get("host", _HOSTS.get(parts.get("host_kind", "name"), "host.example"))
    port = parts.get("port", PORTS.get(scheme))
    shown = "" if port == PORTS.get(scheme) else f":{port}"
    query = parts.get("query")
    tail = parts.get("path", "/") + ("" if query is ABSENT else f"?{query}")
    return f"{scheme}://{f'[{host}]' if ':' in str(host) else host}{shown}{tail}"
