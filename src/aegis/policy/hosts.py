"""Host names in their one canonical spelling, and lists of them.

A host is a name (lower-case ASCII labels of letters, digits and hyphens), a dotted-quad IPv4 address, or an IPv6 address in its
RFC 5952 form without brackets. Whatever two readers could take for different hosts has no canonical form and is refused.
"""

import ipaddress
import string
import unicodedata
from collections.abc import Callable, Iterable

MAX_NAME = 253
MAX_LABEL = 63
_LABEL = frozenset(string.ascii_lowercase + string.digits + "-")
_HEX = frozenset(string.hexdigits)


class Ambiguous(ValueError):  # noqa: N818 - it never leaves this package: the reader of an argument turns it into a violation
    """The text has no single meaning. The message says why, never what stood there."""


def canonical_name(text: str) -> str:
    """A host name in lower case."""
    name = text.lower() if text.isascii() else ""
    if not name or len(name) > MAX_NAME:
        raise Ambiguous(f"the host must be 1 to {MAX_NAME} ASCII characters")
    if name.endswith("."):
        raise Ambiguous("the host ends in a dot")
    labels = name.split(".")
    for label in labels:
        _check_label(label)
    if _numeric(labels[-1]):
        raise Ambiguous("the last label is a number but the host is not a dotted-quad address")
    return name


def canonical_host(text: str) -> tuple[str, str]:
    """(host, kind) where kind is `name`, `ipv4` or `ipv6`; IPv6 arrives in brackets."""
    if text.startswith("["):
        return _ipv6(text), "ipv6"
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        return canonical_name(text), "name"
    return str(address), "ipv4"


def entry_complaint(entry: str) -> str:
    """What is wrong with an entry of a list of hosts; empty when it is canonical."""
    wild = entry.startswith("*.")
    rest = entry[2:] if wild else entry
    try:
        host = canonical_name(rest) if wild else canonical_host(f"[{rest}]" if ":" in rest else rest)[0]
    except Ambiguous as error:
        return str(error)
    return "" if host == rest else "hosts are written in lower case"


def member_of(entries: Iterable[str]) -> Callable[[str], bool]:
    """A function that says whether a canonical host is listed: equal to an entry, or below a `*.` entry (never its apex)."""
    listed = list(entries)
    exact = frozenset(entry for entry in listed if not entry.startswith("*."))
    below = tuple(entry[1:] for entry in listed if entry.startswith("*."))
    return lambda host: host in exact or (host.endswith(below) and not host.startswith(".") if below else False)


def _ipv6(text: str) -> str:
    if not text.endswith("]") or "%" in text or "." in text:
        raise Ambiguous("the address in brackets is not a plain IPv6 address")
    try:
        address = ipaddress.IPv6Address(text[1:-1])
    except ValueError:
        raise Ambiguous("the address in brackets is not a plain IPv6 address") from None
    if address.ipv4_mapped is not None or address.sixtofour is not None or address.teredo is not None:
        raise Ambiguous("the IPv6 address stands for an IPv4 address")
    return str(address)


def _check_label(label: str) -> None:
    if not 1 <= len(label) <= MAX_LABEL or not _LABEL.issuperset(label) or label[0] == "-" or label[-1] == "-":
        raise Ambiguous("a label of the host is not 1 to 63 letters, digits and inner hyphens")
    if label.startswith("xn--"):
        _check_punycode(label)
    elif label[2:4] == "--":
        raise Ambiguous("a label of the host has hyphens where an encoding is announced")


def _check_punycode(label: str) -> None:
    """An encoded label must stand for text that needs encoding, else readers that decode it see another host."""
    try:
        decoded = label[4:].encode("ascii").decode("punycode")
        again = decoded.encode("punycode").decode("ascii")
    except (UnicodeError, ValueError, OverflowError):
        raise Ambiguous("an encoded label of the host cannot be decoded") from None
    plain = all(char == "-" or unicodedata.category(char)[0] in "LMN" for char in decoded)
    if again != label[4:] or not plain or decoded != unicodedata.normalize("NFC", decoded.lower()):
        raise Ambiguous("an encoded label of the host is not in its canonical form")


def _numeric(label: str) -> bool:
    """Whether a URL parser would take the host for an IPv4 address (WHATWG URL, "ends in a number")."""
    return label.isdigit() or (label.startswith("0x") and _HEX.issuperset(label[2:]))
