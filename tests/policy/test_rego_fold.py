"""The fold in Rego joins hits as `decide` joins verdicts: outcome, ids, redactions and terms, for any set of them."""

from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy import oracle

from aegis.model.decision import ApprovalTerms, Outcome, Redaction, Stage, Verdict
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.rego import module
from aegis.policy.rego.tools import terms_of

CALL = Proposal(principal=Principal(tenant="acme", agent_id="a", subject="s"), tool="a.b", arguments={})
FACTS = Facts(now=datetime(2026, 1, 7, tzinfo=UTC))
FORMS = ["drop", "mask", "hash", "tokenise", "last4", "regex:[0-9]", "regex:a", "shout"]
GROUPS = st.lists(st.sampled_from(["role:a", "role:b", "person:c"]), max_size=2).map(tuple)
TERMS = st.one_of(
    st.none(),
    st.builds(
        ApprovalTerms,
        approver_sets=st.lists(GROUPS, max_size=2).map(tuple),
        quorum=st.integers(1, 3),
        ttl=st.sampled_from([timedelta(minutes=5), timedelta(hours=1)]),
        not_requester=st.booleans(),
    ),
    st.just(ApprovalTerms(approver_sets=(("role:b", "role:a"),), quorum=2)),
    st.just(ApprovalTerms(approver_sets=(("role:a",), ("person:c",)), not_requester=False)),
)
VERDICTS = st.builds(
    Verdict,
    guard=st.just("rules"),
    effect=st.sampled_from(["error", *Outcome, "allow", "allow", "approval_needed"]),
    rule=st.sampled_from(["a", "b", "c", "é", "B", "a.b", "shadow-set"]),
    redactions=st.lists(
        st.builds(Redaction, stage=st.sampled_from(Stage), path=st.sampled_from(["/args/a", "/args/é", "/result/b"]), form=st.sampled_from(FORMS)),
        max_size=3,
    ).map(tuple),
    terms=TERMS,
    live=st.sampled_from([True, True, False]),
)  # fmt: skip


class Says:
    name = "rules"

    def __init__(self, said):
        self.said = said

    def __call__(self, *_):
        return self.said


def hit(verdict):
    found = {"id": verdict.rule, "effect": str(verdict.effect), "live": verdict.live}
    if verdict.redactions:
        found["redactions"] = [{"stage": str(each.stage), "path": each.path, "form": each.form} for each in verdict.redactions]
    if verdict.terms is not None:
        found["terms"] = terms_of(verdict.terms)
    return found


def test_the_fold_and_decide_come_to_the_same():
    text = 'package probe\n\nimport data.aegis.fold\n\nfound := [fold.verdict({h | some h in hits}, "r") | some hits in input]\n'
    with oracle.engine_class()() as engine:
        for path, source in (module.library() | {"probe.rego": text}).items():
            engine.add_policy(path, source)

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(st.lists(st.lists(VERDICTS, max_size=6), min_size=10, max_size=20))
        def run(many):
            answers = engine.eval_document("probe.found", [[hit(verdict) for verdict in said] for said in many])
            for said, found in zip(many, answers, strict=True):
                assert (found.pop("revision"), found.pop("custom")) == ("r", [])
                assert found == oracle.plain(decide(CALL, FACTS, [Says(tuple(said))])), said

        run()
