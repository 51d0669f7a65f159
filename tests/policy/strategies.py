"""Policy sets, tenant data and calls for property tests. Everything generated is a plain document that other engines can read too.

`policies()` draws documents that load; `calls(document)` draws calls to their tools, mostly inside the contract, whose values
below `args.body` and `args.items` are as odd as a JSON parser lets through: missing, null, of another type, booleans for integers,
huge and fractional numbers, text outside ASCII, trailing newlines, nested arrays.
"""

import functools
import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from aegis.model.facts import Facts
from aegis.model.principal import Link, Principal
from aegis.model.proposal import Proposal
from aegis.policy.hosts import Ambiguous
from aegis.policy.ir import Policy
from aegis.policy.language import load
from aegis.policy.parsed import read_email, read_url
from aegis.policy.zone import local, zone

LISTS = {"colours": ["red", "green"], "ports": [22, 443], "hosts": ["api.good.example", "*.good.example", "192.0.2.7"], "none": []}
SHAPE = {
    "limits": {"most": "integer", "ratio": "number"},
    "name": "string",
    "frozen": "boolean",
    "regions": "string[]",
    "codes": "integer[]",
}
ARGS = {
    "text": "string",
    "count": "integer",
    "ratio": "number",
    "flag": "boolean",
    "body": "object",
    "items": "array",
    "url": "url",
    "to": "email",
}
WORDS = ["red", "green", "Red", "red\n", " red", "prod-1", "prod-", "prod", "röd", "", "1", "drop", "a" * 7]
NUMBERS = [0, 1, 2, 9, 10, 11, 99, 100, 101, -1, 2**53 - 1, -(2**53) + 1]
FRACTIONS = [0.0, 1.0, 1.5, 10.0, 99.5, 100.5, -0.5]
ODD = st.sampled_from([None, True, False, 2**53, 2**80, 10**30, 1e22, [], {}, [[]], [None], "\x00", "\U0001f600", "1e5", "5,000"])
PATTERNS = ["^red$", "^(?:red|green)$", "^prod-[0-9]*$", "^[a-z]{3,5}$", "^.*d$", "^$"]
LOOSE = ["red", "[0-9]", "prod-", "^r", "d$", "e+"]
TIMES = ["00:00", "06:00", "08:00", "17:59", "18:00", "22:00", "23:59"]
NOWS = [
    datetime(2026, 1, 7, 11, 0, tzinfo=UTC),
    datetime(2026, 1, 7, 7, 0, tzinfo=UTC),
    datetime(2026, 1, 7, 16, 59, 59, tzinfo=UTC),
    datetime(2026, 1, 9, 23, 30, tzinfo=UTC),
    datetime(2026, 7, 11, 22, 0, tzinfo=UTC),
]
VERSIONS = ["1.0.0", "1.2.0", "1.10.0", "2.0.0", "v1.2.0", "1.2", "01.0.0", ""]
RANGES = [">=1.0.0", ">=1.2.0 <2.0.0", "<1.10.0", "=1.2.0", ">1.2.0 <=2.0.0"]
URLS = [
    "https://api.good.example/",
    "https://good.example/",
    "http://x.good.example:8080/admin",
    "http://192.0.2.7/",
    "https://EVIL.example/?q=red",
]
BAD_URLS = ["https://a@api.good.example/", "api.good.example", "https://good.example./", ""]
MAILS = ["ana@good.example", "ana@Evil.example", "b.c+d@x.good.example"]
BAD_MAILS = ["ana", "a@b@good.example", ""]
BODY_PATHS = ["args.body.level", "args.body.name", "args.body.tags", "args.body.lines", "args.body.deep.level"]

scalars = st.one_of(st.sampled_from(WORDS), st.sampled_from(NUMBERS), st.sampled_from(FRACTIONS), ODD)
elements = st.fixed_dictionaries({}, optional={"price": scalars, "name": scalars, "tags": st.lists(scalars, max_size=2)})
lines = st.lists(st.one_of(elements, elements, scalars), max_size=3)


def _integer() -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(NUMBERS), st.just({"ref": "tenant.limits.most"}))


def _number() -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(NUMBERS), st.sampled_from(FRACTIONS), st.just({"ref": "tenant.limits.ratio"}))


def _string() -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(WORDS), st.just({"ref": "tenant.name"}))


def _pair(values: list[Any]) -> st.SearchStrategy[Any]:
    return st.lists(st.sampled_from(values), min_size=2, max_size=2, unique=True).map(sorted)


def _ranges(values: list[Any], ref: str) -> st.SearchStrategy[Any]:
    return st.one_of(_pair(values), st.sampled_from(values).map(lambda low: [low, {"ref": ref}]))


def _strings_in() -> st.SearchStrategy[Any]:
    named = [{"list": "colours"}, {"list": "none"}, {"ref": "tenant.regions"}]
    return st.one_of(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3), st.sampled_from(named))


def _integers_in() -> st.SearchStrategy[Any]:
    named = [{"list": "ports"}, {"ref": "tenant.codes"}]
    return st.one_of(st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3), st.sampled_from(named))


def _operators(kind: str, *, loosens: bool) -> dict[str, st.SearchStrategy[Any]]:
    """Operators that fit a kind, with their operands."""
    patterns = st.sampled_from(PATTERNS) if loosens else st.sampled_from(PATTERNS + LOOSE)
    size = st.one_of(st.integers(0, 4), st.just({"ref": "tenant.limits.most"}))
    sized = {"longer_than": size, "shorter_than": size}
    edge = st.one_of(st.sampled_from([word for word in WORDS if word]), st.just({"ref": "tenant.name"}))
    integers = dict.fromkeys(("eq", "ne", "gt", "gte", "lt", "lte"), _integer()) | {
        "in": _integers_in(),
        "between": _ranges(NUMBERS, "tenant.limits.most"),
        "outside": _ranges(NUMBERS, "tenant.limits.most"),
    }
    strings = {"eq": _string(), "ne": _string(), "in": _strings_in(), "matches": patterns} | sized
    strings |= {"starts_with": edge, "ends_with": edge}
    booleans = st.one_of(st.booleans(), st.just({"ref": "tenant.frozen"}))
    anything = st.one_of(_string(), _integer(), st.booleans(), st.just({"ref": "tenant.frozen"}))
    table: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "string": strings,
        "version": {"eq": _string(), "version": st.sampled_from(RANGES)},
        "integer": integers,
        "number": dict.fromkeys(("gt", "gte", "lt", "lte"), _number())
        | {"between": _ranges(FRACTIONS, "tenant.limits.ratio"), "outside": _ranges(FRACTIONS, "tenant.limits.ratio")},
        "boolean": {"eq": booleans, "ne": booleans},
        "host": {"host_in": st.sampled_from([{"list": "hosts"}, ["*.example"], {"ref": "tenant.regions"}]), "matches": patterns},
        "time": dict.fromkeys(("between", "outside"), st.permutations(TIMES).map(lambda times: times[:2])),
        "weekday": {"in": st.just(["sat", "sun"]), "eq": st.sampled_from(["wed", "sat"])},
        "array": {"contains": anything} | sized,
        "names": {"contains": _string()} | sized,
        "sized": sized,
        "chain": sized,
        "object": {},
    }
    table["any"] = integers | strings | {"eq": anything, "ne": anything, "contains": anything, "version": st.sampled_from(RANGES)}
    table["any"]["in"] = st.one_of(_strings_in(), _integers_in())
    return table[kind] | {"present": st.booleans()}


FIXED = {
    "tenant": "string",
    "environment": "string",
    "tool": "string",
    "version": "version",
    "agent.id": "string",
    "agent.roles": "names",
    "agent.trust": "integer",
    "agent.scopes": "names",
    "subject.id": "string",
    "chain": "chain",
    "run.id": "string",
    "run.task": "string",
    "now.time": "time",
    "now.weekday": "weekday",
    "labels.call": "names",
    "labels.run": "names",
    "tool_labels.emits": "names",
    "tool_labels.sink": "string",
    "tool_labels.region": "string",
    "risk.percent": "integer",
    "budget.left_micros": "integer",
    "history": "history",
}
_PAST = {"event": {"tool": "probe.other"}, "within": "1h"}
PAST: dict[str, dict[str, Any]] = {
    "before": {"formerly": {**_PAST, "same": ["run.id"]}},
    "just": {"formerly": {**_PAST, "immediately": True}},
    "often": {"count_within": {"event": {"tool": "probe.run", "phase": "failed"}, "within": "1d"}},
    "much": {"sum_within": {"event": {"tool": "probe.run"}, "of": "args.count", "same": ["agent.id"], "within": "24h"}},
    "many": {"distinct_within": {**_PAST, "of": "args.text"}},
}
"""History conditions without what they are compared with, by a name of our own."""
_PARSED = {"url": {"host": "host", "port": "integer", "path": "string", "query": "string"}, "email": {"domain": "host"}}
_OWN = {"object": "object", "array": "array", "url": "sized", "email": "sized"}


@functools.cache
def term_ids() -> dict[str, str]:
    """The names of `PAST` to the ids of their terms."""
    found = {}
    for name, written in PAST.items():
        document = json.loads(json.dumps(_BARE))
        ((word, body),) = written.items()
        document["spec"]["rules"][0]["when"] = {"history": {word: body if word == "formerly" else body | {"gt": 1}}}
        (found[name],) = loaded(document).terms
    return found


def _past() -> st.SearchStrategy[Any]:
    compared = st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte", "eq"]), _integer(), min_size=1, max_size=2)

    def written(name: str) -> st.SearchStrategy[Any]:
        ((word, body),) = PAST[name].items()
        return st.just({word: body}) if word == "formerly" else compared.map(lambda ops: {word: body | ops})

    return st.sampled_from(sorted(PAST)).flatmap(written)


def _paths(args: dict[str, str]) -> dict[str, str]:
    found = dict(FIXED)
    for name, written in args.items():
        kind = written.removesuffix("?")
        found[f"args.{name}"] = _OWN.get(kind, kind)
        found |= {f"parsed.{name}.{part}": of for part, of in _PARSED.get(kind, {}).items()}
    if "body" in args:
        found |= dict.fromkeys(BODY_PATHS, "any")
    return found


@st.composite
def _tests(draw: st.DrawFn, path: str, kind: str, *, loosens: bool, element: bool) -> dict[str, Any]:
    if kind == "history":
        return {path: draw(_past())}
    operators = _operators(kind, loosens=loosens)
    tests = {
        word: draw(operators[word])
        for word in draw(st.lists(st.sampled_from(sorted(operators)), min_size=1, max_size=2, unique=True))
    }
    over = (kind in ("any", "array", "chain") and not element) and draw(st.booleans())
    if over:
        quantifier = draw(st.sampled_from(["any", "every", "none"]))
        inner = {"id": "string", "trust": "integer"} if kind == "chain" else {"price": "any", "name": "any", "tags": "any"}
        flipped = loosens != (quantifier == "none")
        tests = {quantifier: draw(conditions(inner, loosens=flipped, depth=1, element=True))}
    return {path: tests}


@st.composite
def conditions(draw: st.DrawFn, paths: dict[str, str], *, loosens: bool, depth: int, element: bool = False) -> dict[str, Any]:
    """A condition over these paths; patterns that permit are anchored, as the language demands."""
    shape = draw(st.sampled_from(["leaf", "leaf", "not", "all", "any", "two"] if depth else ["leaf"]))
    if shape == "not":
        return {"not": draw(conditions(paths, loosens=not loosens, depth=depth - 1, element=element))}
    if shape in ("all", "any"):
        part = conditions(paths, loosens=loosens, depth=depth - 1, element=element)
        return {shape: draw(st.lists(part, min_size=1, max_size=3))}
    names = draw(st.lists(st.sampled_from(sorted(paths)), min_size=1, max_size=2 if shape == "two" else 1, unique=True))
    found: dict[str, Any] = {}
    for name in names:
        found |= draw(_tests(name, paths[name], loosens=loosens, element=element))
    return found


_REDACT = {
    "request": [{"path": "/args/text", "with": "mask"}, {"path": "/args/body/name", "with": "drop"}],
    "response": [
        {"path": "/result/a", "with": "hash"},
        {"path": "/result/b/c", "with": "last4"},
        {"path": "/result/a", "with": "drop"},
    ],
}
_APPROVALS = [
    {"approvers": ["role:lead"], "quorum": 1, "ttl": "1h", "not_requester": False},
    {"approvers": ["role:security", "person:eve"], "quorum": 2, "ttl": "10m"},
]


@st.composite
def _rule(draw: st.DrawFn, number: int, tools: dict[str, Any]) -> dict[str, Any]:
    effect = draw(st.sampled_from(["allow", "allow", "deny", "approval_needed", "sanitize"]))
    names = draw(st.sampled_from([["*"], ["probe.run"], ["probe.run", "probe.other"], ["probe.other"]]))
    rule: dict[str, Any] = {"id": f"r{number}", "effect": effect, "tools": names}
    shared = dict.fromkeys(ARGS) if names != ["*"] else {}
    for name in names:
        shared = {arg: None for arg in shared if name != "*" and arg in tools[name]["args"]}
    written = {name: tools[next(each for each in names if each != "*")]["args"][name] for name in shared}
    if draw(st.integers(0, 5)):
        rule["when"] = draw(conditions(_paths(written), loosens=effect == "allow", depth=3))
    if draw(st.integers(0, 4)) == 0:
        rule["mode"] = "shadow"
    if effect == "sanitize":
        stages = ["request", "response"] if {"text", "body"} <= shared.keys() else ["response"]
        rule["stage"] = draw(st.sampled_from(stages))
        rule["redact"] = draw(st.lists(st.sampled_from(_REDACT[rule["stage"]]), min_size=1, max_size=2, unique_by=str))
    if effect == "approval_needed":
        rule["approval"] = draw(st.sampled_from(_APPROVALS))
    return rule


_LABELS = st.sampled_from([{}, {"emits": ["red", "prod-1"], "sink": "red", "region": "green"}, {"source": "untrusted"}])
_BARE: dict[str, Any] = {
    "apiVersion": "aegis.policy/v1",
    "kind": "PolicySet",
    "metadata": {"name": "bare", "tenant": "acme", "owner": "tests@acme.example"},
    "spec": {
        "tools": {
            "probe.run": {"args": {"count": "integer"}, "history": ["count"]},
            "probe.other": {"args": {"text": "string"}, "history": ["text"]},
        },
        "rules": [{"id": "r", "effect": "deny", "tools": ["probe.run"]}],
    },
}


@st.composite
def policies(draw: st.DrawFn, *, most: int = 6) -> dict[str, Any]:
    """A document of a policy set that loads."""
    optional = draw(st.frozensets(st.sampled_from(sorted(ARGS))))
    args = {name: kind + "?" * (name in optional) for name, kind in ARGS.items()}
    tools: dict[str, Any] = {
        "probe.run": {"args": args, "history": ["count"], "labels": draw(_LABELS)},
        "probe.other": {"args": {name: args[name] for name in ("text", "body", "url")}, "history": ["text"]},
    }
    if draw(st.booleans()):
        tools["probe.run"]["version"] = draw(st.sampled_from(RANGES[:3]))
    rules = [draw(_rule(number, tools)) for number in range(draw(st.integers(0, most)))]
    if draw(st.booleans()):
        rules.append({"id": "base", "effect": "allow", "tools": ["*"]})
    return {
        "apiVersion": "aegis.policy/v1",
        "kind": "PolicySet",
        "metadata": {"name": "generated", "tenant": "acme", "owner": "tests@acme.example"},
        "spec": {
            "mode": draw(st.sampled_from(["enforce", "enforce", "enforce", "shadow"])),
            "timezone": draw(st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"])),
            "lists": LISTS,
            "tenant": SHAPE,
            "tools": tools,
            "rules": rules,
        },
    }


@st.composite
def single(draw: st.DrawFn, effect: str) -> dict[str, Any]:
    """A document with one rule of this effect about one tool, all of whose arguments may be absent."""
    args = {name: kind + "?" for name, kind in ARGS.items()}
    rule: dict[str, Any] = {"id": "one", "effect": effect, "tools": ["probe.run"]}
    rule["when"] = draw(conditions(_paths(args), loosens=effect == "allow", depth=draw(st.integers(0, 2))))
    if effect == "sanitize":
        rule |= {"stage": "response", "redact": _REDACT["response"][:1]}
    document = draw(policies(most=0))
    tools = {"probe.run": {"args": args, "history": ["count"]}, "probe.other": {"args": {"text": "string"}, "history": ["text"]}}
    document["spec"] |= {"mode": "enforce", "tools": tools, "rules": [rule]}
    return document


def loaded(document: dict[str, Any]) -> Policy:
    """The set of a document; JSON is YAML."""
    return load(json.dumps(document, ensure_ascii=False), source="generated")


@st.composite
def tenant_data(draw: st.DrawFn) -> dict[str, Any]:
    """Data of the tenant: right, missing, or of another type."""
    found: dict[str, Any] = {}
    values = {
        "name": st.sampled_from([*WORDS, 7]),
        "frozen": st.sampled_from([True, False, 1, "true"]),
        "regions": st.sampled_from([["red", "eu-1"], ["*.good.example"], [], ["red", 1], "red"]),
        "codes": st.sampled_from([[1, 100], [], [True], [1.0]]),
    }
    for name, value in values.items():
        if draw(st.booleans()):
            found[name] = draw(value)
    if draw(st.booleans()):
        found["limits"] = {
            "most": draw(st.sampled_from([*NUMBERS, 1.5, "10", True])),
            "ratio": draw(st.sampled_from([0.5, 1, 99.5, "1", False])),
        }
    return found


_GOOD: dict[str, st.SearchStrategy[Any]] = {
    "string": st.sampled_from(WORDS),
    "integer": st.sampled_from(NUMBERS),
    "number": st.one_of(st.sampled_from(NUMBERS), st.sampled_from(FRACTIONS)),
    "boolean": st.booleans(),
    "object": st.fixed_dictionaries(
        {},
        optional={
            "level": scalars,
            "name": scalars,
            "tags": st.one_of(st.lists(scalars, max_size=3), scalars),
            "lines": st.one_of(lines, scalars),
            "deep": st.one_of(st.fixed_dictionaries({}, optional={"level": scalars}), scalars),
        },
    ),
    "array": st.one_of(st.lists(scalars, max_size=3), lines),
    "url": st.sampled_from(URLS),
    "email": st.sampled_from(MAILS),
}
_BAD = st.one_of(scalars, st.sampled_from(BAD_URLS + BAD_MAILS), st.just(float(2**60)))


@st.composite
def _arguments(draw: st.DrawFn, args: dict[str, str], *, fitting: bool) -> dict[str, Any]:
    found = {}
    for name, written in args.items():
        kind, optional = written.removesuffix("?"), written.endswith("?")
        if not optional or draw(st.booleans()):
            found[name] = draw(_GOOD[kind])
        elif draw(st.booleans()):
            found[name] = None
    if not fitting and draw(st.integers(0, 7)) == 0:
        found[draw(st.sampled_from([*args, "strange"]))] = draw(_BAD)
    return found


@st.composite
def calls(draw: st.DrawFn, document: dict[str, Any], *, fitting: bool = False) -> tuple[Proposal, Facts]:
    """A call to a tool of the set; inside its contract line if `fitting`."""
    alone = [rule["id"] for rule in document["spec"]["rules"]] == ["one"]
    tool = "probe.run" if alone else draw(st.sampled_from(["probe.run", *document["spec"]["tools"]]))
    names = st.lists(st.sampled_from(WORDS), max_size=3).map(tuple)
    links = st.builds(Link, agent_id=st.sampled_from(["red", "green", ""]), trust=st.integers(0, 5))
    principal = Principal(
        tenant="acme",
        agent_id=draw(st.sampled_from(["red", "prod-1"])),
        subject=draw(st.sampled_from(["person:ana", "red", ""])),
        roles=draw(names),
        scopes=draw(names),
        trust=draw(st.integers(0, 5)),
        chain=tuple(draw(st.lists(links, max_size=4))),
        txn=draw(st.sampled_from(["", "red"])),
        task=draw(st.sampled_from(["", "drop"])),
    )
    proposal = Proposal(
        principal=principal,
        tool=tool,
        arguments=draw(_arguments(document["spec"]["tools"][tool]["args"], fitting=fitting)),
        tool_version=draw(st.sampled_from(VERSIONS[:4] * 3 + VERSIONS)),
        environment=draw(st.sampled_from(["", "red", "prod-1"])),
        request_id="req_1",
        request_hash="sha256:one",
    )
    facts = Facts(
        now=draw(st.sampled_from(NOWS)),
        environment=draw(st.sampled_from(["", "red"])),
        stale=frozenset({"clock"}) if draw(st.integers(0, 9)) == 0 else frozenset(),
        history={
            term: draw(st.sampled_from([None, True, False] if name in ("before", "just") else [None, *NUMBERS]))
            for name, term in term_ids().items()
            if draw(st.booleans())
        },
        call_labels=draw(st.one_of(st.none(), names)),
        run_labels=draw(st.one_of(st.none(), names)),
        stated=draw(st.dictionaries(st.sampled_from(["risk.percent", "budget.left_micros"]), st.sampled_from([0, 1, 9, 100]))),
    )
    return proposal, facts


def plain_input(proposal: Proposal, facts: Facts, document: dict[str, Any]) -> dict[str, Any] | None:
    """The input of one decision as plain data; nothing when the call breaks the contract."""
    args = document["spec"]["tools"][proposal.tool]["args"]
    parsed = _parsed(proposal.arguments, args)
    wanted = document["spec"]["tools"][proposal.tool].get("version")
    if parsed is None or (wanted and not _inside(proposal.tool_version, wanted)):
        return None
    principal = proposal.principal
    said, seen = proposal.environment, facts.environment
    clock = (None, None) if "clock" in facts.stale else local(facts.now, zone(document["spec"].get("timezone", "UTC")))
    return {
        "tenant": principal.tenant,
        "environment": (said or seen) if not (said and seen and said != seen) else None,
        "tool": proposal.tool,
        "version": proposal.tool_version,
        "agent": {
            "id": principal.agent_id,
            "roles": list(principal.roles),
            "scopes": list(principal.scopes),
            "trust": principal.trust,
        },
        "subject": {"id": principal.subject},
        "chain": [{"id": link.agent_id or None, "trust": link.trust} for link in principal.chain],
        "run": {"id": principal.txn, "task": principal.task},
        "args": proposal.arguments,
        "parsed": parsed,
        "now": {"time": clock[0], "weekday": clock[1]},
        "labels": {"call": _listed(facts.call_labels), "run": _listed(facts.run_labels)},
        "tool_labels": {"emits": []} | document["spec"]["tools"][proposal.tool].get("labels", {}),
        "risk": {"percent": facts.stated.get("risk.percent")},
        "budget": {"left_micros": facts.stated.get("budget.left_micros")},
        "history": {name: facts.history.get(term) for name, term in term_ids().items()},
    }


def _listed(names: tuple[str, ...] | None) -> list[str] | None:
    return None if names is None else list(names)


def _parsed(arguments: dict[str, Any], args: dict[str, str]) -> dict[str, Any] | None:
    if arguments.keys() - args.keys():
        return None
    found: dict[str, Any] = {}
    for name, written in args.items():
        kind, value = written.removesuffix("?"), arguments.get(name)
        if value is None:
            if not written.endswith("?"):
                return None
            continue
        if not _typed(kind, value):
            return None
        try:
            if kind in ("url", "email"):
                found[name] = (read_url if kind == "url" else read_email)(value)
        except Ambiguous:
            return None
    return found


def _typed(kind: str, value: Any) -> bool:
    types = {"string": str, "url": str, "email": str, "boolean": bool, "object": dict, "array": list, "integer": int}
    if kind == "number":
        return type(value) in (int, float) and abs(value) < 2**53
    return type(value) is types[kind] and (kind != "integer" or abs(value) < 2**53)


def _inside(found: str, wanted: str) -> bool:
    from tests.policy.kleene import version

    return version("", found, wanted) is True
