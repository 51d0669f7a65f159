"""The SQL of the index of searches in PostgreSQL, and of the events that it points at."""

from collections.abc import Iterable, Sequence
from typing import Any

from aegis.adapters.columns import EVENT
from aegis.adapters.postgres.statements import arrays
from aegis.journal.postings import Posting
from aegis.journal.store import PostingKey
from aegis.journal.terms import Term

AT_ONCE = 256
"""So many postings are one transaction: units that wait are committed between one and the next."""

LOOKED_AT = 2000

PUT = """INSERT INTO posting (tenant, field, value, block, places)
  SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[], %b::bytea[])
  ON CONFLICT (tenant, field, value, block) DO UPDATE SET places = excluded.places"""
# LATERAL with its own order: one range of the index for each term, whatever the statistics say.
_HELD = """SELECT p.block, k.field, k.value, p.places FROM unnest(%(fields)s::text[], %(values)s::text[]) k (field, value)
  CROSS JOIN LATERAL (SELECT block, places FROM posting WHERE tenant = %(tenant)s AND field = k.field AND value = k.value
    AND block >= %(low)s AND block < %(high)s ORDER BY block OFFSET 0) p"""
_AT = f"SELECT {EVENT} FROM event e WHERE e.tenant = %s AND e.seq = ANY(%s::bigint[])"  # noqa: S608 - built of constants
# The last of the next few is told, and those of them that lie below the block go, in one statement.
DROP = """WITH looked AS (SELECT field, value, block FROM posting
    WHERE tenant = %(tenant)s AND (field, value, block) > (%(field)s, %(value)s, %(block)s)
    ORDER BY field, value, block LIMIT %(most)s),
  gone AS (DELETE FROM posting p USING looked k WHERE p.tenant = %(tenant)s AND p.field = k.field AND p.value = k.value
    AND p.block = k.block AND k.block < %(below)s)
  SELECT field, value, block FROM looked ORDER BY field DESC, value DESC, block DESC LIMIT 1"""

Asked = tuple[str, Sequence[Any] | dict[str, Any]]


def at(tenant: str, places: Sequence[int]) -> Asked:
    """Ask for the events at these places."""
    return _AT, [tenant, list(places)]


def held(tenant: str, terms: Sequence[Term], blocks: range) -> Asked:
    """Ask for what is held of these terms in these blocks."""
    fields, values = arrays(list(terms))
    return _HELD, {"tenant": tenant, "fields": fields, "values": values, "low": blocks.start, "high": blocks.stop}


def by_block(found: Iterable[Sequence[Any]]) -> dict[int, dict[Term, bytes]]:
    """The postings that were found."""
    held: dict[int, dict[Term, bytes]] = {}
    for block, field, value, places in found:
        held.setdefault(block, {})[field, value] = places
    return held


def rows(tenant: str, found: Sequence[Posting]) -> list[list[Any]]:
    """The columns of postings, an array each."""
    return arrays([(tenant, each.field, each.value, each.block, each.places) for each in found])


def dropping(tenant: str, below: int, after: PostingKey) -> dict[str, Any]:
    """What `DROP` is about."""
    field, value, block = after
    return {"tenant": tenant, "below": below, "field": field, "value": value, "block": block, "most": LOOKED_AT}
