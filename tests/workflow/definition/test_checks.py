"""Every fault of a workflow is found, with its place and a code; a workflow without faults has none."""

from copy import deepcopy
from typing import Any

import pytest

from aegis.workflow.checks import CODES, check_document
from workflow.definition.documents import PROCUREMENT, only, parsed, whole
from workflow.definition.tenant import view

GATHER = PROCUREMENT["spec"]["steps"]["gather"]
SCORE = PROCUREMENT["spec"]["steps"]["score"]
CHECK = PROCUREMENT["spec"]["steps"]["check"]
PAY = PROCUREMENT["spec"]["steps"]["pay"]
UNDO = PAY["compensate"]
FIXED = {"tool": "payments.transfer", "compensate": UNDO}
LOOK = {"tool": "crm.lookup", "args": {"id": "c-1"}}


def found(document: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Level, code, step and text of every finding."""
    return [(each.level, each.code, each.step, each.text) for each in check_document(parsed(document), view())[1]]


def top(**changes: Any) -> dict[str, Any]:
    """The whole document with other members of its specification."""
    document = deepcopy(PROCUREMENT)
    document["spec"].update(changes)
    return document


def meta(**changes: Any) -> dict[str, Any]:
    """The whole document with other metadata."""
    document = deepcopy(PROCUREMENT)
    document["metadata"].update(changes)
    return document


FAULTS: dict[str, tuple[dict[str, Any], str, str]] = {
    "format": (whole(pay={"tool": "payments.transfer", "arg": {}}), "pay", "did you mean `args`?"),
    "cycle": (whole(gather={**GATHER, "needs": ["pay"]}), "", "`check` needs `score` needs `gather` needs `pay` needs `check`"),
    "unknown_step": (whole(pay={**PAY, "needs": ["chekc"]}), "pay", "did you mean `check`?"),
    "unknown_agent": (whole(gather={**GATHER, "agent": "gathere"}), "gather", "did you mean `agent:gatherer`?"),
    "unknown_agent:disabled": (whole(gather={**GATHER, "agent": "gone"}), "gather", "disabled"),
    "unknown_agent:run_as": (meta(run_as="nobody"), "", "`run_as`"),
    "unknown_tool": (whole(pay={**PAY, "tool": "payments.transfr"}), "pay", "did you mean `payments.transfer`?"),
    "unknown_tool:version": (whole(pay={**PAY, "tool": "payments.transfer@2"}), "pay", "has no version `2`"),
    "unknown_tool:undo": (whole(pay={**PAY, "compensate": {"tool": "no.such", "args": {}}}), "pay", "its compensation"),
    "unknown_workflow": (whole(sub={"workflow": "other", "input": {}}), "sub", "in `workflows/`"),
    "recursion": (whole(sub={"workflow": "procurement", "input": {}}), "sub", "without an end"),
    "unknown_message": (whole(tell={"emit": "order.placed", "data": {}}), "tell", "in `messages/`"),
    "unknown_queue": (whole(gather={**GATHER, "queue": "fast"}), "gather", "no queue `fast`"),
    "not_served": (whole(gather={**GATHER, "agent": "idle"}), "gather", "under `agents`"),
    "unknown_contract": (whole(gather={**GATHER, "output": "offer@1"}), "gather", "did you mean `offers@1`?"),
    "unknown_contract:input": (top(input="procurement.request@2"), "", "no contract of data"),
    "unknown_role": (whole(check={"approval": {"approvers": ["role:controler", "person:cy"]}}), "check", "did you mean"),
    "unknown_person": (whole(check={"approval": {"approvers": ["person:an", "role:controller"]}}), "check", "`person:ana`"),
    "edge_contract": (
        whole(gather={**GATHER, "output": "big@1"}, score=None, check=None,
              pay={**FIXED, "args": {"amount_minor": "$steps.gather.output.price_minor", "to": "x"}}),
        "pay", "`amount_minor.maximum` `$steps.gather.output.price_minor`: its contract states no limit, and 1000000 is wanted"),
    "edge_contract:type": (
        whole(pay={**PAY, "args": {"amount_minor": "$steps.score.best.supplier", "to": "x"}}), "pay", "takes no string"),
    "edge_contract:member": (whole(gather={**GATHER, "input": {"x": "$input.artikle"}}), "gather", "names no `artikle`"),
    "edge_contract:literal": (whole(pay={**PAY, "args": {"amount_minor": -1, "to": "x"}}), "pay", "`amount_minor` does not fit"),
    "edge_contract:missing": (whole(pay={**PAY, "args": {"to": "x"}}), "pay", "`amount_minor` is required, and is not given"),
    "edge_contract:strange": (
        whole(pay={**PAY, "args": {"amount_minor": 1, "to": "x", "iban": "y"}}), "pay", "`iban` is not taken"),
    "edge_contract:optional": (
        whole(pay={**PAY, "args": {"amount_minor": 1, "to": "$steps.score.best.note"}}), "pay", "`note` may be missing"),
    "edge_contract:undo": (whole(pay={**PAY, "compensate": {**UNDO, "args": {"payment": 5}}}), "pay", "its compensation"),
    "edge_contract:loop": (
        whole(score={**SCORE, "for_each": "$steps.gather.output"}), "score", "needs a list"),
    "edge_contract:item": (
        only(g=GATHER, look={**LOOK, "for_each": "$steps.g.output.offers", "max_elements": 3, "args": {"id": "$item.price_minor"}}),
        "look", "takes no integer"),
    "edge_contract:no_input": (only(look={**LOOK, "args": {"id": "$input.id"}}), "look", "names no `id`"),
    "edge_contract:output": (whole(look={**LOOK, "output": "score@1"}), "look", "`output` score@1"),
    "edge_contract:default": (
        whole(gather={**GATHER, "on_failure": "skip", "default": {"offers": 5}}), "gather", "`default`"),
    "maybe_skipped": (whole(gather={**GATHER, "on_failure": "skip"}), "score", "give `gather` a `default`"),
    "maybe_skipped:returns": (top(returns="$steps.pay.output"), "", "null stands there"),
    "runs_anyway": (
        only(ask={**CHECK, "approval": {"approvers": ["role:controller"]}, "on_failure": "skip"},
             pay={**FIXED, "needs": ["ask"], "args": {"amount_minor": 1, "to": "x"}}),
        "pay", "eq: approved"),
    "runs_anyway:later": (
        whole(again={**FIXED, "needs": ["pay"], "args": {"amount_minor": 1, "to": "x"}}), "again", "eq: succeeded"),
    "no_compensation": (whole(pay={"tool": PAY["tool"], "args": PAY["args"]}), "pay", "`none:`"),
    "runbook_missing": ({**deepcopy(PROCUREMENT), "metadata": {**PROCUREMENT["metadata"], "runbook": "x"}}, "", ""),
    "nobody_approves": (whole(check={"approval": {"approvers": ["person:di"]}}), "check", "nobody of `person:di`"),
    "nobody_approves:quorum": (whole(check={"approval": {"approvers": ["role:controller"], "quorum": 3}}), "check", "only 2"),
    "only_requester": (whole(check={"approval": {"approvers": ["role:cfo"]}}), "check", "`person:cy`"),
    "write_conflict": (whole(again={**FIXED, "args": {"amount_minor": 1, "to": "$steps.score.best.supplier"}}), "", "no order"),
    "write_conflict:elements": (
        whole(again={**FIXED, "for_each": [1, 2], "args": {"amount_minor": "$item", "to": "x"}}), "again", "max_parallel: 1"),
    "never_allowed": (
        only(pay={**FIXED, "args": {"amount_minor": 2000000, "to": "x"}}), "pay", "no payment above ten thousand"),
    "never_allowed:scope": (only(look={"tool": "secret.read"}), "look", "no scope of `agent:buyer`"),
    "unreachable": (whole(pay={**PAY, "when": {"steps.gather.outcome": {"eq": "failed"}}}), "pay", "on_failure: skip"),
    "unreachable:word": (whole(pay={**PAY, "when": {"steps.check.outcome": {"eq": "succeeded"}}}), "pay", "`approved`"),
    "unreachable:behind": (
        only(one=LOOK, two={**LOOK, "when": {"steps.one.outcome": {"eq": "failed"}}},
             three={**LOOK, "args": {"id": "$steps.two.output.name"}}),
        "", "which is never taken"),
    "unbounded": (
        whole(score={key: value for key, value in SCORE.items() if key != "max_elements"}), "score", "say `max_elements`"),
    "budget_below_estimate": (top(budget={"calls": 0}), "", "need 1 calls"),
    "budget_below_estimate:perhaps": (top(budget={"calls": 10}), "", "may need 22 calls"),
    "budget_below_estimate:own": (
        whole(gather={**GATHER, "estimate": {"tokens": 9}, "budget": {"tokens": 5}}), "gather", "passes its own"),
}  # fmt: skip
del FAULTS["runbook_missing"][0]["metadata"]["runbook"]


def test_a_workflow_without_faults_has_none():
    assert found(PROCUREMENT) == []


@pytest.mark.parametrize("case", FAULTS)
def test_each_fault_is_found_with_its_code_its_step_and_what_would_be_right(case):
    document, step, said = FAULTS[case]
    told = found(document)
    fitting = [each for each in told if each[1] == case.partition(":")[0] and said in each[3]]
    assert fitting, told
    assert not step or {each[2] for each in fitting} == {step}


NO_FAULTS: dict[str, dict[str, Any]] = {
    "a default stands for what was skipped": whole(gather={**GATHER, "on_failure": "skip", "default": {"offers": []}}),
    "the condition asks whether it was done": whole(
        gather={**GATHER, "on_failure": "skip"}, score={**SCORE, "when": {"steps.gather.outcome": {"eq": "succeeded"}}},
        pay=None, check=None,
    ),
    "the condition compares what it gave": whole(
        gather={**GATHER, "on_failure": "skip"}, score={**SCORE, "when": {"steps.gather.output.offers": {"longer_than": 0}}},
        pay=None, check=None,
    ),
    "one write comes after the other": whole(
        again={**FIXED, "when": {"steps.pay.outcome": {"eq": "succeeded"}},
               "args": {"amount_minor": 1, "to": "$steps.score.best.supplier"}}
    ),
    "two writes go to different names": only(
        one={**FIXED, "args": {"amount_minor": 1, "to": "x"}}, two={**FIXED, "args": {"amount_minor": 1, "to": "y"}}
    ),
    "each element has a resource of its own": only(
        one={**FIXED, "for_each": ["x", "y"], "args": {"amount_minor": 1, "to": "$item"}}
    ),
    "a failure is passed over, and then looked at": only(
        one={**LOOK, "on_failure": "skip"}, two={**LOOK, "when": {"steps.one.outcome": {"eq": "failed"}}}
    ),
    "a refusal is passed over": only(
        ask={"approval": {"approvers": ["role:controller"]}, "on_failure": "skip"},
        two={**LOOK, "when": {"not": {"steps.ask.outcome": {"eq": "approved"}}}},
    ),
    "nothing undoes it, for a reason": whole(pay={**PAY, "compensate": {"none": "the bank takes nothing back"}}),
    "whoever gives gives only what its contract names": only(
        one=LOOK, two={"agent": "scorer", "role": "validator", "accepts": "person@1", "input": "$steps.one.output"}
    ),
    "a step refers to its own turn before": only(
        one={**LOOK, "when": {"run.id": {"present": True}}, "args": {"id": "$steps.one.output.name"},
             "repeat": {"until": {"steps.one.output.name": {"eq": "Bo"}}, "max": 3}, "default": {"name": "Ana"}}
    ),
    "a closed set of values fits a text": only(
        one=LOOK, two={**LOOK, "args": {"id": "$steps.one.output.name"}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_FAULTS)
def test_what_is_meant_so_is_no_fault(case):
    document = deepcopy(NO_FAULTS[case])
    document["metadata"]["runbook"] = "x"
    assert found(document) == []


def test_another_kind_of_value_is_an_error_and_a_limit_of_one_side_a_warning():
    levels = {case: {each[0] for each in found(FAULTS[case][0]) if each[1] == "edge_contract"} for case in FAULTS if "edge" in case}
    warned = {"edge_contract", "edge_contract:optional"}
    assert {case for case, level in levels.items() if level == {"warning"}} == warned
    assert all("error" in level for case, level in levels.items() if case not in warned)


def test_every_code_is_in_the_table_of_faults():
    assert {case.partition(":")[0] for case in FAULTS} | {"data_version"} == set(CODES)
