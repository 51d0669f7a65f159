"""Values that no honest caller sends, and hosts on which readers of URLs disagree."""

import string
from urllib.parse import urlsplit

import httpx
import pytest
import yarl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis.errors import DocumentError
from aegis.model.decision import Outcome
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.guard import RulesGuard
from aegis.policy.hosts import Ambiguous, entry_complaint, member_of
from aegis.policy.language import load
from aegis.policy.parsed import read_email, read_url
from aegis.policy.patterns import anchored, complaint, search
from aegis.policy.versions import parse_range, parse_version

SET = """
apiVersion: aegis.policy/v1
kind: PolicySet
metadata: {name: hostile, tenant: acme, owner: tests@acme.example}
spec:
  tools:
    a.b: {args: {count: integer?, ratio: number?, text: string?, body: object?, url: url?}}
    none.allowed: {args: {}}
    only.denied: {args: {}}
  rules:
    - {id: allow, effect: allow, tools: [a.b]}
    - {id: deny.body, effect: deny, tools: [a.b], when: {args.body: {present: true}, args.body.level: {gt: 5}}}
    - {id: deny.ratio, effect: deny, tools: [a.b], when: {args.ratio: {present: true, gt: 5}}}
    - {id: deny.text, effect: deny, tools: [a.b], when: {args.text: {present: true, matches: stop}}}
    - {id: hide, effect: sanitize, tools: [a.b], redact: [{path: /args/body/items/*/secret, with: drop}]}
    - {id: deny.only, effect: deny, tools: [only.denied], when: {agent.id: {eq: nobody}}}
"""
GUARD = RulesGuard(load(SET, source="hostile.yaml"))
NAN, INFINITY = float("nan"), float("inf")


def _decided(arguments, tool="a.b"):
    principal = Principal(tenant="acme", agent_id="agent-one", subject="person:ana")
    return decide(Proposal(principal=principal, tool=tool, arguments=arguments), Facts(), [GUARD])


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"count": 2**53}, "a.b#contract"),
        ({"count": -(2**80)}, "a.b#contract"),
        ({"count": NAN}, "a.b#contract"),
        ({"ratio": NAN}, "a.b#contract"),
        ({"ratio": INFINITY}, "a.b#contract"),
        ({"ratio": -INFINITY}, "a.b#contract"),
        ({"ratio": 1e300}, "a.b#contract"),
        ({"body": {"level": NAN}}, "deny.body"),
        ({"body": {"level": INFINITY}}, "deny.body"),
        ({"body": {"level": 2**200}}, "deny.body"),
        ({"text": b"stop"}, "a.b#contract"),
        ({"body": [("level", 1)]}, "a.b#contract"),
        ({"text": "\ud800"}, "rules#error"),
        (None, "a.b#contract"),
        ([], "a.b#contract"),
        ({1: 2}, "rules#error"),
    ],
    ids=repr,
)
def test_a_value_that_json_does_not_have_is_denied_even_behind_the_boundary(arguments, rule):
    decision = _decided(arguments)
    assert (decision.outcome, decision.rules) == (Outcome.DENY, (rule,))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("args.ratio: {present: true, gt: 5}", "args.ratio: {gt: 1e300}", "a number is beyond 2^53 - 1"),
        (SET[SET.index("  tools:") : SET.index("  rules:")], "  tools: {}\n", "expected at least one tool"),
    ],
)
def test_a_set_that_could_not_be_read_alike_everywhere_does_not_load(old, new, says):
    with pytest.raises(DocumentError, match=says.replace("^", r"\^")):
        load(SET.replace(old, new), source="hostile.yaml")


@pytest.mark.parametrize("tool", ["none.allowed", "only.denied"])
def test_a_tool_that_no_rule_allows_is_denied(tool):
    assert _decided({}, tool).rules == ("default-deny",)


@pytest.mark.parametrize(
    ("items", "outcome"),
    [
        ([{"public": 1}, {"secret": 1}], Outcome.SANITIZE),
        ([{"public": 1}, {"secret": None}], Outcome.ALLOW),
        ([], Outcome.ALLOW),
        ("secret", Outcome.ALLOW),
    ],
)
def test_a_request_is_sanitized_when_any_element_holds_what_must_go(items, outcome):
    assert _decided({"body": {"level": 1, "items": items}}).outcome is outcome


def test_a_flood_of_unknown_arguments_makes_a_short_record():
    decision = _decided({f"x{number}": 1 for number in range(10_000)})
    assert decision.outcome is Outcome.DENY
    assert len(decision.reasons) == 16


LABELS = ["api", "good", "example", "evil", "xn--bcher-kva", "xn--", "127", "1", "0x7f", "a_b", "-", "A", "é", "%2e", ""]
HOSTS = st.lists(
    st.sampled_from(LABELS),
    min_size=1,
    max_size=4,
).map(".".join)
SIGNS = ["http://", "HTTPS://", "//", "/", "\\", "@", "#", "?", ":", ":80", ":443x", "user", ".", "..", " ", "\t", "\n"]
PIECES = st.sampled_from([*SIGNS, "[::1]", "[::ffff:1.2.3.4]", "%40", "%2f", "%61"])
URLS = st.one_of(
    st.builds("{}{}{}".format, st.sampled_from(["https://", "http://"]), HOSTS, st.lists(PIECES, max_size=3).map("".join)),
    st.lists(st.one_of(PIECES, HOSTS), max_size=6).map("".join),
    st.builds("https://{}/{}".format, HOSTS, st.text(alphabet=string.printable, max_size=10)),
)


@settings(max_examples=1500)
@given(URLS)
@example("https://api.good.example:443/a?b=c#d")
@example("http://[2001:db8::1]:8080/")
@example("https://evil.example?@api.good.example/")
def test_a_url_that_is_accepted_has_the_same_host_and_port_for_every_reader(text):
    try:
        parts = read_url(text)
    except Ambiguous:
        return
    readings = {(parts["host"], parts["port"])}
    split = urlsplit(text)
    readings.add((split.hostname, split.port or parts["port"]))
    url = yarl.URL(text)
    readings.add((url.raw_host, url.port))
    other = httpx.URL(text)
    readings.add((other.raw_host.decode(), other.port or parts["port"]))
    assert len(readings) == 1
    assert parts["path"] == (url.raw_path or "/")
    assert parts["path"] == read_url(f"https://h.example{parts['path']}")["path"]
    if parts["host_kind"] == "name":
        assert entry_complaint(parts["host"]) == ""


@settings(max_examples=300)
@given(HOSTS, st.sampled_from(["ana", "a.b+c", "a b", '"x"', "a@b", "a%b", "a!b", ""]))
def test_an_address_that_is_accepted_has_one_at_and_a_canonical_domain(domain, local):
    try:
        parts = read_email(f"{local}@{domain}")
    except Ambiguous:
        return
    assert (parts["local"], parts["domain"]) == (local, domain.lower())
    assert not set(local) & set(' "@%!<>(),:;[]\\')
    assert entry_complaint(parts["domain"]) == ""


@pytest.mark.parametrize(
    "url",
    [
        "https://[::1/",
        "https://[::gg]/",
        "https://[v1.a]/",
        "https://[2002:102:304::]/",
        "https://ab--c.example/",
        "https://xn--a.example/",
        "https://xn--good-x.example/",
        "https://xn--9.example/",
        "https://xn--99999999.example/",
        "https://xn--BCHER-KVA8445d.example/",
    ],
)
def test_an_address_or_label_in_disguise_is_refused(url):
    with pytest.raises(Ambiguous):
        read_url(url)


def test_the_path_is_read_in_one_spelling():
    assert read_url("https://h.example/%40a%c3%A9/%3a%20")["path"] == "/@a%C3%A9/:%20"


def test_a_list_of_the_tenant_with_something_that_is_no_host_is_unknown():
    text = SET.replace("tools:\n    a.b", "tenant: {hosts: 'string[]'}\n  tools:\n    a.b").replace(
        "{args.text: {present: true, matches: stop}}", "{parsed.url.host: {present: true, host_in: {ref: tenant.hosts}}}"
    )
    principal = Principal(tenant="acme", agent_id="agent-one", subject="person:ana")
    proposal = Proposal(principal=principal, tool="a.b", arguments={"url": "https://good.example/"})
    for hosts, outcome in ((["evil.example"], Outcome.ALLOW), (["EVIL.example"], Outcome.DENY), ([], Outcome.ALLOW)):
        guard = RulesGuard(load(text, source="hosts.yaml"), {"hosts": hosts})
        assert decide(proposal, Facts(), [guard]).outcome is outcome


@given(HOSTS)
def test_a_wildcard_covers_what_is_below_and_never_its_apex(host):
    listed = member_of(["*.good.example", "evil.example"])
    assert listed(host) is (host == "evil.example" or (host.endswith(".good.example") and host != ".good.example"))


@pytest.mark.parametrize(
    ("pattern", "covers"),
    [
        ("^a$", True),
        ("^(?:a|b)$", True),
        ("^(a|b)c$", True),
        ("^[|]$", True),
        ("^[^]|]$", True),
        ("^[]|]$", True),
        ("^[[:alpha:]|]$", True),
        (r"^a\|b$", True),
        ("a$", False),
        ("^a", False),
        (r"^a\$", False),
        ("^a|b$", False),
        ("^a$|^b$", False),
        ("(^a$)", False),
        ("^(?:a)|(?:b)$", False),
        ("^[[:alpha:]]|b$", False),
        ("[^a$]", False),
        ("^?a$", False),
        ("^*a$", False),
        ("^{0}a$", False),
        ("", False),
    ],
)
def test_a_pattern_covers_the_whole_text_only_without_an_open_end(pattern, covers):
    assert complaint(pattern) == ""
    assert anchored(pattern) is covers


@settings(max_examples=300)
@given(st.text(alphabet="ab|()^$[]*+?.", max_size=8), st.text(alphabet="abx\n", max_size=4))
def test_an_anchored_pattern_never_matches_part_of_a_text(pattern, text):
    pattern = f"^{pattern}$"
    if complaint(pattern) or not anchored(pattern) or not search(pattern)(text):
        return
    # What a covering pattern matches, it does not match inside something longer unless it matches that whole.
    assert search(f"^(?:{pattern})$")(text)


@pytest.mark.parametrize(
    "text", ["1.2", "v1.2.3", "1.2.3-rc1", "01.2.3", "1.2.3.4", "1.2.x", "", "1.2.\u0663", " 1.2.3", "1.2.3\n", 1, None]
)
def test_what_is_not_a_plain_version_is_none(text):
    assert parse_version(text) is None


@pytest.mark.parametrize("text", ["", ">=1.2", "1.2.3", "~1.2.3", ">=1.2.3,<2.0.0", ">=1.2.3  <2.0.0", "=>1.2.3", ">= 1.2.3"])
def test_what_is_not_a_plain_range_is_none(text):
    assert parse_range(text) is None
