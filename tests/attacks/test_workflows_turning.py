"""Interleavings in which a run would wait for what nobody wants any more, or for a time that is over."""

from datetime import UTC, datetime

import pytest

from aegis.model.document import parse
from aegis.model.event import instant
from aegis.workflow.reading import workflow
from aegis.workflow.run import CancelAsked, Held, NodeState, Offered, RunState, Started, Withdraw
from aegis.workflow.transition import begin, transition

AT = datetime(2026, 11, 22, tzinfo=UTC)
STEPS = {
    "agent": "{agent: payer, role: executor, input: {}}",
    "tool": "{tool: pay, role: executor, args: {}, compensate: {none: over}}",
    "approval": "{approval: {approvers: [role:lead]}}",
}
ONE = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: one, version: 1.0.0, tenant: acme, owner: ops, run_as: agent:runner}
spec:
  steps:
    only: STEP
"""


@pytest.mark.parametrize(
    ("kind", "late"),
    [
        ("agent", Offered(at=AT, node="only", dispatch=1)),
        ("agent", Held(at=AT, node="only", dispatch=1, approval_id="apr_1", expires_at=AT)),
        ("tool", Held(at=AT, node="only", dispatch=1, approval_id="apr_1", expires_at=AT)),
        ("approval", Held(at=AT, node="only", dispatch=1, approval_id="apr_1", expires_at=AT)),
    ],
)
def test_what_begins_to_wait_after_its_run_was_cancelled_is_taken_back(kind, late):
    definition = workflow(parse(ONE.replace("STEP", STEPS[kind]), source="one.yaml"))
    state, _ = transition(definition, begin("run_1"), Started(at=AT))
    state, _ = transition(definition, state, CancelAsked(at=AT, by="person:alice"))
    assert state.status is RunState.UNWINDING
    state, commands = transition(definition, state, late)
    assert (state.status, state.nodes["only"].state) == (RunState.CANCELLED, NodeState.CANCELLED)
    assert Withdraw(node="only", dispatch=1) in commands


def test_instants_as_text_stand_in_the_order_of_time_in_every_year():
    years = [instant(datetime(year, 1, 1, tzinfo=UTC)) for year in (1, 999, 1000, 2026, 9999)]
    assert years == sorted(years)
    assert instant(datetime(2026, 11, 22, 1, 2, 3, 40, tzinfo=UTC)) == "2026-11-22T01:02:03.000040Z"
