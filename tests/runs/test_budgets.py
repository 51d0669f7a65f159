"""What a run may use: reserved before each step, settled after it, and never passed by steps that run beside each other."""

import pytest

from runs.flows import flows

HEAD = """
apiVersion: aegis.workflow/v1
kind: Workflow
metadata: {name: NAME, version: 1.0.0, tenant: TENANT, owner: finance-ops, run_as: agent:other, runbook: pay.md}
spec:
  input: order@1
  budget: {BUDGET}
  steps:
"""
COSTLY = "    {id}: {{role: executor, tool: pay.costly@1, args: {{amount: {number}}}, estimate: {{usd: '0.00001', calls: 1}}, compensate: {{none: a test}}}}\n"


def costly(name: str, budget: str, count: int) -> str:
    head = HEAD.replace("NAME", name).replace("BUDGET", budget)
    return head + "".join(COSTLY.format(id=f"s{number}", number=number) for number in range(count))


EACH = (
    "    each: {role: executor, for_each: $input.items, max_elements: 200, tool: pay.costly@1, args: {amount: $item},"
    " estimate: {usd: '0.00001', calls: 1}, compensate: {none: a test}}\n"
)
DOCUMENTS = {
    "enough": costly("enough", "usd: '0.00005', soft: 80", 5),
    "short": HEAD.replace("NAME", "short").replace("BUDGET", "usd: '0.00003'") + EACH,
    "calls": HEAD.replace("NAME", "calls").replace("BUDGET", "calls: 2") + EACH,
}


@pytest.fixture
def f(tmp_path):
    lines = "".join(f"    workflow.{name}: {{contract: workflow.{name}@1}}\n" for name in DOCUMENTS)
    names = ", ".join(f"workflow.{name}" for name in DOCUMENTS)
    rules = f"    - {{id: workflows, effect: allow, tools: [{names}]}}\n"
    with flows(tmp_path, workflows=DOCUMENTS, lines=lines, rules=rules) as made:
        yield made


def test_what_fits_is_done_and_counted(f):
    state = f.until(f.begin("enough", amount=1), "succeeded")
    assert (state.spent.micros, state.spent.calls, state.reserved.micros) == (50, 5, 0)
    assert state.warned


@pytest.mark.parametrize(("name", "most"), [("short", 3), ("calls", 2)])
def test_steps_beside_each_other_never_pass_the_hard_limit(f, name, most):
    state = f.until(f.begin(name, amount=1, items=[1, 2, 3, 4, 5]), "failed", "compensated")
    assert len(f.tool.done) <= most
    assert "budget_exhausted" in {node.why for node in state.nodes.values()}
