"""The helper of the examples that asks a model: what it says over the wire, what it records, and what it makes of bad answers."""

import pytest
from tests.examples.models import ModelServer
from tests.examples.near import program

from aegis.crypto.digest import sha256
from aegis.sdk.tasks import TaskFailed, Used

model = program("runner/model")


@pytest.fixture
def asks(monkeypatch):
    """Points the helper at a server."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    def point(server, name="tiny-1", key="sk-invented"):
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_MODEL", name)
        monkeypatch.setenv("OPENAI_API_KEY", key)

    return point


def test_a_model_is_asked_for_json_with_a_seed_and_what_it_was_is_recorded(asks):
    task = Used()
    with ModelServer(lambda _: '{"score": 7}') as server:
        asks(server)
        assert model.judge(task, "Score it.", {"price": 5}, dict) == {"score": 7}
    ((path, headers, body),) = server.asked
    assert path == "/v1/chat/completions"
    assert headers["authorization".title()] == "Bearer sk-invented"
    assert (body["model"], body["seed"], body["temperature"], body["response_format"]) == ("tiny-1", 7, 0, {"type": "json_object"})
    assert [each["role"] for each in body["messages"]] == ["system", "user"]
    assert body["messages"][1]["content"] == '{"price": 5}'
    assert task.body["usage"]["tokens"] == 25
    assert {name: task.said[name] for name in ("id", "version", "seed")} == {"id": "tiny-1", "version": "fp_1", "seed": "7"}
    assert task.said["prompt_sha256"].startswith("sha256:")


def test_without_a_model_the_rules_decide_and_that_is_recorded_too(monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    task = Used()
    assert model.judge(task, "Score it.", {}, lambda: {"score": 1}) == {"score": 1}
    assert task.said == {"id": "rules", "version": "1", "prompt_sha256": sha256(b"Score it."), "seed": "7"}


@pytest.mark.parametrize("said", ["", "seven", "[7]", "null"])
def test_an_answer_that_is_no_json_object_is_tried_again_and_paid_for(asks, said):
    task = Used()
    with ModelServer(lambda _: said) as server:
        asks(server)
        with pytest.raises(TaskFailed) as failed:
            model.judge(task, "Score it.", {}, dict)
    assert (failed.value.kind, failed.value.again, task.tokens) == ("model_answer", True, 25)


@pytest.mark.parametrize(("status", "again"), [(400, False), (401, False), (302, False), (429, True), (503, True)])
def test_a_refusal_of_the_server_is_tried_again_only_where_that_may_help_and_no_redirect_is_followed(asks, status, again):
    with ModelServer(lambda _: "{}", status=status) as server:
        asks(server)
        with pytest.raises(TaskFailed) as failed:
            model.judge(Used(), "Score it.", {}, dict)
    assert (failed.value.kind, failed.value.again) == ("model_refused", again)
    assert len(server.asked) == 1


def test_a_server_that_is_not_there_is_tried_again(asks):
    with ModelServer(lambda _: "{}") as server:
        asks(server)
    with pytest.raises(TaskFailed) as failed:
        model.judge(Used(), "Score it.", {}, dict)
    assert (failed.value.kind, failed.value.again) == ("model_unreachable", True)


def test_a_model_without_a_name_is_not_asked(asks):
    with ModelServer(lambda _: "{}") as server:
        asks(server, name="")
        with pytest.raises(TaskFailed, match="no_model"):
            model.judge(Used(), "Score it.", {}, dict)
    assert server.asked == []
