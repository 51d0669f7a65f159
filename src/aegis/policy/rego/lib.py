"""The modules that all tenants share: comparisons (`aegis.lib`) and the verdict (`aegis.fold`).

Each comparison is a pair: `x_t` holds when it is certainly true, `x_f` when it is certainly false; unknown is neither. A rule that
must fire on unknown asks `not x_f`, any other asks `x_t`, so nothing has to be decided twice. Arguments are always bound, null for
nothing, because `not` around something undefined would be undefined itself.

Bundles of many tenants share these modules and were not built at one time. A function may be added; what one means never changes.

A number is an integer when it has no fraction; `asked` has seen to it that `1.0` does not come here.
"""

LIB_PATH = "aegis/lib.rego"
FOLD_PATH = "aegis/fold.rego"

LIB = r"""package aegis.lib

is_integer(v) if {
	is_number(v)
	floor(v) == v
}

is_list(v) if is_array(v)

is_list(v) if is_set(v)

is_scalar(v) if is_string(v)

is_scalar(v) if is_number(v)

is_scalar(v) if is_boolean(v)

sure_number(v) if {
	is_number(v)
	v >= -9007199254740991
	v <= 9007199254740991
}

sure_integer(v) if {
	is_integer(v)
	sure_number(v)
}

same_type(v, k) if {
	is_string(v)
	is_string(k)
}

same_type(v, k) if {
	is_boolean(v)
	is_boolean(k)
}

same_type(v, k) if {
	is_integer(v)
	is_integer(k)
}

eq_t(v, k) if {
	same_type(v, k)
	v == k
}

eq_f(v, k) if {
	same_type(v, k)
	v != k
}

integer_gt_t(v, k) if {
	is_integer(v)
	is_number(k)
	v > k
}

integer_gt_f(v, k) if {
	is_integer(v)
	is_number(k)
	v <= k
}

integer_lt_t(v, k) if {
	is_integer(v)
	is_number(k)
	v < k
}

integer_lt_f(v, k) if {
	is_integer(v)
	is_number(k)
	v >= k
}

number_gt_t(v, k) if {
	sure_number(v)
	is_number(k)
	v > k
}

number_gt_f(v, k) if {
	sure_number(v)
	is_number(k)
	v <= k
}

number_lt_t(v, k) if {
	sure_number(v)
	is_number(k)
	v < k
}

number_lt_f(v, k) if {
	sure_number(v)
	is_number(k)
	v >= k
}

integer_between_t(v, low, high) if {
	integer_lt_f(v, low)
	integer_lt_t(v, high)
}

integer_between_f(v, low, high) if {
	integer_lt_t(v, low)
	is_number(high)
}

integer_between_f(v, low, high) if {
	integer_lt_f(v, high)
	is_number(low)
}

number_between_t(v, low, high) if {
	number_lt_f(v, low)
	number_lt_t(v, high)
}

number_between_f(v, low, high) if {
	number_lt_t(v, low)
	is_number(high)
}

number_between_f(v, low, high) if {
	number_lt_f(v, high)
	is_number(low)
}

time_between_t(v, low, high) if {
	is_string(v)
	low < high
	v >= low
	v < high
}

time_between_t(v, low, high) if {
	is_string(v)
	low > high
	v >= low
}

time_between_t(v, low, high) if {
	is_string(v)
	low > high
	v < high
}

time_between_f(v, low, high) if {
	is_string(v)
	not time_between_t(v, low, high)
}

string_in_t(v, xs) if {
	is_string(v)
	is_list(xs)
	v in xs
}

string_in_f(v, xs) if {
	is_string(v)
	is_list(xs)
	not v in xs
}

string_in_f(v, xs) if empty_in(v, xs)

integer_in_t(v, xs) if {
	is_integer(v)
	is_list(xs)
	v in xs
}

integer_in_f(v, xs) if {
	is_integer(v)
	is_list(xs)
	not v in xs
}

integer_in_f(v, xs) if empty_in(v, xs)

empty_in(v, xs) if {
	is_list(xs)
	count(xs) == 0
	is_string(v)
}

empty_in(v, xs) if {
	is_list(xs)
	count(xs) == 0
	is_integer(v)
}

contains_t(v, k) if {
	is_array(v)
	some x in v
	eq_t(x, k)
}

contains_f(v, k) if {
	is_array(v)
	is_scalar(k)
	not contains_t(v, k)
	every x in v { is_scalar(x) }
}

starts_t(v, k) if {
	is_string(v)
	is_string(k)
	startswith(v, k)
}

starts_f(v, k) if {
	is_string(v)
	is_string(k)
	not startswith(v, k)
}

ends_t(v, k) if {
	is_string(v)
	is_string(k)
	endswith(v, k)
}

ends_f(v, k) if {
	is_string(v)
	is_string(k)
	not endswith(v, k)
}

matches_t(v, pattern) if {
	is_string(v)
	regex.match(pattern, v) == true
}

matches_f(v, pattern) if {
	is_string(v)
	regex.match(pattern, v) == false
}

host_t(v, hosts) if {
	is_string(v)
	is_list(hosts)
	listed(v, hosts)
}

host_f(v, hosts) if {
	is_string(v)
	is_list(hosts)
	not listed(v, hosts)
}

listed(v, hosts) if {
	not startswith(v, "*.")
	v in hosts
}

listed(v, hosts) if {
	not startswith(v, ".")
	some entry in hosts
	startswith(entry, "*.")
	endswith(v, substring(entry, 1, -1))
}

has_size(v) if is_string(v)

has_size(v) if is_array(v)

longer_t(v, k) if {
	has_size(v)
	is_number(k)
	count(v) > k
}

longer_f(v, k) if {
	has_size(v)
	is_number(k)
	count(v) <= k
}

shorter_t(v, k) if {
	has_size(v)
	is_number(k)
	count(v) < k
}

shorter_f(v, k) if {
	has_size(v)
	is_number(k)
	count(v) >= k
}

is_version(v) if {
	is_string(v)
	regex.match(`^(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})$`, v)
}

version_t(v, bounds) if {
	is_version(v)
	every bound in bounds { meets(semver.compare(v, bound[1]), bound[0]) }
}

version_f(v, bounds) if {
	is_version(v)
	not version_t(v, bounds)
}

meets(order, "=") if order == 0

meets(order, ">") if order > 0

meets(order, "<") if order < 0

meets(order, ">=") if order >= 0

meets(order, "<=") if order <= 0

as_string(v) := v if is_string(v)

as_string(v) := null if not is_string(v)

as_boolean(v) := v if is_boolean(v)

as_boolean(v) := null if not is_boolean(v)

as_integer(v) := v if sure_integer(v)

as_integer(v) := null if not sure_integer(v)

as_number(v) := v if sure_number(v)

as_number(v) := null if not sure_number(v)

as_strings(v) := v if all_strings(v)

as_strings(v) := null if not all_strings(v)

as_integers(v) := v if all_integers(v)

as_integers(v) := null if not all_integers(v)

all_strings(v) if {
	is_array(v)
	every x in v { is_string(x) }
}

all_integers(v) if {
	is_array(v)
	every x in v { sure_integer(x) }
}

fits_string(v) if is_string(v)

fits_integer(v) if sure_integer(v)

fits_number(v) if sure_number(v)

fits_boolean(v) if is_boolean(v)

fits_object(v) if is_object(v)

fits_array(v) if is_array(v)

below(v, name, _) := [x | some x in v] if {
	is_object(v)
	name == "*"
}

below(v, name, _) := [x | some key, x in v; key == name] if {
	is_object(v)
	name != "*"
}

below(v, name, _) := [x | some x in v] if {
	is_array(v)
	name == "*"
}

below(v, name, index) := [x | some i, x in v; i == index] if {
	is_array(v)
	name != "*"
}

below(v, _, _) := [] if not is_container(v)

is_container(v) if is_object(v)

is_container(v) if is_array(v)

contract_rule(tool) := concat("", [tool, "#contract"]) if is_tool_name(tool)

contract_rule(tool) := "unknown#contract" if not is_tool_name(tool)

custom_hit(given, name, live) := {
	"id": given.id,
	"effect": given.effect,
	"live": [given.live, live] == [true, true],
	"custom": true,
	"redactions": object.get(given, ["redactions"], []),
	"terms": object.get(given, ["terms"], null),
} if {
	is_custom_hit(given, name)
}

custom_hit(given, name, _) := {"id": concat("", [name, "#hit"]), "effect": "error", "live": true} if {
	not is_custom_hit(given, name)
}

is_custom_hit(given, name) if {
	is_object(given)
	every key, _ in given { key in {"id", "effect", "live", "redactions", "terms"} }
	id := object.get(given, ["id"], null)
	is_tool_name(id)
	startswith(id, concat("", [name, "."]))
	is_boolean(object.get(given, ["live"], null))
	suits(
		object.get(given, ["effect"], null),
		object.get(given, ["redactions"], []),
		object.get(given, ["terms"], null),
	)
}

suits("allow", redactions, terms) if {
	redactions == []
	terms == null
}

suits("deny", redactions, terms) if {
	redactions == []
	terms == null
}

suits("sanitize", redactions, terms) if {
	is_array(redactions)
	count(redactions) > 0
	every each in redactions { is_redaction(each) }
	terms == null
}

suits("approval_needed", redactions, terms) if {
	redactions == []
	is_object(terms)
	every key, _ in terms { key in {"approver_sets", "quorum", "ttl_seconds", "not_requester"} }
	is_array(object.get(terms, ["approver_sets"], null))
	count(object.get(terms, ["approver_sets"], null)) > 0
	every group in object.get(terms, ["approver_sets"], null) { is_approver_set(group) }
	is_count(object.get(terms, ["quorum"], null))
	is_count(object.get(terms, ["ttl_seconds"], null))
	is_boolean(object.get(terms, ["not_requester"], null))
}

is_approver_set(group) if {
	all_strings(group)
	count(group) > 0
	every who in group { regex.match(`^(?:role|person):.+$`, who) }
}

is_count(v) if {
	sure_integer(v)
	v > 0
	v <= 2592000
}

is_redaction(each) if {
	is_object(each)
	every key, _ in each { key in {"stage", "path", "form"} }
	stage := object.get(each, ["stage"], null)
	path := object.get(each, ["path"], null)
	is_string(path)
	startswith(path, object.get({"request": "/args/", "response": "/result"}, [stage], "?"))
	is_form(object.get(each, ["form"], null))
}

is_form(form) if form in {"drop", "mask", "hash", "tokenise", "last4"}

is_form(form) if {
	is_string(form)
	startswith(form, "regex:")
	count(form) > 6
}

is_tool_name(tool) if {
	is_string(tool)
	count(tool) <= 256
	regex.match(`^[A-Za-z_][A-Za-z0-9_-]{0,127}(?:\.[A-Za-z_][A-Za-z0-9_-]{0,127})*$`, tool)
}
"""

FOLD = r"""package aegis.fold

verdict(hits, revision) := {
	"outcome": found.outcome,
	"would_be": would_be(hits),
	"rules": ids(found.winning),
	"matched": ids(live),
	"shadow": ids(hits - live),
	"redactions": redactions(live, found.outcome),
	"terms": held(found),
	"custom": [hit | some hit in hits; object.get(hit, ["custom"], false) == true],
	"revision": revision,
} if {
	live := {hit | some hit in hits; hit.live == true}
	found := judged(live)
}

judged(hits) := {"outcome": "deny", "winning": with_effect(hits, "error")} if {
	count(with_effect(hits, "error")) > 0
} else := {"outcome": "deny", "winning": with_effect(hits, "deny")} if {
	count(with_effect(hits, "deny")) > 0
} else := {"outcome": "deny", "winning": {{"id": "default-deny", "effect": "deny", "live": true}}} if {
	count(with_effect(hits, "allow")) == 0
} else := {"outcome": "approval_needed", "winning": with_effect(hits, "approval_needed")} if {
	count(with_effect(hits, "approval_needed")) > 0
} else := {"outcome": "sanitize", "winning": with_effect(hits, "sanitize")} if {
	count(with_effect(hits, "sanitize")) > 0
} else := {"outcome": "allow", "winning": with_effect(hits, "allow")}

with_effect(hits, effect) := {hit | some hit in hits; hit.effect == effect}

ids(hits) := sort({hit.id | some hit in hits})

would_be(hits) := null if not in_shadow(hits)

would_be(hits) := judged({hit | some hit in hits; hit.id != "shadow-set"}).outcome if in_shadow(hits)

in_shadow(hits) if {
	some hit in hits
	hit.live == false
}

in_shadow(hits) if {
	some hit in hits
	hit.id == "shadow-set"
}

redactions(_, outcome) := [] if outcome == "deny"

redactions(hits, outcome) := found if {
	outcome != "deny"
	wanted := {[each.stage, each.path, each.form] |
		some hit in hits
		some each in object.get(hit, ["redactions"], [])
	}
	kept := sort({each | some each in wanted; not outdone(each, wanted)})
	found := [{"stage": each[0], "path": each[1], "form": each[2]} | some each in kept]
}

outdone(each, wanted) if {
	some other in wanted
	other[0] == each[0]
	other[1] == each[1]
	strength(other[2]) > strength(each[2])
}

strength(form) := 0 if startswith(form, "regex:")

strength(form) := object.get({"drop": 5, "mask": 4, "hash": 3, "tokenise": 2, "last4": 1}, form, 4) if {
	not startswith(form, "regex:")
}

held(found) := null if found.outcome != "approval_needed"

held(found) := terms([object.get(hit, ["terms"], null) | some hit in found.winning]) if found.outcome == "approval_needed"

terms(asked) := null if nobody(asked)

terms(asked) := {
	"approver_sets": sort({sort({who | some who in group}) | some one in asked; some group in one.approver_sets}),
	"quorum": max({1} | {one.quorum | some one in asked}),
	"ttl_seconds": min({one.ttl_seconds | some one in asked}),
	"not_requester": true in {one.not_requester | some one in asked},
} if {
	not nobody(asked)
}

nobody(asked) if count(asked) == 0

nobody(asked) if {
	some one in asked
	not is_object(one)
}

nobody(asked) if {
	some one in asked
	is_object(one)
	count(one.approver_sets) == 0
}

nobody(asked) if {
	some one in asked
	is_object(one)
	some group in one.approver_sets
	count(group) == 0
}
"""
