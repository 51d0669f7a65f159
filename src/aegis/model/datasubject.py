"""Whose data a call holds, and under which name the keys of that person are kept.

The data subject is the person for whom the agent acts, unless the tool's contract names an argument (`data_subject`) that holds
another: the customer whose record is read, say. Sealed payloads of a call lie under a data key of its data subject, so destroying
that key erases them.

The name of the key is a keyed hash of the subject: a customer number stands nowhere in the open, and without the tenant's `hash`
key nobody can find out by guessing whose key it is. Equal identifiers are the same subject, wherever they came from.
"""

from collections.abc import Mapping
from typing import Any

from aegis.crypto.digest import keyed
from aegis.model.contract import Contract
from aegis.model.principal import Principal

PREFIX = "subject:"
_DOMAIN = b"aegis-data-subject-v1\0"


def subject_of(principal: Principal, contract: Contract | None, arguments: Mapping[str, Any]) -> str:
    """The data subject of a call, as the contract or the token names it."""
    named = arguments.get(contract.data_subject) if contract is not None and contract.data_subject else None
    # A bool is an int, and nobody's number; what does not fit the contract is decided on before anything is sealed.
    known = isinstance(named, str) or type(named) is int
    return str(named) if known else principal.subject


def key_name(hash_key: bytes, subject: str) -> str:
    """The name under which data keys of `subject` are kept; the keys of nobody are those of the whole tenant (`""`).

    `hash_key` is the tenant's key of that class; it is never rotated, so the name stays.
    """
    return PREFIX + keyed(hash_key, _DOMAIN + subject.encode("utf-8", "surrogatepass")).removeprefix("hmac:") if subject else ""
