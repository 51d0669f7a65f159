"""Hand-written Rego beside the rules: which modules are safe to load.

A module has the package `aegis_<tenant>.custom.<name>` and defines the partial set `hits`. A hit is an object {id, effect, live},
with `redactions` where it sanitizes and `terms` where it needs an approval; its id starts with `<name>.` and stands for one effect.
What has another shape denies.

    package aegis_acme.custom.fx

    hits contains {"id": "fx.exposure", "effect": "deny", "live": true} if input.args.amount_minor > 5000000

It may read the input, `aegis.lib`, and the roots of its own tenant. It may call what is pure and ends soon: a real OPA does send
HTTP requests, and reads its clock and environment, if a module asks it to. The text is searched here without any OPA, strictly;
where an OPA parser is at hand, `tree_problems` looks at the syntax tree as well.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aegis.errors import ConfigError
from aegis.policy.ir import Policy, RegoModule
from aegis.policy.rego.names import identifier, root

HITS = "hits"
Parse = Callable[[str], Mapping[str, Any]]
"""From the text of a module to its syntax tree as `opa parse --format json` writes it; `ValueError` when it is not Rego."""

BUILTINS = frozenset(
    """
    abs array.concat array.flatten array.reverse array.slice bits.and bits.lsh bits.negate bits.or bits.rsh bits.xor
    ceil concat contains count endswith floor format_int indexof intersection is_array is_boolean is_null is_number is_object is_set
    is_string json.marshal max min object.filter object.get object.keys object.remove object.subset object.union
    product regex.match replace round semver.compare semver.is_valid sort split sprintf startswith strings.any_prefix_match
    strings.any_suffix_match strings.count strings.reverse substring sum to_number trim trim_left trim_prefix trim_right trim_space
    trim_suffix union
    """.split()  # noqa: SIM905 - a table
)
_REFUSED = frozenset(
    """
    all any cast_array cast_boolean cast_null cast_object cast_set cast_string indexof_n lower print re_match set_diff trace upper
    walk
    """.split()  # noqa: SIM905
)
"""Builtins without a dot in their name that are not allowed: a line that calls one does not define it."""
_OPERATORS = frozenset(
    "and assign div eq equal gt gte internal.member_2 internal.member_3 lt lte minus mul neq or plus rem".split()  # noqa: SIM905
)
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_SKIPPED = re.compile(r'#[^\n]*|"(?:[^"\\\n]|\\.)*"|`[^`]*`')
_WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_CHAIN = re.compile(rf"{_WORD}(?:\.{_WORD}|\[\s*Str0\s*\])*", re.ASCII)  # to OPA, what does not touch is something else
_HEAD = re.compile(rf"^({_WORD})\(", re.ASCII | re.MULTILINE)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
_KEYWORDS = frozenset("if contains in every some not else default import package as set".split())  # noqa: SIM905
_STANDS_FOR_TEXT = "Str0"


def name_of(module: RegoModule, tenant: str) -> str:
    """The name of a module, from its package.

    Raises:
        ConfigError: The first statement is not the package of a module of this tenant.
    """
    prefix = f"{root(tenant)}.custom."
    # Lines end where OPA ends them: `str.splitlines` would also split a comment at a form feed, and find another package there.
    first = next((line for line in map(str.strip, module.text.split("\n")) if line and not line.startswith("#")), "")
    package = first.removeprefix("package ").strip()
    name = package.removeprefix(prefix)
    if not first.startswith("package ") or not package.startswith(prefix) or not _NAME.fullmatch(name):
        raise ConfigError(f"`{module.file}`: expected `package {prefix}<name>` as its first line, a lower-case name")
    return name


def problems(policy: Policy, parse: Parse | None = None) -> tuple[str, ...]:
    """What is wrong with the hand-written modules of a set; nothing may be loaded unless this is empty."""
    found: list[str] = []
    names: dict[str, str] = {}
    for module in policy.rego:
        try:
            name = name_of(module, policy.tenant)
        except ConfigError as error:
            found.append(str(error))
            continue
        if name in names:
            found.append(f"`{module.file}` has the package of `{names[name]}`; give it another name")
        names[name] = module.file
        taken = [rule.id for rule in policy.rules if rule.id.startswith(f"{name}.")]
        found += [f"rule `{each}` has an id that belongs to `{module.file}`; rename one of them" for each in taken]
        found += [f"`{module.file}`: {each}" for each in text_problems(module.text, policy.tenant)]
        found += [f"`{module.file}`: {each}" for each in _parsed_problems(module.text, policy.tenant, parse)]
    return tuple(dict.fromkeys(found))


def text_problems(text: str, tenant: str) -> tuple[str, ...]:
    """What a search of the text finds: imports, calls and references that a module may not have."""
    if not text.isascii():
        return ("it holds a character outside ASCII; write it as an escape in a string",)
    if _CONTROL.search(text):
        return ("it holds a control character, which readers could take for the end of a line",)
    if _STANDS_FOR_TEXT in text:
        return (f"the name `{_STANDS_FOR_TEXT}` is taken",)
    if "$" in _SKIPPED.sub("", text):
        return ('texts with expressions inside (`$"..."`) are not allowed',)
    # Spaces keep a text apart from a keyword that touches it (`if"a"`), or every later text would be taken for the one before it.
    plain = _SKIPPED.sub(lambda match: "" if match.group().startswith("#") else f" {_STANDS_FOR_TEXT} ", text)
    found = [*_import_problems(text, tenant), *_chain_problems(plain, text, tenant)]
    if re.search(rf"^{HITS}\s+contains\b", plain, re.MULTILINE) is None:
        found.append(f"it does not define the set `{HITS}` (`{HITS} contains {{...}} if {{...}}`)")
    if len(re.findall(r"^\s*package\b", plain, re.MULTILINE)) != 1:
        found.append("it has more than one package")
    return tuple(dict.fromkeys(found))


def tree_problems(tree: Mapping[str, Any], tenant: str) -> tuple[str, ...]:
    """What the syntax tree shows: the same questions, asked of what OPA has read."""
    own = {str(rule.get("head", {}).get("name", "")) for rule in tree.get("rules") or ()}
    found = [] if HITS in own else [f"it does not define the set `{HITS}`"]
    package = _static(tree.get("package", {}).get("path"))
    if not package.startswith(f"data.{root(tenant)}.custom."):
        found.append(f"its package is `{package}`")
    for each in tree.get("imports") or ():
        path = _static(each.get("path", {}).get("value"))
        if "alias" in each or not _importable(path, tenant):
            found.append(f"it imports `{path}`")
    for node in _nodes(tree.get("rules")):
        found += _node_problems(node, own, tenant)
    return tuple(dict.fromkeys(found))


def _parsed_problems(text: str, tenant: str, parse: Parse | None) -> tuple[str, ...]:
    if parse is None:
        return ()
    try:
        return tree_problems(parse(text), tenant)
    except ValueError as error:
        return (f"OPA cannot read it: {error}",)


def _import_problems(text: str, tenant: str) -> Iterator[str]:
    for line in text.split("\n"):
        words = line.split("#")[0].split()
        if words[:1] == ["import"] and (len(words) != 2 or not _importable(words[1], tenant)):
            yield f"it imports `{' '.join(words[1:])}`; it may import `rego.v1` and `data.aegis.lib`, without another name"


def _importable(path: str, tenant: str) -> bool:
    return path in ("rego.v1", "data.aegis.lib") or path.startswith(f"data.{root(tenant)}.custom.")


def _readable(path: str, tenant: str) -> bool:
    """Whether a reference below `data` keeps to what a module may read."""
    roots = ("data.aegis.lib", f"data.{root(tenant)}", f"data.aegisdata.{identifier(tenant)}")
    return any(f"{path}.".startswith(f"{each}.") for each in roots)


def _chain_problems(plain: str, text: str, tenant: str) -> Iterator[str]:
    """Each name with its dots and literal brackets, and whether it is called."""
    strings = iter(match.group() for match in _SKIPPED.finditer(text) if not match.group().startswith("#"))
    local = set(_HEAD.findall(plain)) - _REFUSED
    for match in _CHAIN.finditer(plain):
        chain = _joined(match.group(), strings)
        called = plain[match.end() :].lstrip(" \t")[:1] == "("
        yield from _judged(chain, local, tenant, called=called and chain not in _KEYWORDS)
    if re.search(r"\]\s*\(|[)}]\(|\bStr0\s*\(", re.sub(r"\[\s*Str0\s*\]", "", plain)):
        yield "it calls something that is looked up; name what is called"


def _joined(chain: str, strings: Iterator[str]) -> str:
    """`a["b"]` as `a.b`."""
    if chain == _STANDS_FOR_TEXT:
        next(strings, "")
        return ""
    return ".".join(next(strings, "")[1:-1] if part == _STANDS_FOR_TEXT else part for part in re.findall(_WORD, chain))


def _judged(chain: str, local: set[str], tenant: str, *, called: bool) -> Iterator[str]:
    head = chain.partition(".")[0]
    if chain == "with":
        yield "`with` is not allowed: it replaces what others decide on"
    elif head == "data":
        if not _readable(chain, tenant):
            yield f"it reads `{chain}`; below `data` it may read `data.aegis.lib` and the roots of its own tenant"
    elif called and chain not in BUILTINS and chain not in local and head != "lib":
        yield f"it calls `{chain}`, which is not one of the functions that a module may call"


def _nodes(value: Any) -> Iterator[dict[str, Any]]:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            yield item
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)


def _node_problems(node: dict[str, Any], own: set[str], tenant: str) -> Iterator[str]:
    if "with" in node:
        yield "`with` is not allowed: it replaces what others decide on"
    if node.get("type") == "templatestring":
        yield "texts with expressions inside are not allowed"
    if node.get("type") == "ref":
        path = _static(node.get("value"))
        if path.partition(".")[0] == "data" and not _readable(path, tenant):
            yield f"it reads `{path}`; below `data` it may read `data.aegis.lib` and the roots of its own tenant"
    operator = _operator(node)
    if operator and not _callable(operator, own, tenant):
        yield f"it calls `{operator}`, which is not one of the functions that a module may call"


def _operator(node: dict[str, Any]) -> str:
    """What a node calls; empty when it calls nothing."""
    called = node.get("value") if node.get("type") == "call" else node.get("terms") if "index" in node else None
    if not isinstance(called, list) or not called:
        return ""
    return _static(called[0].get("value")) or "an expression"


def _callable(name: str, own: set[str], tenant: str) -> bool:
    return name in BUILTINS | _OPERATORS | own or name.startswith("lib.") or (name.startswith("data.") and _readable(name, tenant))


def _static(parts: Any) -> str:
    """The names of a reference as far as they are fixed."""
    names: list[str] = []
    for part in parts if isinstance(parts, list) else ():
        if part.get("type") not in ("var", "string") or (names and part.get("type") == "var"):
            break
        names.append(str(part.get("value")))
    return ".".join(names)
