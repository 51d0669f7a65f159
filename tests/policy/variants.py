"""Many calls from one: what stands in a call is dropped, set to null, given another type, or moved to the edge of a limit.

Hypothesis draws a policy and a few calls to its tools; variants of them are cheaper by far and come closer to the literals of
that policy. They follow from a seed, so that a failing example repeats.
"""

from copy import deepcopy
from random import Random
from typing import Any

from msgspec.structs import replace
from tests.policy.strategies import (
    BAD_MAILS,
    BAD_URLS,
    FRACTIONS,
    LISTS,
    MAILS,
    NOWS,
    NUMBERS,
    URLS,
    VERSIONS,
    WORDS,
    term_ids,
)

from aegis.model.facts import Facts
from aegis.model.principal import Link
from aegis.model.proposal import Proposal

Call = tuple[Proposal, Facts]
ODD = [
    None,
    True,
    False,
    [],
    {},
    [[]],
    [None],
    [1, "1"],
    "\x00",
    "\U0001f600",
    "1e5",
    "5,000",
    1.0,
    -0.0,
    1e15,
    {"a": None},
    "é",
    "e\u0301",
]
STRANGE = [2**53, 2**80, float("nan"), float("inf"), "\ud800", 1e22]
_GOOD = {
    "string": WORDS,
    "integer": NUMBERS,
    "number": [*NUMBERS, *FRACTIONS],
    "boolean": [True, False],
    "url": URLS + BAD_URLS,
    "email": MAILS + BAD_MAILS,
}
_FIELDS = ("price", "name", "tags", "level", "lines", "deep")


def literals(value: Any) -> list[Any]:
    """Every scalar that stands in a document, and its neighbours: what a limit lets through and what it does not."""
    if isinstance(value, dict):
        return [found for child in value.values() for found in literals(child)]
    if isinstance(value, list):
        return [found for child in value for found in literals(child)]
    if type(value) in (int, float):
        return [value, value + 1, value - 1, float(value), value + 0.5]
    if isinstance(value, str):
        return [value, value + "x", "x" + value, value[:-1], value + "\n", value.upper()]
    return [value]


class Variants:
    """An endless supply of calls around `bases`; `pool` are values worth trying anywhere."""

    def __init__(self, seed: int, document: dict[str, Any], tenant_data: dict[str, Any], bases: list[Call]) -> None:
        self.random = Random(seed)
        self.tools = document["spec"]["tools"]
        self.bases = bases
        near = [rule.get("when", {}) for rule in document["spec"]["rules"]]
        self.pool = [*ODD, *WORDS, *NUMBERS, *FRACTIONS, *(literals([near, tenant_data, LISTS]))]

    def call(self) -> Call:
        """One more call."""
        proposal, facts = self.random.choice(self.bases)
        proposal = replace(proposal, arguments=deepcopy(proposal.arguments))
        for _ in range(self.random.randint(1, 4)):
            edit = self.random.choice(_EDITS)
            proposal, facts = edit(self, proposal, facts)
        return proposal, facts

    def value(self) -> Any:
        """Some value."""
        shape = self.random.random()
        if shape < 0.7:
            return deepcopy(self.random.choice(self.pool))
        if shape < 0.72:
            return self.random.choice(STRANGE)
        if shape < 0.86:
            return [self.element() for _ in range(self.random.randint(0, 3))]
        return self.element()

    def element(self) -> Any:
        """Something that may stand in an array."""
        if self.random.random() < 0.3:
            return deepcopy(self.random.choice(self.pool))
        names = self.random.sample(_FIELDS, self.random.randint(0, 3))
        return {name: deepcopy(self.random.choice(self.pool)) for name in names}

    def argument(self, proposal: Proposal, facts: Facts) -> Call:
        """An argument set, to something of its type as a rule."""
        args = self.tools[proposal.tool]["args"]
        name = self.random.choice([*args])
        good = _GOOD.get(args[name].removesuffix("?"))
        if type(good and good[0]) is int and self.random.random() < 0.1:
            proposal.arguments[name] = float(self.random.choice(good))
        elif good and self.random.random() < 0.9:
            proposal.arguments[name] = self.random.choice([*good, *(each for each in self.pool if type(each) is type(good[0]))])
        elif not good and self.random.random() < 0.9:
            full = args[name].startswith("object")
            proposal.arguments[name] = {key: self.value() for key in _FIELDS} if full else [self.value() for _ in range(2)]
        else:
            proposal.arguments[name] = self.value()
        return proposal, facts

    def inside(self, proposal: Proposal, facts: Facts) -> Call:
        """Something inside the body set or removed."""
        body = proposal.arguments.get("body")
        if isinstance(body, dict):
            name = self.random.choice(_FIELDS)
            if self.random.random() < 0.2:
                body.pop(name, None)
            else:
                body[name] = self.value()
        return proposal, facts

    def without(self, proposal: Proposal, facts: Facts) -> Call:
        """An optional argument left out, or null; seldom any other."""
        args = self.tools[proposal.tool]["args"]
        names = [name for name in proposal.arguments if args.get(name, "?").endswith("?") or self.random.random() < 0.05]
        if names:
            name = self.random.choice(names)
            if self.random.random() < 0.5:
                proposal.arguments[name] = None
            else:
                del proposal.arguments[name]
        return proposal, facts

    def principal(self, proposal: Proposal, facts: Facts) -> Call:
        """Who asks."""
        words = [*WORDS, *(each for each in self.pool if type(each) is str)]
        some = tuple(self.random.sample(words, self.random.randint(0, 3)))
        chain = tuple(Link(agent_id=self.random.choice(words), trust=self.random.randint(0, 5)) for _ in some)
        changes: list[dict[str, Any]] = [
            {"roles": some},
            {"scopes": some},
            {"chain": chain},
            {"trust": self.random.randint(0, 5)},
            {"agent_id": self.random.choice(words)},
            {"subject": self.random.choice(words)},
            {"txn": self.random.choice(words)},
            {"task": self.random.choice(words)},
        ]
        return replace(proposal, principal=replace(proposal.principal, **self.random.choice(changes))), facts

    def surroundings(self, proposal: Proposal, facts: Facts) -> Call:
        """Version, environment and clock."""
        changes: list[Call] = [
            (replace(proposal, tool_version=self.random.choice(VERSIONS)), facts),
            (replace(proposal, environment=self.random.choice(["", "red", "prod-1"])), facts),
            (proposal, replace(facts, now=self.random.choice(NOWS))),
            (proposal, replace(facts, stale=frozenset(self.random.choice([(), ("clock",)])))),
        ]
        return self.random.choice(changes)

    def readings(self, proposal: Proposal, facts: Facts) -> Call:
        """History, labels, and numbers that the issuer of the token signed."""
        some = self.random.choice([None, tuple(self.random.sample(WORDS, self.random.randint(0, 3)))])
        numbers = [each for each in self.pool if type(each) is int and abs(each) < 2**53]
        names = [*term_ids().items()]
        name, term = self.random.choice(names)
        past = [None, True, False] if name in ("before", "just") else [None, *numbers]
        stated = {**facts.stated, self.random.choice(["risk.percent", "budget.left_micros"]): self.random.choice(numbers)}
        changes = [
            replace(facts, call_labels=some),
            replace(facts, run_labels=some),
            replace(facts, stated=stated),
            replace(facts, history={**facts.history, term: self.random.choice(past)}),
        ]
        return proposal, self.random.choice(changes)


_EDITS = [
    Variants.argument,
    Variants.argument,
    Variants.inside,
    Variants.inside,
    Variants.without,
    Variants.principal,
    Variants.surroundings,
    Variants.readings,
]
