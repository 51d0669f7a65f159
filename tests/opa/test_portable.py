"""What is generated keeps to the portable core: OPA compiles it in strict mode, with nothing at hand but the builtins of the core."""

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.opa.server import binary
from tests.policy import strategies

from aegis.policy.language import load
from aegis.policy.rego import module

SETS = Path(__file__).parents[2] / "conformance" / "policy" / "sets"
CORE = frozenset(
    [
        "and",
        "assign",
        "concat",
        "count",
        "endswith",
        "eq",
        "equal",
        "floor",
        "gt",
        "gte",
        "internal.member_2",
        "internal.member_3",
        "is_array",
        "is_boolean",
        "is_number",
        "is_object",
        "is_set",
        "is_string",
        "lt",
        "lte",
        "max",
        "min",
        "minus",
        "neq",
        "object.get",
        "or",
        "regex.match",
        "semver.compare",
        "sort",
        "startswith",
        "substring",
    ]
)


def compiles(folder, made):
    """Whether OPA takes the modules when it has no other builtins; what it says otherwise."""
    capabilities = folder / "capabilities.json"
    if not capabilities.exists():
        told = subprocess.run([binary(), "capabilities", "--current"], capture_output=True, text=True, check=True, timeout=60)
        known = json.loads(told.stdout)
        known["builtins"] = [each for each in known["builtins"] if each["name"] in CORE]
        capabilities.write_text(json.dumps(known))
    for path, text in {**module.library(), **module.modules(made)}.items():
        (folder / "code" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "code" / path).write_text(text)
    told = subprocess.run(
        [binary(), "check", "--strict", "--capabilities", str(capabilities), str(folder / "code")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return told.returncode == 0, told.stdout + told.stderr


@pytest.mark.parametrize("path", sorted(SETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_set_needs_the_portable_core_only(path, tmp_path):
    fine, said = compiles(tmp_path, load(path.read_text(), source=path.name))
    assert fine, said


def test_generated_sets_need_the_portable_core_only(tmp_path_factory):
    binary()

    @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def run(data):
        fine, said = compiles(tmp_path_factory.mktemp("set"), strategies.loaded(data.draw(strategies.policies())))
        assert fine, said

    run()


def test_the_core_is_checked_at_all(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "more.rego").write_text("package more\n\nx := time.now_ns()\n")
    fine, said = compiles(tmp_path, load((SETS / "acme-core.yaml").read_text(), source="x"))
    assert not fine
    assert "time.now_ns" in said
