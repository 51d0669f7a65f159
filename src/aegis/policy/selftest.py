"""Run the tests that a policy set carries.

The input of a test names what matters; the rest is filled in so that the contract holds: a required argument that is not named
gets a sample of its type (`null` says that it is absent), the version is one inside the range, the agent has trust 5 and no roles,
there is no chain, it is Wednesday noon in the zone of the set, nothing has happened before, neither call nor run carry labels, and
the token states no numbers.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from aegis.model import history
from aegis.model.decision import Decision, Outcome, Verdict
from aegis.model.facts import Facts
from aegis.model.principal import Link, Principal
from aegis.model.proposal import Proposal
from aegis.model.stated import NAMES as STATED
from aegis.policy.decide import decide
from aegis.policy.duration import seconds
from aegis.policy.guard import RulesGuard
from aegis.policy.ir import CONTRACT, Case, Comparator, Kind, Policy, ToolLine
from aegis.policy.memory import Memory
from aegis.policy.operands import WEEKDAYS
from aegis.policy.past import PHASES
from aegis.policy.versions import within
from aegis.policy.zone import zone

Judged = Callable[[Proposal, Facts, Mapping[str, Any]], tuple[Verdict, ...]]
"""What a policy engine says about a call, with this data of the tenant."""
_SAMPLES: Mapping[Kind, Any] = {
    Kind.STRING: "sample",
    Kind.INTEGER: 1,
    Kind.NUMBER: 1,
    Kind.BOOLEAN: False,
    Kind.OBJECT: {},
    Kind.ARRAY: [],
    Kind.URL: "https://host.example/",
    Kind.EMAIL: "someone@mail.example",
}
_MONDAY = datetime(2026, 1, 5)  # noqa: DTZ001 - the zone of the set is attached to it
_FULL_TRUST = 5


class Result(Struct, frozen=True, kw_only=True):
    """What became of one test; `problems` is empty when it passed. `skipped` says why it was not run at all."""

    name: str
    problems: tuple[str, ...]
    decision: Decision
    place: str = ""
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """Whether everything that the test expects came out."""
        return not self.problems


def run_tests(policy: Policy, tenant_data: Mapping[str, Any] | None = None, *, judged: Judged | None = None) -> tuple[Result, ...]:
    """The result of every test of the set, in its order. A test may set `tenant.<path>` for itself.

    `judged` asks a policy engine outside this process, which then decides every test. Without one, tests about tools that
    hand-written Rego decides are skipped: only a real OPA can run them.
    """
    rego = frozenset() if judged else frozenset(tool for module in policy.rego for tool in module.tools)
    return tuple(
        _skipped(case) if case.given["tool"] in rego else _run(policy, tenant_data or {}, case, judged) for case in policy.tests
    )


def _skipped(case: Case) -> Result:
    why = "hand-written Rego decides about this tool: it needs an OPA"
    return Result(name=case.name, problems=(), decision=Decision(outcome=Outcome.DENY), place=case.place, skipped=why)


def _run(policy: Policy, tenant_data: Mapping[str, Any], case: Case, judged: Judged | None) -> Result:
    data = _tenant_data(tenant_data, case.given)
    guard = RulesGuard(policy, data, elsewhere=frozenset(policy.tools) if judged else frozenset())
    proposal, facts = call(policy, case.given, data)
    if judged is not None:
        facts = replace(facts, engine={policy.digest: judged(proposal, facts, data)})
    decision = decide(proposal, facts, [guard], policy=policy.ref)
    return Result(name=case.name, problems=tuple(_problems(case, decision)), decision=decision, place=case.place)


def call(policy: Policy, given: Mapping[str, Any], tenant_data: Mapping[str, Any] | None = None) -> tuple[Proposal, Facts]:
    """A whole call around the values that a test names."""
    line = policy.tools.get(given["tool"])
    arguments = {} if line is None else {name: _SAMPLES[arg.kind] for name, arg in line.args.items() if not arg.optional}
    arguments |= {path.removeprefix("args."): value for path, value in given.items() if path.startswith("args.")}
    principal = Principal(
        tenant=given.get("tenant", policy.tenant),
        agent_id=given.get("agent.id", "test-agent"),
        subject=given.get("subject.id", "person:test"),
        roles=tuple(given.get("agent.roles", ())),
        scopes=tuple(given.get("agent.scopes", ("*",))),
        trust=given.get("agent.trust", _FULL_TRUST),
        chain=tuple(Link(agent_id=link["id"], trust=link["trust"]) for link in given.get("chain", ())),
        txn=given.get("run.id", "run-1"),
        task=given.get("run.task", ""),
    )
    proposal = Proposal(
        principal=principal,
        tool=given["tool"],
        arguments={name: value for name, value in arguments.items() if value is not None},
        tool_version=given.get("version", _version(line)),
        environment=given.get("environment", ""),
    )
    now = _now(policy, given)
    facts = Facts(
        now=now,
        history=_history(policy, tenant_data or {}, proposal, now, given),
        call_labels=tuple(given.get("labels.call", ())),
        run_labels=tuple(given.get("labels.run", ())),
        stated={path: given[path] for path in STATED if path in given},
    )
    return proposal, facts


def _history(
    policy: Policy, tenant_data: Mapping[str, Any], proposal: Proposal, now: datetime, given: Mapping[str, Any]
) -> dict[str, int | bool | None]:
    """The readings over the past that a test tells."""
    memory = Memory([(policy, tenant_data)], b"tests")
    entries = [_entry(memory, proposal, number, event, now) for number, event in enumerate(given.get("past", ()))]
    return {
        term: history.take(reading, lambda query: history.measure(entries, query)) if reading else None
        for term, reading in memory.readings(proposal, now).items()
    }


def _entry(memory: Memory, proposal: Proposal, number: int, event: Mapping[str, Any], now: datetime) -> history.Entry:
    who = proposal.principal
    principal = replace(
        who,
        agent_id=event.get("agent.id", who.agent_id),
        txn=event.get("run.id", who.txn),
        task=event.get("run.task", who.task),
        subject=event.get("subject.id", who.subject),
    )
    arguments = {key.removeprefix("args."): value for key, value in event.items() if key.startswith("args.")}
    past = replace(proposal, principal=principal, tool=event["tool"], arguments=arguments)
    phase = PHASES[event["phase"]][0] if "phase" in event else history.Phase.SUCCEEDED
    return memory.entry(past, f"past-{number}", now - timedelta(seconds=seconds(event.get("ago", "1m"))), phase)


def _now(policy: Policy, given: Mapping[str, Any]) -> datetime:
    hours, minutes = map(int, given.get("now.time", "12:00").split(":"))
    day = _MONDAY + timedelta(days=WEEKDAYS.index(given.get("now.weekday", "wed")), hours=hours, minutes=minutes)
    return day.replace(tzinfo=zone(policy.timezone)).astimezone(UTC)


def _version(line: ToolLine | None) -> str:
    """A version that the contract line accepts: a bound of its range, or the next patch after one."""
    wanted: tuple[Comparator, ...] = line.version if line else ()
    bounds = [each.version for each in wanted]
    candidates = [*bounds, *((major, minor, patch + 1) for major, minor, patch in bounds), (0, 0, 0), (1, 0, 0)]
    found = next((each for each in candidates if within(each, wanted)), (1, 0, 0))
    return ".".join(map(str, found))


def _tenant_data(tenant_data: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The tenant's data with what the test sets for itself."""
    merged = _copied(tenant_data)
    for path, value in given.items():
        names = path.split(".")
        if names[0] == "tenant" and len(names) > 1:
            place = merged
            for name in names[1:-1]:
                place = place.setdefault(name, {})
            place[names[-1]] = value
    return merged


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _copied(value) if isinstance(value, Mapping) else value for name, value in data.items()}


def _broken(decision: Decision) -> str:
    """Which arguments broke the contract line: a test that did not mean to break it has a slip there."""
    fields = [each.field for each in decision.reasons if each.field and each.rule.endswith(CONTRACT)]
    return f" at {', '.join(f'`{field}`' for field in fields)}" if fields else ""


def _problems(case: Case, decision: Decision) -> list[str]:
    expect, found = case.expect, []
    if expect.outcome is not None and decision.outcome is not expect.outcome:
        found.append(
            f"expected outcome {expect.outcome}, found {decision.outcome} by {', '.join(decision.rules)}{_broken(decision)}"
        )
    if expect.would_be is not None and (decision.would_be or decision.outcome) is not expect.would_be:
        found.append(f"expected would_be {expect.would_be}, found {decision.would_be or decision.outcome}")
    fired = {*decision.matched, *decision.rules}
    found += [f"expected rule `{rule}` to fire, but it did not" for rule in expect.rules if rule not in fired]
    found += [f"expected rule `{rule}` not to fire, but it did" for rule in expect.not_rules if rule in fired]
    found += [f"expected rule `{rule}` to fire in shadow, but it did not" for rule in expect.shadow if rule not in decision.shadow]
    return found
