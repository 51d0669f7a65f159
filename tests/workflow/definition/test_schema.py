"""The published JSON Schema: it admits every document that can be read, and refuses most that cannot."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from aegis.workflow import step_syntax
from aegis.workflow.schema import schema
from workflow.definition.documents import PROCUREMENT, made, only, parsed
from workflow.definition.test_reading import REFUSED

ROOT = Path(__file__).parents[3]
VALIDATOR = jsonschema_rs.Draft202012Validator(schema())
EACH = {"for_each": "$input.all", "max_elements": 9, "max_parallel": 2, "collect": {"best": "max_by(a.b)", "all": "list"}}
ALWAYS = {
    "role": "executor",
    "needs": ["z"],
    "when": {"input.x": {"gt": 0.5}, "steps.z.outcome": {"eq": "succeeded"}},
    "timeout": "1h",
}
WORK = {
    "retry": {"attempts": 2, "backoff": "250ms", "factor": 3, "max": "1m", "jitter": "none", "on": ["upstream_error"]},
    "on_failure": "skip", "default": {}, "output": "a.b@1.0.0", "compensate": {"none": "nothing does"}, "queue": "fast",
    "priority": 1, "estimate": {"calls": 2, "tokens": 9, "usd": 0.5}, "budget": {"calls": 2, "tokens": 9, "usd": "1", "soft": 50},
}  # fmt: skip
UNTIL = {"steps.a.output.score": {"gte": 0.5}}
KINDS: dict[str, list[dict[str, Any]]] = {
    "tool": [
        {"tool": "a.b@1", "args": {"x": "$item"}, "run_as": "other", **ALWAYS, **WORK, **EACH},
        {"tool": "a.b", "repeat": {"until": UNTIL, "max": 3}, "compensate": {"tool": "a.c", "args": {"x": "$output.y"}}},
    ],
    "agent": [
        {"agent": "agent:x", "input": ["$item.x"], "accepts": "a@1", "model": {"tier": "small"}, **ALWAYS, **WORK, **EACH},
        {"agent": "x", "role": "planner", "repeat": {"until": UNTIL, "max": 3}, "compensate": {"agent": "y", "input": "$output"}},
    ],
    "workflow": [
        {"workflow": "b@1", "input": {"x": 1}, **ALWAYS, **WORK, **EACH},
        {"workflow": "b", "repeat": {"until": UNTIL, "max": 3}},
    ],
    "emit": [
        {"emit": "m@1", "data": {"x": "$item"}, "to": "agent:x", "run_as": "y", "compensate": {"none": "sent"}, **ALWAYS,
         "retry": {}, "on_failure": "park", "for_each": [1, 2], "max_elements": 2, "max_parallel": 1},
    ],
    "approval": [
        {"approval": {"approvers": [["role:a"], ["person:b", "role:c"]], "quorum": 2, "not_requester": False, "expires": "2d",
                      "escalate": {"after": "1d", "approvers": ["role:d"]}, "shows": {"x": "$steps.z.output"}, "of": "plan"},
         "role": "approver", "needs": "z", "when": {"run.id": {"starts_with": "run_"}}, "on_failure": "skip", "default": {"x": 1}},
    ],
    "wait": [
        {"wait": {"signal": "go", "timeout": "1d"}, "role": "executor", "needs": [], "when": {"input": {"present": True}},
         "on_failure": "skip", "default": 1, "output": "a@1"},
        {"wait": "10m"}, {"wait": {"for": "10m"}}, {"wait": {"until": "$input.at"}}, {"wait": {"until": "2030-01-01T00:00:00Z"}},
    ],
}  # fmt: skip


def complaints(value: Any) -> list[str]:
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in VALIDATOR.iter_errors(value)]


def test_the_published_schema_is_the_one_of_the_reader():
    published = ROOT / "docs/workflow.schema.json"
    assert json.loads(published.read_text()) == schema(), "write it anew: aegis workflow schema > docs/workflow.schema.json"


def test_a_whole_document_is_valid():
    assert complaints(PROCUREMENT) == []


@pytest.mark.parametrize("kind", step_syntax.KINDS)
def test_every_key_of_every_kind_of_step_is_read_and_valid(kind):
    for step in KINDS[kind]:
        document = only(z={"wait": "1s"}, a=step)
        made(document)
        assert complaints(document) == []
    assert {key for step in KINDS[kind] for key in step} == {kind, *step_syntax._KEYS[kind]}


def test_most_documents_that_are_refused_are_not_valid():
    passed = [case for case, (steps, _) in REFUSED.items() if not complaints(parsed(only(**steps)).value)]
    assert len(passed) <= len(REFUSED) // 2, passed
