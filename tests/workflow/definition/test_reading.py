"""A definition is read whole, or refused at its place with what would have been right."""

from copy import deepcopy
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis.errors import DocumentError
from aegis.model.document import Document
from aegis.model.node import Node
from aegis.workflow import conditions
from aegis.workflow.conditions import Names
from aegis.workflow.graph import Amount, Collect, Ref
from aegis.workflow.order import before, cycle, order
from aegis.workflow.reading import draft, workflow
from aegis.workflow.values_syntax import Place, refs, template, written
from workflow.definition.documents import PROCUREMENT, made, only, parsed, whole

REST: dict[str, Any] = {"wait": "1s"}
TOOL: dict[str, Any] = {"tool": "notes.add", "args": {}}
LOOP = {**TOOL, "for_each": "$input.all"}


def test_a_document_becomes_a_graph_whose_edges_are_needs_and_references():
    found = made(PROCUREMENT)
    assert [(step.id, step.needs) for step in found.steps] == [
        ("gather", ()), ("score", ("gather",)), ("check", ("score",)), ("pay", ("check", "score")),
    ]  # fmt: skip
    score, pay = found.step("score"), found.step("pay")
    assert score.for_each == Ref(("steps", "gather", "output", "offers"))
    assert score.collect == (Collect(name="best", pick="max_by", path=("score",)),)
    assert pay.act is not None
    assert pay.act.arguments["to"] == Ref(("steps", "score", "best", "supplier"))
    assert pay.undo is not None
    assert [ref.text for ref in refs(pay.undo.arguments)] == ["$output.payment"]
    assert (found.run_as, found.step("gather").act.name) == ("agent:buyer", "agent:gatherer")
    assert (found.budget.micros, found.timeout) == (5_250_000, timedelta(days=2))


REFUSED = {
    "no_kind": ({"a": {"role": "executor"}}, "exactly one thing"),
    "two_kinds": ({"a": {**TOOL, "agent": "x"}}, "it says `agent` and `tool`"),
    "strange_key": ({"a": {**TOOL, "need": []}}, "did you mean `needs`?"),
    "later_key": ({"a": {**TOOL, "fallback": "cached"}}, "on_failure: skip"),
    "foreign_key": ({"a": {**TOOL, "input": {}}}, "its values stand under `args`"),
    "bad_id": ({"A b": TOOL}, "expected an id"),
    "no_role": ({"a": {"agent": "x"}}, "`role` is missing"),
    "approver_acts": ({"a": {**TOOL, "role": "approver"}}, "`approver` is the role of approval steps"),
    "needs_itself": ({"a": {**TOOL, "needs": ["a"]}}, "cannot need itself"),
    "unknown_need": ({"abc": TOOL, "b": {**TOOL, "needs": ["abd"]}}, "unknown step `abd`; did you mean `abc`?"),
    "unknown_reference": ({"a": {**TOOL, "args": {"x": "$steps.z.output"}}}, "unknown step `z`"),
    "unknown_in_condition": ({"a": {**TOOL, "when": {"steps.z.outcome": {"eq": "failed"}}}}, "unknown step `z`"),
    "short_reference": ({"a": {**TOOL, "args": {"x": "$steps.z"}}}, "stops short"),
    "strange_root": ({"a": {**TOOL, "args": {"x": "$env.HOME"}}}, "refers to nothing"),
    "sign": ({"a": {**TOOL, "args": {"x": "$5"}}}, "write `$$`"),
    "item_outside": ({"a": {**TOOL, "args": {"x": "$item"}}}, "only inside a `for_each`"),
    "item_in_for_each": ({"a": {**TOOL, "for_each": "$item.all"}}, "only inside a `for_each`"),
    "item_in_condition": ({"a": {**TOOL, "when": {"item.x": {"eq": 1}}}}, "only inside a `for_each`"),
    "output_outside": ({"a": {**TOOL, "args": {"x": "$output"}}}, "only inside a `compensate`"),
    "not_collected": ({"a": LOOP, "b": {**TOOL, "args": {"x": "$steps.a.best"}}}, "a step has `outcome`, `output`"),
    "collect_of_one": ({"a": {**TOOL, "collect": {"best": "list"}}}, "about the elements of a `for_each`"),
    "collect_code": ({"a": {**LOOP, "collect": {"best": "max(by)"}}}, "max_by(PATH)"),
    "loop_in_loop": ({"a": {**LOOP, "repeat": {"until": {"steps.a.output.x": {"eq": 1}}, "max": 2}}}, "not both"),
    "endless": ({"a": {**TOOL, "repeat": {"until": {"input.x": {"eq": 1}}, "max": 2}}}, "no turn can change it"),
    "no_most": ({"a": {**TOOL, "repeat": {"until": {"steps.a.output.x": {"eq": 1}}}}}, "`max` is missing"),
    "run": ({"a": {**TOOL, "args": {"x": "$run.secret"}}}, "there is `$run.id`"),
    "history": ({"a": {**TOOL, "when": {"history": {"count": {"gt": 1}}}}}, "no such path `history`"),
    "list": ({"a": {**TOOL, "when": {"input.x": {"in": {"list": "x"}}}}}, "unknown list"),
    "tenant": ({"a": {**TOOL, "when": {"input.x": {"eq": {"ref": "tenant.x"}}}}}, "not declared"),
    "attempts": ({"a": {**TOOL, "retry": {"attempts": 6}}}, "from 1 to 5"),
    "pauses": ({"a": {**TOOL, "retry": {"backoff": "2h", "max": "1h"}}}, "`max` is shorter"),
    "default_of_nothing": ({"a": {**TOOL, "default": 1}}, "`default` stands for a step that is skipped"),
    "default_null": ({"a": {**TOOL, "on_failure": "skip", "default": None}}, "leave the key out"),
    "signal_for_ever": ({"a": {"wait": {"signal": "go"}}}, "needs a `timeout`"),
    "two_waits": ({"a": {"wait": {"signal": "go", "for": "1s", "timeout": "1h"}}}, "expected one of"),
    "naive_instant": ({"a": {"wait": {"until": "2030-01-01T00:00:00"}}}, "with its offset"),
    "quorum": ({"a": {"approval": {"approvers": ["person:ana"], "quorum": 2}}}, "can never be met"),
    "late_escalation": (
        {"a": {"approval": {"approvers": ["role:x"], "expires": "1h", "escalate": {"after": "1h", "approvers": ["role:y"]}}}},
        "no sooner than the approval expires",
    ),
    "nobody": ({"a": {"approval": {"approvers": ["ana"]}}}, "names nobody"),
    "money": ({"a": {**TOOL, "budget": {"usd": "1.2345678"}}}, "amount of money"),
    "no_limit": ({"a": {**TOOL, "budget": {"soft": 50}}}, "needs a limit"),
    "undo_of_nothing": ({"a": {**TOOL, "compensate": {"args": {}}}}, "expected one of `tool`, `agent`"),
    "undo_why": ({"a": {**TOOL, "compensate": {"none": ""}}}, "expected a string"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_wrong_step_is_refused_at_its_place_with_what_would_be_right(case):
    steps, said = REFUSED[case]
    with pytest.raises(DocumentError) as told:
        made(only(**steps))
    assert said in str(told.value)
    assert str(told.value).startswith("w.yaml:1:")


def test_every_wrong_step_is_told_not_only_the_first():
    found = draft(parsed(whole(gather={"agent": "x"}, pay={**TOOL, "needs": ["nowhere"]})))
    assert found.workflow is None
    assert [(fault.code, fault.step) for fault in found.faults] == [("format", "gather"), ("unknown_step", "pay")]


def test_steps_that_wait_for_each_other_are_named_in_their_order():
    with pytest.raises(DocumentError, match="`a` needs `c` needs `b` needs `a`"):
        made(only(a={**REST, "needs": ["c"]}, b={**REST, "needs": ["a"]}, c={**REST, "needs": "b"}, d={**REST, "needs": "c"}))


def test_only_a_step_that_repeats_itself_refers_to_its_own_turn_before():
    again = {"repeat": {"until": {"steps.a.output.ok": {"eq": True}}, "max": 3}}
    refining = {**TOOL, **again, "args": {"draft": "$steps.a.output.draft"}}
    found = made(only(a={**refining, "default": {"draft": ""}})).step("a")
    assert found.needs == ()
    assert found.act is not None
    assert found.act.arguments == {"draft": Ref(("steps", "a", "output", "draft"))}
    with pytest.raises(DocumentError, match="before the first turn"):
        made(only(a=refining))
    with pytest.raises(DocumentError, match="unknown step `a`"):
        made(only(a={**TOOL, "args": {"draft": "$steps.a.output.draft"}}))


def test_an_acting_workflow_says_in_whose_name():
    document = deepcopy(PROCUREMENT)
    del document["metadata"]["run_as"]
    with pytest.raises(DocumentError, match="`run_as` is missing"):
        made(document)


def test_the_layout_of_a_file_does_not_change_what_it_means_and_every_word_of_its_meaning_does():
    document = deepcopy(PROCUREMENT)
    document["spec"]["steps"] = dict(reversed(document["spec"]["steps"].items()))
    document["metadata"]["runbook"] = "elsewhere"
    assert made(document).digest == made(PROCUREMENT).digest
    document["metadata"]["run_as"] = "agent:other"
    assert made(document).digest != made(PROCUREMENT).digest


def test_money_is_exact():
    assert [
        made(only(a={**TOOL, "estimate": {"usd": usd}})).step("a").estimate for usd in ("0.000001", 0.1, 3, "9000000000")
    ] == [Amount(calls=1, micros=micros) for micros in (1, 100_000, 3_000_000, 9_000_000_000_000_000)]  # fmt: skip


TESTED = [
    ({"input.n": {"gt": 1}}, {"input": {"n": 1.5}}, True),
    ({"input.n": {"gt": 1}}, {"input": {"n": "2"}}, False),
    ({"not": {"input.n": {"gt": 1}}}, {"input": {}}, False),
    ({"any": [{"input.n": {"gt": 1}}, {"steps.a.outcome": {"eq": "failed"}}]}, {"steps": {"a": {"outcome": "failed"}}}, True),
    ({"item": {"eq": "x"}}, {"item": "x"}, True),
    ({"run.id": {"starts_with": "run_"}}, {"run": {"id": "run_1"}}, True),
    ({"steps.a.output.lines": {"any": {"x": {"gt": 1}}}}, {"steps": {"a": {"output": {"lines": [{"x": 2}]}}}}, True),
    ({"steps.a.output.lines": {"every": {"x": {"gt": 1}}}}, {"steps": {"a": {"output": {"lines": [{"x": 2}, {}]}}}}, False),
    ({"steps.a.output.x": {"present": False}}, {"steps": {"a": {"output": {}}}}, True),
]


@pytest.mark.parametrize("case", range(len(TESTED)))
def test_a_condition_holds_only_when_that_is_known(case):
    when, values, holds = TESTED[case]
    node = Node(Document("w.yaml", {"when": when}, {})).at("when")
    assert conditions.test(conditions.read(node, Names(steps={"a": ()}, item=True)))(values) is holds


graphs = (
    st.integers(0, 9)
    .flatmap(lambda size: st.lists(st.sets(st.integers(0, max(size - 1, 0))), min_size=size, max_size=size))
    .map(lambda needs: {f"s{index}": {f"s{each}" for each in before} for index, before in enumerate(needs)})
)


@given(needs=graphs, seed=st.integers())
def test_an_order_has_every_step_after_its_needs_whatever_the_layout_or_there_is_a_cycle(needs, seed):
    found = order(needs)
    for index, step in enumerate(found):
        assert needs[step] <= set(found[:index])
    shuffled = sorted(needs.items())
    Random(seed).shuffle(shuffled)
    assert order(dict(shuffled)) == found
    loop = cycle(needs)
    assert bool(loop) is (len(found) < len(needs))
    for here, there in zip(loop, (*loop[1:], *loop[:1]), strict=True):
        assert there in needs[here]
    if not loop:
        assert all(set(above) == set(found) & above for above in before(needs).values())


words = st.text(st.sampled_from("$ab.-1 "), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | words | st.sampled_from([Ref(("input", "a")), Ref(("steps", "s", "output"))]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@given(value=values)
def test_a_value_that_is_written_reads_as_itself(value):
    node = Node(Document("w.yaml", {"value": written(value)}, {})).at("value")
    assert template(node, Place(names=Names(steps={"s": ()}))) == value


@given(bad=st.sampled_from(["steps", "metadata", "spec"]), value=st.none() | st.integers() | st.text(max_size=3))
def test_nonsense_is_refused_as_a_document_error(bad, value):
    document = deepcopy(PROCUREMENT)
    if bad == "steps":
        document["spec"]["steps"] = value
    else:
        document[bad] = value
    with pytest.raises(DocumentError):
        workflow(parsed(document))
