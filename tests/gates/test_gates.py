"""Each gate by a table: a plan, and the codes that must be found."""

import pytest
from msgspec.structs import replace

from aegis.model.authority import Grant
from aegis.policy.ir import Kind, Leaf, Literal, Op, Path
from aegis.workflow.gates import Gates, judge
from aegis.workflow.gates.document import Flow, Money
from aegis.workflow.gates.outlook import awaited, order
from aegis.workflow.graph import Action, Amount, Budget, Ref, Repeat, Step
from gates.scenes import CONTRACTS, PLANNER, ask, call, plan, scene, tool

UNTIL = Repeat(until=Leaf(path=Path("x", ("x",), Kind.INTEGER), op=Op.EQ, operands=(Literal(1),)), most=3)
READ = call("crm.read")
PAY = call("pay.transfer", arguments={"amount_minor": 5})
MAIL = call("mail.send", needs=("crm_read",))


def task(agent: str) -> Step:
    return Step(id="task", kind="agent", role="planner", act=Action(kind="agent", name=agent), place="plan.yaml:2:1")


def codes(report, level=None):
    return {each.code for each in report.findings if level in (None, each.level)}


def test_a_plan_without_anything_wrong_passes():
    report = judge(plan(READ, PAY), scene())
    assert (report.verdict, report.findings) == ("pass", ())


AUTHORITY = [
    ("an agent that is disabled", plan(READ, run_as="agent:off"), {}, "agent_missing"),
    ("an agent that nobody knows", plan(READ, run_as="agent:nobody"), {}, "agent_missing"),
    ("a tool that nobody knows", plan(call("crm.fly")), {}, "unknown_tool"),
    ("a tool that no scope opens", plan(PAY, run_as="agent:reader"), {}, "scope_not_held"),
    ("arguments that a rule denies", plan(call("pay.transfer", arguments={"amount_minor": 900_001})), {}, "never_allowed"),
    ("an argument that the contract does not know", plan(call("pay.transfer", arguments={"evil": 1})), {}, "never_allowed"),
    ("input that a rule denies", plan(call("pay.transfer", arguments={"amount_minor": Ref(("input", "n"))})), {"input": {"n": 900_001}}, "never_allowed"),
    ("a compensation that no scope opens", plan(call("crm.read", undo=Action(kind="tool", name="pay.refund")), run_as="agent:reader"), {}, "scope_not_held"),
    ("a tool that is halted", plan(PAY), {"halted": {"tool:pay.transfer": "stop"}}, "halted"),
    ("an agent that is halted", plan(PAY), {"halted": {"agent:payer": "stop"}}, "halted"),
    ("a tenant that is halted", plan(PAY), {"halted": {"tenant": "stop"}}, "halted"),
    ("halts that cannot be read", plan(READ), {"halted": None}, "halts_unread"),
    ("a policy that cannot be read", plan(READ), {"policy": None}, "policy_unread"),
    ("a task for nobody", plan(task("agent:nobody")), {}, "agent_missing"),
    ("a task that no queue serves", plan(task("agent:planner"), run_as="agent:planner"), {}, "not_served"),
    ("a task that the policy lets nobody hand out", plan(task("agent:reader")), {}, "never_allowed"),
    ("a task whose queue no scope opens", plan(task("agent:reader")), {}, "scope_not_held"),
    ("a plan of another tenant", plan(READ, tenant="globex"), {"proposer": PLANNER}, "other_tenant"),
    ("an agent that was not lent", plan(READ, run_as="agent:reader"), {"proposer": PLANNER}, "run_as_not_lent"),
    ("a task that was not lent", plan(task("agent:reader"), run_as="agent:planner"), {"proposer": PLANNER}, "task_not_lent"),
    ("a tool that the token does not open", plan(PAY), {"proposer": replace(PLANNER, scopes=("crm.*",))}, "scope_not_held"),
    ("a token with grants", plan(READ), {"proposer": replace(PLANNER, grants=(Grant(tool="crm.read"),))}, "token_too_narrow"),
    ("a token with a budget", plan(READ), {"proposer": replace(PLANNER, budget_micros=1)}, "token_too_narrow"),
    ("a proposer whom the gates do not name", plan(READ), {"proposer": PLANNER, "gates": Gates(proposers=("role:chief",))}, "not_a_proposer"),
    ("a step in a name that was not lent", plan(call("crm.read", run_as="agent:reader"), run_as="agent:planner"), {"proposer": PLANNER}, "run_as_not_lent"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "made", "facts", "code"), AUTHORITY, ids=[row[0] for row in AUTHORITY])
def test_authority_refuses(what, made, facts, code):
    report = judge(made, scene(**facts))
    assert report.verdict == "refuse"
    assert code in codes(report, "refuse"), report.findings


def test_a_call_that_will_wait_and_one_that_depends_are_told_and_stop_nothing():
    waits = call("pay.transfer", arguments={"amount_minor": 600_000})
    report = judge(
        plan(waits, call("pay.transfer", id="later", arguments={"amount_minor": Ref(("steps", "x", "output"))})), scene()
    )
    assert (report.verdict, codes(report)) == ("pass", {"will_wait", "depends"})


def test_arguments_that_come_whole_from_a_step_are_told():
    assert "arguments_unknown" in codes(judge(plan(call("pay.transfer", arguments=Ref(("steps", "x", "output")))), scene()), "note")


def test_an_agent_may_propose_for_itself_and_for_whom_it_may_hand_tasks_to():
    for name in ("agent:planner", "agent:payer"):
        assert judge(plan(READ, run_as=name), scene(proposer=PLANNER)).verdict == "pass"


def test_labelled_data_that_could_reach_a_sink_goes_to_a_person_also_by_way_of_other_steps():
    middle = call("pay.transfer", id="other", needs=("crm_read",))
    for made in (plan(READ, MAIL), plan(READ, middle, call("mail.send", needs=("other",)))):
        report = judge(made, scene())
        assert (report.verdict, codes(report, "person")) == ("person", {"label_reaches_sink"})


def test_labelled_data_that_cannot_reach_a_sink_is_left_alone():
    assert judge(plan(call("mail.send"), call("crm.read", needs=("mail_send",))), scene()).verdict == "pass"


@pytest.mark.parametrize(
    ("flows", "verdict"),
    [
        ((), "pass"),
        ((Flow(label="confidential", sink="external", then="refuse"),), "refuse"),
        ((Flow(label="confidential", then="person"), Flow(then="refuse")), "refuse"),
        ((Flow(label="secret", then="refuse"),), "pass"),
    ],
)
def test_the_gravest_flow_that_fits_decides(flows, verdict):
    assert judge(plan(READ, MAIL), scene(gates=Gates(auto_below=1000, flows=flows))).verdict == verdict


def test_data_of_one_person_that_could_reach_a_call_about_another_goes_to_a_person():
    contracts = CONTRACTS | {name: tool(name, subject="person") for name in ("crm.read", "pay.transfer")}
    ana, ben = {"person": "p-1"}, {"person": Ref(("input", "who")), "amount_minor": 5}
    read, pay = call("crm.read", arguments=ana), call("pay.transfer", arguments=ben, needs=("crm_read",))
    assert "other_subject" in codes(judge(plan(read, pay), scene(contracts=contracts)), "person")
    assert judge(plan(read, pay), scene(contracts=contracts, input={"who": "p-1"})).verdict == "pass"


SAFETY = [
    ("a write that nothing undoes", plan(call("pay.transfer", undo=None)), {}, "refuse", "not_undone"),
    ("a dangerous call that nobody agreed to", plan(call("pay.wipe")), {}, "person", "unguarded"),
    ("an approval that may be skipped", plan(ask(when=UNTIL.until), call("pay.wipe", needs=("ask",))), {}, "person", "unguarded"),
    ("an approval that fails softly", plan(ask(on_failure="skip"), call("pay.wipe", needs=("ask",))), {}, "person", "unguarded"),
    ("a write that is repeated", plan(call("pay.transfer", repeat=UNTIL)), {}, "person", "write_repeated"),
    ("more nodes than the tenant wants", plan(call("crm.read", for_each=Ref(("steps", "x", "output")))), {"gates": Gates(auto_below=1000, most_nodes=999)}, "refuse", "too_large"),
    ("a workflow that starts itself", plan(Step(id="again", kind="workflow", role="executor", act=Action(kind="workflow", name="trip"))), {}, "refuse", "starts_itself"),
    ("a host that is not listed", plan(call("mail.send")), {"gates": Gates(auto_below=1000, egress=())}, "refuse", "egress"),
    ("an agent at a host that is not listed", plan(task("agent:far"), run_as="agent:planner"), {"gates": Gates(auto_below=1000, egress=())}, "refuse", "egress"),
    ("an address that is not listed", plan(call("crm.read", arguments={"to": "http://evil.example/x"})), {"gates": Gates(auto_below=1000, egress=())}, "refuse", "egress"),
    ("an address with two readings", plan(call("crm.read", arguments={"to": "http://127.0.0.1\\@evil.example/"})), {"gates": Gates(auto_below=1000, egress=())}, "refuse", "egress"),
]  # fmt: skip


@pytest.mark.parametrize(("what", "made", "facts", "level", "code"), SAFETY, ids=[row[0] for row in SAFETY])
def test_safety_finds(what, made, facts, level, code):
    assert code in codes(judge(made, scene(**facts)), level)


def test_a_dangerous_call_behind_a_sure_approval_and_a_write_that_says_why_nothing_undoes_it_are_safe():
    made = plan(
        ask(), call("pay.wipe", needs=("ask",)), call("pay.transfer", undo=None, irrevocable="money is gone", needs=("ask",))
    )
    assert judge(made, scene()).verdict == "pass"


def test_a_listed_host_is_spoken_to():
    assert judge(plan(call("mail.send")), scene(gates=Gates(auto_below=1000, egress=("mail.example",)))).verdict == "pass"


def test_a_plan_that_needs_more_than_its_budget_is_refused_and_one_that_may_is_told():
    three = call("pay.transfer", for_each=(1, 2, 3))
    assert "over_budget" in codes(judge(plan(three, budget=Budget(micros=149)), scene()), "refuse")
    assert judge(plan(three, budget=Budget(micros=150)), scene()).cost.most == Amount(calls=3, micros=150)
    maybe = call("pay.transfer", for_each=Ref(("steps", "x", "output")))
    assert codes(judge(plan(maybe, budget=Budget(micros=10)), scene())) == {"may_reach_budget"}
    assert "over_budget" in codes(judge(plan(call("pay.transfer", budget=Budget(micros=1))), scene()), "refuse")


def test_a_step_that_may_be_skipped_costs_nothing_at_least():
    assert judge(plan(call("pay.transfer", when=UNTIL.until)), scene()).cost.least == Amount()


RISK = [
    ("agents", plan(task("agent:reader")), 1),
    ("writes", plan(PAY, call("pay.wipe")), 2),
    ("dangerous", plan(PAY, call("pay.wipe")), 1),
    ("irrevocable", plan(call("pay.transfer", undo=None, irrevocable="gone")), 1),
    ("money", plan(call("pay.transfer", arguments={"amount_minor": 101})), 1),
    ("money", plan(call("pay.transfer", arguments={"amount_minor": 100})), 0),
    ("money", plan(call("pay.transfer", arguments={"amount_minor": Ref(("steps", "x", "output"))})), 1),
    ("money", plan(call("pay.transfer", arguments=Ref(("steps", "x", "output")))), 1),
    ("external", plan(MAIL, READ), 1),
    ("external", plan(call("crm.read", arguments={"to": "https://evil.example/"})), 1),
    ("external", plan(task("agent:far"), run_as="agent:planner"), 1),
    ("external", plan(task("agent:reader"), run_as="agent:planner"), 0),
    ("sinks", plan(MAIL, READ), 1),
    ("fan_out", plan(call("crm.read", for_each=tuple(range(10)))), 1),
    ("fan_out", plan(call("crm.read", for_each=tuple(range(11)))), 2),
    ("fan_out", plan(call("crm.read", for_each=Ref(("steps", "x", "output")))), 3),
    ("fan_out", plan(READ), 0),
    ("unbudgeted", plan(READ, budget=Budget()), 1),
]  # fmt: skip


@pytest.mark.parametrize(("name", "made", "count"), RISK)
def test_risk_counts(name, made, count):
    found = {
        each.name: each for each in judge(made, scene(gates=Gates(money=Money(above=100, arguments=("amount_minor",))))).factors
    }
    assert found[name].count == count
    assert found[name].subtotal == count * found[name].weight


def test_who_proposed_and_whether_somebody_vouches_are_factors():
    found = {each.name: each.count for each in judge(plan(READ), scene(proposer=PLANNER, signed=False)).factors}
    assert (found["proposed"], found["unsigned"]) == (1, 1)


@pytest.mark.parametrize(
    ("low", "high", "limit", "verdict"), [(6, 9, None, "pass"), (5, 9, None, "person"), (0, 4, None, "refuse"), (6, 9, 4, "refuse")]
)
def test_the_sum_is_held_against_the_thresholds_and_the_limit_of_the_plan(low, high, limit, verdict):
    report = judge(plan(PAY, risk_limit=limit), scene(gates=Gates(auto_below=low, deny_above=high)))
    assert (report.risk, report.verdict) == (5, verdict)


def test_without_a_word_of_the_tenant_every_plan_goes_to_a_person():
    assert judge(plan(READ), scene(gates=Gates())).verdict == "person"


def test_a_gate_that_cannot_read_its_facts_refuses_and_tells_nothing():
    class Broken:
        name = "broken"

        def __call__(self, *_facts):
            raise RuntimeError("secret")

    report = judge(plan(READ), scene(), (Broken(),))
    assert (report.verdict, report.findings[0].code) == ("refuse", "blind")
    assert "secret" not in str(report)


def test_facts_of_another_kind_refuse():
    assert judge(plan(READ), scene(contracts=None)).verdict == "refuse"


def test_a_label_of_many_steps_is_one_finding_for_each_step_that_it_reaches():
    reads = [call("crm.read", id=f"r{n}") for n in range(5)]
    report = judge(plan(*reads, call("mail.send", needs=tuple(each.id for each in reads))), scene())
    assert [each.text for each in report.findings] == ["`confidential` of step `r0` and 4 more could reach the sink `external`"]


def test_an_agent_that_proposes_a_plan_does_not_choose_its_own_watchers():
    approvers = Gates(auto_below=1000).approvers
    assert approvers.sets == (("role:operator",),)
    weak = ask(id="weak")
    own = replace(weak, approval=replace(weak.approval, approver_sets=(("role:friends",),)))
    alone = replace(weak, approval=replace(weak.approval, not_requester=False))
    for watched, found in ((weak, set()), (own, {"unguarded"}), (alone, {"unguarded"})):
        made = plan(watched, call("pay.wipe", needs=("weak",)), run_as="agent:planner")
        assert codes(judge(made, scene(proposer=PLANNER)), "person") == found
        assert codes(judge(made, scene()), "person") == set()


def test_a_task_for_an_agent_that_holds_more_than_the_token_goes_to_a_person():
    narrow = replace(PLANNER, scopes=("pay.*", "crm.*"))
    made = plan(task("agent:payer"), run_as="agent:planner")
    assert codes(judge(made, scene(proposer=narrow)), "person") == {"task_reaches_further"}
    assert judge(made, scene(proposer=PLANNER)).verdict == "pass"


def test_a_version_that_gates_cannot_judge_is_refused():
    old = Step(id="old", kind="tool", role="retriever", act=Action(kind="tool", name="crm.read", version="2"), place="p:1:1")
    assert "other_version" in codes(judge(plan(old), scene()), "refuse")


def test_a_gate_that_says_something_else_than_findings_refuses():
    class Chatty:
        name = "chatty"

        def __call__(self, *_facts):
            return ("fine",)

    assert judge(plan(READ), scene(), (Chatty(),)).findings[0].code == "blind"


def test_addresses_within_lists_and_input_that_is_not_there_are_looked_at():
    nested = call("crm.read", arguments={"to": {"all": ["http://evil.example/", 7, Ref(("input", "absent"))]}})
    found = {each.name: each.count for each in judge(plan(nested), scene(input={})).factors}
    assert found["external"] == 1


def test_a_tool_at_a_host_with_two_readings_is_outside():
    strange = replace(CONTRACTS["crm.read"], upstream=replace(CONTRACTS["crm.read"].upstream, url="http://1.2"))
    found = judge(plan(READ), scene(contracts=CONTRACTS | {"crm.read": strange}))
    assert next(each.count for each in found.factors if each.name == "external") == 1


def test_an_outlook_tells_the_waves_and_who_will_be_asked():
    held = call("pay.transfer", id="held", arguments={"amount_minor": 600_000}, needs=("ask",))
    made = plan(ask(), READ, held)
    looks = [(look.wave, look.step, look.what) for look in order(made)]
    assert looks == [(1, "ask", ""), (1, "crm_read", "crm.read"), (2, "held", "pay.transfer")]
    first, second = awaited(made, judge(made, scene()))
    assert (first.step, first.approvers, second.step, "somebody must look" in second.why) == (
        "ask",
        (("role:operator",),),
        "held",
        True,
    )
