"""Runs whose steps call tools: each effect once, each failure undone, everything through the gateway."""


def test_a_run_takes_its_steps_in_order_and_pays_once(f):
    run = f.begin(amount=7)
    state = f.until(run, "succeeded")
    assert state.output == {"paid": 2}
    assert [name for name, _ in f.tool.done] == ["pay.honours", "pay.honours"]
    kinds = [event["type"] for event in f.events(run)]
    assert kinds == ["workflow_started", "workflow_succeeded", "workflow_succeeded"]


def test_the_same_key_starts_one_run(f):
    assert f.begin(amount=7) == f.begin(amount=7)


def test_what_a_tool_refuses_is_undone_backwards(f):
    f.tool.mood = "ok"
    run = f.begin(amount=6000)  # the policy denies what is above 5000
    state = f.until(run, "failed")
    assert state.nodes["first"].outcome == "denied"
    assert f.tool.done == []


def test_a_command_whose_commit_nobody_heard_of_is_found_by_its_own_process(f, monkeypatch):
    async def unheard(*told):
        """The commit was made, and the line broke."""

    monkeypatch.setattr(f.app.workflows.runs, "_issue", unheard)
    run = f.begin(amount=7)
    monkeypatch.undo()
    f.until(run, "succeeded")
    assert len(f.tool.done) == 2
