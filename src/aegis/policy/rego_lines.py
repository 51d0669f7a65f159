"""Read `spec.rego`: hand-written Rego beside the rules, for what the closed language cannot say.

    rego: [{file: custom/fx.rego, tools: [fx.trade]}]

The tools that a module names are decided by a real OPA, together with the rules of the set; what a module may do is checked there.
"""

from collections.abc import Mapping

from aegis.model.node import Node, choices, nearest
from aegis.policy.ir import RegoModule, ToolLine

MAX_CHARACTERS = 256 * 1024


def rego_modules(node: Node, tools: Mapping[str, ToolLine], files: Mapping[str, str]) -> tuple[RegoModule, ...]:
    """The modules at `spec.rego`; `files` maps a path below the set's directory to its text."""
    found: dict[str, RegoModule] = {}
    for item in node.items(empty=True):
        fields = item.fields(("file", "tools"), ("file", "tools"))
        name = _path(fields["file"])
        if name in found:
            raise fields["file"].fail(f"`{name}` stands here twice")
        if name not in files:
            raise fields["file"].fail(f"`{name}` does not lie beside the set{nearest(name, files)}")
        if len(files[name]) > MAX_CHARACTERS:
            raise fields["file"].fail(f"`{name}` has more than {MAX_CHARACTERS} characters")
        found[name] = RegoModule(file=name, text=files[name], tools=_tools(fields["tools"], tools))
    return tuple(found.values())


def rego_files(value: object) -> tuple[str, ...]:
    """The files that a document names, as far as it is well formed: to be read before the set is loaded."""
    spec = value.get("spec") if isinstance(value, dict) else None
    lines = spec.get("rego") if isinstance(spec, dict) else None
    named = [line.get("file") for line in lines if isinstance(line, dict)] if isinstance(lines, list) else []
    return tuple(name for name in named if isinstance(name, str) and not _complaint(name))


def _path(node: Node) -> str:
    name = node.text()
    if wrong := _complaint(name):
        raise node.fail(wrong)
    return name


def _complaint(name: str) -> str:
    """What is wrong with the path of a module; empty when it lies below the set's directory."""
    parts = name.split("/")
    if not name.endswith(".rego") or any(part in ("", ".", "..") or part.startswith(".") for part in parts) or "\\" in name:
        return f"`{name}` is not a file below the set's directory that ends in `.rego`"
    if name.endswith("_test.rego"):
        return f"`{name}` is a test: name the module that decides"
    return ""


def _tools(node: Node, tools: Mapping[str, ToolLine]) -> tuple[str, ...]:
    found = [item.text() for item in node.items()]
    for item in node.items():
        if item.value not in tools:
            raise item.fail(f"unknown tool `{item.value}`; expected {choices(list(tools))}{nearest(item.value, tools)}")
    return tuple(sorted(set(found)))
