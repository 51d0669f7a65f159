"""Input documents that our host did not write: broken ones never make OPA fail, and never get more than whole ones."""

import json
from copy import deepcopy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.policy import oracle, strategies

from aegis.errors import CanonicalError
from aegis.policy.rego import module
from aegis.policy.rego.asked import document

LOOSENESS = {"deny": 0, "approval_needed": 1, "sanitize": 2, "allow": 2}


def places(given_):
    """The ways to every member of the document and of its members, but not into arrays or the arguments of objects."""
    for name, value in given_.items():
        yield (name,)
        if isinstance(value, dict):
            yield from ((name, inner) for inner in value)
            yield from ((name, inner, last) for inner, child in value.items() if isinstance(child, dict) for last in child)


def changed(given_, way, **to):
    found = deepcopy(given_)
    inner = found
    for name in way[:-1]:
        inner = inner[name]
    if to:
        inner[way[-1]] = to["to"]
    else:
        del inner[way[-1]]
    return found


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_a_document_that_says_less_never_permits_more(data):
    """`present` is excepted by definition. An object stands where none is expected, so that it says nothing as well."""
    written = data.draw(strategies.policies())
    written["spec"]["rules"] = [rule for rule in written["spec"]["rules"] if '"present"' not in json.dumps(rule)]
    policy = strategies.loaded(written)
    with oracle.Opa(policy, data.draw(strategies.tenant_data())) as opa:
        for call in [data.draw(strategies.calls(written, fitting=True)) for _ in range(3)]:
            try:
                whole = document(*call, policy)
            except CanonicalError:
                continue
            before = LOOSENESS[opa.ask(whole)["outcome"]]
            for way in places(whole):
                for broken in (changed(whole, way), changed(whole, way, to=None), changed(whole, way, to={"no": "such"})):
                    assert LOOSENESS[opa.ask(broken)["outcome"]] <= before, way


ANYTHING = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**70), 2**70),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=3),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["id", "trust", "level", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_document_makes_opa_fail(data):
    """A failing builtin raises here; a missing decision would too."""
    written = data.draw(strategies.policies())
    policy = strategies.loaded(written)
    with oracle.Opa(policy, data.draw(strategies.tenant_data())) as opa:
        whole = {"tenant": "acme", "tool": "probe.run"}
        try:
            whole |= document(*data.draw(strategies.calls(written, fitting=True)), policy)
        except CanonicalError:
            whole |= {"args": {}}
        for way in list(places(whole)):
            found = opa.ask(changed(whole, way, to=data.draw(ANYTHING)))
            assert found["outcome"] in LOOSENESS
        assert opa.ask(data.draw(ANYTHING))["outcome"] == "deny"


@pytest.mark.parametrize("count", [2**53, -(2**53), 2**60, 2.0**53, 1e300, 1.5, "1", True, [1], None])
def test_an_integer_that_not_every_reader_holds_alike_breaks_the_contract(count):
    policy = strategies.loaded(_document())
    with oracle.Opa(policy, {}) as opa:
        asked = {"tenant": "acme", "tool": "a.b", "args": {"count": count, "ratio": 1}}
        assert opa.ask(asked)["rules"] == ["a.b#contract"]
        assert opa.ask(asked | {"args": {"count": 2**53 - 1, "ratio": 1.5}})["outcome"] == "allow"
        ratio = opa.ask(asked | {"args": {"count": 1, "ratio": count}})["rules"]
        assert ratio == (["all"] if count == 1.5 else ["a.b#contract"])


def test_data_that_was_tampered_with_is_unknown_to_rules():
    """The bundle holds what fits its declared types; other data under that root is not believed."""
    policy = strategies.loaded(_document(when={"args.count": {"gt": {"ref": "tenant.most"}}}))
    given_ = {"tenant": "acme", "tool": "a.b", "args": {"count": 5, "ratio": 1}}
    for most, outcome in [(9, "allow"), (4, "deny"), ("9", "deny"), (None, "deny"), (True, "deny"), ([9], "deny"), (9.5, "deny")]:
        with oracle.Opa(policy, {}, module.library() | module.modules(policy)) as opa:
            opa.engine.add_data({"aegisdata": {"acme": {"tenant": {"most": most}}}})
            assert opa.ask(given_)["outcome"] == outcome


def _document(when=None):
    rules = [{"id": "all", "effect": "allow", "tools": ["*"]}]
    if when:
        rules.append({"id": "limit", "effect": "deny", "tools": ["a.b"], "when": when})
    return {
        "apiVersion": "aegis.policy/v1",
        "kind": "PolicySet",
        "metadata": {"name": "small", "tenant": "acme", "owner": "tests@acme.example"},
        "spec": {
            "tenant": {"most": "integer"},
            "tools": {"a.b": {"args": {"count": "integer", "ratio": "number"}}},
            "rules": rules,
        },
    }
