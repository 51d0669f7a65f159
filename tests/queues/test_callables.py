"""Agents that are functions of the program."""


def test_a_function_acts_as_its_agent_and_says_by_which_model(q):
    run = q.begin("near", amount=7)
    state = q.until(run, "succeeded")
    assert state.output == {"found": {"paid": 1}}
    assert len(q.tool.done) == 1
    told = [event for event in q.events(run) if event["type"] == "workflow_succeeded"][0]
    assert told["event"]["usage"]["self_reported"] is True
    assert told["event"]["usage"]["model"]["id"] == "model-1"
