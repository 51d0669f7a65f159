"""Plans made to trick whoever reads them: refused with the place, and nothing of the text is interpreted."""

import json

import pytest

from aegis.errors import AegisError
from aegis.model.document import parse
from aegis.workflow.gates import judge
from aegis.workflow.reading import workflow
from gates.plans import pay, plan, submit
from gates.scenes import CONTRACTS, DIRECTORY_VALUE, PLANNER, scene


def with_step(step):
    return json.dumps(plan({"pay": step}))


TEXT = json.dumps(plan())
HOSTILE = [
    ("not a mapping", "[]"),
    ("nothing", " "),
    ("another kind", TEXT.replace("Workflow", "Policy")),
    ("deep", TEXT.replace('"args": {', '"args": {"x": ' + "[" * 200 + "]" * 200 + ", ")),
    ("an alias", "a: &a [1]\nb: *a"),
    ("a tag", "a: !!python/object/apply:os.system ['id']"),
    ("a merge key", "<<: {a: 1}"),
    ("a directive", "%YAML 1.1\n---\na: 1"),
    ("two documents", TEXT + "\n---\n" + TEXT),
    ("a key twice", TEXT[:-1] + ', "spec": {}}'),
    ("a key that nobody knows", TEXT.replace('"role"', '"shell": "id", "role"')),
    ("a name with control characters", TEXT.replace('"pay":', '"pay\\u001b[2J":')),
    ("a name with a direction", TEXT.replace('"errand"', '"err\\u202eand"')),
    ("a name with a path", TEXT.replace('"errand"', '"../../etc"')),
    ("a name of many characters", TEXT.replace('"errand"', f'"{"e" * 200}"')),
    ("a step that needs itself", with_step(pay(needs=["pay"]))),
    ("a step that needs nobody", with_step(pay(needs=["ghost"]))),
    ("a reference to a ghost", with_step(pay("$steps.ghost.output.x"))),
    ("a reference to itself", with_step(pay("$steps.pay.output.x"))),
    ("a reference to secrets", with_step(pay("$env.AEGIS_TOKEN"))),
    ("a reference that is an expression", with_step(pay("${7*7}"))),
    ("a reference that is a command", with_step(pay("$(id)"))),
    ("a reference with brackets", with_step(pay("$input.__class__[0]"))),
    ("a reference that escapes", with_step(pay("$input..amount"))),
    ("a condition that is code", with_step(pay(when="__import__('os').system('id')"))),
    ("a condition over history", with_step(pay(when={"tool_labels.sink": {"eq": "x"}}))),
    ("two actions", with_step(pay(agent="payer"))),
    ("steps without number", with_step(pay(for_each="$input.all", max_elements=10**9))),
    ("turns without end", with_step(pay(repeat={"until": {"steps.pay.output.id": {"eq": 1}}, "max": 10**9}))),
    ("attempts without end", with_step(pay(retry={"attempts": 10**6}))),
    ("more steps than there may be", json.dumps(plan({f"s{n}": pay() for n in range(501)}))),
    ("an agent that is none", TEXT.replace('"agent:payer"', '"person:alice"')),
    ("a number beyond all", with_step(pay(2**60))),
]  # fmt: skip


@pytest.mark.parametrize(("what", "text"), HOSTILE, ids=[row[0] for row in HOSTILE])
def test_a_hostile_text_is_refused_at_its_place(what, text):
    with pytest.raises(AegisError) as refused:
        workflow(parse(text, source="plan"))
    assert str(refused.value).startswith("plan:")


@pytest.mark.parametrize("text", ["{{7*7}}", "`id`", "%s%s%n", "<script>", "'; drop table event; --", "$$input.x"])
def test_what_looks_like_an_expression_is_text(text):
    made = plan({"look": {"tool": "crm.read", "role": "retriever", "args": {"to": text}}}, run_as="agent:payer")
    read = workflow(parse(json.dumps(made), source="plan"))
    found = judge(read, scene(directory=DIRECTORY_VALUE, contracts=CONTRACTS, proposer=PLANNER))
    assert read.steps[0].act.arguments == {"to": text.replace("$$", "$")}
    assert found.verdict == "pass"
    assert "7*7" not in str(found)


def test_hostile_plans_over_http_are_refused_recorded_and_start_nothing(on_sqlite):
    w = on_sqlite
    token = w.token()
    for name in ("an alias", "deep", "a name with control characters", "a reference to secrets"):
        answer = submit(w, dict(HOSTILE)[name], token=token)
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, "malformed", "/plan"), answer.text
        assert answer.json()["detail"].startswith("plan:")
        assert "\x1b" not in answer.json()["detail"]
    assert submit(w, "x" * 300_000, token=token).status_code in (400, 413)
    assert submit(w, {"a": 1}, token=token).status_code == 400
    assert submit(w, 7, token=token).status_code == 400
    unknown = submit(w, plan({"pay": {"tool": "aegis.plan", "role": "executor"}}), token=token)
    assert unknown.status_code in (400, 403)
    refused = [event for event in w.events() if event["type"] == "refusal"]
    assert len(refused) >= 7
    assert not [event for event in w.events() if event["type"].startswith("workflow_")]
    assert w.tool.done == []


def test_a_step_whose_tool_the_agent_may_not_use_is_refused_with_its_place(on_sqlite):
    made = json.dumps(plan({"pay": pay()}, run_as="agent:reader"), indent=1)
    answer = submit(on_sqlite, made, agent="agent:reader")
    assert answer.status_code == 403
    assert ("gates.authority.scope_not_held", "steps.pay") in {(each["rule"], each["field"]) for each in answer.json()["reasons"]}


def test_values_of_a_refused_plan_stand_nowhere_in_the_open(on_sqlite):
    w = on_sqlite
    secret = 4_242_424
    answer = submit(w, plan({"pay": pay(secret)}))
    assert answer.status_code == 403
    assert str(secret) not in answer.text
    assert str(secret) not in json.dumps(w.events())
