"""Authority is a lattice: whatever is asked for, at whatever depth, a child gets the same or less, or nothing at all."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from aegis.crypto.jwk import private_key
from aegis.crypto.jws import parse
from aegis.errors import IdentityError
from aegis.identity import authz
from aegis.identity.access import Access
from aegis.identity.delegation import Wanted, build_delegation, hand_down, redeemed
from aegis.identity.epoch import Revoked
from aegis.identity.keyset import KeyEntry, KeySet
from aegis.identity.narrow import narrow, within
from aegis.identity.token import mint
from aegis.identity.verify import Verifier
from aegis.model.authority import Authority, Grant, Limit, breaches, scope_within
from identity.forge import AUDIENCE, KEYS, NOW, access, key_of

TOOLS = ("pay.a", "pay.b", "read.a")
SCOPES = ("*", "pay.*", "read.*", *TOOLS)
DIGESTS = ("", "sha256:one", "sha256:two")
PATHS = ("amount", "currency", "to.country")
VALUES = (-1, 0, 5, 10, 100, "USD", "EUR", "usd", True, False, None, [5], {"country": "DE"})


def limits() -> st.SearchStrategy[Limit]:
    bound = st.one_of(st.none(), st.sampled_from((0, 5, 10)))
    among = st.one_of(st.none(), st.lists(st.sampled_from((5, 10, "USD", "EUR", True)), max_size=3).map(tuple))
    found = st.builds(Limit, max=bound, min=bound, among=among, regex=st.sampled_from(("", "[A-Z]{3}", "[0-9]+")))
    return found.filter(lambda limit: limit != Limit())


def grants(tool: st.SearchStrategy[str]) -> st.SearchStrategy[Grant]:
    limited = st.dictionaries(st.sampled_from(PATHS), limits(), max_size=2).map(lambda found: tuple(sorted(found.items())))
    return st.builds(
        Grant, tool=tool, digest=st.sampled_from(DIGESTS), limits=limited, calls=st.one_of(st.none(), st.integers(0, 3))
    )


def authorities() -> st.SearchStrategy[Authority]:
    budget = st.one_of(st.none(), st.integers(0, 3))
    by_scope = st.builds(
        Authority, scopes=st.lists(st.sampled_from(SCOPES), max_size=3, unique=True).map(tuple), budget_micros=budget
    )
    by_tool = st.builds(
        lambda found, micros: Authority(scopes=(), grants=tuple(found), budget_micros=micros),
        st.lists(grants(st.sampled_from(TOOLS)), max_size=3, unique_by=lambda each: each.tool),
        budget,
    )
    return st.one_of(by_scope, by_tool)


def roots() -> st.SearchStrategy[Authority]:
    """What a first token may hold: with grants, its scopes name exactly their tools."""
    return authorities().map(
        lambda found: found if found.grants is None else replace(found, scopes=tuple(each.tool for each in found.grants))
    )


def calls() -> st.SearchStrategy[tuple[str, str, dict[str, object]]]:
    arguments = st.fixed_dictionaries(
        {}, optional={"amount": st.sampled_from(VALUES), "currency": st.sampled_from(VALUES), "to": st.sampled_from(VALUES)}
    )
    return st.tuples(st.sampled_from(TOOLS), st.sampled_from(DIGESTS[1:]), arguments)


def opens(authority: Authority, tool: str, digest: str, arguments: dict[str, object]) -> bool:
    """The plain meaning of an authority, without its counts."""
    if not scope_within(tool, authority.scopes):
        return False
    if authority.grants is None:
        return True
    grant = authority.grant(tool)
    return grant is not None and grant.digest in ("", digest) and not list(breaches(grant, arguments))


def narrowed(held: Authority, want: Authority) -> Authority | None:
    """What comes of asking; refusals have one reason."""
    try:
        return narrow(held, want)
    except IdentityError as error:
        reason = error.reason
    assert reason == "scope_widening"
    return None


@given(roots(), authorities(), calls())
@settings(max_examples=400, deadline=None)
def test_what_a_child_may_do_its_parent_may_do(held, want, call):
    made = narrowed(held, want)
    if made is None:
        return
    assert within(made, held)
    assert not opens(made, *call) or opens(held, *call)
    for grant in made.grants or ():
        above = held.grant(grant.tool)
        assert above is None or above.calls is None or (grant.calls is not None and grant.calls <= above.calls)
    assert held.budget_micros is None or (made.budget_micros is not None and made.budget_micros <= held.budget_micros)


@given(roots())
def test_who_asks_for_nothing_special_gets_what_the_parent_has_and_never_more(held):
    assert narrow(held, Authority()) == held
    assert within(held, held)


@given(roots(), authorities(), authorities())
@settings(max_examples=300, deadline=None)
def test_narrowing_twice_is_still_within_the_first(held, one, two):
    try:
        made = narrow(narrow(held, one), two)
    except IdentityError:
        return
    assert within(made, held)


@given(limits(), limits(), st.sampled_from(VALUES))
def test_what_a_narrower_limit_lets_pass_the_wider_one_lets_pass(one, other, value):
    assert not (one.within(other) and one.holds(value)) or other.holds(value)
    joined = one.joined(other)
    if joined.within(other) and joined.holds(value):
        assert other.holds(value)


@given(st.lists(grants(st.sampled_from(TOOLS)), max_size=3, unique_by=lambda each: each.tool).map(tuple))
def test_grants_survive_the_wire(found):
    assert authz.read(authz.written(found)) == found


@pytest.mark.parametrize(
    "value",
    [
        {}, [1], [{}], [{"tool": ""}], [{"tool": "a b"}], [{"tool": "a", "more": 1}], [{"tool": "a", "calls": True}],
        [{"tool": "a", "calls": -1}], [{"tool": "a", "calls": 1.0}], [{"tool": "a", "limits": []}],
        [{"tool": "a", "limits": {"x": {}}}], [{"tool": "a", "limits": {"x": {"maximum": 1}}}],
        [{"tool": "a", "limits": {"x": {"max": "1"}}}], [{"tool": "a", "limits": {"x": {"in": [1.5]}}}],
        [{"tool": "a", "limits": {"x": {"in": [None]}}}], [{"tool": "a", "limits": {"x": {"regex": "("}}}],
        [{"tool": "a", "limits": {"x": {"max": 2**60}}}], [{"tool": "a"}, {"tool": "a"}], [{"tool": "a", "limits": {"": {"max": 1}}}],
    ],
)  # fmt: skip
def test_what_is_not_understood_is_refused_and_never_ignored(value):
    with pytest.raises(IdentityError) as refused:
        authz.read(value)
    assert refused.value.reason == "malformed"


class Chains(RuleBasedStateMachine):
    """Tries to widen: tokens are handed on, redeemed, revoked and narrowed in any order, by agents that ask for anything."""

    tokens = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.verifier = Verifier(KEYS, audience=AUDIENCE)
        self.roots: dict[str, Authority] = {}
        self.root_of: dict[str, str] = {}
        self.made: list[tuple[Access, Access]] = []
        self.count = 0
        self.revoked: set[str] = set()
        self.signers = [key_of("sts")]
        self.keys = 0
        self.texts: list[tuple[str, Access]] = []

    def token_id(self) -> str:
        self.count += 1
        return f"tok_{self.count}"

    @initialize(target=tokens, held=roots())
    def first(self, held: Authority) -> Access:
        return self.rooted(held)

    @rule(target=tokens, held=roots())
    def another(self, held: Authority) -> Access:
        return self.rooted(held)

    def rooted(self, held: Authority) -> Access:
        text = mint(
            access(
                agent_id="agent:orch", scopes=held.scopes, grants=held.grants, budget_micros=held.budget_micros,
                token_id=self.token_id(), ttl=timedelta(seconds=120),
            ),
            self.signers[-1],
        )  # fmt: skip
        found = self.verifier.access(text, now=NOW)
        self.roots[found.token_id] = found.authority
        self.root_of[found.token_id] = found.token_id
        return found

    @rule(
        target=tokens,
        parent=tokens,
        want=authorities(),
        to=st.sampled_from(("agent:a", "agent:b", "agent:c", "agent:orch")),
        ttl=st.integers(1, 300),
        depth=st.integers(0, 8),
    )
    def handed_on(self, parent: Access, want: Authority, to: str, ttl: int, depth: int) -> Access:
        wanted = Wanted(to=to, authority=want, ttl=timedelta(seconds=ttl), max_depth=depth)
        try:
            made = hand_down(parent, wanted, request_id=f"req_{self.count}", token_id=self.token_id(), now=NOW)
            text = mint(build_delegation(made, audience=AUDIENCE, now=NOW), self.signers[-1])
            given_to = self.verifier.delegation(text, now=NOW)
            claims = redeemed(given_to, roles=(), audience=AUDIENCE, token_id=self.token_id(), now=NOW)
            text = mint(claims, self.signers[-1])
            child = self.verifier.access(text, now=NOW)
        except IdentityError as error:
            refused = error.reason
        else:
            refused = ""
        assert refused in ("", "scope_widening", "depth_exceeded", "ancestor_revoked", "revoked", "malformed")
        if refused:
            return parent
        self.root_of[child.token_id] = self.root_of[parent.token_id]
        self.made.append((child, parent))
        self.texts.append((text, child))
        return child

    @rule()
    def key_is_replaced(self) -> None:
        self.keys += 1
        self.signers.append(private_key(f"sts number {self.keys}".encode().ljust(32, b".")))
        self.follow()

    @rule()
    def oldest_key_is_retired(self) -> None:
        if len(self.signers) > 1:
            del self.signers[0]
            self.follow()

    def follow(self) -> None:
        sts = [KeyEntry(key=key.public, key_class="sts", tenant="acme", owner="", not_before=NOW) for key in self.signers]
        self.verifier.swap(
            KeySet([*(entry for entry in KEYS.entries() if (entry.key_class, entry.tenant) != ("sts", "acme")), *sts])
        )

    @invariant()
    def a_token_says_what_it_said_or_nothing(self) -> None:
        for text, said in self.texts[-3:]:
            try:
                found = self.verifier.access(text, now=NOW)
            except IdentityError as error:
                found, why = None, error.reason
            assert found == said or why in ("unknown_kid", "revoked", "ancestor_revoked")

    @rule(token=tokens)
    def taken_back(self, token: Access) -> None:
        self.revoked.add(token.token_id)
        self.verifier.hold(Revoked(("acme", each) for each in self.revoked))

    @invariant()
    def nothing_is_wider_than_what_it_came_from(self) -> None:
        for child, parent in self.made[-2:]:
            root = self.root_of[child.token_id]
            assert within(child.authority, parent.authority)
            assert within(child.authority, self.roots[root])
            assert child.expires_at <= parent.expires_at
            assert {root, *parent.ancestors} <= set(child.ancestors)
            assert len({child.agent_id, *child.chain}) == 1 + len(child.chain) <= 1 + child.max_depth <= 1 + parent.max_depth
            assert (child.tenant, child.subject) == (parent.tenant, parent.subject)
            assert parent.txn in ("", child.txn)
            assert set(parent.requests) < set(child.requests)

    @invariant()
    def what_hangs_on_a_revoked_token_is_dead(self) -> None:
        for child, _ in self.made[-3:]:
            if self.revoked & {child.token_id, *child.ancestors}:
                with pytest.raises(IdentityError, match="revoked"):
                    self.verifier.standing(
                        "acme",
                        child.agent_id,
                        child.issued_at,
                        token_id=child.token_id,
                        above=child.chain,
                        ancestors=child.ancestors,
                    )


TestChains = Chains.TestCase
TestChains.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)


def test_a_delegation_is_no_access_token_and_the_other_way_round():
    held = Verifier(KEYS, audience=AUDIENCE).access(mint(access(), key_of("sts")), now=NOW)
    made = hand_down(held, Wanted(to="agent:a", authority=Authority()), request_id="req_1", token_id="tok_2", now=NOW)
    text = mint(build_delegation(made, audience=AUDIENCE, now=NOW), key_of("sts"))
    for reading in (Verifier(KEYS, audience=AUDIENCE).access, Verifier(KEYS, audience=AUDIENCE).person):
        with pytest.raises(IdentityError) as refused:
            reading(text, now=NOW)
        assert refused.value.reason == "wrong_type"
    with pytest.raises(IdentityError) as refused:
        Verifier(KEYS, audience=AUDIENCE).delegation(mint(access(), key_of("sts")), now=NOW)
    assert refused.value.reason == "wrong_type"
    assert parse(text).typ == "delegation+jwt"
