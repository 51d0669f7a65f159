"""Real OPA as the referee: a policy set in an OPA inside this process, and what native evaluation says in the same words.

OPA comes as a wheel (requirements/opa.txt) that exists for Linux on x86-64 only; elsewhere the tests that need it skip. It evaluates
with strict builtin errors: whatever fails there raises here. As nothing may ever raise, both modes have one answer.
"""

from typing import Any, Self

import pytest

from aegis.errors import CanonicalError
from aegis.model.facts import Facts
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.ir import Policy
from aegis.policy.rego import module
from aegis.policy.rego.answer import plain
from aegis.policy.rego.asked import document
from aegis.policy.rego.names import entry_point

UNENCODABLE = "unencodable"


def engine_class() -> Any:
    """The OPA engine, or skip."""
    return pytest.importorskip(
        "opa_bindings.engine", reason="no OPA here: see requirements/opa.txt", exc_type=ImportError
    ).OpaEngine


def parse(text: str) -> Any:
    """The syntax tree of a module; `ValueError` when it is not Rego."""
    with engine_class()() as engine:
        try:
            (found,) = engine.eval_query('tree := rego.parse_module("custom.rego", input.text)', {"text": text})
        except Exception as error:
            raise ValueError(str(error)) from None
        return found["tree"]


class Opa:
    """One policy set with one tenant's data in a real OPA."""

    def __init__(self, policy: Policy, tenant_data: dict[str, Any], sources: dict[str, str] | None = None) -> None:
        self.policy = policy
        self.engine = engine_class()()
        for path, text in ({**module.library(), **module.modules(policy)} if sources is None else sources).items():
            self.engine.add_policy(path, text)
        self.engine.add_data(module.data(policy, tenant_data))
        self.path = entry_point(policy.tenant)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.engine.close()

    def ask(self, given: Any) -> dict[str, Any]:
        """What the entry point answers to an input document."""
        return self.engine.eval_document(self.path, given)

    def answer(self, proposal: Proposal, facts: Facts) -> Any:
        """What the entry point answers about a call, without what native evaluation cannot know."""
        try:
            given = document(proposal, facts, self.policy)
        except CanonicalError:
            return UNENCODABLE
        found = self.ask(given)
        assert found.pop("revision") == self.policy.digest
        assert found.pop("custom") == []
        return found


def native(guard: RulesGuard, proposal: Proposal, facts: Facts) -> dict[str, Any]:
    """The decision of native evaluation in the words of the Rego entry point."""
    return plain(decide(proposal, facts, [guard]))


__all__ = ["Opa", "native", "plain", "engine_class", "UNENCODABLE"]
