"""Prometheus metrics of one gateway process, in two parts.

What anybody who reaches the port may see is about the process and names no tenant, no tool and no agent. What names them stands in
a registry of its own and is for the operator alone: a tenant must not learn who else is there, what they use and how much.
"""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from aegis.app import App

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters in registries of their own, so that two gateways in one process do not meet; `tenants` holds what names a tenant."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tenants = CollectorRegistry()
        self.requests = Counter(
            "aegis_http_requests_total", "HTTP requests by path pattern and status.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "aegis_http_request_seconds", "Time from headers to answer.", ["path"], registry=self.registry, buckets=_BUCKETS
        )
        self._outcomes = Counter("aegis_outcomes_total", "Decisions by outcome.", ["outcome"], registry=self.registry)
        self._decisions = Counter(
            "aegis_decisions_total",
            "Decisions by tenant, tool and outcome.",
            ["tenant", "tool", "outcome"],
            registry=self.tenants,
        )
        self.refused = Counter(
            "aegis_unauthenticated_total",
            "Requests refused before anybody was known, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self._in_flight = Gauge("aegis_calls_in_flight", "Calls under way in this process.", registry=self.registry)
        self._store = Gauge("aegis_store", "Numbers of the store in this process.", ["name"], registry=self.registry)
        self._policy = Gauge(
            "aegis_policy_version",
            "Version of the policy by tenant and role; 0 is the files.",
            ["tenant", "role"],
            registry=self.tenants,
        )
        self._refused = Gauge(
            "aegis_policy_refused", "Policies that this process refuses to serve.", ["tenant"], registry=self.tenants
        )
        self._all_refused = Gauge(
            "aegis_policies_refused", "Policies that this process refuses to serve, of all tenants.", registry=self.registry
        )
        self._export_lag = Gauge(
            "aegis_export_lag_events", "Events recorded and not acknowledged by the receiver.", ["tenant"], registry=self.tenants
        )
        self._export_halted = Gauge(
            "aegis_export_halted", "1: the receiver refuses an event of the tenant.", ["tenant"], registry=self.tenants
        )
        self._export_lag_all = Gauge(
            "aegis_export_lag_events_all", "Events not acknowledged by the receiver, of all tenants.", registry=self.registry
        )
        self._exports_halted = Gauge(
            "aegis_exports_halted", "Tenants of which the receiver refuses an event.", registry=self.registry
        )
        self._clock = Gauge("aegis_clock_behind_seconds", "How far the clock stands behind the journal.", registry=self.registry)

    def decided(self, tenant: str, tool: str, outcome: str) -> None:
        """Count a decision, or an ending without one."""
        self._outcomes.labels(outcome).inc()
        self._decisions.labels(tenant, tool, outcome).inc()

    async def render(self, app: "App", *, operator: bool) -> bytes:
        """The metrics in the text format of Prometheus; the tenants' own are for the operator."""
        self._in_flight.set(app.gate.in_flight)
        self._clock.set(app.gate.clock.behind.total_seconds())
        standing = app.rollout.status()
        self._all_refused.set(sum(len(status.refused) for status in standing))
        for status in standing:
            self._policy.labels(status.tenant, "enforced").set(status.enforced)
            self._policy.labels(status.tenant, "shadow").set(status.shadow)
            self._refused.labels(status.tenant).set(len(status.refused))
        self._exports(app)
        for name, value in (await app.gate.store.stats()).items():
            if isinstance(value, int | float):
                self._store.labels(name).set(value)
        return generate_latest(self.registry) + (generate_latest(self.tenants) if operator else b"")

    def _exports(self, app: "App") -> None:
        """How far the export is behind, when this process is the one that exports."""
        standing = app.exports.standing() if app.exports else ()
        self._export_lag_all.set(sum(each.lag for each in standing))
        self._exports_halted.set(sum(bool(each.halted) for each in standing))
        for gauge in (self._export_lag, self._export_halted):
            gauge.clear()
        for each in standing:
            self._export_lag.labels(each.tenant).set(each.lag)
            self._export_halted.labels(each.tenant).set(bool(each.halted))
