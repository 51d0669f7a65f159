"""Agents that are services: they get the task with a credential for it, and answer with its output."""

from contextlib import contextmanager

from aegis import Client
from queues.work import Service, work


@contextmanager
def serving(tmp_path, answer):
    service = Service(answer)
    try:
        with work(tmp_path, endpoint=service.url) as made:
            made.service = service
            yield made
    finally:
        service.close()


def test_a_service_acts_with_the_credential_of_its_task(tmp_path):
    world = []

    def answer(said):
        given = said["credential"]
        with Client(world[0].url, given["token"]) as client:
            result = client.call(
                "pay.honours",
                {"amount": said["input"]["amount"]},
                key=f"{said['task']['run']}/{said['task']['node']}/pay",
                parent=(given["parent_agent_id"], given["parent_request_id"]),
            )
        return 200, {"output": result.result, "usage": {"tokens": 40}, "model": {"id": "m", "seed": 1}}

    with serving(tmp_path, answer) as made:
        world.append(made)
        run = made.begin("far", amount=7)
        state = made.until(run, "succeeded")
        assert state.output == {"found": {"id": 1}}
        assert state.spent.tokens == 40
        bearer, said = made.service.heard[0]
        assert bearer == f"Bearer {said['credential']['token']}"
        assert (said["task"]["run"], said["input"]) == (run, {"amount": 7})
        given = said["credential"]
        late = made.post(
            "/v1/tools/pay.honours/call",
            {
                "arguments": {"amount": 1},
                "parent_agent_id": given["parent_agent_id"],
                "parent_request_id": given["parent_request_id"],
            },
            given["token"],
            idempotency_key="late",
        )
        assert "chain.parent_not_live" in late.json()["rules"]


REPLIES = (
    (400, {}, "refused", 1),
    (500, {}, "agent_error", 2),
    (302, {}, "agent_error", 2),
    (200, b"not json", "contract", 2),
    (200, {"output": 1, "usage": {"tokens": "many"}}, "contract", 2),
)


def test_what_a_service_does_wrong_fails_its_task_with_a_word(tmp_path):
    with serving(tmp_path, lambda said: REPLIES[said["input"]["amount"]][:2]) as made:
        runs = [made.begin("far", key=f"k{number}", amount=number) for number in range(len(REPLIES))]
        for run, (_, _, kind, asked) in zip(runs, REPLIES, strict=True):
            assert made.until(run, "failed").nodes["find"].why == kind
            assert sum(said["task"]["run"] == run for _, said in made.service.heard) == asked


def test_a_service_that_is_not_there_is_tried_again_and_the_run_fails(on_sqlite):
    run = on_sqlite.begin("far", amount=7)
    state = on_sqlite.until(run, "failed")
    assert (state.nodes["find"].why, state.nodes["find"].attempt) == ("connect_failed", 2)
