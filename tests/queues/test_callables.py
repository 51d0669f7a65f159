"""Agents that are functions of the program."""

from queues.work import work


def test_a_function_acts_as_its_agent_and_says_by_which_model(on_sqlite):
    run = on_sqlite.begin("near", amount=7)
    state = on_sqlite.until(run, "succeeded")
    assert state.output == {"found": {"paid": 1}}
    assert len(on_sqlite.tool.done) == 1
    told = next(event for event in on_sqlite.events(run) if event["type"] == "workflow_succeeded")
    assert told["event"]["usage"]["self_reported"] is True
    assert told["event"]["usage"]["model"]["id"] == "model-1"


def test_what_a_function_raises_is_told_by_its_type_and_the_effect_is_met_again(on_sqlite):
    run = on_sqlite.begin("near", amount=13)
    state = on_sqlite.until(run, "failed")
    assert (state.nodes["find"].why, state.nodes["find"].attempt) == ("agent_error", 2)
    assert len(on_sqlite.tool.done) == 1
    assert "a secret of 13" not in str(on_sqlite.events(run))


def test_a_call_that_waits_for_a_person_lets_the_task_wait(on_sqlite):
    run = on_sqlite.begin("near", amount=2000)
    state = on_sqlite.until(run, "waiting")
    on_sqlite.approve(state.nodes["find"].approval_id)
    assert on_sqlite.until(run, "succeeded").output == {"found": {"paid": 1}}
    assert len(on_sqlite.tool.done) == 1


def test_what_is_denied_to_the_function_fails_its_task(on_sqlite):
    run = on_sqlite.begin("near", amount=6000)
    state = on_sqlite.until(run, "failed")
    assert state.nodes["find"].outcome == "denied"


def test_a_module_that_the_settings_do_not_name_is_not_imported(tmp_path):
    with work(tmp_path, module="") as made:
        run = made.begin("near", amount=7)
        state = made.until(run, "failed")
        assert state.nodes["find"].why == "no_callable"
        assert "workflows.agents" in state.nodes["find"].text
