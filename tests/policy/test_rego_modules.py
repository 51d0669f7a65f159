"""What is generated: names without collisions, text only as literals, the same bytes for the same set, several tenants in one OPA."""

import itertools
import json
import string

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.policy import oracle, strategies

from aegis.crypto import ijson
from aegis.errors import CanonicalError, ConfigError, InputError
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal, request_hash
from aegis.policy.guard import RulesGuard
from aegis.policy.ir import RegoModule
from aegis.policy.language import load
from aegis.policy.patterns import complaint, search
from aegis.policy.rego import module
from aegis.policy.rego.asked import check, document
from aegis.policy.rego.literals import set_of, term
from aegis.policy.rego.names import identifier, root, tool_package

FACTS = Facts(now=strategies.NOWS[0])
NAMES = st.text(string.ascii_letters + string.digits + "_-.", min_size=1, max_size=12)
NASTY = [
    '"',
    '\\"',
    "\\",
    '"}',
    '"} if true',
    "`",
    "\n",
    "\x00",
    "\u2028",
    "\U0001f600",
    "é",
    "${x}",
    "{x}",
    "#",
    "%s",
    "\x7f",
    "\ufeff",
    "a\tb",
]


def call(tenant="acme", tool="a.b", **arguments):
    return Proposal(principal=Principal(tenant=tenant, agent_id="a", subject="s"), tool=tool, arguments=arguments)


def policy(rules, *, tenant="acme", tools=None, **spec):
    body = {
        "apiVersion": "aegis.policy/v1",
        "kind": "PolicySet",
        "metadata": {"name": "made", "tenant": tenant, "owner": "tests@acme.example"},
        "spec": {"tools": tools or {"a.b": {"args": {"text": "string", "body": "object"}}}, "rules": rules, **spec},
    }
    written = json.dumps(body, ensure_ascii=False)
    return load("".join(char if _printable(char) else f"\\u{ord(char):04x}" for char in written), source="made")


def _printable(char):
    """YAML has no pairs of surrogates: what lies beyond 16 bits stands as it is."""
    return " " <= char <= "~" or char > "\uffff"


@given(NAMES, NAMES)
@example("a.b", "a_b")
@example("a-b", "a_2db")
@example("a_", "a_5f")
def test_different_names_never_meet(one, other):
    assert (identifier(one) == identifier(other)) == (one == other)
    assert identifier(one).isidentifier() or identifier(one)[0].isdigit()


@pytest.mark.parametrize(
    "tool", ["default", "import.package", "if", "a.contains", "set.every", "input", "data.x", "count", "a-b.c_d"]
)
def test_a_tool_may_have_the_name_of_a_keyword_or_builtin(tool):
    made = policy([{"id": "all", "effect": "allow", "tools": [tool]}], tools={tool: {"args": {}}})
    with oracle.Opa(made, {}) as opa:
        assert opa.answer(call(tool=tool), FACTS)["outcome"] == "allow"
    assert tool_package("acme", tool).startswith("aegis_acme.tools.t_")


def test_one_opa_serves_several_tenants_and_keeps_them_apart():
    names = ["acme", "acme-eu", "acme_eu", "acme.eu", "ACME"]
    sets = {
        name: policy([{"id": f"only.r{index}", "effect": "allow", "tools": ["*"]}], tenant=name) for index, name in enumerate(names)
    }
    sources = module.library() | {path: text for made in sets.values() for path, text in module.modules(made).items()}
    assert len(sources) == 2 + 3 * len(names)
    with oracle.Opa(sets["acme"], {}, sources) as opa:
        for made in sets.values():
            if made.tenant != "acme":
                opa.engine.add_data(module.data(made, {}))
        for asked, speaks in itertools.product(names, names):
            given_ = document(call(asked, text="a", body={}), FACTS, sets[asked])
            found = opa.engine.eval_document(f"{root(speaks)}.main.decision", given_)
            wanted = [rule.id for rule in sets[asked].rules] if asked == speaks else ["policy#tenant"]
            assert found["rules"] == wanted


def test_the_roots_of_a_tenant_hold_all_that_is_made_for_it():
    made = policy([{"id": "all", "effect": "allow", "tools": ["*"]}], tenant="acme-eu")
    code, data_root = module.roots("acme-eu")
    assert all(path.startswith(f"{code}/") for path in module.modules(made))
    assert data_root == "aegisdata/" + "/".join(module.data(made, {})["aegisdata"])


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_same_set_gives_the_same_bytes_whatever_the_order_of_its_rules(data):
    written = data.draw(strategies.policies())
    made = strategies.loaded(written)
    assert module.modules(made) == module.modules(made)
    assert all(text.isascii() for text in module.modules(made).values())
    turned = replace(made, rules=made.rules[::-1])
    assert {path for path, text in module.modules(turned).items() if text != module.modules(made)[path]} <= {
        "aegis_acme/rules.rego"
    }


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_categories=["Cs"]), max_size=6)), min_size=6, max_size=6
    )
)
def test_text_of_a_policy_is_data_and_nothing_else(texts):
    a, b, c, d, e, f = texts
    made = policy(
        [
            {"id": "all", "effect": "allow", "tools": ["*"]},
            {"id": "eq", "effect": "deny", "tools": ["a.b"], "when": {"args.text": {"eq": a}}},
            {"id": "in", "effect": "deny", "tools": ["a.b"], "when": {"args.text": {"in": [b, c]}}},
            {"id": "ends", "effect": "deny", "tools": ["a.b"], "when": {"args.text": {"ends_with": f"{d}x"}}},
            {"id": "list", "effect": "deny", "tools": ["a.b"], "when": {"args.body.k": {"contains": e}}},
            {"id": "long", "effect": "deny", "tools": ["a.b"], "when": {"args.text": {"longer_than": 3}}},
            {"id": "hide", "effect": "sanitize", "tools": ["a.b"], "stage": "response", "redact": [{"path": f"/result/{_escaped(f)}", "with": "mask"}]},
        ]
    )  # fmt: skip
    guard = RulesGuard(made)
    with oracle.Opa(made, {}) as opa:
        for text in [*texts, f"{d}x", "plain"]:
            for body in ({}, {"k": [text]}, {"k": text}, {text: [e]}):
                proposal = call(text=text, body=body)
                assert opa.answer(proposal, FACTS) == oracle.native(guard, proposal, FACTS)


def _escaped(text):
    return text.replace("~", "~0").replace("/", "~1")


def test_members_with_odd_names_are_found_in_both_engines():
    made = policy(
        [
            {"id": "all", "effect": "allow", "tools": ["*"]},
            {"id": "odd", "effect": "deny", "tools": ["a.b"], "when": {'args.body.a"b\\': {"present": True}}},
            {"id": "deep", "effect": "deny", "tools": ["a.b"], "when": {"args.body.0.x": {"eq": 1}}},
        ]
    )
    guard = RulesGuard(made)
    with oracle.Opa(made, {}) as opa:
        for body in ({'a"b\\': 1}, {"0": {"x": 1}}, {"0": [{"x": 1}]}, {"0": [1]}, {}):
            proposal = call(text="t", body=body)
            assert opa.answer(proposal, FACTS) == oracle.native(guard, proposal, FACTS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_without_a_json_form_are_no_literals(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        term(value)
    assert set_of([]) == "set()"


def test_a_place_in_an_array_counts_as_present_only_when_it_holds_something():
    """A rule that edits arguments fires only when one of its places is there, in both engines, through arrays and `*` too."""
    paths = ["/args/body/0", "/args/body/k/0", "/args/body/k/*/x", "/args/body/*/1", "/args/body/k/01", "/args/body/*"]
    rules = [
        {"id": f"r{index}", "effect": "sanitize", "tools": ["a.b"], "redact": [{"path": path, "with": "mask"}]}
        for index, path in enumerate(paths)
    ]
    made = policy([{"id": "all", "effect": "allow", "tools": ["*"]}, *rules])
    guard = RulesGuard(made)
    bodies = [
        {},
        {"0": 1},
        {"0": None},
        {"k": []},
        {"k": [None]},
        {"k": [0]},
        {"k": [{"x": False}, {}]},
        {"k": [{}, {"x": None}]},
        {"k": {"a": {"x": 1}}},
        {"k": {"0": 1}},
        {"z": [1, 2]},
        {"z": [1]},
        {"*": 1},
        {"k": "ab"},
    ]
    with oracle.Opa(made, {}) as opa:
        for body in bodies:
            proposal = call(text="t", body=body)
            assert opa.answer(proposal, FACTS) == oracle.native(guard, proposal, FACTS), body


def test_a_float_is_no_integer_even_beside_the_same_integer():
    """OPA takes them for one value and remembers what a function said about the first."""
    tools = {"a.b": {"args": {"count": "integer", "ratio": "number", "body": "object"}}}
    rules = [
        {"id": "all", "effect": "allow", "tools": ["*"]},
        {"id": "low", "effect": "deny", "tools": ["a.b"], "when": {"args.body.level": {"gt": 100}}},
        {"id": "ratio", "effect": "deny", "tools": ["a.b"], "when": {"args.ratio": {"gt": 7}}},
        {"id": "list", "effect": "deny", "tools": ["a.b"], "when": {"args.body.tags": {"contains": 7}}},
    ]
    made = policy(rules, tools=tools)
    guard = RulesGuard(made)
    with oracle.Opa(made, {}) as opa:
        for one, other, ratio in itertools.product([7, 7.0, 7.5], repeat=3):
            for body in ({"level": other}, {"tags": [other], "level": one}, {"tags": [other, [one]], "level": 0}):
                proposal = call(count=7, ratio=ratio, body=body)
                assert opa.answer(proposal, FACTS) == oracle.native(guard, proposal, FACTS), (one, other, ratio, body)
        for proposal in (call(count=7.0, ratio=1, body={}), call(count=1.5, ratio=1, body={})):
            assert opa.answer(proposal, FACTS)["rules"] == ["a.b#contract"]


def test_a_float_without_a_fraction_is_not_shown_to_hand_written_rego():
    made = policy([{"id": "all", "effect": "allow", "tools": ["*"]}])
    made = replace(made, rego=(RegoModule(file="x.rego", text="package aegis_acme.custom.x\n", tools=("a.b",)),))
    with pytest.raises(CanonicalError):
        document(call(text="t", body={"a": [1.0]}), FACTS, made)
    assert document(call(text="t", body={"a": [1.5]}), FACTS, made)["args"]["body"] == {"a": [1.5]}


_PIECES = [
    *"ab.*+?|)[]^$-{} _~\n",
    *[
        "é",
        "\U0001f600",
        "{2}",
        "{1,}",
        "{0,3}",
        "{,2}",
        "{1000}",
        "(",
        "(?:",
        "[^",
        "\\.",
        "\\n",
        "\\t",
        "\\-",
        "\\]",
        "[:alpha:]",
        "[[:digit:]]",
    ],
    *["[:^alpha:]", "\\v", "\\\\", "\\_", "*?", "+?", "??", "{2}?", "a-z", "z-a", "\\/"],
]
_TEXTS = [
    "",
    "a",
    "ab",
    "aab",
    "é",
    "\U0001f600",
    "a\n",
    "\n",
    "\nb",
    "0",
    "-",
    "]",
    "aaa",
    "a.b",
    "_",
    "{2}",
    "^",
    "$",
    " ",
    "abab",
    "\\",
]


def test_every_pattern_that_the_language_takes_means_the_same_in_opa():
    taken = 0
    with oracle.engine_class()() as engine:
        engine.add_policy(
            "a.rego", "package a\n\nfound := [[regex.match(p, t) | some t in input.texts] | some p in input.patterns]\n"
        )

        @settings(max_examples=60, deadline=None)
        @given(st.lists(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=7).map("".join), min_size=30, max_size=60))
        def run(drawn):
            nonlocal taken
            written = [pattern for pattern in drawn if not complaint(pattern)]
            taken += len(written)
            found = engine.eval_document("a.found", {"patterns": written, "texts": _TEXTS})
            for pattern, theirs in zip(written, found, strict=True):
                assert [search(pattern)(text) for text in _TEXTS] == theirs, pattern

        run()
    assert taken > 500


JSON = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.sampled_from(
            [2**53, 2**53 - 1, -(2**53), float(2**53), 1e300, float("nan"), float("inf"), 1.5, "\ud800", "\udfff\ud800", "é"]
        ),
        st.text(max_size=3),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["a", "b", "\ud800"]), inner, max_size=3)),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None)
@given(JSON)
def test_what_cannot_be_encoded_is_refused_here_and_at_the_door(value):
    """The door refuses the same values, so that neither engine ever decides about one."""
    assert _refused_by(lambda: check({"args": value})) == _refused_by(
        lambda: ijson.parse(json.dumps({"args": value}).encode(), max_depth=64)
    )


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_what_has_no_request_hash_is_never_asked_about(value):
    if _refused_by(lambda: request_hash(call().principal, "a.b", "", {"body": value}, "")):
        made = policy([{"id": "all", "effect": "allow", "tools": ["*"]}])
        with pytest.raises(CanonicalError):
            document(call(text="t", body=value), FACTS, made)


def _refused_by(action):
    try:
        action()
    except (CanonicalError, InputError):
        return True
    return False


def test_a_call_that_no_contract_describes_still_has_a_document():
    made = policy([{"id": "all", "effect": "allow", "tools": ["*"]}])
    guard = RulesGuard(made)
    with oracle.Opa(made, {}) as opa:
        for proposal in (call(tool="no.such", a=1.0), call(tool="odd name"), replace(call(), arguments=[1])):
            assert opa.answer(proposal, FACTS) == oracle.native(guard, proposal, FACTS)


def test_arguments_nested_beyond_reason_are_refused():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    made = policy([{"id": "all", "effect": "allow", "tools": ["*"]}])
    with pytest.raises(CanonicalError, match="nested too deeply"):
        document(call(text="t", body={"a": deep}), FACTS, made)


def test_a_type_that_json_does_not_have_is_refused():
    for value in ((1,), {1}, {1: 2}, b"a"):
        with pytest.raises(CanonicalError):
            check({"a": value})


def test_a_module_with_another_package_is_not_made_part_of_the_target():
    made = replace(
        policy([{"id": "all", "effect": "allow", "tools": ["*"]}]),
        rego=(RegoModule(file="x.rego", text="package other\n", tools=("a.b",)),),
    )
    with pytest.raises(ConfigError, match=r"`x.rego`: expected `package aegis_acme.custom.<name>`"):
        module.modules(made)
