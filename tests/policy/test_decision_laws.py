"""The laws of `decide`: what must hold whatever the rules, guards and calls are."""

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.policy import strategies

from aegis.errors import DocumentError
from aegis.model.approval import Answer, Approval, ApprovalState
from aegis.model.decision import ApprovalTerms, Outcome, Redaction, Stage, Verdict
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.language import load

LOOSENESS = {Outcome.DENY: 0, Outcome.APPROVAL_NEEDED: 1, Outcome.SANITIZE: 2, Outcome.ALLOW: 3}
NOW = datetime(2026, 1, 7, 12, 0, tzinfo=UTC)
PRINCIPAL = Principal(tenant="acme", agent_id="agent-one", subject="person:ana")
PROPOSAL = Proposal(principal=PRINCIPAL, tool="a.b", arguments={}, request_id="req_1", request_hash="sha256:one")
TERMS = st.sampled_from(
    [
        ApprovalTerms(approver_sets=(("role:lead",),)),
        ApprovalTerms(approver_sets=(("role:security",),), quorum=2, ttl=timedelta(minutes=5), not_requester=False),
        None,
    ]
)
REDACTIONS = st.lists(
    st.builds(
        Redaction,
        stage=st.sampled_from(Stage),
        path=st.sampled_from(["/args/a", "/result/b"]),
        form=st.sampled_from(["drop", "mask", "regex:[0-9]"]),
    ),
    max_size=2,
).map(tuple)
VERDICTS = st.builds(
    Verdict,
    guard=st.just("g"),
    effect=st.sampled_from(["error", *Outcome]),
    rule=st.sampled_from("abcdef"),
    reason=st.sampled_from(["", "why"]),
    field=st.sampled_from(["", "args.a"]),
    limit=st.sampled_from([None, 1, "x", (1, 2)]),
    redactions=REDACTIONS,
    terms=TERMS,
    live=st.booleans(),
)
GRANTED = Approval(
    approval_id="apr_1",
    tenant="acme",
    request_id="req_0",
    request_hash="sha256:one",
    agent_id="agent-one",
    tool="a.b",
    requesters=("agent-one", "person:ana"),
    approver_sets=(("role:lead",),),
    quorum=1,
    not_requester=True,
    created_at=NOW - timedelta(minutes=1),
    expires_at=NOW + timedelta(minutes=30),
    state=ApprovalState.APPROVED,
    answers=tuple(Answer(person=f"person:{name}", approve=True, at=NOW, roles=("lead", "security")) for name in ("bob", "kim")),
)


class Says:
    """A guard that says the same to everybody."""

    def __init__(self, *verdicts, name="says"):
        self.name = name
        self.verdicts = verdicts

    def __call__(self, *_):
        return self.verdicts


facts = st.builds(Facts, now=st.just(NOW), approval=st.sampled_from([None, GRANTED]))
guards = st.lists(st.lists(VERDICTS, max_size=4).map(lambda said: Says(*said)), max_size=4)


@given(guards, facts, st.randoms(use_true_random=False))
def test_the_order_of_guards_and_verdicts_never_changes_the_decision(asked, seen, random):
    shuffled = [Says(*random.sample(guard.verdicts, len(guard.verdicts))) for guard in asked]
    random.shuffle(shuffled)
    assert decide(PROPOSAL, seen, shuffled) == decide(PROPOSAL, seen, asked)


@given(guards, facts, VERDICTS.filter(lambda verdict: verdict.effect in ("deny", "error")))
def test_an_objection_never_loosens(asked, seen, objection):
    before = decide(PROPOSAL, seen, asked)
    after = decide(PROPOSAL, seen, [*asked, Says(objection)])
    assert LOOSENESS[after.outcome] <= LOOSENESS[before.outcome]
    if objection.live:
        assert after.outcome is Outcome.DENY


@given(guards, facts, VERDICTS.filter(lambda verdict: not verdict.live))
def test_shadow_never_changes_what_happens(asked, seen, shadow):
    before = decide(PROPOSAL, seen, asked)
    after = decide(PROPOSAL, seen, [*asked, Says(shadow)])
    assert replace(after, shadow=(), would_be=None) == replace(before, shadow=(), would_be=None)
    assert shadow.rule in after.shadow
    everything = [Says(*(replace(verdict, live=True) for verdict in guard.verdicts)) for guard in [*asked, Says(shadow)]]
    assert after.would_be is decide(PROPOSAL, seen, everything).outcome


@given(guards, facts)
def test_what_no_live_verdict_allows_is_denied(asked, seen):
    allowing = any(verdict.live and verdict.effect == "allow" for guard in asked for verdict in guard.verdicts)
    decision = decide(PROPOSAL, seen, asked)
    assert allowing or decision.outcome is Outcome.DENY
    assert bool(decision.rules)


@given(guards)
def test_an_approval_never_stands_in_for_a_permit(asked):
    without = decide(PROPOSAL, Facts(now=NOW), asked)
    having = decide(PROPOSAL, Facts(now=NOW, approval=GRANTED), asked)
    if without.outcome is not Outcome.APPROVAL_NEEDED:
        assert replace(having, would_be=None) == replace(without, would_be=None)
    assert not having.approval_id or (without.outcome is Outcome.APPROVAL_NEEDED and having.permits)


class Raises:
    """A guard that fails in a chosen way."""

    name = "raises"

    def __init__(self, how):
        self.how = how

    def __call__(self, *_):
        if isinstance(self.how, BaseException):
            raise self.how
        return self.how


class Nameless(Raises):
    @property
    def name(self):
        raise RuntimeError("no name")


FAULTS = [
    RuntimeError("iban DE00 secret"),
    KeyError("secret"),
    RecursionError("secret"),
    MemoryError("secret"),
    AssertionError(),
    None,
    7,
    "allow",
    ("allow",),
    [None],
    (Verdict(guard="g", effect="alow", rule="x"),),
    (Verdict(guard="g", effect="ALLOW", rule="x"),),
    (Verdict(guard="g", effect="allow", rule="x", live="no"),),
]


@pytest.mark.parametrize("fault", FAULTS, ids=repr)
@pytest.mark.parametrize("kind", [Raises, Nameless])
def test_a_guard_that_cannot_judge_denies_and_says_nothing_of_why(kind, fault):
    allows = Says(Verdict(guard="g", effect="allow", rule="all"))
    name = "raises" if kind is Raises else "guard"
    for order in ([allows, kind(fault)], [kind(fault), allows]):
        decision = decide(PROPOSAL, Facts(now=NOW), order)
        assert (decision.outcome, decision.rules) == (Outcome.DENY, (f"{name}#error",))
        assert "secret" not in repr(decision)


def test_without_guards_everything_is_denied():
    assert decide(PROPOSAL, Facts(now=NOW), []).rules == ("default-deny",)


@pytest.mark.parametrize("terms", [None, ApprovalTerms(approver_sets=()), ApprovalTerms(approver_sets=((),))], ids=repr)
def test_an_approval_that_nobody_could_give_is_never_taken_as_given(terms):
    asks = Says(
        Verdict(guard="g", effect="approval_needed", rule="ask", terms=terms), Verdict(guard="g", effect="allow", rule="all")
    )
    decision = decide(PROPOSAL, Facts(now=NOW, approval=GRANTED), [asks])
    assert (decision.outcome, decision.terms) == (Outcome.APPROVAL_NEEDED, None)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_order_of_rules_never_changes_the_decision(data):
    document = data.draw(strategies.policies())
    shuffled = deepcopy(document)
    data.draw(st.randoms(use_true_random=False)).shuffle(shuffled["spec"]["rules"])
    one, other = (RulesGuard(strategies.loaded(each)) for each in (document, shuffled))
    proposal, seen = data.draw(strategies.calls(document))
    assert one(proposal, seen) == other(proposal, seen)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_adding_a_deny_rule_never_loosens(data):
    document = data.draw(strategies.policies())
    stricter = deepcopy(document)
    when = data.draw(strategies.conditions(strategies.FIXED, loosens=False, depth=1))
    stricter["spec"]["rules"].append({"id": "added", "effect": "deny", "tools": ["*"], "when": when})
    proposal, seen = data.draw(strategies.calls(document))
    before, after = (decide(proposal, seen, [RulesGuard(strategies.loaded(each))]) for each in (document, stricter))
    assert LOOSENESS[after.outcome] <= LOOSENESS[before.outcome]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_leaving_an_argument_out_never_turns_a_deny_into_an_allow(data):
    """`present` is excepted by definition; sanitize rules do not take part, as an absent argument needs no redaction."""
    document = data.draw(strategies.policies())
    rules = [rule for rule in document["spec"]["rules"] if '"present"' not in json.dumps(rule)]
    document["spec"]["rules"] = rules
    guard = RulesGuard(strategies.loaded(document), data.draw(strategies.tenant_data()))
    proposal, seen = data.draw(strategies.calls(document, fitting=True))
    denied = decide(proposal, seen, [guard]).outcome is Outcome.DENY
    for name in proposal.arguments:
        rest = {key: value for key, value in proposal.arguments.items() if key != name}
        after = decide(replace(proposal, arguments=rest), seen, [guard]).outcome
        assert not (denied and after in (Outcome.ALLOW, Outcome.SANITIZE))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_set_that_does_not_load_gives_no_guard(data):
    """Any single character replaced: either it still loads, or there is an error with a place. Nothing in between."""
    text = json.dumps(data.draw(strategies.policies(most=2)), indent=1)
    at = data.draw(st.integers(0, len(text) - 1))
    broken = text[:at] + data.draw(st.sampled_from(list('{}[]",:x0-# \n*&!'))) + text[at + 1 :]
    try:
        policy = load(broken, source="set.yaml")
    except DocumentError as error:
        place = str(error)
    else:
        place = RulesGuard(policy).policy.name and "set.yaml: loads"
    assert place.startswith("set.yaml:")
