"""After a new key-encryption key: wrap every data key of a tenant anew, and say so in the tenant's journal."""

from aegis.errors import ConfigError
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Unit
from aegis.model.event import Event
from aegis.runtime import ids
from aegis.runtime.clock import Clock
from aegis.runtime.vault import Vault


async def rewrap(store: Store, vault: Vault, clock: Clock, tenant: str, *, by: str, statement: str) -> int:
    """How many data keys were wrapped anew; nothing is sealed or opened by it, and it may run while gateways serve.

    Raises:
        SealError: A data key does not open with any KEK here: its file has to be brought back first.
    """
    changed = await vault.rewrap(tenant)
    now = clock.now()
    data = {"data_keys": changed, "kek": await vault.kek_id(tenant), "by": by, "statement": statement}
    event = Event(id=f"rewrapped:{ids.uuid7(now)}", type="data_keys_rewrapped", tenant=tenant, time=now, data=data)
    if not isinstance(await store.commit(Unit(tenant=tenant, events=(event,))), Committed):
        raise ConfigError("the change could not be recorded: run it again")
    return changed
