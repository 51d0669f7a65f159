"""Metrics of one gateway process, in two parts.

What anybody who reaches the port may see is about the process and names no tenant, no tool and no agent. What names them stands in
a registry of its own and is for the operator alone: a tenant must not learn who else is there, what they use and how much.

Most of it is read off the spans as they are put down, so that both tell the same. What can only be read from the store is looked
at now and then. Their names, units and labels are those of `model.conventions`. Prometheus reads both registries, and the exporter
of OpenTelemetry sends the same.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from aegis.model import conventions as names
from aegis.model.span import Span, Work
from aegis.runtime.following import Follower
from aegis.surfaces.gateway.counted import counted, open_runs
from aegis.surfaces.gateway.exported import Exported

if TYPE_CHECKING:
    from aegis.app import App
    from aegis.runtime.tenant import Tenant

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_WAITS = (1, 5, 15, 60, 300, 900, 1800, 3600, 4 * 3600, 24 * 3600)
GAUGES_SECONDS = 15.0
MAX_SERIES = 5000
"""Of one metric; what comes later is counted as `other`."""
OTHER = "other"


class Metrics:
    """Counters in registries of their own, so that two gateways in one process do not meet; `tenants` holds what names a tenant."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tenants = CollectorRegistry()
        self.requests = self._counter("aegis_http_requests_total")
        self.seconds = self._histogram("aegis_http_request_seconds")
        self.refused = self._counter("aegis_unauthenticated_total")
        self._outcomes = self._counter("aegis_outcomes_total")
        self._decisions = self._counter("aegis_decisions_total")
        self._calls = self._counter("aegis_calls_total")
        self._errors = self._counter("aegis_errors_total")
        self._repeats = self._counter("aegis_repeats_total")
        self._cost = self._counter("aegis_cost_micros_total")
        self._chatter = self._counter("aegis_chatter_total")
        self._deciding = self._histogram("aegis_decision_seconds")
        self._upstream = self._histogram("aegis_upstream_seconds")
        self._waits = self._histogram("aegis_approval_wait_seconds", _WAITS)
        self._runs = self._counter("aegis_runs_total")
        self._steps = self._counter("aegis_steps_total")
        self._running = self._histogram("aegis_run_seconds", _WAITS)
        self._stepping = self._histogram("aegis_step_seconds", (*_BUCKETS, *_WAITS[3:]))
        self._open = self._gauge("aegis_runs_open")
        self._in_flight = self._gauge("aegis_calls_in_flight")
        self._store = self._gauge("aegis_store")
        self._clock = self._gauge("aegis_clock_behind_seconds")
        self._all_refused = self._gauge("aegis_policies_refused")
        self._policy = self._gauge("aegis_policy_version")
        self._refused = self._gauge("aegis_policy_refused")
        self._rules = self._gauge("aegis_policy_rules")
        self._rules_hit = self._gauge("aegis_policy_rules_hit")
        self._pending = self._gauge("aegis_approvals_pending")
        self._mailbox = self._gauge("aegis_mailbox_messages")
        self._dead = self._gauge("aegis_dead_letters")
        self._queued = self._gauge("aegis_queue_tasks")
        self._queue_age = self._gauge("aegis_queue_age_seconds")
        self._unsealed = self._gauge("aegis_unsealed_seconds")
        self._uncosigned = self._gauge("aegis_cosignature_age_seconds")
        self._series: defaultdict[str, set[tuple[str, ...]]] = defaultdict(set)
        self._hit: defaultdict[str, set[str]] = defaultdict(set)
        self._ruling: defaultdict[str, frozenset[str]] = defaultdict(frozenset)

    def attach(self, app: "App") -> None:
        """Read the spans of this gateway, and look at its store now and then. Call it once, before the gateway starts."""
        app.gate.spans.watch(self.observe)
        self.registry.register(_SpanCounts(app))
        self.registry.register(Exported(app, by_tenant=False))
        self.tenants.register(Exported(app, by_tenant=True))
        app.following.add(
            Follower(name="gauges", every_seconds=GAUGES_SECONDS, work=partial(self.look, app), at_once=True, tells=False)
        )
        if app.telemetry is not None:
            app.telemetry.families = self.families

    def decided(self, tenant: str, tool: str, outcome: str) -> None:
        """Count a decision, or an ending without one."""
        self._outcomes.labels(outcome).inc()
        self._count(self._decisions, tenant, tool, outcome)

    def observe(self, span: Span) -> None:
        """Count what a span tells of."""
        _OBSERVED[span.work](self, span)

    def families(self) -> Iterable[Metric]:
        """All metrics, for the exporter; from any thread."""
        yield from self.registry.collect()
        yield from self.tenants.collect()

    async def look(self, app: "App") -> None:
        """Read what only the store and the parts of the process know."""
        self._in_flight.set(app.gate.in_flight)
        self._clock.set(app.gate.clock.behind.total_seconds())
        policies = app.rollout.status()
        self._all_refused.set(sum(len(status.refused) for status in policies))
        for status in policies:
            self._policy.labels(status.tenant, "enforced").set(status.enforced)
            self._policy.labels(status.tenant, "shadow").set(status.shadow)
            self._refused.labels(status.tenant).set(len(status.refused))
        for log in app.sealer.standing():
            self._unsealed.labels(log.tenant).set(log.unsealed.total_seconds())
            if log.uncosigned is not None:
                self._uncosigned.labels(log.tenant).set(log.uncosigned.total_seconds())
        for tenant in app.gate.snapshot:
            self._cover(tenant)
            await self._waiting(app, tenant.name)
            await self._queues(app, tenant)
        for name, value in (await app.gate.store.stats()).items():
            if isinstance(value, int | float):
                self._store.labels(name).set(value)

    async def render(self, app: "App", *, operator: bool) -> bytes:
        """The metrics in the text format of Prometheus; the tenants' own are for the operator."""
        await self.look(app)
        return generate_latest(self.registry) + (generate_latest(self.tenants) if operator else b"")

    def _decision(self, span: Span) -> None:
        self._deciding.observe((span.end_us - span.start_us) / 1_000_000)
        if told := span.attributes.get(names.REPEATED):
            self._count(self._repeats, span.tenant, span.tool, str(told))
            return
        cost, to = span.attributes.get(names.COST), span.attributes.get(names.TO)
        if cost and isinstance(cost, int):
            self._count(self._cost, span.tenant, span.tool, span.agent, by=cost)
        if to and isinstance(to, str):
            self._count(self._chatter, span.tenant, "delegation", span.agent, to)
        for rules in (span.attributes.get(names.RULE), span.attributes.get(names.SHADOW_RULE)):
            if isinstance(rules, tuple):
                self._hit[span.tenant].update(self._ruling[span.tenant].intersection(rules))

    def _conversation(self, span: Span) -> None:
        self._upstream.labels(span.result).observe((span.end_us - span.start_us) / 1_000_000)
        self._count(self._calls, span.tenant, span.tool, span.agent, span.result)
        if span.error:
            self._count(self._errors, span.tenant, span.error)
        to = span.attributes.get(names.TO)
        for receiver in to if isinstance(to, tuple) else ():
            self._count(self._chatter, span.tenant, "message", span.agent, receiver)

    def _answered(self, span: Span) -> None:
        self._waits.labels(span.result).observe((span.end_us - span.start_us) / 1_000_000)

    def _run(self, span: Span) -> None:
        self._running.labels(span.result).observe((span.end_us - span.start_us) / 1_000_000)
        self._count(self._runs, span.tenant, span.tool, span.result)

    def _step(self, span: Span) -> None:
        self._stepping.labels(span.result).observe((span.end_us - span.start_us) / 1_000_000)
        self._count(self._steps, span.tenant, span.tool, span.result)

    def _settled(self, span: Span) -> None:
        self._count(self._calls, span.tenant, span.tool, span.agent, span.result)
        if span.error:
            self._count(self._errors, span.tenant, span.error)

    def _call(self, span: Span) -> None:
        if span.error:
            self._count(self._errors, span.tenant, span.error)

    def _cover(self, tenant: "Tenant") -> None:
        """How many rules of the policy in force have decided something since the process began."""
        deciding = tenant.enforced or tenant.shadow
        rules = frozenset(rule.id for rule in deciding.policy.rules) if deciding else frozenset()
        self._ruling[tenant.name] = rules
        self._hit[tenant.name] &= rules
        self._rules.labels(tenant.name).set(len(rules))
        self._rules_hit.labels(tenant.name).set(len(self._hit[tenant.name]))

    async def _waiting(self, app: "App", tenant: str) -> None:
        found = await counted(app.gate.store, tenant, app.gate.clock.now())
        self._pending.labels(tenant).set(found.approvals)
        self._mailbox.labels(tenant, "ready").set(found.ready)
        self._mailbox.labels(tenant, "leased").set(found.leased)
        self._dead.labels(tenant).set(found.dead)
        for state, many in (await open_runs(app.gate.store, tenant)).items():
            self._open.labels(tenant, state).set(many)

    async def _queues(self, app: "App", tenant: "Tenant") -> None:
        now = app.gate.clock.now()
        for each in await app.tasks.queues.listed(tenant):
            for state, many in (("ready", each.ready), ("working", each.working), ("waiting", each.waiting)):
                self._queued.labels(tenant.name, each.queue, state).set(many)
            self._queue_age.labels(tenant.name, each.queue).set((now - each.oldest).total_seconds() if each.oldest else 0)

    def _count(self, counter: Counter, *labels: str, by: int = 1) -> None:
        """Count under these labels; beyond many series only under the tenant's `other`."""
        seen = self._series[counter._name]  # noqa: SLF001 - the library has no public name of a metric
        if labels not in seen:
            if len(seen) >= MAX_SERIES:
                labels = (labels[0], *(OTHER for _ in labels[1:]))
            seen.add(labels)
        counter.labels(*labels).inc(by)

    def _home(self, measure: names.Measure) -> CollectorRegistry:
        return self.tenants if measure.of == names.TENANTS else self.registry

    def _counter(self, name: str) -> Counter:
        found = names.BY_PROMETHEUS[name.removesuffix("_total")]
        return Counter(found.prometheus, found.tells, found.labels, registry=self._home(found))

    def _gauge(self, name: str) -> Gauge:
        found = names.BY_PROMETHEUS[name]
        return Gauge(found.prometheus, found.tells, found.labels, registry=self._home(found))

    def _histogram(self, name: str, buckets: tuple[float, ...] = _BUCKETS) -> Histogram:
        found = names.BY_PROMETHEUS[name]
        return Histogram(found.prometheus, found.tells, found.labels, registry=self._home(found), buckets=buckets)


_OBSERVED = {
    Work.CALL: Metrics._call,  # noqa: SLF001 - the table of its own methods
    Work.DECISION: Metrics._decision,  # noqa: SLF001
    Work.APPROVAL: Metrics._answered,  # noqa: SLF001
    Work.UPSTREAM: Metrics._conversation,  # noqa: SLF001
    Work.SETTLE: Metrics._settled,  # noqa: SLF001
    Work.RUN: Metrics._run,  # noqa: SLF001
    Work.STEP: Metrics._step,  # noqa: SLF001
}


class _SpanCounts:
    """What the queue of spans and the exporter count by themselves, read when somebody asks."""

    def __init__(self, app: "App") -> None:
        self._app = app

    def collect(self) -> Iterator[Metric]:
        """One family for each of the metrics about telemetry itself."""
        spans, exporter = self._app.gate.spans, self._app.telemetry
        works, why = (names.BY_PROMETHEUS[each] for each in ("aegis_spans", "aegis_spans_dropped"))
        counts = CounterMetricFamily(works.prometheus, works.tells, labels=works.labels)
        for work in Work:
            counts.add_metric((str(work),), spans.counts[work])
        yield counts
        dropped = CounterMetricFamily(why.prometheus, why.tells, labels=why.labels)
        dropped.add_metric(("queue",), spans.dropped)
        dropped.add_metric(("lost",), exporter.lost if exporter else 0)
        yield dropped
        lag = names.BY_PROMETHEUS["aegis_export_lag_seconds"]
        yield GaugeMetricFamily(lag.prometheus, lag.tells, value=exporter.lag_seconds if exporter else 0.0)
