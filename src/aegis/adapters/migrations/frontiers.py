"""Takes journals that were written before there was a Merkle log into their trees."""

import sqlalchemy as sa
from sqlalchemy import Connection

from aegis.crypto.merkle import Frontier, leaf_hash

_BATCH = 4_096
_EVENTS = sa.text("SELECT seq, body FROM event WHERE tenant = :tenant AND seq >= :seq ORDER BY seq LIMIT :most")
_PUT = sa.text("UPDATE head SET frontier = :frontier WHERE tenant = :tenant")


def frontiers(connection: Connection) -> None:
    """Write the frontier of every tenant's journal as it stands."""
    for (tenant,) in connection.execute(sa.text("SELECT tenant FROM head ORDER BY tenant")).fetchall():
        frontier = Frontier()
        while rows := connection.execute(_EVENTS, {"tenant": tenant, "seq": frontier.size, "most": _BATCH}).fetchall():
            frontier = frontier.extend(leaf_hash(bytes(body)) for _, body in rows)
            if len(rows) < _BATCH:
                break
        connection.execute(_PUT, {"tenant": tenant, "frontier": frontier.hashes})
