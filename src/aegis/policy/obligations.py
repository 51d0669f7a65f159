"""Read what a sanitize rule obliges the enforcement point to change."""

from aegis.model.decision import Redaction, Stage
from aegis.model.node import Node, choices, nearest
from aegis.policy.ir import Kind, ToolLine
from aegis.policy.patterns import complaint, matches_empty
from aegis.policy.pointer import NotAPointer, tokens

FORMS = ("drop", "mask", "hash", "tokenise", "last4")
REGEX = "regex:"
ROOTS = {Stage.REQUEST: "args", Stage.RESPONSE: "result"}
_TEXTUAL = frozenset({Kind.STRING, Kind.OBJECT, Kind.ARRAY})


def redactions(node: Node, stage: Stage, tools: tuple[ToolLine, ...]) -> tuple[Redaction, ...]:
    """The obligations at `redact`, sorted."""
    return tuple(sorted({_redaction(item, stage, tools) for item in node.items()}))


def _redaction(node: Node, stage: Stage, tools: tuple[ToolLine, ...]) -> Redaction:
    fields = node.fields(("path", "with"), ("path", "with"))
    form = _form(fields["with"])
    path = fields["path"].text()
    try:
        parts = tokens(path)
    except NotAPointer as error:
        raise fields["path"].fail(f"`{path}` is not a JSON Pointer: {error}") from None
    root = ROOTS[stage]
    if not parts or parts[0] != root:
        raise fields["path"].fail(f"`{path}`: in stage {stage} a path starts with `/{root}`")
    if stage is Stage.REQUEST:
        _check_argument(fields["path"], parts, form, tools)
    return Redaction(stage=stage, path=path, form=form)


def _form(node: Node) -> str:
    text = node.text()
    if not text.startswith(REGEX):
        if text not in FORMS:
            raise node.fail(f"unknown form `{text}`; expected {choices([*FORMS, 'regex:<pattern>'])}{nearest(text, FORMS)}")
        return text
    pattern = text.removeprefix(REGEX)
    if wrong := complaint(pattern):
        raise node.fail(wrong)
    if not pattern or matches_empty(pattern):
        raise node.fail("the pattern matches the empty text, so that it would cover nothing or everything")
    return text


def _check_argument(node: Node, parts: tuple[str, ...], form: str, tools: tuple[ToolLine, ...]) -> None:
    """Refuse what could never be forwarded: redaction that breaks the contract of the tool."""
    if not tools:
        raise node.fail('a rule for "*" may not edit arguments; name the tools')
    if len(parts) < 2:
        raise node.fail("`/args` as a whole cannot be redacted; name an argument")
    for tool in tools:
        argument = tool.args.get(parts[1])
        if argument is None:
            raise node.fail(f"tool `{tool.name}` has no argument `{parts[1]}`{nearest(parts[1], tool.args)}")
        if len(parts) > 2:
            if argument.kind not in (Kind.OBJECT, Kind.ARRAY):
                raise node.fail(f"`{node.value}` goes below an argument of type {argument.kind}")
            continue
        if form == "drop" and not argument.optional:
            raise node.fail(f"argument `{parts[1]}` of `{tool.name}` is required; without it the call breaks its contract")
        if form != "drop" and not _keeps(form, argument.kind):
            raise node.fail(
                f"`{form.partition(':')[0]}` makes a string of argument `{parts[1]}` of `{tool.name}`, which is {argument.kind}"
            )


def _keeps(form: str, kind: Kind) -> bool:
    return kind in _TEXTUAL | {Kind.URL, Kind.EMAIL} if form.startswith(REGEX) else kind is Kind.STRING
