"""Hand-written Rego beside the rules: what may be loaded, and how its hits are judged."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace
from tests.policy import oracle, strategies

from aegis.model.decision import ApprovalTerms, Outcome, Redaction, Stage
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.policy.decide import decide
from aegis.policy.ir import RegoModule
from aegis.policy.rego import custom
from aegis.policy.rego.answer import verdicts

HEAD = "package aegis_acme.custom.fx\n\nimport data.aegis.lib\n\n"
DENY = HEAD + 'hits contains {"id": "fx.large", "effect": "deny", "live": true} if input.args.count > 100\n'
NOW = datetime(2026, 1, 7, 12, 0, tzinfo=UTC)
CALL = Proposal(principal=Principal(tenant="acme", agent_id="a", subject="s"), tool="fx.trade", arguments={"count": 7})


def policy(text=DENY, *, mode="enforce", rules=(), file="custom/fx.rego"):
    document = {
        "apiVersion": "aegis.policy/v1",
        "kind": "PolicySet",
        "metadata": {"name": "trading", "tenant": "acme", "owner": "tests@acme.example"},
        "spec": {
            "mode": mode,
            "tools": {"fx.trade": {"args": {"count": "integer"}}, "fx.other": {"args": {"count": "integer"}}},
            "rules": [{"id": "all", "effect": "allow", "tools": ["*"]}, *rules],
        },
    }
    return replace(strategies.loaded(document), rego=(RegoModule(file=file, text=text, tools=("fx.trade",)),))


def answered(set_, call=CALL):
    with oracle.Opa(set_, {}) as opa:
        return opa.ask(oracle.document(call, Facts(now=NOW), set_))


def decided(set_, call=CALL):
    """The decision from the verdicts that come out of the answer."""

    class Says:
        name = "engine"

        def __call__(self, *_):
            return verdicts(answered(set_, call), set_)

    return decide(call, Facts(now=NOW), [Says()])


def test_a_module_denies_what_the_rules_allow():
    assert decided(policy()).outcome is Outcome.ALLOW
    large = replace(CALL, arguments={"count": 101})
    assert (decided(policy(), large).outcome, decided(policy(), large).rules) == (Outcome.DENY, ("fx.large",))


def test_a_module_says_nothing_about_tools_that_it_does_not_name():
    other = replace(CALL, tool="fx.other", arguments={"count": 101})
    assert decided(policy(), other).outcome is Outcome.ALLOW


def test_a_module_is_not_asked_about_a_call_that_breaks_the_contract():
    wrong = replace(CALL, arguments={"count": "101"})
    assert decided(policy(), wrong).matched == ("fx.trade#contract",)


def test_a_set_in_shadow_keeps_its_modules_in_shadow():
    found = decided(policy(mode="shadow"), replace(CALL, arguments={"count": 101}))
    assert (found.outcome, found.would_be, found.shadow) == (Outcome.ALLOW, Outcome.DENY, ("all", "fx.large"))


def test_a_hit_in_shadow_stops_nothing():
    text = HEAD + 'hits contains {"id": "fx.trial", "effect": "deny", "live": false}\n'
    found = decided(policy(text))
    assert (found.outcome, found.would_be, found.shadow) == (Outcome.ALLOW, Outcome.DENY, ("fx.trial",))


def test_a_module_asks_for_approval_and_redacts():
    text = HEAD + (
        'hits contains {"id": "fx.ask", "effect": "approval_needed", "live": true, "terms": {"approver_sets": [["role:desk"]],'
        ' "quorum": 2, "ttl_seconds": 600, "not_requester": true}}\n'
        'hits contains {"id": "fx.hide", "effect": "sanitize", "live": true,'
        ' "redactions": [{"stage": "response", "path": "/result/account", "form": "last4"}]}\n'
    )
    found = decided(policy(text))
    assert found.outcome is Outcome.APPROVAL_NEEDED
    assert found.terms == ApprovalTerms(approver_sets=(("role:desk",),), quorum=2, ttl=timedelta(minutes=10))
    assert found.redactions == (Redaction(stage=Stage.RESPONSE, path="/result/account", form="last4"),)


@pytest.mark.parametrize(
    "hit",
    [
        '"deny"',
        "7",
        "{}",
        '{"id": "fx.a", "effect": "deny"}',
        '{"id": "fx.a", "effect": "deny", "live": "yes"}',
        '{"id": "fx.a", "effect": "alow", "live": true}',
        '{"id": "fx.a", "effect": "error", "live": true}',
        '{"id": "all", "effect": "deny", "live": true}',
        '{"id": "fxa", "effect": "allow", "live": true}',
        '{"id": 7, "effect": "allow", "live": true}',
        '{"id": "fx.a", "effect": "allow", "live": true, "more": 1}',
        '{"id": "fx.a", "effect": "sanitize", "live": true}',
        '{"id": "fx.a", "effect": "sanitize", "live": true, "redactions": []}',
        '{"id": "fx.a", "effect": "sanitize", "live": true, "redactions": [{"stage": "response", "path": "/args/a", "form": "mask"}]}',
        '{"id": "fx.a", "effect": "sanitize", "live": true, "redactions": [{"stage": "x", "path": "/result", "form": "mask"}]}',
        '{"id": "fx.a", "effect": "sanitize", "live": true, "redactions": [{"stage": "response", "path": "/result", "form": "hide"}]}',
        '{"id": "fx.a", "effect": "approval_needed", "live": true}',
        '{"id": "fx.a", "effect": "approval_needed", "live": true, "terms": {"approver_sets": [], "quorum": 1, "ttl_seconds": 60, "not_requester": true}}',
        '{"id": "fx.a", "effect": "approval_needed", "live": true, "terms": {"approver_sets": [["desk"]], "quorum": 1, "ttl_seconds": 60, "not_requester": true}}',
        '{"id": "fx.a", "effect": "approval_needed", "live": true, "terms": {"approver_sets": [["role:desk"]], "quorum": 0, "ttl_seconds": 60, "not_requester": true}}',
    ],
)
def test_a_hit_of_another_shape_denies(hit):
    found = decided(policy(HEAD + f"hits contains {hit}\n"))
    assert (found.outcome, found.rules) == (Outcome.DENY, ("fx#hit",))


@pytest.mark.parametrize("path", ['"/result/~2"', 'sprintf("/result/~%d", [input.args.count])'])
def test_a_redaction_that_could_not_be_carried_out_denies_before_the_call(path):
    asked = f'"redactions": [{{"stage": "response", "path": {path}, "form": "mask"}}]'
    found = decided(policy(HEAD + f'hits contains {{"id": "fx.a", "effect": "sanitize", "live": true, {asked}}}\n'))
    assert (found.outcome, found.rules) == (Outcome.DENY, ("opa#answer",))


@pytest.mark.parametrize("body", ["other := 1", "hits := []", 'hits["a"] := 1', "hits := input.args if false"])
def test_a_module_without_a_set_of_hits_denies(body):
    found = decided(policy(HEAD + body + "\n"))
    assert found.outcome is Outcome.DENY
    assert "fx#missing" in found.rules


def test_a_module_whose_builtin_fails_denies():
    text = HEAD + 'hits contains {"id": "fx.a", "effect": "deny", "live": true} if to_number("junk") > input.args.count\n'
    assert decided(policy(text)).rules == ("engine#error",)


def test_two_hits_with_one_id_and_two_effects_are_not_believed():
    text = HEAD + "\n".join(f'hits contains {{"id": "fx.a", "effect": "{effect}", "live": true}}' for effect in ("allow", "deny"))
    assert decided(policy(text)).outcome is Outcome.DENY


GOOD = [
    DENY,
    "# a comment\n\n" + DENY,
    DENY.replace("\n", "\r\n"),
    HEAD + 'limit(a) := a * 2\nhits contains {"id": "fx.a", "effect": "deny", "live": true} if limit(input.args.count) > 9\n',
    HEAD
    + 'hits contains {"id": "fx.a", "effect": "deny", "live": true} if { lib.is_integer(input["args"]["count"]); count([1]) > 0 }\n',
    HEAD + 'hits contains {"id": "fx.a", "effect": "deny", "live": true} if data.aegisdata.acme.tenant.limit < 3\n',
    HEAD + 'hits contains {"id": "fx.a", "effect": "deny", "live": true} if "# http.send(x) with" == `import data.other`\n',
    HEAD + 'hits contains {"id": "fx.a", "effect": "deny", "live": true} if { x := set(); not 1 in x; every y in x { y > (1) } }\n',
]
BAD = {
    'x := http.send({"url": "http://a"})': "http.send",
    'x := http["send"]({"url": "http://a"})': "http.send",
    "x := opa.runtime()": "opa.runtime",
    'x := (http)["send"]({"url": "http://a"})': "it calls",
    "x := (opa)[`runtime`]()": "it calls",
    "x := time.now_ns()": "time.now_ns",
    'x := rand.intn("a", 5)': "rand.intn",
    'x := net.lookup_ip_addr("a.example")': "net.lookup_ip_addr",
    'x := io.jwt.decode_verify("a", {})': "io.jwt.decode_verify",
    'trace("a")': "trace",
    "x := numbers.range(1, 1000000000)": "numbers.range",
    "x := data": "it reads `data`",
    "x := data.aegis_globex.main": "data.aegis_globex",
    "x := data.aegis_acme2.main": "data.aegis_acme2",
    'x := data["aegisdata"].globex.tenant': "data.aegisdata.globex",
    "x := data[input.args.count]": "it reads `data",
    "some i\n\tx := data[i]": "it reads `data",
    "x := 1\n\tlib.is_integer(1) with input as {}": "`with`",
    "x := count([1]) with count as 7": "`with`",
    'x := data.aegisdata\n\t["acme"] == ["acme"]': "it reads `data.aegisdata`",
    'not"aegis_acme" == "aegis_acme"; x := data["aegis_globex"].y': "data.aegis_globex",
    'x := $"{time.now_ns()}"': "expressions inside",
    "walk(input, [p, v])": "walk",
    'x := regex.template_match("a", "b", "c", "d")': "regex.template_match",
    'x := "é"': "ASCII",
}


@pytest.mark.parametrize("text", GOOD)
def test_a_pure_module_has_no_problems(text):
    assert custom.problems(policy(text)) == ()
    assert custom.problems(policy(text), oracle.parse) == ()
    answered(policy(text))


@pytest.mark.parametrize("line", BAD)
def test_a_module_that_could_reach_out_is_refused(line):
    text = HEAD + f'hits contains {{"id": "fx.a", "effect": "deny", "live": true}} if {{\n\t{line}\n}}\n'
    found = custom.problems(policy(text))
    assert any(BAD[line] in each for each in found), found


@pytest.mark.parametrize("line", [line for line in BAD if line.isascii()])
def test_the_syntax_tree_alone_tells_as_much(line):
    text = HEAD + f'hits contains {{"id": "fx.a", "effect": "deny", "live": true}} if {{\n\t{line}\n}}\n'
    found = custom.tree_problems(oracle.parse(text), "acme")
    assert any(BAD[line] in each for each in found), found


@pytest.mark.parametrize(
    "name", ["data.other", "data.aegis.fold", "data.aegis_globex.custom.x", "input", "rego.v2", "data.aegis.lib as l"]
)
def test_an_import_from_elsewhere_is_refused(name):
    text = DENY.replace("import data.aegis.lib", f"import {name}")
    assert any("it imports" in each for each in custom.problems(policy(text)))


@pytest.mark.parametrize(
    "package", ["aegis_globex.custom.fx", "aegis_acme.main", "aegis_acme.custom.Fx", "aegis_acme.custom.a.b", "aegis.lib"]
)
def test_another_package_is_refused(package):
    found = custom.problems(policy(DENY.replace("aegis_acme.custom.fx", package)))
    assert any("expected `package aegis_acme.custom.<name>`" in each for each in found)


@pytest.mark.parametrize("end", ["\r", "\x0b", "\x0c", "\x1c"])
def test_a_package_within_a_comment_hides_no_other_one(end):
    hidden = f"# note{end}package aegis_acme.custom.fx\n" + DENY.replace("aegis_acme.custom.fx", "aegis_acme.main")
    assert custom.problems(policy(hidden)) != ()
    assert custom.text_problems(hidden, "acme") != ()
    assert "its package is `data.aegis_acme.main`" in custom.tree_problems(oracle.parse(hidden), "acme")


def test_a_builtin_at_the_start_of_a_line_is_called_and_not_defined():
    text = HEAD + 'hits contains {"id": "fx.a", "effect": "deny", "live": true} if {\nwalk(input, [p, v])\n}\n'
    assert any("it calls `walk`" in each for each in custom.problems(policy(text)))


def test_ids_of_a_module_and_of_rules_do_not_meet():
    rules = ({"id": "fx.own", "effect": "deny", "tools": ["fx.trade"]},)
    assert any("`fx.own`" in each for each in custom.problems(policy(rules=rules)))


def test_two_modules_do_not_share_a_package():
    both = policy()
    both = replace(both, rego=(*both.rego, replace(both.rego[0], file="custom/other.rego")))
    assert any("`custom/other.rego` has the package of" in each for each in custom.problems(both))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (DENY + "Str0 := 1\n", "the name `Str0` is taken"),
        (HEAD + "other := 1\n", "it does not define the set `hits`"),
        (DENY + "\npackage aegis_acme.custom.fy\n", "it has more than one package"),
        (DENY + "x := input.names[1](7)\n", "it calls something that is looked up"),
    ],
)
def test_a_text_that_cannot_be_judged_is_refused(text, says):
    assert any(says in each for each in custom.problems(policy(text)))


def test_a_tree_with_other_imports_or_without_hits_is_refused():
    tree = oracle.parse("package aegis_acme.custom.fx\n\nimport data.other\nimport data.aegis.lib as l\n\nx := 1\n")
    found = custom.tree_problems(tree, "acme")
    assert found == ("it does not define the set `hits`", "it imports `data.other`", "it imports `data.aegis.lib`")


def test_a_module_without_a_name_can_say_nothing():
    nameless = policy(DENY.replace("aegis_acme.custom.fx", "elsewhere"))
    answer = {
        "outcome": "deny",
        "would_be": None,
        "rules": ["fx.a"],
        "matched": ["fx.a"],
        "shadow": [],
        "redactions": [],
        "terms": None,
    }
    hit = {"id": "fx.a", "effect": "deny", "live": True, "custom": True}
    said = verdicts(answer | {"custom": [hit], "revision": nameless.digest}, nameless)
    assert [each.rule for each in said] == ["opa#answer"]


def test_what_is_not_rego_is_refused_by_the_parser():
    assert any("OPA cannot read it" in each for each in custom.problems(policy(DENY + "x := ]\n"), oracle.parse))
