"""From the authority that a parent holds and what is asked for to the authority of the child: always the same or less.

What is asked for and not held is refused and never cut down quietly, so that nobody works with less than they think. What is left
open is taken over from the parent. The result is built from the parent's own parts, so it cannot be wider by mistake; `within` says
so again of the result, and a test holds the two against each other.
"""

from msgspec.structs import replace

from aegis.errors import IdentityError
from aegis.model.authority import Authority, Grant, Limit, scope_within

WIDER = "scope_widening"


def narrow(held: Authority, want: Authority) -> Authority:
    """The authority of a child that asks its parent, who holds `held`, for `want`.

    Raises:
        IdentityError: `scope_widening`, with the place.
    """
    made = _tools(held, want)
    budget = _budget(held.budget_micros, want.budget_micros)
    narrowed = replace(made, budget_micros=budget)
    assert within(narrowed, held), "what is built from the parent's parts is never wider"
    return narrowed


def within(child: Authority, parent: Authority) -> bool:
    """Whether `child` opens nothing that `parent` does not open."""
    if parent.budget_micros is not None and (child.budget_micros is None or child.budget_micros > parent.budget_micros):
        return False
    if not all(scope_within(scope, parent.scopes) for scope in child.scopes):
        return False
    if parent.grants is None:
        return True
    if child.grants is None:
        return not child.scopes
    return all(any(each.within(other) for other in parent.grants) for each in child.grants)


def _tools(held: Authority, want: Authority) -> Authority:
    if want.grants is None:
        for scope in want.scopes:
            _expect(scope_within(scope, held.scopes), f"scope `{scope}` is not held")
        scopes = want.scopes or held.scopes
        kept = None if held.grants is None else tuple(each for each in held.grants if scope_within(each.tool, scopes))
        return Authority(scopes=scopes, grants=kept)
    _expect(not want.scopes, "ask for scopes or for tools, not for both")
    grants = tuple(_grant(held, each) for each in want.grants)
    return Authority(scopes=tuple(dict.fromkeys(each.tool for each in grants)), grants=grants)


def _grant(held: Authority, want: Grant) -> Grant:
    _expect(scope_within(want.tool, held.scopes), f"tool `{want.tool}` is not held")
    if held.grants is None:
        return want
    parent = held.grant(want.tool)
    if parent is None:
        raise IdentityError(WIDER, f"tool `{want.tool}` is not held")
    _expect(
        want.digest in ("", parent.digest) or not parent.digest, f"tool `{want.tool}`: another digest than the one that is held"
    )
    _expect(
        want.calls is None or parent.calls is None or want.calls <= parent.calls, f"tool `{want.tool}`: more calls than are held"
    )
    return Grant(
        tool=want.tool,
        digest=want.digest or parent.digest,
        limits=_limits(want, parent),
        calls=parent.calls if want.calls is None else want.calls,
    )


def _limits(want: Grant, parent: Grant) -> tuple[tuple[str, Limit], ...]:
    found = dict(want.limits)
    for path, limit in parent.limits:
        joined = found.get(path, limit).joined(limit)
        _expect(joined.within(limit), f"tool `{want.tool}`: the limit on `{path}` is wider than the one that is held")
        found[path] = joined
    return tuple(sorted(found.items()))


def _budget(held: int | None, want: int | None) -> int | None:
    _expect(held is None or want is None or want <= held, "the budget is larger than the one that is held")
    return held if want is None else want


def _expect(holds: bool, detail: str) -> None:
    if not holds:
        raise IdentityError(WIDER, detail)
