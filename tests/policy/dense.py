"""Policy sets drawn from a seed: many small rules in one set, so that one call to an engine asks about all of them.

`tests/policy/strategies.py` draws sets of every shape and shrinks well; these cover operators, kinds and polarities evenly. The values
are the same.
"""

from random import Random
from typing import Any

from tests.policy import strategies as known

from aegis.model.facts import Facts
from aegis.model.principal import Link, Principal
from aegis.model.proposal import Proposal

_MOST = {"ref": "tenant.limits.most"}
_RATIO = {"ref": "tenant.limits.ratio"}
_NAME = {"ref": "tenant.name"}
_ORDER = ("gt", "gte", "lt", "lte")
_KINDS = {
    "string": ("eq", "ne", "in", "matches", "longer_than", "shorter_than", "starts_with", "ends_with"),
    "version": ("eq", "version"),
    "integer": (*_ORDER, "eq", "ne", "in", "between", "outside"),
    "number": (*_ORDER, "between", "outside"),
    "boolean": ("eq", "ne"),
    "host": ("host_in", "matches"),
    "time": ("between", "outside"),
    "weekday": ("eq", "in"),
    "array": ("contains", "longer_than", "shorter_than"),
    "names": ("contains", "longer_than", "shorter_than"),
    "sized": ("longer_than", "shorter_than"),
    "chain": ("longer_than", "shorter_than"),
    "object": (),
}
_OVER = ("any", "every", "none")
_ELEMENT = {"chain": {"id": "string", "trust": "integer"}, "other": {"price": "any", "name": "any", "tags": "any"}}


class Sets:
    """Draws sets, data and calls from one seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)

    def document(self, rules: int) -> dict[str, Any]:
        """A set with this many rules."""
        pick = self.random
        args = {name: kind + "?" * pick.randint(0, 1) for name, kind in known.ARGS.items()}
        tools = {"probe.run": {"args": args, "history": ["count"], "labels": {"emits": ["red"], "sink": "green"}}}
        tools["probe.other"] = {"args": {name: args[name] for name in ("text", "body", "url")}, "history": ["text"]}
        if pick.random() < 0.3:
            tools["probe.run"]["version"] = pick.choice(known.RANGES)
        made = [self.rule(f"r{number}", args) for number in range(rules)]
        if pick.random() < 0.7:
            made.append({"id": "base", "effect": "allow", "tools": ["*"]})
        spec = {
            "timezone": pick.choice(["UTC", "Asia/Kolkata"]),
            "lists": known.LISTS,
            "tenant": known.SHAPE,
            "tools": tools,
            "rules": made,
        }
        head = {"apiVersion": "aegis.policy/v1", "kind": "PolicySet"}
        return {**head, "metadata": {"name": "dense", "tenant": "acme", "owner": "tests@acme.example"}, "spec": spec}

    def rule(self, name: str, args: dict[str, str]) -> dict[str, Any]:
        """One rule, about the tool with all arguments as a rule."""
        pick = self.random
        effect = pick.choice(["allow", "allow", "deny", "deny", "approval_needed", "sanitize"])
        tools = pick.choice([["probe.run"], ["probe.run"], ["probe.run"], ["*"]])
        paths = {
            path: kind for path, kind in known._paths(args).items() if tools != ["*"] or not path.startswith(("args.", "parsed."))
        }
        rule: dict[str, Any] = {"id": name, "effect": effect, "tools": tools}
        rule["when"] = self.condition(paths, loosens=effect == "allow", depth=pick.choice([0, 0, 1, 2]))
        if effect in ("deny", "approval_needed") and pick.random() < 0.5:
            rule["mode"] = "shadow"
        if effect == "sanitize":
            rule["stage"] = "response" if tools == ["*"] else pick.choice(["request", "response"])
            rule["redact"] = pick.sample(known._REDACT[rule["stage"]], pick.randint(1, 2))
        if effect == "approval_needed":
            rule["approval"] = pick.choice(known._APPROVALS)
        return rule

    def condition(self, paths: dict[str, str], *, loosens: bool, depth: int, element: bool = False) -> dict[str, Any]:
        """A condition; a leaf at depth 0."""
        pick = self.random
        if depth == 0:
            loose = [path for path in sorted(paths) if paths[path] in ("any", "array")]  # where no contract has looked
            path = pick.choice(loose if loose and pick.random() < 0.4 else sorted(paths))
            return self.leaf(path, paths[path], loosens=loosens, element=element)
        shape = pick.choice(["not", "all", "any"])
        if shape == "not":
            return {"not": self.condition(paths, loosens=not loosens, depth=depth - 1, element=element)}
        parts = [self.condition(paths, loosens=loosens, depth=depth - 1, element=element) for _ in range(pick.randint(1, 3))]
        return {shape: parts}

    def leaf(self, path: str, kind: str, *, loosens: bool, element: bool) -> dict[str, Any]:
        """One comparison, or a quantifier."""
        pick = self.random
        if kind == "history":
            return {path: self.past()}
        if kind in ("any", "array", "chain") and not element and pick.random() < 0.4:
            word = pick.choice(_OVER)
            inner = _ELEMENT["chain" if kind == "chain" else "other"]
            flipped = loosens != (word == "none")
            return {path: {word: self.condition(inner, loosens=flipped, depth=pick.randint(0, 1), element=True)}}
        like = pick.choice(["string", "integer", "integer", "array", "boolean", "version"]) if kind == "any" else kind
        op = pick.choice([*_KINDS[like], "present"] if like != "object" else ["present"])
        return {path: {op: self.operand(op, like, loosens=loosens)}}

    def past(self) -> dict[str, Any]:
        """A history condition."""
        ((word, body),) = known.PAST[self.random.choice(sorted(known.PAST))].items()
        if word == "formerly":
            return {word: body}
        return {word: body | {self.random.choice([*_ORDER, "eq"]): self.random.choice([*known.NUMBERS, _MOST])}}

    def operand(self, op: str, kind: str, *, loosens: bool) -> Any:
        """Something that fits to the right of `op`."""
        pick = self.random
        if op in ("between", "outside"):
            return self.bounds(kind)
        if op in ("longer_than", "shorter_than"):
            return pick.choice([0, 1, 2, 3, 4, _MOST])
        table: dict[str, list[Any]] = {
            "present": [True, False],
            "matches": known.PATTERNS if loosens else known.PATTERNS + known.LOOSE,
            "version": known.RANGES,
            "host_in": [{"list": "hosts"}, ["*.example"], {"ref": "tenant.regions"}],
            "starts_with": [*(word for word in known.WORDS if word), _NAME],
            "contains": [*known.WORDS, _NAME] if kind == "names" else [*known.WORDS, *known.NUMBERS, True, False, _MOST],
        }
        if op in table and not (op == "version" and kind == "string"):
            return pick.choice(table[op])
        return pick.choice(table["starts_with"]) if op == "ends_with" else self.equal(op, kind)

    def bounds(self, kind: str) -> Any:
        """Two ends of a range."""
        pick = self.random
        if kind == "time":
            return pick.sample(known.TIMES, 2)
        low, high = sorted(pick.sample(known.FRACTIONS if kind == "number" else known.NUMBERS, 2))
        return [low, pick.choice([high, high, _RATIO if kind == "number" else _MOST])]

    def equal(self, op: str, kind: str) -> Any:
        """A value of this kind, or several for `in`."""
        pick = self.random
        words: dict[str, list[Any]] = {
            "integer": [*known.NUMBERS, _MOST],
            "number": [*known.NUMBERS, *known.FRACTIONS, _RATIO],
            "boolean": [True, False, {"ref": "tenant.frozen"}],
            "weekday": ["wed", "sat"],
        }
        if op != "in":
            return pick.choice(words.get(kind, [*known.WORDS, _NAME]))
        if kind == "weekday":
            return ["sat", "sun"]
        if kind == "integer":
            return pick.choice([pick.sample(known.NUMBERS, 3), {"list": "ports"}, {"ref": "tenant.codes"}])
        return pick.choice([pick.sample(known.WORDS, 3), {"list": "colours"}, {"list": "none"}, {"ref": "tenant.regions"}])

    def tenant_data(self) -> dict[str, Any]:
        """The tenant's data, right as a rule."""
        pick = self.random
        whole = {
            "name": pick.choice(known.WORDS),
            "frozen": pick.choice([True, False]),
            "regions": pick.choice([["red", "eu-1"], ["*.good.example"], [], ["red", 1], "red"]),
            "codes": pick.choice([[1, 100], [], [True], [1.0]]),
            "limits": {"most": pick.choice([*known.NUMBERS, 1.5, "10"]), "ratio": pick.choice([0.5, 1, 99.5, "1"])},
        }
        return {name: value for name, value in whole.items() if pick.random() < 0.8}

    def call(self) -> tuple[Proposal, Facts]:
        """A call inside the contract line."""
        pick = self.random
        args = {
            "text": pick.choice(known.WORDS),
            "count": pick.choice(known.NUMBERS),
            "ratio": pick.choice(known.NUMBERS + known.FRACTIONS),
            "flag": pick.choice([True, False]),
            "body": {"level": pick.choice(known.NUMBERS), "name": pick.choice(known.WORDS), "tags": pick.sample(known.WORDS, 2)},
            "items": [{"price": pick.choice(known.NUMBERS), "name": pick.choice(known.WORDS)} for _ in range(pick.randint(0, 2))],
            "url": pick.choice(known.URLS),
            "to": pick.choice(known.MAILS),
        }
        principal = Principal(
            tenant="acme",
            agent_id=pick.choice(["red", "prod-1"]),
            subject=pick.choice(known.WORDS),
            roles=tuple(pick.sample(known.WORDS, 2)),
            scopes=tuple(pick.sample(known.WORDS, 2)),
            trust=pick.randint(0, 5),
            chain=tuple(Link(agent_id=pick.choice(known.WORDS), trust=pick.randint(0, 5)) for _ in range(pick.randint(0, 3))),
            txn=pick.choice(known.WORDS),
            task=pick.choice(known.WORDS),
        )
        proposal = Proposal(principal=principal, tool="probe.run", arguments=args, tool_version=pick.choice(known.VERSIONS[:4]))
        past = {
            term: pick.choice([None, True, False] if name in ("before", "just") else known.NUMBERS)
            for name, term in known.term_ids().items()
        }
        stated = {"risk.percent": pick.choice(known.NUMBERS), "budget.left_micros": pick.choice(known.NUMBERS)}
        labels = tuple(pick.sample(known.WORDS, 2))
        facts = Facts(now=pick.choice(known.NOWS), history=past, stated=stated, call_labels=labels, run_labels=labels[:1])
        return proposal, facts
