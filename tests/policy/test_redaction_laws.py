"""What holds for every value and every set of obligations."""

import json
from copy import deepcopy

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aegis.model.decision import Redaction, Stage
from aegis.policy.patterns import search
from aegis.policy.redaction import join_redactions, needs_parse, redact, strength

KEY = b"k" * 32
OTHER = b"o" * 32
NAMES = st.sampled_from(["a", "b", "0", "*", "a/b", "~"])
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) + 1, 2**53 - 1),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.text(alphabet="ab*1 é", max_size=12),
    st.sampled_from(["4111111111111111", "****", "****1111", "hash:" + "0" * 64, "tok_" + "0" * 48, "078-05-1120"]),
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8)
FORMS = st.sampled_from(["drop", "mask", "hash", "tokenise", "last4", "regex:[0-9]", "regex:a|[*]b", "regex:.{2}", "regex:a+b?"])
PATHS = st.lists(NAMES.map(lambda name: "/" + name.replace("~", "~0").replace("/", "~1")), max_size=3).map(
    lambda parts: "/result" + "".join(parts)
)
OBLIGATIONS = st.lists(st.builds(Redaction, stage=st.just(Stage.RESPONSE), path=PATHS, form=FORMS), max_size=5)


@given(VALUES, OBLIGATIONS)
@example(["4111"], [Redaction(stage=Stage.RESPONSE, path="/result/0", form="drop")])
def test_a_second_pass_changes_nothing(value, obligations):
    once, _ = redact(value, obligations, Stage.RESPONSE, KEY)
    twice, changed = redact(once, obligations, Stage.RESPONSE, KEY)
    assert json.dumps(twice) == json.dumps(once)
    assert changed == ()


@given(VALUES, OBLIGATIONS)
def test_the_input_is_never_touched(value, obligations):
    before = deepcopy(value)
    redact(value, obligations, Stage.RESPONSE, KEY)
    assert json.dumps(value) == json.dumps(before)


@given(VALUES, OBLIGATIONS, st.randoms(use_true_random=False))
def test_the_order_of_obligations_never_matters(value, obligations, random):
    shuffled = random.sample(obligations, len(obligations))
    assert json.dumps(redact(value, shuffled, Stage.RESPONSE, KEY)) == json.dumps(redact(value, obligations, Stage.RESPONSE, KEY))


@given(VALUES, OBLIGATIONS)
def test_joined_obligations_do_what_all_of_them_do(value, obligations):
    joined, _ = redact(value, join_redactions(obligations), Stage.RESPONSE, KEY)
    assert json.dumps(joined) == json.dumps(redact(value, obligations, Stage.RESPONSE, KEY)[0])


@given(VALUES, OBLIGATIONS)
def test_something_is_reported_exactly_when_something_changed(value, obligations):
    left, changed = redact(value, obligations, Stage.RESPONSE, KEY)
    assert bool(changed) is (json.dumps(left) != json.dumps(value))
    assert set(changed) <= {each.path for each in obligations}


@given(VALUES, st.sampled_from(["drop", "mask", "hash", "tokenise", "last4"]))
def test_nothing_that_stood_at_the_path_is_left_there(value, form):
    marked = {"secret": {"deep": ["unmistakable-0001", value]}, "rest": value}
    left, _ = redact(marked, [Redaction(stage=Stage.RESPONSE, path="/result/secret", form=form)], Stage.RESPONSE, KEY)
    assert "unmistakable" not in json.dumps(left)
    assert left["rest"] == value


@given(st.text(alphabet="ab1é-", max_size=40), st.sampled_from(["[0-9]", "a+b?", "b|1a", "(?:ab){2}"]))
def test_no_match_of_the_pattern_is_left_in_a_text(text, pattern):
    left, _ = redact(text, [Redaction(stage=Stage.RESPONSE, path="/result", form=f"regex:{pattern}")], Stage.RESPONSE, KEY)
    assert not search(pattern)(left)
    assert len(left) == len(text)


@pytest.mark.parametrize(("form", "prefix", "size"), [("hash", "hash:", 69), ("tokenise", "tok_", 52)])
def test_stand_ins_are_equal_for_equal_values_under_one_key_only(form, prefix, size):
    def stand_in(value, key=KEY):
        return redact({"v": value}, [Redaction(stage=Stage.RESPONSE, path="/result/v", form=form)], Stage.RESPONSE, key)[0]["v"]

    assert stand_in("078-05-1120") == stand_in("078-05-1120")
    assert len({stand_in("078-05-1120"), stand_in("078-05-1121"), stand_in("078-05-1120", OTHER), stand_in(1), stand_in("1")}) == 5
    assert stand_in({"a": 1, "b": 2}) == stand_in({"b": 2, "a": 1})
    assert stand_in("x").startswith(prefix)
    assert len(stand_in("x")) == size


@pytest.mark.parametrize("form", ["hash", "tokenise"])
def test_a_value_that_only_looks_like_a_stand_in_is_replaced(form):
    obligation = [Redaction(stage=Stage.RESPONSE, path="/result", form=form)]
    ours, _ = redact("a secret", obligation, Stage.RESPONSE, KEY)
    last = "0" if ours[-1] != "0" else "1"
    for forged in (ours[:-1] + last, ours.upper(), redact("a secret", obligation, Stage.RESPONSE, OTHER)[0], ours[:-1] + "é"):
        assert redact(forged, obligation, Stage.RESPONSE, KEY)[0] not in (forged, ours)
    assert redact(ours, obligation, Stage.RESPONSE, KEY)[0] == ours


def test_what_has_no_canonical_form_is_masked_rather_than_named():
    obligation = [Redaction(stage=Stage.RESPONSE, path="/result/v", form="hash")]
    assert redact({"v": 2**60}, obligation, Stage.RESPONSE, KEY)[0] == {"v": "****"}


def test_a_broken_pattern_covers_the_whole_text():
    obligation = [Redaction(stage=Stage.RESPONSE, path="/result", form="regex:[")]
    assert redact("secret", obligation, Stage.RESPONSE, KEY)[0] == "******"


def test_forms_are_ordered_by_strength():
    forms = ["drop", "mask", "hash", "tokenise", "last4", "regex:a"]
    assert sorted(forms, key=strength, reverse=True) == forms


def test_a_result_must_be_json_when_something_may_have_to_go_from_it():
    response = Redaction(stage=Stage.RESPONSE, path="/result/a", form="mask")
    request = Redaction(stage=Stage.REQUEST, path="/args/a", form="mask")
    assert needs_parse([request, response])
    assert not needs_parse([request])
