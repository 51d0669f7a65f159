"""What one decision may read, and how the value at a path is found. Absent, null and empty text are the same: nothing."""

from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Any

from aegis.model.facts import Facts
from aegis.model.principal import Link
from aegis.model.proposal import Proposal
from aegis.model.stated import NAMES as STATED
from aegis.policy.ir import Path, ToolLine
from aegis.policy.zone import local

Get = Callable[[Any], Any]
CLOCK = "clock"


class View:
    """The input of one decision. The local time is worked out when a rule asks for it."""

    __slots__ = ("_local", "args", "facts", "line", "parsed", "principal", "proposal", "zone")

    def __init__(
        self, proposal: Proposal, facts: Facts, parsed: Mapping[str, Mapping[str, Any]], zone: tzinfo, line: ToolLine
    ) -> None:
        self.proposal = proposal
        self.principal = proposal.principal
        self.args = proposal.arguments
        self.facts = facts
        self.parsed = parsed
        self.zone = zone
        self.line = line
        self._local: tuple[str, str] | None = None

    @property
    def local(self) -> tuple[str | None, str | None]:
        """(`HH:MM`, weekday) in the zone of the set; nothing when the clock could not be read."""
        if CLOCK in self.facts.stale:
            return None, None
        if self._local is None:
            self._local = local(self.facts.now, self.zone)
        return self._local

    @property
    def environment(self) -> str | None:
        """The environment; nothing when proposal and facts name different ones, because then neither can be trusted."""
        said, seen = self.proposal.environment, self.facts.environment
        if said and seen and said != seen:
            return None
        return said or seen or None


_FIXED: dict[str, Callable[[View], Any]] = {
    "tenant": lambda view: view.principal.tenant or None,
    "environment": lambda view: view.environment,
    "tool": lambda view: view.proposal.tool,
    "version": lambda view: view.proposal.tool_version or None,
    "agent.id": lambda view: view.principal.agent_id or None,
    "agent.roles": lambda view: view.principal.roles,
    "agent.trust": lambda view: view.principal.trust,
    "agent.scopes": lambda view: view.principal.scopes,
    "subject.id": lambda view: view.principal.subject or None,
    "chain": lambda view: view.principal.chain,
    "run.id": lambda view: view.principal.txn or None,
    "run.task": lambda view: view.principal.task or None,
    "now.time": lambda view: view.local[0],
    "now.weekday": lambda view: view.local[1],
    "labels.call": lambda view: view.facts.call_labels,
    "labels.run": lambda view: view.facts.run_labels,
    "tool_labels.emits": lambda view: view.line.labels.emits,
    "tool_labels.sink": lambda view: view.line.labels.sink or None,
    "tool_labels.source": lambda view: view.line.labels.source or None,
    "tool_labels.region": lambda view: view.line.labels.region or None,
}
_LINK: dict[str, Callable[[Link], Any]] = {"id": lambda link: link.agent_id or None, "trust": lambda link: link.trust}


def getter(path: Path) -> Get:
    """A function from the view to the value at `path`."""
    fixed = _FIXED.get(path.text)
    if fixed is not None:
        return fixed
    root, names = path.parts[0], path.parts[1:]
    if root == "history":
        (term,) = names
        return lambda view: view.facts.history.get(term)
    if path.text in STATED:
        stated = path.text
        return lambda view: view.facts.stated.get(stated)
    if root == "parsed":
        argument, part = names
        return lambda view: found.get(part) if (found := view.parsed.get(argument)) is not None else None
    assert root == "args", "the language knows no other root"
    if len(names) == 1:
        (name,) = names
        return lambda view: view.args.get(name)
    return lambda view: walk(view.args, names)


def element_getter(path: Path, *, of_chain: bool) -> Get:
    """A function from an element of an array to the value at `path` in it."""
    if of_chain:
        return _LINK[path.parts[0]]
    parts = path.parts
    return lambda element: walk(element, parts)


def walk(value: Any, names: tuple[str, ...]) -> Any:
    """What stands below `value`; nothing when the way leads through something other than an object."""
    for name in names:
        if type(value) is not dict:
            return None
        value = value.get(name)
    return value
