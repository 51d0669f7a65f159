"""Prometheus metrics of one gateway process."""

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from aegis.app import App

_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Counters in a registry of their own, so that two gateways in one process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "aegis_http_requests_total", "HTTP requests by path pattern and status.", ["path", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "aegis_http_request_seconds", "Time from headers to answer.", ["path"], registry=self.registry, buckets=_BUCKETS
        )
        self.decisions = Counter(
            "aegis_decisions_total",
            "Decisions by tenant, tool and outcome.",
            ["tenant", "tool", "outcome"],
            registry=self.registry,
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
            registry=self.registry,
        )
        self._refused = Gauge(
            "aegis_policy_refused", "Policies that this process refuses to serve.", ["tenant"], registry=self.registry
        )
        self._clock = Gauge("aegis_clock_behind_seconds", "How far the clock stands behind the journal.", registry=self.registry)

    async def render(self, app: "App") -> bytes:
        """All metrics in the text format of Prometheus."""
        self._in_flight.set(app.gate.in_flight)
        self._clock.set(app.gate.clock.behind.total_seconds())
        for status in app.rollout.status():
            self._policy.labels(status.tenant, "enforced").set(status.enforced)
            self._policy.labels(status.tenant, "shadow").set(status.shadow)
            self._refused.labels(status.tenant).set(len(status.refused))
        for name, value in (await app.gate.store.stats()).items():
            if isinstance(value, int | float):
                self._store.labels(name).set(value)
        return generate_latest(self.registry)
