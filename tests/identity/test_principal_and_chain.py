"""What the directory grants, what the chain of trust allows, and what a scope opens."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis.errors import IdentityError
from aegis.identity.access import Access
from aegis.identity.chain import MAX_DEPTH, ChainGuard, ScopeGuard, agree
from aegis.identity.directory import AgentEntry, Directory
from aegis.identity.principal import principal
from aegis.identity.token import mint
from aegis.identity.verify import Verifier
from aegis.model.authority import covers, scope_within
from aegis.model.call import LIVE, CallState
from aegis.model.facts import Facts, ParentCall
from aegis.model.principal import Link, Parent, Principal
from aegis.model.proposal import Proposal
from identity.forge import AUDIENCE, KEYS, NOW, access, key_of


def agent(name: str, **change: object) -> AgentEntry:
    return AgentEntry(**{"id": name, "roles": ("planner", "buyer"), "scopes": ("payments.*", "records.read"), "trust": 3} | change)


def directory(*others: AgentEntry, tenant: str = "acme") -> Directory:
    entries = (agent("agent:planner"), agent("agent:orch", trust=1), agent("agent:off", enabled=False), *others)
    return Directory(tenant=tenant, agents={entry.id: entry for entry in entries}, people={})


def verified(**change: object) -> Access:
    return Verifier(KEYS, audience=AUDIENCE).access(mint(access(**change), key_of("sts")), now=NOW)


def reason(said: Access, known: Directory) -> str:
    with pytest.raises(IdentityError) as refused:
        principal(said, known)
    return refused.value.reason


def test_a_principal_says_what_the_token_says_and_trust_comes_from_the_directory() -> None:
    found = principal(verified(parent=("agent:orch", "req_1"), txn="t", task="k"), directory())
    assert found == Principal(
        tenant="acme",
        agent_id="agent:planner",
        subject="user:nora",
        roles=("planner",),
        scopes=("payments.*", "records.read"),
        trust=3,
        chain=(Link(agent_id="agent:orch", trust=1),),
        parent=Parent(agent_id="agent:orch", request_id="req_1"),
        token_id="tok_1",
        txn="t",
        task="k",
        requests=(Parent(agent_id="agent:orch", request_id="req_1"),),
    )


@pytest.mark.parametrize(
    ("change", "known", "expected"),
    [
        ({"agent_id": "agent:mallory"}, directory(), "unknown_agent"),
        ({"agent_id": "agent:Planner"}, directory(), "unknown_agent"),
        ({"agent_id": "agent:off"}, directory(), "agent_disabled"),
        ({"roles": ("planner", "admin")}, directory(), "role_not_held"),
        ({"roles": ("PLANNER",)}, directory(), "role_not_held"),
        ({"scopes": ("*",)}, directory(), "scope_not_held"),
        ({"scopes": ("payments.transfer", "deploy.apply")}, directory(), "scope_not_held"),
        ({"scopes": ("payments",)}, directory(), "scope_not_held"),
        ({"scopes": ("records.*",)}, directory(), "scope_not_held"),
        ({"scopes": ("records.read.*",)}, directory(), "scope_not_held"),
        ({"chain": ("agent:mallory",)}, directory(), "unknown_ancestor"),
        ({"chain": ("agent:orch", "agent:mallory")}, directory(), "unknown_ancestor"),
        ({"chain": ("agent:off",)}, directory(), "agent_disabled"),
        ({"chain": ("agent:orch",)}, directory(agent("agent:orch", may_delegate_to=())), "delegation_not_granted"),
        ({"chain": ("agent:orch",)}, directory(agent("agent:orch", may_delegate_to=("agent:x",))), "delegation_not_granted"),
        (
            {"chain": ("agent:mid", "agent:orch")},
            directory(agent("agent:mid"), agent("agent:orch", may_delegate_to=("agent:planner",))),
            "delegation_not_granted",
        ),
        ({}, directory(tenant="globex"), "wrong_tenant"),
    ],
    ids=str,
)
def test_what_the_directory_does_not_grant_is_refused(change: dict[str, object], known: Directory, expected: str) -> None:
    assert reason(verified(**change), known) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"roles": (), "scopes": ()},
        {"roles": ("buyer", "planner")},
        {"scopes": ("payments.transfer", "payments.eu.*", "records.read")},
        {"chain": ("agent:mid", "agent:orch")},
    ],
    ids=str,
)
def test_less_than_the_directory_grants_is_accepted(change: dict[str, object]) -> None:
    known = directory(
        agent("agent:mid", may_delegate_to=("agent:planner",)), agent("agent:orch", may_delegate_to=("agent:mid", "agent:x"))
    )
    assert principal(verified(**change), known).trust == 3


NAMES = st.sampled_from(["a", "b", "ab", "a-b", "_"])
TOOLS = st.lists(NAMES, min_size=1, max_size=4).map(".".join)
SCOPES = st.just("*") | TOOLS | TOOLS.map(lambda name: name + ".*")


@given(SCOPES, st.lists(SCOPES, max_size=3).map(tuple), TOOLS)
@example("a", ("a.*",), "a")
@example("a.*", ("a",), "a.b")
@example("ab", ("a.*",), "ab")
@example("ab.*", ("a.*",), "ab.b")
@example("a.*", ("a.b.*",), "a.a")
@settings(deadline=None)
def test_what_a_scope_opens_is_open_to_those_who_hold_it(scope: str, held: tuple[str, ...], tool: str) -> None:
    if scope_within(scope, held) and covers(scope, tool):
        assert any(covers(wide, tool) for wide in held)


@given(SCOPES, SCOPES, SCOPES)
@settings(deadline=None)
def test_holding_is_an_order(one: str, two: str, three: str) -> None:
    assert scope_within(one, (one,))
    assert scope_within(one, ("*",))
    if scope_within(one, (two,)) and scope_within(two, (three,)):
        assert scope_within(one, (three,))
    if one != two:
        assert not (scope_within(one, (two,)) and scope_within(two, (one,)))


def witness(scope: str) -> str:
    """A tool that the scope opens and that nothing narrower does: no scope here holds the word `zz`."""
    return {"*": "zz"}.get(scope, scope.removesuffix(".*") + (".zz" if scope.endswith(".*") else ""))


@given(SCOPES, st.lists(SCOPES, max_size=3).map(tuple))
@example("ab.*", ("a.*",))
@example("a.b.*", ("a.*",))
@example("a", ("a.*",))
@example("a.*", ("a",))
@settings(max_examples=300, deadline=None)
def test_a_scope_is_held_exactly_when_all_that_it_opens_is_open(scope: str, held: tuple[str, ...]) -> None:
    assert covers(scope, witness(scope))
    assert scope_within(scope, held) == any(covers(wide, witness(scope)) for wide in held)


@pytest.mark.parametrize(
    ("scope", "tool", "opens"),
    [
        ("*", "payments.transfer", True),
        ("payments.*", "payments.transfer", True),
        ("payments.*", "payments.eu.transfer", True),
        ("payments.*", "payments", False),
        ("payments.*", "paymentsx.transfer", False),
        ("payments.transfer", "payments.transfer", True),
        ("payments.transfer", "payments.transfer.fast", False),
        ("payments", "payments.transfer", False),
        ("payments*", "payments.transfer", False),
        ("*.transfer", "payments.transfer", False),
        ("Payments.*", "payments.transfer", False),
    ],
)
def test_a_scope_opens_tools_by_whole_names(scope: str, tool: str, opens: bool) -> None:
    assert covers(scope, tool) is opens


PARENT = Parent(agent_id="agent:orch", request_id="req_1")


@pytest.mark.parametrize(
    ("signed", "agent_id", "request_id", "expected"),
    [
        (None, "", "", ""),
        (None, "agent:orch", "", "parent_mismatch"),
        (None, "", "req_1", "parent_mismatch"),
        (None, "agent:orch", "req_1", "parent_mismatch"),
        (PARENT, "agent:orch", "req_1", ""),
        (PARENT, "", "", "parent_required"),
        (PARENT, "agent:orch", "", "parent_required"),
        (PARENT, "", "req_1", "parent_required"),
        (PARENT, "agent:orch", "req_2", "parent_mismatch"),
        (PARENT, "agent:planner", "req_1", "parent_mismatch"),
        (PARENT, "req_1", "agent:orch", "parent_mismatch"),
        (PARENT, "agent:orch ", "req_1", "parent_mismatch"),
        (PARENT, "AGENT:ORCH", "req_1", "parent_mismatch"),
    ],
)
def test_what_a_caller_sends_about_its_parent_equals_what_was_signed(
    signed: Parent | None, agent_id: str, request_id: str, expected: str
) -> None:
    if not expected:
        agree(signed, agent_id, request_id)
        return
    with pytest.raises(IdentityError) as refused:
        agree(signed, agent_id, request_id)
    assert refused.value.reason == expected


def proposal(chain: tuple[str, ...] = (), parent: Parent | None = None, **change: object) -> Proposal:
    who = {
        "tenant": "acme",
        "agent_id": "agent:planner",
        "subject": "user:nora",
        "scopes": ("payments.*",),
        "chain": tuple(Link(agent_id=name) for name in chain),
        "parent": parent,
    }
    fields = {"principal": Principal(**who), "tool": "payments.transfer", "arguments": {}, "request_id": "req_9"}
    return Proposal(**fields | change)


def call(state: str = CallState.EXECUTING, agent_id: str = "agent:orch", request_id: str = "req_1") -> ParentCall:
    return ParentCall(request_id=request_id, agent_id=agent_id, state=state)


ITSELF = Parent(agent_id="agent:planner", request_id="req_1")
LONG = tuple(f"agent:a{number}" for number in range(MAX_DEPTH + 1))


@pytest.mark.parametrize(
    ("asked", "parent", "rules"),
    [
        (proposal(), None, []),
        (proposal(), call(), []),
        (proposal(parent=PARENT), call(), ["chain.parent_unexpected"]),
        (proposal(("agent:orch",), PARENT), call(), []),
        (proposal(("agent:orch",), PARENT), call(CallState.DECIDED), []),
        (proposal(("agent:orch",), PARENT), None, ["chain.parent_missing"]),
        (proposal(("agent:orch",)), call(), ["chain.parent_missing"]),
        (proposal(("agent:orch",), PARENT), call(request_id="req_2"), ["chain.parent_missing"]),
        (proposal(("agent:orch",), PARENT), call(agent_id="agent:other"), ["chain.parent_mismatch"]),
        (proposal(("agent:other", "agent:orch"), PARENT), call(), ["chain.parent_mismatch"]),
        (proposal(("agent:orch",), Parent(agent_id="agent:x", request_id="req_1")), call(), ["chain.parent_mismatch"]),
        (proposal(("agent:orch", "agent:planner"), PARENT), call(), ["chain.loop"]),
        (proposal(("agent:planner",), ITSELF), call(agent_id="agent:planner"), ["chain.loop"]),
        (proposal(("agent:orch", "agent:b", "agent:orch"), PARENT), call(), ["chain.loop"]),
        (proposal(("agent:orch", *LONG[:7]), PARENT), call(), []),
        (proposal(("agent:orch", *LONG[:8]), PARENT), call(), ["chain.depth"]),
        (proposal(("agent:orch", *LONG, "agent:orch"), PARENT), None, ["chain.loop", "chain.depth", "chain.parent_missing"]),
    ],
)  # fmt: skip
def test_a_delegated_call_stands_on_a_live_request_of_its_parent(
    asked: Proposal, parent: ParentCall | None, rules: list[str]
) -> None:
    verdicts = ChainGuard()(asked, Facts(now=NOW, parent=parent))
    assert [verdict.rule for verdict in verdicts] == rules
    assert all((verdict.guard, verdict.effect, verdict.live) == ("chain", "deny", True) for verdict in verdicts)
    assert not any("agent:" in f"{verdict.reason}{verdict.limit}" for verdict in verdicts)


@pytest.mark.parametrize("state", list(CallState))
def test_a_parent_is_live_only_while_it_is_under_way(state: CallState) -> None:
    verdicts = ChainGuard()(proposal(("agent:orch",), PARENT), Facts(now=NOW, parent=call(state)))
    expected = [] if state in (CallState.DECIDED, CallState.EXECUTING) else ["chain.parent_not_live"]
    assert [verdict.rule for verdict in verdicts] == expected
    assert frozenset({CallState.DECIDED, CallState.EXECUTING}) == LIVE


def test_a_state_that_nobody_knows_is_not_live() -> None:
    verdicts = ChainGuard()(proposal(("agent:orch",), PARENT), Facts(now=NOW, parent=call("running")))
    assert [verdict.rule for verdict in verdicts] == ["chain.parent_not_live"]


@pytest.mark.parametrize(
    ("scopes", "opens"),
    [((), False), (("payments.*",), True), (("records.read", "*"), True), (("payments",), False), (("payments.transfe",), False)],
)
def test_a_tool_that_no_scope_opens_is_denied(scopes: tuple[str, ...], opens: bool) -> None:
    who = Principal(tenant="acme", agent_id="agent:planner", subject="user:nora", scopes=scopes)
    verdicts = ScopeGuard()(proposal(principal=who), Facts(now=NOW))
    assert [(verdict.rule, verdict.effect, verdict.field) for verdict in verdicts] == (
        [] if opens else [("chain.scope", "deny", "tool")]
    )
