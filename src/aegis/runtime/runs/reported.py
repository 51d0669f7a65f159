"""What agents report of themselves: what they have used, and which model they asked. It is bounded, and marked as their word."""

from collections.abc import Mapping

from aegis.runtime.record import text
from aegis.workflow.graph import Amount
from aegis.workflow.run import Usage

MAX_TOKENS = 10**9
MAX_MICROS = 10**15
MODEL = ("id", "version", "prompt_sha256", "seed")
MAX_TEXT = 128


def usage(*, tokens: int = 0, micros: int = 0, model: Mapping[str, str] | None = None) -> Usage:
    """One call of an agent, with what it says that it took."""
    return Usage(
        amount=Amount(calls=1, tokens=_bounded(tokens, MAX_TOKENS), micros=_bounded(micros, MAX_MICROS)),
        self_reported=True,
        model={name: text(str(model[name]), MAX_TEXT) for name in MODEL if model and model.get(name)},
    )


def _bounded(number: int, most: int) -> int:
    return min(max(0, number), most)
