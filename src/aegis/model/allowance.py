"""How much of a counted authority is used up: calls by tool, and money.

A token that allows so many calls, or so much to be spent, is counted under its id, and so is every token above it: a use is a use
of all of them. Children therefore share what their parent has, whatever they were told that they may have, and nothing needs to be
reserved or given back when a task is handed down.
"""

from msgspec import Struct
from msgspec.structs import replace

from aegis.model.authority import Authority


class Allowance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one token may use at most (`most` by tool, `budget_micros`), and what has been used of it."""

    most: dict[str, int] = {}
    used: dict[str, int] = {}
    budget_micros: int | None = None
    spent_micros: int = 0

    def after(self, tool: str, cost_micros: int) -> "Allowance":
        """One more call of `tool`."""
        used = {**self.used, tool: self.used.get(tool, 0) + 1} if tool in self.most else self.used
        return replace(self, used=used, spent_micros=self.spent_micros + cost_micros)


class Left(Struct, frozen=True, kw_only=True):
    """What one token leaves for a call: `None` where it does not count."""

    token_id: str
    calls: int | None = None
    budget_micros: int | None = None


def allowance(authority: Authority) -> Allowance:
    """The unused allowance of a counted authority."""
    most = {grant.tool: grant.calls for grant in authority.grants or () if grant.calls is not None}
    return Allowance(most=most, budget_micros=authority.budget_micros)


def left(token_id: str, found: Allowance, tool: str) -> Left:
    """What is left for a call of `tool`."""
    return Left(
        token_id=token_id,
        calls=found.most[tool] - found.used.get(tool, 0) if tool in found.most else None,
        budget_micros=None if found.budget_micros is None else found.budget_micros - found.spent_micros,
    )
