"""The lanes of the engine: one for everything that has no limits, and one for each limited queue.

A lane counts for each tenant by itself, so tenants that state the same limits for a queue of the same name share one. Who states
others has a lane of its own.
"""

from collections.abc import Iterable, Mapping

from aegis.model.queue import queues
from aegis.runtime.engine import Lane
from aegis.runtime.tenant import Tenant

OPEN = "open"


def lanes(tenants: Iterable[Tenant]) -> tuple[tuple[Lane, ...], Mapping[tuple[str, str], str]]:
    """The lanes that these tenants need, and the lane of each of their limited queues, by (tenant, queue)."""
    found: dict[str, Lane] = {OPEN: Lane(name=OPEN)}
    of: dict[tuple[str, str], str] = {}
    for tenant in sorted(tenants, key=lambda each: each.name):
        for name, queue in queues(tenant.contracts).items():
            if not queue.limited:
                continue
            shared = Lane(
                name=f"queue.{name}", concurrency=queue.concurrency, rate=queue.rate, period_seconds=float(queue.period_seconds)
            )
            lane = shared.name if found.setdefault(shared.name, shared) == shared else f"{shared.name}.{tenant.name}"
            found[lane] = Lane(name=lane, concurrency=shared.concurrency, rate=shared.rate, period_seconds=shared.period_seconds)
            of[tenant.name, name] = lane
    return tuple(found.values()), of
