"""Laws of an approval, whatever people answer and in whatever order."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from aegis.model.approval import Answer, Approval, ApprovalState, Refused, answer, at, use

START = datetime(2026, 1, 1, tzinfo=UTC)
PEOPLE = ("person:a", "person:b", "person:c", "agent:x", "user:n")
ROLES = {"person:a": ("lead",), "person:b": ("lead", "security"), "person:c": ("clerk",), "agent:x": ("lead",), "user:n": ("lead",)}

answers = st.lists(
    st.builds(
        lambda who, yes, minute: Answer(person=who, approve=yes, at=START + timedelta(minutes=minute), roles=ROLES[who]),
        st.sampled_from(PEOPLE), st.booleans(), st.integers(0, 20),
    ),
    max_size=8,
)  # fmt: skip


def held(quorum, sets):
    return Approval(
        approval_id="apr", tenant="acme", request_id="r", request_hash="h", agent_id="agent:x", tool="t", requesters=("agent:x", "user:n"),
        approver_sets=sets, quorum=quorum, not_requester=True, created_at=START, expires_at=START + timedelta(minutes=15),
    )  # fmt: skip


def fold(approval, said):
    for each in said:
        moved = answer(approval, each)
        if isinstance(moved, Approval):
            approval = moved
    return approval


@given(answers, st.integers(1, 3), st.sampled_from([(("role:lead",),), (("role:lead",), ("role:security",)), (("person:a",),)]))
def test_what_is_approved_was_approved_by_enough_entitled_distinct_people_who_did_not_ask(said, quorum, sets):
    final = fold(held(quorum, sets), said)
    yes = [each for each in final.answers if each.approve]
    assert len({each.person for each in final.answers}) == len(final.answers)
    assert not {each.person for each in final.answers} & set(final.requesters)
    if final.state is ApprovalState.APPROVED:
        assert len(yes) >= quorum
        for group in sets:
            assert any(each.person in group or any(f"role:{role}" in group for role in each.roles) for each in yes)
        assert all(each.at < final.expires_at for each in yes)


@given(answers)
def test_a_refusal_is_final_and_nothing_approves_it_afterwards(said):
    approval = held(2, (("role:lead",),))
    denied = fold(approval, [Answer(person="person:a", approve=False, at=START, roles=("lead",))])
    assert denied.state is ApprovalState.DENIED
    assert fold(denied, said) == denied


@given(answers, st.integers(0, 30), st.sampled_from(["h", "other"]))
def test_an_approval_is_used_at_most_once_in_time_and_for_its_own_request(said, minute, request_hash):
    approval = fold(held(1, (("role:lead",),)), said)
    now = START + timedelta(minutes=minute)
    used = use(approval, request_hash, "r2", now)
    if isinstance(used, Approval):
        assert approval.state is ApprovalState.APPROVED
        assert (request_hash, now < approval.expires_at) == ("h", True)
        assert isinstance(use(used, request_hash, "r3", now), Refused)


@given(answers, st.integers(0, 30))
def test_time_only_ever_expires(said, minute):
    approval = fold(held(1, (("role:lead",),)), said)
    later = at(approval, START + timedelta(minutes=minute))
    assert later == approval or later == replace(approval, state=ApprovalState.EXPIRED)
