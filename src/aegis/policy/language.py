"""The policy language `aegis.policy/v1`: from a YAML document to a checked `Policy`.

The sets of keys, paths and operators are closed and there are no embedded expressions, so that a set can be analysed and compiled
to other engines. Whatever is not understood refuses to load, at its place in the file; nothing is ever skipped.

    node          walks the document, knows places and near words
    toollines     contract lines          places      what a rule may read
    conditions    conditions              operands    what stands to the right of an operator
    past          history conditions      contracts   lines drawn from contracts
    obligations   redaction               rules       rules          cases    tests
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from aegis.crypto.canonical import canon_numbers
from aegis.crypto.digest import sha256
from aegis.model import document
from aegis.model.contract import Contract
from aegis.model.decision import Outcome
from aegis.model.node import Node, named
from aegis.policy.cases import cases
from aegis.policy.duration import duration
from aegis.policy.ir import Policy, RegoModule, Rule, Scalar, ToolLine
from aegis.policy.operands import SHAPES
from aegis.policy.places import CAP
from aegis.policy.rego_lines import rego_modules
from aegis.policy.rules import Ground, rules, warnings
from aegis.policy.toollines import is_dotted, is_name, tool_lines
from aegis.policy.zone import is_zone

API_VERSION = "aegis.policy/v1"
KIND = "PolicySet"
_TOP = ("apiVersion", "kind", "metadata", "spec")
SPEC = ("mode", "timezone", "lists", "tenant", "history", "tools", "rules", "rego", "tests")
MAX_RULES = 10_000


def load(
    text: str, *, source: str, contracts: Mapping[str, Contract] | None = None, files: Mapping[str, str] | None = None
) -> Policy:
    """The policy set in `text`; `source` names the file in errors.

    `contracts` are the registered ones that a tool's line may name, under any key; `files` the texts of the Rego modules that the
    set names, by their path below its directory.

    Raises:
        DocumentError: With `file:line:column`, what was found, what was expected, and the nearest valid word.
    """
    root = Node(document.parse(text, source=source))
    top = root.fields(_TOP, _TOP)
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word((KIND,))
    metadata = _metadata(top["metadata"])
    spec = top["spec"].fields(SPEC, ("tools", "rules"))
    ground = Ground(
        tools=tool_lines(spec["tools"], contracts or {}),
        lists=_lists(spec["lists"]) if "lists" in spec else {},
        tenant_shape=dict(_shape(spec["tenant"])) if "tenant" in spec else {},
        cap=_cap(spec["history"]) if "history" in spec else CAP,
    )
    if len(spec["rules"].items(empty=True)) > MAX_RULES:
        raise spec["rules"].fail(f"a set has at most {MAX_RULES} rules; split it by tenant or by tool")
    found = rules(spec["rules"], ground)
    rego = rego_modules(spec["rego"], ground.tools, files or {}) if "rego" in spec else ()
    return Policy(
        **metadata,
        digest=_digest(root.value, ground.tools, rego),
        shadow="mode" in spec and spec["mode"].word(("enforce", "shadow")) == "shadow",
        timezone=_timezone(spec["timezone"]) if "timezone" in spec else "UTC",
        lists=ground.lists,
        tenant_shape=ground.tenant_shape,
        tools=ground.tools,
        rules=found,
        tests=cases(spec["tests"], ground.tools, found, ground.tenant_shape) if "tests" in spec else (),
        warnings=tuple(_warnings(spec, ground.tools, found)),
        terms=dict(sorted(ground.terms.items())),
        rego=rego,
        text=text,
    )


def _digest(value: object, tools: Mapping[str, ToolLine], rego: tuple[RegoModule, ...]) -> str:
    """Digest of everything that the set means: the document, and what it names outside itself."""
    named = {line.name: line.contract_digest for line in tools.values() if line.contract_digest}
    modules = {module.file: sha256(module.text.encode()) for module in rego}
    beside = [{"contracts": named, "rego": modules}] if named or modules else []
    return sha256(*(canon_numbers(part) for part in [value, *beside]))


def _cap(node: Node) -> timedelta:
    """How long a window of history may be."""
    return duration(node.fields(("cap",), ("cap",))["cap"])


def _metadata(node: Node) -> dict[str, str]:
    fields = node.fields(("name", "tenant", "owner"), ("name", "tenant", "owner"))
    for key in ("name", "tenant"):
        if not is_dotted(fields[key].text()):
            raise fields[key].fail(f"`{key}` is a plain name: letters, digits, `_`, `-` and dots between them")
    return {key: child.text() for key, child in fields.items()}


def _lists(node: Node) -> dict[str, tuple[Scalar, ...]]:
    return {name: _list(name, child) for name, child in node.members().items()}


def _list(name: str, node: Node) -> tuple[Scalar, ...]:
    if not is_name(name):
        raise node.fail(f"`{name}` is not the name of a list: expected letters, digits, `_` and `-`")
    items = node.items(empty=True)
    for item in items:
        if type(item.value) not in (str, int) or type(item.value) is not type(items[0].value):
            raise item.fail(f"a list holds strings only or integers only, found {named(item.value)}")
    return tuple(item.value for item in items)


def _shape(node: Node, prefix: str = "") -> Iterable[tuple[str, str]]:
    """(path, type) of every place of the tenant's data."""
    for name, child in node.members().items():
        if not is_name(name):
            raise child.fail(f"`{name}` is not a plain name: expected letters, digits, `_` and `-`")
        if isinstance(child.value, dict):
            yield from _shape(child, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", child.word(SHAPES)


def _timezone(node: Node) -> str:
    text = node.text()
    if not is_zone(text):
        raise node.fail(f"`{text}` is not a time zone that this machine knows; expected a name such as Europe/Berlin or UTC")
    return text


def _warnings(spec: dict[str, Node], tools: dict[str, ToolLine], found: tuple[Rule, ...]) -> Iterable[str]:
    for index, rule in enumerate(found):
        yield from warnings(rule, spec["rules"].at(index))
    for name in tools:
        if not any(rule.effect is Outcome.ALLOW and rule.covers(name) for rule in found):
            yield str(spec["tools"].at(name).fail(f"warning: no rule allows `{name}`, so every call of it is denied"))


__all__ = ["Policy", "load"]
