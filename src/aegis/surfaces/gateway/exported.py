"""How far the export of events is behind, read off the exporter of this process when somebody asks."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily

from aegis.model import conventions as names
from aegis.runtime.exporting import Standing

if TYPE_CHECKING:
    from aegis.app import App


class Exported:
    """A collector for one of the two registries: with tenants by name, or all of them together. Nothing while others export."""

    def __init__(self, app: "App", *, by_tenant: bool) -> None:
        self._app = app
        self._by_tenant = by_tenant

    def collect(self) -> Iterator[Metric]:
        """The lag, and what a person must look at."""
        standing = self._app.exports.standing() if self._app.exports else ()
        if self._by_tenant:
            yield _gauge("aegis_audit_export_lag_events", {each.tenant: each.lag for each in standing})
            yield _gauge("aegis_audit_export_halted", {each.tenant: bool(each.halted) for each in standing})
        else:
            yield from _together(standing)


def _together(standing: tuple[Standing, ...]) -> Iterator[Metric]:
    lag, halted = sum(each.lag for each in standing), sum(bool(each.halted) for each in standing)
    for name, value in (("aegis_audit_exports_lag_events", lag), ("aegis_audit_exports_halted", halted)):
        found = names.BY_PROMETHEUS[name]
        yield GaugeMetricFamily(found.prometheus, found.tells, value=value)


def _gauge(name: str, values: dict[str, int] | dict[str, bool]) -> GaugeMetricFamily:
    found = names.BY_PROMETHEUS[name]
    family = GaugeMetricFamily(found.prometheus, found.tells, labels=found.labels)
    for tenant, value in values.items():
        family.add_metric((tenant,), value)
    return family
