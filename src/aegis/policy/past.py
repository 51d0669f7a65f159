"""Read history conditions: what has happened before, how often, how much, how many different.

    {history: {formerly: {event: {tool: T}, same: [args.id], within: 24h}}}
    {history: {never_after: {event: {tool: T}, same: [run.id], within: 24h, until: {tool: U}}}}
    {history: {count_within: {event: {tool: T}, same: [agent.id], within: 1h, gt: 5}}}
    {history: {sum_within: {event: {tool: T}, of: args.amount, same: [agent.id], within: 24h, gt: {ref: tenant.limit}}}}
    {history: {distinct_within: {event: {tool: T}, of: parsed.to.domain, within: 1h, gt: 5}}}

Each becomes a term of the set, whose reading stands in the input, and one or more plain comparisons of that reading. Terms that say
the same have the same id, however they are written. Only fields that the contract line lists under `history` may be used; windows
are closed and bounded.
"""

from datetime import timedelta
from typing import Any

from msgspec import Struct, to_builtins

from aegis.crypto.canonical import canon
from aegis.crypto.digest import sha256
from aegis.model.decision import Outcome
from aegis.model.history import ALLOWED, Phase, ReadingKind, Test
from aegis.model.node import Node, choices, nearest
from aegis.policy.duration import duration
from aegis.policy.ir import AllOf, Condition, EventMatch, Kind, Leaf, Literal, Op, Path, Term, ToolLine
from aegis.policy.operands import operands
from aegis.policy.places import Scope
from aegis.policy.remembered import kind_of

ROOT = "history"
CALLER = ("agent.id", "run.id", "run.task", "subject.id")
PHASES: dict[str, tuple[Phase, ...]] = {
    "allowed": ALLOWED,
    "succeeded": (Phase.SUCCEEDED,),
    "failed": (Phase.FAILED,),
    "denied": (Phase.DENIED,),
}
COMPARISONS = (Op.EQ, Op.GT, Op.GTE, Op.LT, Op.LTE)
TESTS = ("eq", "ne", "in", "gt", "gte", "lt", "lte")
_CONDITIONS: dict[str, tuple[str, ...]] = {
    "formerly": ("event", "same", "within", "unless_since", "immediately"),
    "never_after": ("event", "same", "within", "until"),
    "count_within": ("event", "same", "within", *COMPARISONS),
    "sum_within": ("event", "of", "same", "within", *COMPARISONS),
    "distinct_within": ("event", "of", "same", "within", *COMPARISONS),
}


class _Written(Struct, frozen=True, kw_only=True):
    """What a condition has said so far."""

    word: str
    fields: dict[str, Node]
    scope: Scope


def history(node: Node, scope: Scope) -> Condition:
    """The condition at `history:`; a mapping with several keys means all of them. New terms are added to `scope.terms`."""
    members = node.members()
    if not members:
        raise node.fail(f"expected {choices(_CONDITIONS)}, found an empty mapping")
    found: list[Condition] = []
    for word, child in members.items():
        if word not in _CONDITIONS:
            raise child.fail(f"unknown history condition `{word}`; expected {choices(_CONDITIONS)}{nearest(word, _CONDITIONS)}")
        found += _condition(word, child, scope)
    return found[0] if len(found) == 1 else AllOf(tuple(found))


def _condition(word: str, node: Node, scope: Scope) -> list[Condition]:
    wanted = ("event", "within", "of") if "of" in _CONDITIONS[word] else ("event", "within")
    written = _Written(word=word, fields=node.fields(_CONDITIONS[word], wanted), scope=scope)
    if word == "never_after" and scope.effect not in (Outcome.DENY, Outcome.APPROVAL_NEEDED):
        raise node.fail("`never_after` is a ban: it belongs to rules with effect deny or approval_needed")
    term = _term(written)
    scope.terms[term.id] = term
    if word in ("formerly", "never_after"):
        return [Leaf(_path(term, Kind.BOOLEAN), Op.EQ, (Literal(value=True),))]
    compared = [op for op in COMPARISONS if op in written.fields]
    if not compared:
        raise node.fail(f"`{word}` is compared with something; expected {choices(COMPARISONS)}")
    path = _path(term, Kind.INTEGER)
    return [Leaf(path, op, operands(path, op, written.fields[op], scope)) for op in compared]


def _path(term: Term, kind: Kind) -> Path:
    return Path(f"{ROOT}.{term.text}", (ROOT, term.id), kind)


def _term(written: _Written) -> Term:
    fields, scope = written.fields, written.scope
    kind, immediately = ReadingKind(written.word), "immediately" in fields and fields["immediately"].flag()
    same = _same(fields["same"], scope) if "same" in fields else ()
    event = _event(fields["event"], scope, succeeded=kind is ReadingKind.FORMERLY)
    other = next((_event(fields[key], scope, succeeded=key == "until") for key in ("unless_since", "until") if key in fields), None)
    if immediately and other is not None:
        raise fields["unless_since"].fail("`immediately` looks at the preceding event only: leave `unless_since` out")
    for match, at in ((event, "event"), (other, "unless_since" if "unless_since" in fields else "until")):
        if match is not None:
            _check_same(same, match, fields[at], scope)
    of = _of(fields["of"], event, kind, scope) if "of" in fields else ""
    within = _within(fields["within"], scope)
    found = Term(
        id="",
        text="",
        kind=ReadingKind.IMMEDIATELY if immediately else kind,
        event=event,
        within=within,
        of=of,
        same=same,
        other=other,
    )
    return _named(found, fields["within"].text())


def _named(term: Term, within: str) -> Term:
    """The term with its id, the digest of what it means, and its words for people."""
    meaning: dict[str, Any] = to_builtins(term) | {"within": int(term.within.total_seconds())}
    for_whom = f", same {' and '.join(term.same)}" if term.same else ""
    of = f" {term.of}" if term.of else ""
    ends = f", ended by {term.other.tool}" if term.other else ""
    text = f"{term.kind}({term.event.tool}{of}{for_whom}, {within}{ends})"
    found: Term = type(term)(
        **{name: getattr(term, name) for name in term.__struct_fields__}
        | {"id": f"h{sha256(canon(meaning)).removeprefix('sha256:')[:16]}", "text": text}
    )
    return found


def _event(node: Node, scope: Scope, *, succeeded: bool) -> EventMatch:
    fields = node.fields(("tool", "phase", "where"), ("tool",))
    tool = _tool(fields["tool"], scope)
    phase = fields["phase"].word(tuple(PHASES)) if "phase" in fields else "succeeded" if succeeded else "allowed"
    tests = tuple(sorted(_tests(fields["where"], tool, scope), key=repr)) if "where" in fields else ()
    return EventMatch(tool=tool.name, phases=PHASES[phase], tests=tests)


def _tool(node: Node, scope: Scope) -> ToolLine:
    name = node.text()
    if name not in scope.known_tools:
        raise node.fail(f"unknown tool `{name}`; expected {choices(scope.known_tools)}{nearest(name, scope.known_tools)}")
    return scope.known_tools[name]


def _tests(node: Node, tool: ToolLine, scope: Scope) -> list[Test]:
    """The demands on remembered fields: literals only, since what is remembered of a text is its keyed hash."""
    found = []
    for field, child in node.members().items():
        kind = _field_kind(field, tool, child)
        for op, value in child.members().items():
            if op not in TESTS:
                raise value.fail(f"unknown operator `{op}`; expected {choices(TESTS)}{nearest(op, TESTS)}")
            if kind is not Kind.INTEGER and op not in ("eq", "ne", "in"):
                raise value.fail(f"`{op}` needs an integer; of a text, history keeps only whether it is the same")
            found.append(Test(field=field, op=op, values=_values(value, op, kind, scope)))
    if not found:
        raise node.fail("expected a demand on a remembered field, found an empty mapping")
    return found


def _values(node: Node, op: str, kind: Kind, scope: Scope) -> tuple[str | int, ...]:
    if op == "in" and isinstance(node.value, dict):
        name = node.fields(("list",), ("list",))["list"]
        if name.text() not in scope.lists:
            raise name.fail(f"unknown list `{name.value}`{nearest(name.value, scope.lists)}")
        given = [(name, value) for value in scope.lists[name.value]]
    else:
        given = [(item, item.value) for item in node.items()] if op == "in" else [(node, node.value)]
    wanted, words = (int, "an integer") if kind is Kind.INTEGER else (str, "a string")
    found: list[str | int] = []
    for at, value in given:
        if type(value) is not wanted:
            raise at.fail(f"expected {words}, as the field is remembered")
        found.append(value)
    return tuple(sorted(found))


def _same(node: Node, scope: Scope) -> tuple[str, ...]:
    found = []
    for item in node.items():
        field = item.text()
        if field not in CALLER and not field.startswith(("args.", "parsed.")):
            raise item.fail(f"`{field}` cannot be pinned; expected {choices([*CALLER, 'args.NAME', 'parsed.NAME.PART'])}")
        if field not in CALLER and not scope.tools:
            raise item.fail(f'`{field}`: a rule for "*" may not read arguments; name the tools')
        found.append(field)
    return tuple(sorted(set(found)))


def _check_same(same: tuple[str, ...], match: EventMatch, node: Node, scope: Scope) -> None:
    """Whoever is compared must remember the field, as the same type."""
    for field in same:
        if field in CALLER:
            continue
        past = _field_kind(field, scope.known_tools[match.tool], node)
        for tool in scope.tools:
            if _integer(_field_kind(field, tool, node)) is not _integer(past):
                raise node.fail(f"`{field}` is an integer for one of `{tool.name}` and `{match.tool}` only")


def _of(node: Node, event: EventMatch, kind: ReadingKind, scope: Scope) -> str:
    field = node.text()
    found = _field_kind(field, scope.known_tools[event.tool], node)
    if kind is ReadingKind.SUM and found is not Kind.INTEGER:
        raise node.fail(f"only integers are summed, but `{field}` is {found}")
    return field


def _field_kind(field: str, tool: ToolLine, node: Node) -> Kind:
    """The kind of a remembered field of a tool, or an error."""
    if field not in tool.history:
        near = nearest(field, tool.history)
        hint = near or f"; list it: `history: [{', '.join(each.removeprefix('args.') for each in (*tool.history, field))}]`"
        raise node.fail(f"history of `{tool.name}` does not keep `{field}`{hint}")
    return kind_of(field, tool.args)


def _integer(kind: Kind) -> bool:
    return kind is Kind.INTEGER


def _within(node: Node, scope: Scope) -> timedelta:
    found = duration(node)
    if found > scope.cap:
        raise node.fail(f"a window is at most {_hours(scope.cap)}; `spec.history.cap` can raise that to 30d")
    return found


def _hours(time: timedelta) -> str:
    return f"{int(time.total_seconds()) // 3600}h"
