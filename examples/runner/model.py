"""Asks a model where one is configured, at any server that speaks the chat completions of OpenAI; else goes by fixed rules.

    export OPENAI_BASE_URL=http://127.0.0.1:11434/v1 OPENAI_MODEL=llama3.2     # and OPENAI_API_KEY where it wants one

Either way the task tells the gateway what made its output: model, version, digest of the prompt, seed. A model's answer is data:
the gateway holds the output against the step's contract, and an agent takes from a model only what is a judgement. Amounts and
accounts come from tools.
"""

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

from aegis.sdk.worker import Task, TaskFailed

SEED = 7
TIMEOUT_SECONDS = 60.0
RULES = "rules"
"""What stands for the model where none is asked."""


def judge(task: Task, instructions: str, facts: Any, rules: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
    """What a model says about the facts, as a JSON object; without a model, what the rules say.

    Raises:
        TaskFailed: The model could not be asked, or did not answer with a JSON object.
    """
    url = os.environ.get("OPENAI_BASE_URL", "")
    if not url:
        task.model(RULES, version="1", prompt=instructions, seed=SEED)
        return rules()
    asked = _question(os.environ.get("OPENAI_MODEL", ""), instructions, facts)
    answer = _ask(f"{url.rstrip('/')}/chat/completions", asked)
    _tell(task, asked, answer)
    return _object(answer)


def _question(model: str, instructions: str, facts: Any) -> dict[str, Any]:
    if not model:
        raise TaskFailed("no_model", "OPENAI_MODEL names no model")
    messages = [
        {"role": "system", "content": f"{instructions} Answer with one JSON object and nothing else."},
        {"role": "user", "content": json.dumps(facts, sort_keys=True)},
    ]
    return {"model": model, "messages": messages, "temperature": 0, "seed": SEED, "response_format": {"type": "json_object"}}


class _Stay(urllib.request.HTTPRedirectHandler):
    """The key goes to the host that was named, and to no other."""

    def redirect_request(self, *_: Any) -> None:
        """Follow nowhere."""


def _ask(url: str, question: Mapping[str, Any]) -> dict[str, Any]:
    key = os.environ.get("OPENAI_API_KEY", "")
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
    request = urllib.request.Request(url, json.dumps(question).encode(), headers)  # noqa: S310 - the operator's own URL
    try:
        with urllib.request.build_opener(_Stay).open(request, timeout=TIMEOUT_SECONDS) as response:
            found: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        error.close()
        busy = error.code == 429 or error.code >= 500  # too many, or the server's own trouble
        raise TaskFailed("model_refused", f"the model's server answered {error.code}", again=busy) from None
    except (OSError, ValueError) as error:
        raise TaskFailed("model_unreachable", f"the model was not asked: {type(error).__name__}", again=True) from None
    return found


def _tell(task: Task, question: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
    """Every answer costs, also one that is of no use."""
    task.model(
        str(answer.get("model") or question["model"]),
        version=str(answer.get("system_fingerprint") or ""),
        prompt=json.dumps(question["messages"], sort_keys=True),
        seed=SEED,
        tokens=int((answer.get("usage") or {}).get("total_tokens") or 0),
    )


def _object(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        found = json.loads(answer["choices"][0]["message"]["content"])
    except (LookupError, TypeError, ValueError):
        raise TaskFailed("model_answer", "the model did not answer with JSON", again=True) from None
    if not isinstance(found, dict):
        raise TaskFailed("model_answer", "the model did not answer with a JSON object", again=True)
    return found
