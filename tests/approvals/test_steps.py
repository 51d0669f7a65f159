"""Approvals of steps of workflows: asked once, bound to what is shown, ended once."""

import asyncio
from datetime import timedelta

import msgspec
import pytest

from aegis.model.approval import ApprovalState, Refused
from aegis.runtime.runs.consent import ended
from aegis.workflow.run import Escalated, Failed, Held, Succeeded
from approvals.room import SHOWS, STARTER, escalating, spec


async def test_a_step_is_asked_about_once_however_often_its_command_is_carried_out(room):
    first = await room.ask()
    assert isinstance(first, Held)
    assert (await room.ask()).approval_id == first.approval_id
    assert (await room.ask(dispatch=2)).approval_id == first.approval_id
    assert await room.kinds() == ["approval_asked"]


async def test_processes_that_ask_at_the_same_moment_open_one_approval(room):
    others = [room.another()[1] for _ in range(8)]
    found = await asyncio.gather(*(room.ask(consent=each, dispatch=number) for number, each in enumerate(others)))
    assert len({held.approval_id for held in found}) == 1
    assert await room.kinds() == ["approval_asked"]


@pytest.mark.parametrize(
    "other",
    [{"shows": {"vendor": "initech", "amount": 1201}}, {"run": "run_2"}, {"node": "ok[1]"}, {"digest": "sha256:d2"}],
    ids=["another value", "another run", "another node", "another definition"],
)
async def test_an_approval_is_bound_to_its_run_node_definition_and_values(room, other):
    first, second = await room.ask(), await room.ask(**other)
    assert first.approval_id != second.approval_id
    assert (await room.find(first.approval_id)).request_hash != (await room.find(second.approval_id)).request_hash


async def test_an_approval_of_a_plan_is_bound_to_the_plan(room):
    whole = spec(of="plan")
    first, second = await room.ask(whole, plan="sha256:p1"), await room.ask(whole, plan="sha256:p2")
    assert first.approval_id != second.approval_id
    assert (await room.find(first.approval_id)).step.plan == "sha256:p1"


async def test_the_card_shows_the_values_the_step_and_what_gates_found(room):
    held = await room.ask(findings=("risk 70 of 50",))
    card = await room.desk.card("acme", await room.find(held.approval_id))
    assert (card.arguments, card.approval.findings) == (SHOWS, ("risk 70 of 50",))
    assert (card.approval.step.workflow, card.approval.step.step, card.approval.run) == ("purchase", "ok", "run_1")
    stored = await room.store.events("acme", request_id="run_1")
    assert b"initech" not in stored[0].body


async def test_a_granted_step_succeeds_and_whoever_waits_is_told_and_woken(room):
    held = await room.ask()
    assert isinstance(await room.answer(held.approval_id), msgspec.Struct)
    assert [approval.state for approval in room.told] == [ApprovalState.APPROVED]
    said = ended(room.told[0], "ok", 1, room.clock.now())
    assert isinstance(said, Succeeded)
    assert (said.outcome, said.output["approved_by"]) == ("approved", ["person:bob"])
    (wake,) = await room.store.find("acme", "wake")
    assert (wake.id, msgspec.json.decode(wake.body)) == (held.approval_id, "run_1")


async def test_what_was_granted_in_time_stays_granted_however_late_the_run_looks(room):
    held = await room.ask()
    await room.answer(held.approval_id)
    room.offset = timedelta(days=9)
    await room.escalations.sweep()
    assert isinstance(ended(await room.find(held.approval_id), "ok", 1, room.clock.now()), Succeeded)


async def test_a_refused_step_is_asked_anew_only_under_a_later_dispatch(room):
    held = await room.ask()
    await room.answer(held.approval_id, approve=False)
    said = ended(await room.find(held.approval_id), "ok", 1, room.clock.now())
    assert isinstance(said, Failed)
    assert (said.outcome, said.text) == ("rejected", "person:bob: looked at it")
    assert (await room.ask()).approval_id == held.approval_id
    assert (await room.ask(dispatch=2)).approval_id != held.approval_id


@pytest.mark.parametrize("barred", ["person:alice", "person:dan"], ids=["the subject", "a step before"])
async def test_nobody_who_had_a_hand_in_it_may_answer(room, barred):
    held = await room.ask(spec(approver_sets=((barred, "role:lead"),)))
    requesters = (await room.find(held.approval_id)).requesters
    assert requesters == ("agent:runner", "person:alice", "agent:starter", "agent:planner")
    if barred in requesters:
        refused = await room.answer(held.approval_id, barred)
        assert isinstance(refused, Refused)
        assert refused.code == "self_approval"


async def test_a_step_that_nobody_could_approve_is_rejected_at_once(room):
    said = await room.ask(spec(quorum=2))  # alice is the subject, so only bob could
    assert isinstance(said, Failed)
    assert (said.kind, said.outcome) == ("nobody_approves", "rejected")
    assert isinstance(await room.ask(spec(quorum=2, not_requester=False)), Held)
    assert isinstance(await room.ask(spec(quorum=2, escalate=escalating()), run="run_2"), Held)


async def test_more_people_may_answer_after_a_while_and_not_before(room):
    held = await room.ask(spec(escalate=escalating(30)))
    early = await room.answer(held.approval_id, "person:dora")
    assert isinstance(early, Refused)
    room.offset = timedelta(minutes=30)
    assert await room.escalations.sweep() == 1
    assert await room.escalations.sweep() == 0
    assert isinstance(ended(room.told[-1], "ok", 1, room.clock.now()), Escalated)
    assert (await room.answer(held.approval_id, "person:dora")).state is ApprovalState.APPROVED
    assert await room.kinds() == ["approval_asked", "refusal", "approval_escalated", "approval"]


async def test_an_escalation_voids_no_card_that_somebody_looked_at_before(room):
    held = await room.ask(spec(escalate=escalating(30)))
    card = await room.desk.card("acme", await room.find(held.approval_id))
    room.offset = timedelta(minutes=31)
    await room.escalations.sweep()
    assert (await room.answer(held.approval_id, shown=card.shown)).state is ApprovalState.APPROVED


async def test_what_nobody_answers_expires_once_in_many_processes(room):
    held = await room.ask(spec(escalate=escalating(30)))
    room.offset = timedelta(hours=4)
    moved = await asyncio.gather(*(room.escalations.sweep() for _ in range(6)))
    assert sum(moved) == 1
    said = ended(await room.find(held.approval_id), "ok", 1, room.clock.now())
    assert isinstance(said, Failed)
    assert said.outcome == "expired"
    assert (await room.kinds()).count("approval_expired") == 1
    assert await room.store.find("acme", "approval-due") == ()
    late = await room.answer(held.approval_id)
    assert isinstance(late, Refused)
    assert late.code == "approval_expired"


async def test_a_withdrawn_approval_takes_no_answer(room):
    held = await room.ask()
    assert await room.consent.withdraw("acme", held.approval_id)
    assert not await room.consent.withdraw("acme", held.approval_id)
    refused = await room.answer(held.approval_id)
    assert isinstance(refused, Refused)
    assert refused.code == "approval_withdrawn"
    assert ended(await room.find(held.approval_id), "ok", 1, room.clock.now()) is None
    assert await room.store.find("acme", "approval-due") == ()


async def test_an_answer_and_a_withdrawal_at_the_same_moment_have_one_winner(room):
    held = await room.ask()
    said, closed = await asyncio.gather(room.answer(held.approval_id), room.consent.withdraw("acme", held.approval_id))
    state = (await room.find(held.approval_id)).state
    assert state is (ApprovalState.WITHDRAWN if closed else ApprovalState.APPROVED)
    assert isinstance(said, Refused) is closed


async def test_contradictory_answers_at_the_same_moment_have_one_winner(room):
    held = await room.ask(principal=msgspec.structs.replace(STARTER, subject="user:nora"))
    said = await asyncio.gather(
        *(room.answer(held.approval_id, person, approve=yes) for person, yes in [("person:alice", True), ("person:bob", False)] * 3)
    )
    counted = [each for each in said if not isinstance(each, Refused)]
    assert len(counted) == 1
    assert (await room.find(held.approval_id)).state is counted[0].state
    assert (await room.kinds()).count("approval") == 1


async def test_an_answer_at_the_very_moment_of_the_end_is_late(room):
    held = await room.ask()
    room.offset = timedelta(hours=4)
    said, _ = await asyncio.gather(room.answer(held.approval_id), room.escalations.sweep())
    assert isinstance(said, Refused)
    assert (await room.find(held.approval_id)).state is ApprovalState.EXPIRED


async def test_a_guardrail_answers_as_a_person_does_and_is_told_apart(room):
    held = await room.ask(spec(approver_sets=(("role:limits",),)))
    approval = await room.answer(held.approval_id, "person:limit-guard")
    assert approval.answers[0].automatic
    event = (await room.store.events("acme", request_id="run_1"))[-1]
    assert msgspec.json.decode(event.body)["automatic"] is True
