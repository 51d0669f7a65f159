"""`aegis policy test`: the tests that a set carries, and generated hits and near misses of every rule."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from aegis.policy.ir import Policy
from aegis.policy.nearmiss import Probes, as_case, few, probes
from aegis.policy.selftest import Result, run_tests
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED
from aegis.surfaces.cli.policy.sets import Opened, open_set, set_argument


@click.command()
@set_argument
@click.option("--write", is_flag=True, help="Append the generated tests to the file, for rules that its own tests do not cover.")
@click.option(
    "--opa", is_flag=False, flag_value="opa", metavar="[PROGRAM]", help="Run them in a real OPA: `opa` on PATH, or PROGRAM."
)
@click.pass_context
def test(ctx: click.Context, file: Path | None, tenant: str | None, write: bool, opa: str | None) -> int:
    """Run the tests that a set carries, and generate a hit and near misses of every rule.

    Generated calls lie at the edge of each comparison: the limit, one below, one above; a prefix and the prefix cut; a host, its
    apex, a look-alike. They show what the set does there; whether that is meant, only a person can say.

    With --opa the set's own tests are decided by Open Policy Agent, those about hand-written Rego included.

    Exit code 1 when a test fails.
    """
    opened = open_set(ctx, file, tenant)
    own = _own(opened, opa)
    made = probes(opened.policy, opened.tenant_data)
    failed = [result for result in own if not result.passed]
    written = _write(opened, made) if write and not failed else 0
    if context.as_json(ctx):
        output.document("policy-test", _document(own, made, written))
    else:
        _print(opened.policy, own, made)
        if write:
            told = f"{written} tests added to {opened.path}" if not failed else "nothing was written: mend the failing tests first"
            click.echo(told)
    return FAILED if failed else DONE


def _own(opened: Opened, opa: str | None) -> tuple[Result, ...]:
    """The set's own tests, natively or in an OPA."""
    if opa is None:
        return run_tests(opened.policy, opened.tenant_data)
    from aegis.adapters.opa_process import OpaProcess

    with OpaProcess(opened.policy, opa) as process:
        return run_tests(opened.policy, opened.tenant_data, judged=process.verdicts)


def _write(opened: Opened, made: Sequence[Probes]) -> int:
    """Add tests for the rules that lack a hit or a near miss; how many."""
    from aegis.adapters import wholefile
    from aegis.policy.coverage import cover
    from aegis.policy.fmt import with_tests

    lacking = {rule.rule for rule in cover(opened.policy, opened.tenant_data).rules if not rule.covered}
    shadow = {rule.id for rule in opened.policy.rules if rule.shadow or opened.policy.shadow}
    names = {case.name for case in opened.policy.tests}
    cases: list[dict[str, Any]] = []
    for each in made:
        if each.rule in lacking:
            built = [as_case(call, shadow=each.rule in shadow, number=number) for number, call in enumerate(few(each), start=1)]
            cases += [case for case in built if case["name"] not in names]
    if cases:
        text = with_tests(opened.path.read_text(encoding="utf-8"), cases, source=str(opened.path))
        wholefile.write(opened.path, text.encode(), wholefile.PUBLIC)
    return len(cases)


def _document(own: Sequence[Result], made: Sequence[Probes], written: int) -> dict[str, Any]:
    return {
        "ok": all(result.passed for result in own),
        "tests": [
            {
                "name": result.name,
                "passed": result.passed,
                "problems": result.problems,
                "place": result.place,
                "skipped": result.skipped,
            }
            for result in own
        ],
        "generated": [_generated(each) for each in made],
        "written": written,
    }


def _generated(each: Probes) -> dict[str, Any]:
    return {"rule": each.rule, "hits": len(each.hits), "misses": len(each.misses), "why": each.why, "calls": few(each)}


def _print(policy: Policy, own: Sequence[Result], made: Sequence[Probes]) -> None:
    for result in own:
        state = "skipped" if result.skipped else "ok" if result.passed else "failed"
        click.echo(f"{output.word(state, 6)}  {result.name}")
        if result.skipped:
            output.wrapped(f"{result.skipped}: aegis policy test --opa")
        for problem in result.problems:
            output.wrapped(problem)
        if not result.passed:
            click.echo(f"    {result.place}")
    rows = [(each.rule, len(each.hits), len(each.misses)) for each in made if not each.why]
    if rows:
        click.echo()
    output.table(("generated for", "hits", "near misses"), rows, empty="")
    for each in made:
        if each.why:
            click.echo(f"{each.rule}:")
            output.wrapped(each.why)
    passed = sum(result.passed for result in own)
    calls = sum(len(each.hits) + len(each.misses) for each in made)
    click.echo(f"\n{policy.name}: {passed} of {len(own)} tests passed; {calls} calls generated for {len(policy.rules)} rules")
