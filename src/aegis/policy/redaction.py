"""Change arguments or a result as a decision obliges. Pure, idempotent, and the input is never touched.

    drop      the member is removed; an element of an array becomes null, so that the others keep their places
    mask      `****`
    hash      `hash:` and 64 hexadecimal digits: equal values under one key are equal, nothing else can be read from them
    tokenise  `tok_` and 48 hexadecimal digits: a shorter stand-in of the same kind, for fields that hold an identifier
    last4     `****` and the last four characters, of a string or integer with at least eight; anything else is masked
    regex     every character of every match becomes `*`, in strings, in numbers, and in every string below a container

Hash and token carry a proof that this key made them, so that a second pass leaves them alone and nobody else can write a value that
would be left alone. What is absent or null stays as it is. Where several obligations meet, the strongest wins; what lies inside
something that was replaced is gone with it. Member names are not redacted.

A result that is not JSON cannot be redacted: when `needs_parse` says so, the caller withholds it.
"""

import hmac
from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Any

from aegis.crypto.canonical import canon_numbers
from aegis.errors import CanonicalError
from aegis.model.decision import Redaction, Stage
from aegis.policy.patterns import cover
from aegis.policy.pointer import EVERY, tokens

MASK = "****"
REGEX = "regex:"
STRENGTH = {"drop": 5, "mask": 4, "hash": 3, "tokenise": 2, "last4": 1}
LAST4_LEAST = 8
MAX_PASSES = 8
_GONE = object()
_PROOF = 16
_STAND_INS = {"hash": ("hash:", 48), "tokenise": ("tok_", 32)}

# An obligation on the way down: the tokens still to go, the form, and the path as the rule wrote it.
_Active = tuple[tuple[str, ...], str, str]


def redact(value: Any, redactions: Iterable[Redaction], stage: Stage, key: bytes) -> tuple[Any, tuple[str, ...]]:
    """(`value` after all obligations of `stage`, the paths of the obligations that changed something, sorted).

    `value` is what stands at `/args` or `/result`. Paths are returned as the rules write them, so that they hold no data. `key` is
    the tenant's secret for hashes and tokens.
    """
    active = [(tokens(each.path)[1:], each.form, each.path) for each in redactions if each.stage is stage]
    if not active:
        return value, ()
    changed: set[str] = set()
    edited = _edit(value, active, (), key, changed)
    return None if edited is _GONE else edited, tuple(sorted(changed))


def needs_parse(redactions: Iterable[Redaction]) -> bool:
    """Whether the result must be JSON, because something in it may have to go: if it is not, withhold it."""
    return any(each.stage is Stage.RESPONSE for each in redactions)


def join_redactions(redactions: Iterable[Redaction]) -> tuple[Redaction, ...]:
    """The strongest obligation for each path, sorted; different patterns on one path all stay."""
    strongest: dict[tuple[Stage, str], int] = {}
    found = set(redactions)
    for each in found:
        place = each.stage, each.path
        strongest[place] = max(strongest.get(place, 0), strength(each.form))
    return tuple(sorted(each for each in found if strength(each.form) == strongest[each.stage, each.path]))


def strength(form: str) -> int:
    """Order of the forms: drop > mask > hash > tokenise > last4 > regex. What is unknown counts as mask."""
    return 0 if form.startswith(REGEX) else STRENGTH.get(form, STRENGTH["mask"])


def _edit(value: Any, active: Sequence[_Active], patterns: tuple[tuple[str, str], ...], key: bytes, changed: set[str]) -> Any:
    """`value` with everything that `active` names below it changed; `patterns` apply to every string from here on."""
    if value is None:
        return None
    ending = [(form, path) for rest, form, path in active if not rest]
    forms = [(form, path) for form, path in ending if not form.startswith(REGEX)]
    if forms:
        form, path = max(forms, key=lambda each: (strength(each[0]), each[1]))
        return _noted(_replaced(value, form, key), value, path, changed)
    patterns = (*patterns, *((form.removeprefix(REGEX), path) for form, path in ending))
    if isinstance(value, dict):
        return _edit_object(value, active, patterns, key, changed)
    if isinstance(value, list):
        return _edit_array(value, active, patterns, key, changed)
    return _covered(value, patterns, changed) if patterns else value


def _edit_object(
    value: dict[str, Any], active: Sequence[_Active], patterns: tuple[tuple[str, str], ...], key: bytes, changed: set[str]
) -> Any:
    edited: dict[str, Any] | None = None
    for name, member in value.items():
        below = _below(active, name)
        if not below and not patterns:
            continue
        new = _edit(member, below, patterns, key, changed)
        if new is member:
            continue
        edited = dict(value) if edited is None else edited
        if new is _GONE:
            del edited[name]
        else:
            edited[name] = new
    return value if edited is None else edited


def _edit_array(
    value: list[Any], active: Sequence[_Active], patterns: tuple[tuple[str, str], ...], key: bytes, changed: set[str]
) -> Any:
    edited: list[Any] | None = None
    for index, item in enumerate(value):
        below = _below(active, str(index))
        if not below and not patterns:
            continue
        new = _edit(item, below, patterns, key, changed)
        if new is item:
            continue
        edited = list(value) if edited is None else edited
        edited[index] = None if new is _GONE else new
    return value if edited is None else edited


def _below(active: Sequence[_Active], name: str) -> list[_Active]:
    return [(rest[1:], form, path) for rest, form, path in active if rest and rest[0] in (name, EVERY)]


def _noted(new: Any, old: Any, path: str, changed: set[str]) -> Any:
    if type(new) is type(old) and new == old:
        return old
    changed.add(path)
    return new


def _replaced(value: Any, form: str, key: bytes) -> Any:
    if form == "drop":
        return _GONE
    if form in _STAND_INS:
        return _stand_in(value, form, key)
    if form == "last4" and type(value) in (str, int):
        text = str(value)
        return MASK + text[-4:] if len(text) >= LAST4_LEAST else MASK
    return MASK  # also for a form that this version does not know: show nothing


def _stand_in(value: Any, form: str, key: bytes) -> str:
    """A keyed name for `value`; one that this key made already stays as it is."""
    prefix, size = _STAND_INS[form]
    if isinstance(value, str) and len(value) == len(prefix) + size + _PROOF and value.startswith(prefix):
        name, proof = value[len(prefix) : -_PROOF], value[-_PROOF:]
        if name.isascii() and proof.isascii() and hmac.compare_digest(_keyed(key, form, b"proof", name.encode())[:_PROOF], proof):
            return value
    try:
        name = _keyed(key, form, b"name", canon_numbers(value))[:size]
    except CanonicalError:
        return MASK  # two readers could see two values: no name would be true
    return prefix + name + _keyed(key, form, b"proof", name.encode())[:_PROOF]


def _keyed(key: bytes, form: str, purpose: bytes, message: bytes) -> str:
    domain = b"aegis-redact-v1\0" + form.encode() + b"\0" + purpose + b"\0"
    return hmac.new(key, domain + message, sha256).hexdigest()


def _covered(value: Any, patterns: tuple[tuple[str, str], ...], changed: set[str]) -> Any:
    """The text of a string or number with every match of every pattern covered, until none of them finds anything new."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return value
    text = value if isinstance(value, str) else str(value)
    for _ in range(MAX_PASSES):
        before = text
        # Each pattern reads the same text, so that one which covers part of another's match does not hide the rest of it.
        for pattern, path in patterns:
            covered = cover(pattern, before, "*")
            if covered != before:
                changed.add(path)
                text = "".join("*" if mark == "*" else char for char, mark in zip(text, covered, strict=True))
        if text == before:
            return value if text == str(value) else text
    changed.update(path for _, path in patterns)
    return "*" * len(text)  # a pattern that matches its own marks: show nothing
