"""Counting what rules in shadow would have done, and when one is ready."""

from datetime import UTC, datetime, timedelta

from tests.policy.strategies import loaded

from aegis.model.decision import Outcome
from aegis.policy.shadow import Criteria, Report, Seen

HEAD = {
    "apiVersion": "aegis.policy/v1",
    "kind": "PolicySet",
    "metadata": {"name": "one", "tenant": "acme", "owner": "tests@acme.example"},
}
POLICY = loaded(
    HEAD
    | {
        "spec": {
            "tools": {"t": {"args": {"n": "integer"}}, "u": {"args": {}}},
            "rules": [
                {"id": "cap", "effect": "deny", "mode": "shadow", "tools": ["t"], "when": {"args.n": {"gt": 5}}},
                {"id": "quiet", "effect": "deny", "mode": "shadow", "tools": ["*"], "when": {"agent.trust": {"lt": 1}}},
            ],
        }
    }
)
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def seen(number, *, tool="t", agent="agent:a", fires=False, outcome=Outcome.ALLOW, would_be=Outcome.DENY):
    return Seen(
        request_id=f"req_{number}",
        time=DAY + timedelta(days=number),
        agent=agent,
        tool=tool,
        outcome=outcome,
        would_be=would_be if fires else outcome,
        shadow=("cap", "shadow-revision") if fires else (),
    )


def report(*decisions, marked=()):
    found = Report(POLICY, marked)
    for each in decisions:
        found.take(each)
    return found


def test_counts_stand_by_rule_agent_and_tool_with_examples():
    found = report(seen(0), seen(1, fires=True), seen(2, fires=True, agent="agent:b"), seen(3, tool="u"))
    one, two = found.lines()
    assert (one.rule, one.agent, one.tool, one.calls, one.fired, one.would_block, one.examples) == (
        "cap", "agent:a", "t", 2, 1, 1, ["req_1"],
    )  # fmt: skip
    assert (two.agent, two.calls, two.would_block) == ("agent:b", 1, 1)


def test_a_call_that_was_denied_anyway_is_not_counted_as_blocked():
    (line,) = report(seen(0, fires=True, outcome=Outcome.DENY)).lines()
    assert (line.fired, line.would_block) == (1, 0)


def test_a_rule_is_ready_after_enough_calls_and_days_without_false_positives():
    decisions = [seen(number, fires=number == 3) for number in range(10)]
    wanted = Criteria(calls=10, days=9)
    assert {each.rule: each.ready for each in report(*decisions).verdicts(wanted)} == {"cap": True, "quiet": True}
    (cap, _) = report(*decisions, marked=[("req_3", "cap")]).verdicts(wanted)
    assert not cap.ready
    assert "false positives" in cap.missing[0]
    assert report(*decisions, marked=[("req_3", "cap")]).verdicts(Criteria(calls=10, days=9, false_positives=1))[0].ready


def test_what_is_missing_is_said():
    (cap, quiet) = report(seen(0, fires=True), seen(1, tool="u")).verdicts(Criteria(most_percent=50))
    assert cap.missing == ("1 of 100 calls seen", "0 of 7 days watched", "it would have blocked 100 % of the calls, 50 % tolerated")
    assert quiet.calls == 2


def test_a_rule_of_a_revision_that_is_not_at_hand_is_counted_where_it_fired():
    found = Report()
    found.take(seen(0, fires=True))
    assert [each.rule for each in found.verdicts(Criteria(calls=1, days=0))] == ["cap"]
