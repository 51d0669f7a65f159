"""Read the tests that a set carries.

`input` names paths of the input and their values. What happened before is told under `past`, newest or oldest first as you like:

    past: [{tool: ehr.consent_check, ago: 2h, args.mrn: "4711"}, {tool: payments.transfer, phase: allowed, args.amount_minor: 900}]

An event of the past was made by the same agent in the same run for the same subject unless it says otherwise.
"""

from aegis.model.decision import Outcome
from aegis.model.node import Node, choices, nearest
from aegis.policy.duration import duration
from aegis.policy.ir import CONTRACT, DEFAULT_DENY, Case, Expect, Kind, Rule, ToolLine
from aegis.policy.operands import WEEKDAYS, is_time
from aegis.policy.past import CALLER, PHASES
from aegis.policy.places import FIXED

PAST = "past"
_OUTCOMES = tuple(map(str, Outcome))
_EXPECT = ("outcome", "would_be", "rules", "not_rules", "shadow")
_STRINGS = frozenset({Kind.STRING, Kind.VERSION, Kind.TIME, Kind.WEEKDAY})


def cases(node: Node, tools: dict[str, ToolLine], rules: tuple[Rule, ...], shape: dict[str, str]) -> tuple[Case, ...]:
    """The cases at `spec.tests`; their names are unique."""
    found: dict[str, Case] = {}
    for item in node.items(empty=True):
        fields = item.fields(("name", "input", "expect"), ("name", "input", "expect"))
        name = fields["name"].text()
        if name in found:
            raise fields["name"].fail(f"test `{name}` exists already at {found[name].place}")
        expect = _expect(fields["expect"], [rule.id for rule in rules], tools)
        given = _given(fields["input"], tools, shape, broken=any(rule.endswith(CONTRACT) for rule in expect.rules))
        found[name] = Case(name=name, given=given, expect=expect, place=item.place())
    return tuple(found.values())


def _given(node: Node, tools: dict[str, ToolLine], shape: dict[str, str], *, broken: bool) -> dict[str, object]:
    """The input of a case. An argument that the contract line does not know is a slip, unless the case expects a `broken` one."""
    members = node.members()
    if PAST in members:
        for item in members[PAST].items(empty=True):
            _past(item, tools)
    if "tool" not in members:
        raise node.fail("the input of a test names its `tool`")
    tool = tools.get(members["tool"].text())
    known = [*FIXED, *(f"args.{name}" for name in tool.args)] if tool else [*FIXED]
    known += [f"tenant.{path}" for path in shape] + [PAST]
    for path, child in members.items():
        if path == PAST:
            continue
        if broken and path.startswith("args.") and path.count(".") == 1:
            continue
        if tool and path.startswith("args.") and path not in known:
            name = path.removeprefix("args.")
            raise child.fail(
                f"tool `{tool.name}` has no argument `{name}`{nearest(name, tool.args)}; a test of exactly that expects "
                f"`rules: [{tool.name}{CONTRACT}]`"
            )
        if path not in known:
            raise child.fail(f"no such path `{path}` in the input of a test; expected {choices(known)}{nearest(path, known)}")
        if path in FIXED:
            check_value(path, FIXED[path], child)
    return {path: child.value for path, child in members.items()}


def _past(node: Node, tools: dict[str, ToolLine]) -> None:
    """Check one event of the past; `selftest` reads it."""
    members = node.members()
    if "tool" not in members:
        raise node.fail("an event of the past names its `tool`")
    tool = tools[members["tool"].word(list(tools))]
    known = ["tool", "ago", "phase", *CALLER, *(f"args.{name}" for name in tool.args)]
    for key, child in members.items():
        if key not in known:
            raise child.fail(f"unknown key `{key}` of an event of the past; expected {choices(known)}{nearest(key, known)}")
    if "ago" in members:
        duration(members["ago"])
    if "phase" in members:
        members["phase"].word(tuple(PHASES))
    for name in CALLER:
        if name in members:
            members[name].text()


def check_value(path: str, kind: Kind, node: Node) -> None:
    """Refuse a value that cannot stand at one of the places of `places.FIXED`."""
    if kind in _STRINGS and not isinstance(node.value, str):
        raise node.fail(f"`{path}` is a string")
    if kind is Kind.INTEGER and type(node.value) is not int:
        raise node.fail(f"`{path}` is an integer")
    if kind is Kind.TIME and not is_time(node.text()):
        raise node.fail('expected a time of day "HH:MM" from 00:00 to 23:59')
    if kind is Kind.WEEKDAY:
        node.word(WEEKDAYS)
    if kind is Kind.ARRAY:
        for item in node.items(empty=True):
            if path == "chain":
                fields = item.fields(("id", "trust"), ("id", "trust"))
                fields["id"].text()
                fields["trust"].integer(0, 5)
            else:
                item.text()


def _expect(node: Node, rules: list[str], tools: dict[str, ToolLine]) -> Expect:
    fields = node.fields(_EXPECT)
    if not fields:
        raise node.fail(f"a test that expects nothing cannot fail; expected {choices(_EXPECT)}")
    known = [*rules, DEFAULT_DENY, *(f"{name}{CONTRACT}" for name in tools)]

    def ids(key: str) -> tuple[str, ...]:
        items = fields[key].items(empty=True) if key in fields else []
        return tuple(item.word(known) for item in items)

    def outcome(key: str) -> Outcome | None:
        return Outcome(fields[key].word(_OUTCOMES)) if key in fields else None

    return Expect(
        outcome=outcome("outcome"),
        would_be=outcome("would_be"),
        rules=ids("rules"),
        not_rules=ids("not_rules"),
        shadow=ids("shadow"),
    )
