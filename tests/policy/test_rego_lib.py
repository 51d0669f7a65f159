"""Each shared comparison over a grid of values: certainly true, certainly false, or neither, as the language's own table says.

The table is that of tests/policy/kleene.py, which shares no code with the compiler. `None` to the right is what a reference to data
that is missing or of another type becomes.
"""

import pytest
from tests.policy import kleene, oracle

from aegis.policy.rego import module
from aegis.policy.versions import parse_range

MOST = 2**53 - 1
VALUES = [
    *[None, True, False, 0, 1, -1, 7, 10, MOST, -MOST, 2**53, -(2**53), 2**70, 0.5, -0.5, 99.5, 1e-9, "", "7", "red", "Red", "red\n", "prod-1", "röd", "\U0001f600"],
    *["08:00", "17:59", "23:59", "1.2.0", "1.10.0", "v1.2.0", "1.2", "01.2.0", "1.2.0\n", "1.2.1234567890", "api.good.example", ".good.example"],
    *["good.example", "x.good.example", "xgood.example", "zpi.good.example", "192.0.2.7", "*.good.example", [], ["red"], [7], [True], [None], [[7]], [0.5], ["7", None], {}],
    *[{"red": 7}, ["red", "red"], [7, {}]],
]  # fmt: skip
WORDS = ["", "red", "7", "prod-", "d", None]
INTEGERS = [0, 1, 7, MOST, -MOST, None]
NUMBERS = [0, 0.5, 7, 99.5, MOST, None]
SIZES = [0, 1, 3, 9, None]


def known(op, kind, value, operand):
    """The table, where an operand that is missing makes the result unknown."""
    parts = operand if op == "between" else [operand]
    if any(part is None for part in parts):
        return None
    if kind == "number" and type(value) is int and abs(value) > MOST:
        return None
    return kleene.COMPARE[op](kind, value, operand)


def pairs(values):
    return [[low, high] for low in values for high in values if low is None or high is None or low < high]


ROWS = [
    ("eq", "eq", "other", [*WORDS, *INTEGERS, True, False]),
    ("integer_gt", "gt", "other", INTEGERS),
    ("integer_lt", "lt", "other", INTEGERS),
    ("number_gt", "gt", "number", NUMBERS),
    ("number_lt", "lt", "number", NUMBERS),
    ("integer_between", "between", "other", pairs(INTEGERS)),
    ("number_between", "between", "number", pairs(NUMBERS)),
    ("string_in", "in", "other", [["red", "7"], ["röd"], [""], [], None]),
    ("integer_in", "in", "other", [[7], [0, MOST], [], None]),
    ("contains", "contains", "other", ["red", "7", 7, True, False, None]),
    ("starts", "starts_with", "other", ["red", "r", "7", None]),
    ("ends", "ends_with", "other", ["red", "d", "\n", None]),
    ("matches", "matches", "other", ["^red$", "[0-9]", "^$", "d$", "^.d"]),
    ("host", "host_in", "other", [["api.good.example"], ["*.good.example"], ["*.good.example", "192.0.2.7"], [], None]),
    ("longer", "longer_than", "other", SIZES),
    ("shorter", "shorter_than", "other", SIZES),
    ("version", "version", "other", [">=1.2.0", "=1.2.0", "<1.10.0 >1.2.0", "<=1.10.0", ">1.10.0", "=9.9.9"]),
]


def written(name, operand):
    """The operand as the generated code passes it."""
    if name == "version":
        return [[[each.sign, ".".join(map(str, each.version))] for each in parse_range(operand)]]
    return operand if name.endswith("between") else [operand]


@pytest.mark.parametrize(("name", "op", "kind", "operands"), ROWS, ids=[row[0] for row in ROWS])
def test_a_comparison_is_true_false_or_unknown_as_the_table_says(name, op, kind, operands):
    many = len(written(name, operands[0]))
    arguments = ", ".join(f"given[1][{index}]" for index in range(many))
    text = "package probe\n\nimport data.aegis.lib\n\n" + "\n".join(
        f"found_{half} contains i if {{ some i, given in input; lib.{name}_{half}(given[0], {arguments}) }}\n" for half in "tf"
    )
    grid = [(value, operand) for value in VALUES for operand in operands]
    with oracle.engine_class()() as engine:
        for path, source in (module.library() | {"probe.rego": text}).items():
            engine.add_policy(path, source)
        asked = [[value, written(name, operand)] for value, operand in grid]
        surely, surely_not = (set(engine.eval_document(f"probe.found_{half}", asked)) for half in "tf")
    for index, (value, operand) in enumerate(grid):
        found = True if index in surely else False if index in surely_not else None
        assert index not in surely & surely_not
        assert found is known(op, kind, value, operand), (name, value, operand)


@pytest.mark.parametrize(("low", "high"), [("08:00", "17:59"), ("22:00", "06:00"), ("00:00", "23:59")])
def test_a_time_of_day_lies_inside_or_outside(low, high):
    text = "package probe\n\nimport data.aegis.lib\n\n" + "\n".join(
        f"found_{half} contains i if {{ some i, v in input; lib.time_between_{half}(v, {low!r}, {high!r}) }}\n".replace("'", '"')
        for half in "tf"
    )
    values = ["00:00", "06:00", "07:59", "08:00", "12:00", "17:58", "17:59", "22:00", "23:59", None, 7, ["08:00"]]
    with oracle.engine_class()() as engine:
        for path, source in (module.library() | {"probe.rego": text}).items():
            engine.add_policy(path, source)
        surely, surely_not = (set(engine.eval_document(f"probe.found_{half}", values)) for half in "tf")
    for index, value in enumerate(values):
        wanted = kleene.between("time", value, (low, high)) if isinstance(value, str) else None
        assert (index in surely, index in surely_not) == (wanted is True, wanted is False), value


SHAPES = {
    "as_string": "string",
    "as_boolean": "boolean",
    "as_integer": "integer",
    "as_number": "number",
    "as_strings": "string[]",
    "as_integers": "integer[]",
}


@pytest.mark.parametrize("name", SHAPES)
def test_data_is_believed_only_in_its_declared_type(name):
    text = f"package probe\n\nimport data.aegis.lib\n\nfound := [lib.{name}(v) | some v in input]\n"
    values = [*VALUES, ["a", "b"], [1, 2], [1, 2**53], [1, True], ["a", 1]]
    with oracle.engine_class()() as engine:
        for path, source in (module.library() | {"probe.rego": text}).items():
            engine.add_policy(path, source)
        found = engine.eval_document("probe.found", values)
    assert found == [value if value is not None and kleene.fits(value, SHAPES[name]) else None for value in values]
