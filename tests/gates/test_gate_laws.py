"""Laws of gates over generated plans: order does not matter, a step more never loosens, the sum adds up."""

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aegis.workflow.gates import GATES, Gates, judge
from aegis.workflow.gates.document import WEIGHTS, Money
from aegis.workflow.graph import Budget, Ref
from gates.scenes import CONTRACTS, PLANNER, TOOLS, ask, call, plan, scene

LEVELS = ("pass", "person", "refuse")
UNKNOWN = Ref(("steps", "s0", "output"))


@st.composite
def steps(draw, most=6):
    found = []
    for index in range(draw(st.integers(0, most))):
        names = [each.id for each in found]
        needs = tuple(sorted(draw(st.sets(st.sampled_from(names)))) if names else ())
        if draw(st.integers(0, 5)) == 0:
            found.append(ask(f"s{index}", needs))
            continue
        amount = draw(st.sampled_from([{}, {"amount_minor": 5}, {"amount_minor": 10**7}, {"amount_minor": UNKNOWN}]))
        made = call(draw(st.sampled_from(sorted(TOOLS))), id=f"s{index}", arguments=amount, needs=needs)
        each = draw(st.sampled_from([None, (1, 2), tuple(range(20)), UNKNOWN]))
        found.append(replace(made, for_each=each, undo=draw(st.sampled_from([made.undo, None]))))
    return tuple(found)


@st.composite
def scenes(draw):
    weights = draw(st.fixed_dictionaries({name: st.integers(0, 50) for name in WEIGHTS}))
    low = draw(st.integers(0, 200))
    made = Gates(
        auto_below=low, deny_above=draw(st.integers(low, 400)), weights=weights, money=Money(above=10, arguments=("amount_minor",))
    )
    return scene(gates=made, proposer=draw(st.sampled_from([None, PLANNER])), signed=draw(st.booleans()))


LAW = settings(max_examples=30, deadline=None)


@LAW
@given(made=steps(), facts=scenes(), order=st.permutations(GATES))
def test_the_order_of_gates_never_changes_the_report(made, facts, order):
    assert judge(plan(*made), facts, order) == judge(plan(*made), facts)


@LAW
@given(made=steps(), facts=scenes(), data=st.data())
def test_the_order_in_which_steps_are_written_never_changes_the_report(made, facts, data):
    # Only orders in which needs come first are plans.
    left, shuffled = list(made), []
    while left:
        ready = [each for each in left if set(each.needs) <= {done.id for done in shuffled}]
        taken = data.draw(st.sampled_from(ready))
        left.remove(taken)
        shuffled.append(taken)
    assert judge(plan(*shuffled), facts) == judge(plan(*made), facts)


@LAW
@given(made=steps(), facts=scenes())
def test_the_risk_is_the_sum_of_what_is_shown(made, facts):
    report = judge(plan(*made), facts)
    assert report.risk == sum(each.subtotal for each in report.factors)
    assert all(
        each.subtotal == each.count * each.weight and each.weight == facts.gates.weights[each.name] for each in report.factors
    )
    assert {each.name for each in report.factors} == set(WEIGHTS)


@LAW
@given(made=steps(), facts=scenes(), name=st.sampled_from(sorted(TOOLS)))
def test_a_step_more_never_lowers_the_risk_and_never_loosens_the_verdict(made, facts, name):
    before = judge(plan(*made), facts)
    after = judge(plan(*made, call(name, id="more", needs=tuple(each.id for each in made))), facts)
    assert after.risk >= before.risk
    assert all(b.count >= a.count for a, b in zip(before.factors, after.factors, strict=True))
    assert LEVELS.index(after.verdict) >= LEVELS.index(before.verdict)


@LAW
@given(made=steps(), facts=scenes())
def test_a_tool_that_nobody_knows_any_more_is_always_refused(made, facts):
    gone = {name: each for name, each in CONTRACTS.items() if name != "pay.transfer"}
    report = judge(plan(*made, call("pay.transfer", id="more")), replace(facts, contracts=gone))
    assert report.verdict == "refuse"


@LAW
@given(made=steps(), facts=scenes())
def test_less_budget_never_loosens(made, facts):
    verdicts = [judge(plan(*made, budget=Budget(calls=calls)), facts).verdict for calls in (100_000, 3, 0)]
    assert [LEVELS.index(each) for each in verdicts] == sorted(LEVELS.index(each) for each in verdicts)
