"""The exporter of the settings: where events are sent while a gateway, or `aegis audit push`, runs."""

from collections.abc import Iterable

from aegis.adapters.push import HttpReceiver
from aegis.errors import ConfigError
from aegis.journal.store import Store
from aegis.model.event import SYSTEM_TENANT
from aegis.model.node import nearest
from aegis.runtime.clock import Clock
from aegis.runtime.exporting import Exporter, Standing
from aegis.settings import Settings


class Exports:
    """An exporter and its receiver."""

    def __init__(self, settings: Settings, store: Store, clock: Clock, instance: str, known: Iterable[str]) -> None:
        """Raises ConfigError when nothing says where to, or something of it cannot be used."""
        wanted = settings.export
        if not wanted.url:
            raise ConfigError('nothing says where events are sent: set `url = "https://..."` in section `[export]` of aegis.toml')
        names = {*known, SYSTEM_TENANT}
        for name in wanted.named:
            if name not in names:
                raise ConfigError(
                    f"export.tenants: no tenant `{name}`; there are: {', '.join(sorted(names))}{nearest(name, names)}"
                )
        token_file = settings.root / wanted.token_file if wanted.token_file else None
        self.receiver = HttpReceiver(wanted.url, token_file, clock.now)
        self.exporter = Exporter(
            store, clock, self.receiver, instance=instance, form=wanted.format, most=wanted.batch, wanted=wanted.named
        )

    def standing(self) -> tuple[Standing, ...]:
        """How each tenant stands, when this process exports; empty otherwise."""
        return self.exporter.standing()

    async def close(self) -> None:
        """Let go of all connections."""
        await self.receiver.close()
