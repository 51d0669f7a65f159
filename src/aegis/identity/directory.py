"""Who exists in a tenant: agents with what they may hold at most, people with their roles, and what each role is for.

The section `spec.roles` is optional. Where it stands, it is complete: a role that an agent or a person has and that it does not
define is refused, because a slip in a name would otherwise be a role that nothing is said about. What a role may reach is not
enforced by being written here: `aegis access check` proves that policy and scopes keep to it.
"""

import re
from collections.abc import Collection

from msgspec import Struct

from aegis.model.document import Document
from aegis.model.node import Node, nearest

API_VERSION = "aegis.directory/v1"
AGENT = re.compile(r"agent:[a-z0-9][a-z0-9._-]{0,62}")
PERSON = re.compile(r"person:[a-z0-9][a-z0-9._-]{0,62}")
TENANT = re.compile(r"[a-z][a-z0-9-]{0,62}")
_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_AGENT_KEYS = ("roles", "scopes", "trust", "enabled", "owner", "may_delegate_to", "proof", "prompt")
_SCOPE = re.compile(r"\*|[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)*(?:\.\*)?")
MAX_TRUST = 5


class AgentEntry(Struct, frozen=True, kw_only=True):
    """An agent: the roles and scopes that its tokens may hold at most, and how far it is trusted (0 to 5).

    `may_delegate_to` names the agents that it may hand tasks to: nobody when it is empty; `None`: the directory does not limit it.
    `proof_required`: its tokens must be bound to a key whose possession every request proves (RFC 9449). `prompt` is the file with
    the instructions that it runs under, relative to the directory's own folder and never outside of it; empty: none is pinned.
    """

    id: str
    roles: tuple[str, ...]
    scopes: tuple[str, ...]
    trust: int = 0
    enabled: bool = True
    owner: str = ""
    may_delegate_to: tuple[str, ...] | None = None
    proof_required: bool = False
    prompt: str = ""


class PersonEntry(Struct, frozen=True, kw_only=True):
    """A person, who may approve where a rule names one of the roles.

    `automatic`: no human, but a guardrail, a program with a key of its own that answers approvals.
    """

    id: str
    roles: tuple[str, ...]
    enabled: bool = True
    automatic: bool = False


class RoleEntry(Struct, frozen=True, kw_only=True):
    """What a role is for: the tools that it may reach, and those whose held calls its people may approve (both as scopes)."""

    name: str
    tools: tuple[str, ...] = ()
    approves: tuple[str, ...] = ()
    description: str = ""


class Directory(Struct, frozen=True, kw_only=True):
    """Everybody of one tenant, by id. `roles` is `None` where the directory does not say what its roles are for."""

    tenant: str
    agents: dict[str, AgentEntry]
    people: dict[str, PersonEntry]
    roles: dict[str, RoleEntry] | None = None


def parse_directory(document: Document) -> Directory:
    """The directory that a document states.

    Raises:
        DocumentError: With the place, what was found and what was expected.
    """
    top = Node(document).fields(("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "metadata", "spec"))
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word(("Directory",))
    meta = top["metadata"].fields(("tenant", "owner"), ("tenant",))
    spec = top["spec"].fields(("agents", "people", "roles"), ("agents",))
    roles = {name: _role(name, node) for name, node in spec["roles"].members().items()} if "roles" in spec else None
    for section in ("agents", "people") if roles is not None else ():
        _require_defined(spec.get(section), roles or {})
    agents = {name: _agent(name, node) for name, node in spec["agents"].members().items()}
    for name, node in spec["agents"].members().items():
        for other in agents[name].may_delegate_to or ():
            if other not in agents:
                raise node.at("may_delegate_to").fail(f"`{other}` is not an agent of this directory")
    people = {name: _person(name, node) for name, node in spec["people"].members().items()} if "people" in spec else {}
    return Directory(
        tenant=_match(meta["tenant"], TENANT, "a tenant name such as `acme`"), agents=agents, people=people, roles=roles
    )


def _agent(name: str, node: Node) -> AgentEntry:
    if not AGENT.fullmatch(name):
        raise node.fail("expected an id such as `agent:planner`")
    parts = node.fields(_AGENT_KEYS, ("roles", "scopes"))
    return AgentEntry(
        id=name,
        roles=_texts(parts["roles"], _ROLE, "a role such as `treasury`"),
        scopes=_texts(parts["scopes"], _SCOPE, "a tool, `prefix.*` or `*`"),
        trust=parts["trust"].integer(0, MAX_TRUST) if "trust" in parts else 0,
        enabled=parts["enabled"].flag() if "enabled" in parts else True,
        owner=parts["owner"].text() if "owner" in parts else "",
        may_delegate_to=_texts(parts["may_delegate_to"], AGENT, "an agent id") if "may_delegate_to" in parts else None,
        proof_required="proof" in parts and parts["proof"].word(("required", "optional")) == "required",
        prompt=_match(parts["prompt"], _FILE, "a file in this folder such as `prompts/planner.md`") if "prompt" in parts else "",
    )


def _person(name: str, node: Node) -> PersonEntry:
    if not PERSON.fullmatch(name):
        raise node.fail("expected an id such as `person:alice`")
    parts = node.fields(("roles", "enabled", "automatic"), ("roles",))
    return PersonEntry(
        id=name,
        roles=_texts(parts["roles"], _ROLE, "a role such as `oncall`"),
        enabled=parts["enabled"].flag() if "enabled" in parts else True,
        automatic=parts["automatic"].flag() if "automatic" in parts else False,
    )


def _role(name: str, node: Node) -> RoleEntry:
    if not _ROLE.fullmatch(name):
        raise node.fail("expected a role such as `treasury`")
    parts = node.fields(("description", "tools", "approves"))
    return RoleEntry(
        name=name,
        tools=_texts(parts["tools"], _SCOPE, "a tool, `prefix.*` or `*`") if "tools" in parts else (),
        approves=_texts(parts["approves"], _SCOPE, "a tool, `prefix.*` or `*`") if "approves" in parts else (),
        description=parts["description"].text() if "description" in parts else "",
    )


def _require_defined(section: Node | None, roles: Collection[str]) -> None:
    """Refuse an agent or a person with a role that `spec.roles` does not define."""
    for node in section.members().values() if section else ():
        for item in node.at("roles").items(empty=True) if "roles" in node.members() else ():
            told = _match(item, _ROLE, "a role such as `treasury`")
            if told not in roles:
                raise item.fail(f"role `{told}` is not defined under `spec.roles`{nearest(told, roles)}")


def _texts(node: Node, pattern: re.Pattern[str], expected: str) -> tuple[str, ...]:
    return tuple(_match(item, pattern, expected) for item in node.items(empty=True))


def _match(node: Node, pattern: re.Pattern[str], expected: str) -> str:
    text = node.text()
    if not pattern.fullmatch(text):
        raise node.fail(f"expected {expected}")
    return text
