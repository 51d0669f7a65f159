"""Which other issuers a tenant believes, and what their tokens stand for: `TENANT/issuers.yaml`.

An issuer's tokens stand for nothing by themselves. A mapping says which claims make which agent of the directory, or which person
an agent acts for, and how much the token made from it may hold at most. Exactly one mapping must fit a token: none, or two, is
refused, so the order in which they are written never matters and a wide one cannot swallow a narrow one unseen.
"""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from aegis.crypto.ijson import escape
from aegis.identity.directory import AGENT, TENANT, Directory
from aegis.identity.jwks import ALGORITHMS, canonical
from aegis.model.document import Document
from aegis.model.node import Node, nearest

API_VERSION = "aegis.issuers/v1"
MAX_AGE = (60, 86_400)
USUAL_AGE = 900
LOOPBACK = ("127.0.0.1", "::1", "localhost")
Value = str | int | bool
_ISSUER_KEYS = ("issuer", "audience", "algorithms", "types", "jwks", "max_age_seconds", "mappings")
_RULE_KEYS = ("when", "agent", "subject", "scopes", "roles")
_TESTS = ("is", "in", "has")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_SCOPE = re.compile(r"\*|[a-z][a-z0-9_-]*(?:\.[a-z0-9_-]+)*(?:\.\*)?")
_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_PREFIX = re.compile(r"[a-z][a-z0-9-]{0,31}:(?:[A-Za-z0-9._-]+:)*")
_VISIBLE = re.compile(r"[!-~]{1,256}")


class Condition(Struct, frozen=True, kw_only=True):
    """A test of one claim: it equals one of `among` (`is`, `in`), or is a list that holds `among` (`has`). `path` leads to it."""

    path: tuple[str, ...]
    test: Literal["is", "in", "has"]
    among: tuple[Value, ...]


class Mapping(Struct, frozen=True, kw_only=True):
    """What tokens that meet all conditions stand for. No `agent`: a person. `scopes` and `roles`: `None` is all the agent has.

    The subject is what the claim at `subject` says, behind `prefix`; with no such path it is the agent itself.
    """

    when: tuple[Condition, ...]
    agent: str = ""
    subject: tuple[str, ...] = ()
    prefix: str = ""
    scopes: tuple[str, ...] | None = None
    roles: tuple[str, ...] | None = None


class Issuer(Struct, frozen=True, kw_only=True):
    """One other issuer. Its keys come from `jwks_uri` or from `jwks_file`, relative to the tenant's folder."""

    issuer: str
    audience: str
    algorithms: frozenset[str]
    mappings: tuple[Mapping, ...]
    jwks_uri: str = ""
    jwks_file: str = ""
    types: frozenset[str] = frozenset({"jwt"})
    max_age: timedelta = timedelta(seconds=USUAL_AGE)


class Issuers(Struct, frozen=True, kw_only=True):
    """The issuers that a tenant believes, by their names."""

    tenant: str
    by_name: dict[str, Issuer]


def parse_issuers(document: Document) -> Issuers:
    """What a document states.

    Raises:
        DocumentError: With the place, what was found and what was expected.
    """
    keys = ("apiVersion", "kind", "metadata", "spec")
    top = Node(document).fields(keys, keys)
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word(("Issuers",))
    meta = top["metadata"].fields(("tenant", "owner"), ("tenant",))
    by_name: dict[str, Issuer] = {}
    for node in top["spec"].fields(("issuers",), ("issuers",))["issuers"].items(empty=True):
        found = _issuer(node)
        if found.issuer in by_name:
            raise node.fail(f"issuer `{found.issuer}` stands here twice")
        by_name[found.issuer] = found
    return Issuers(tenant=_match(meta["tenant"], TENANT, "a tenant name such as `acme`"), by_name=by_name)


def loose(issuer: Issuer, directory: Directory) -> Iterator[str]:
    """What an issuer's mappings say that the directory does not bear out: such tokens open less than is written, or nothing."""
    for mapping in issuer.mappings:
        entry = directory.agents.get(mapping.agent)
        if mapping.agent and entry is None:
            yield f"`{mapping.agent}` is not an agent of the directory{nearest(mapping.agent, directory.agents)}"
        if entry is not None:
            yield from (f"`{mapping.agent}` has no role `{role}`" for role in mapping.roles or () if role not in entry.roles)


def _issuer(node: Node) -> Issuer:
    parts = node.fields(_ISSUER_KEYS, ("issuer", "audience", "algorithms", "jwks", "mappings"))
    jwks = parts["jwks"].fields(("uri", "file"))
    if len(jwks) != 1:
        raise parts["jwks"].fail("expected exactly one of `uri` and `file`")
    seconds = parts["max_age_seconds"].integer(*MAX_AGE) if "max_age_seconds" in parts else USUAL_AGE
    types = [_match(each, _VISIBLE, "a type such as `JWT`") for each in parts["types"].items()] if "types" in parts else ["JWT"]
    return Issuer(
        issuer=_match(parts["issuer"], _VISIBLE, "the issuer's name as its tokens write it (`iss`)"),
        audience=_match(parts["audience"], _VISIBLE, "the audience that its tokens must name (`aud`)"),
        algorithms=frozenset(canonical(each.word(ALGORITHMS)) for each in parts["algorithms"].items()),
        types=frozenset(each.lower() for each in types),
        jwks_uri=_uri(jwks["uri"]) if "uri" in jwks else "",
        jwks_file=_match(jwks["file"], _FILE, "a file in this folder such as `login.jwks.json`") if "file" in jwks else "",
        max_age=timedelta(seconds=seconds),
        mappings=tuple(_mapping(each) for each in parts["mappings"].items()),
    )


def _mapping(node: Node) -> Mapping:
    parts = node.fields(_RULE_KEYS, ("when",))
    when = parts["when"].members()
    if not when:
        raise parts["when"].fail("expected at least one claim: every token of the issuer would fit")
    if "agent" not in parts:
        _person(node, parts)
    subject = parts["subject"].fields(("claim", "prefix"), ("claim", "prefix")) if "subject" in parts else {}
    return Mapping(
        when=tuple(_condition(name, each) for name, each in when.items()),
        agent=_match(parts["agent"], AGENT, "an agent id such as `agent:buyer`") if "agent" in parts else "",
        subject=_path(subject["claim"], subject["claim"].text()) if subject else (),
        prefix=_match(subject["prefix"], _PREFIX, "a prefix such as `user:`") if subject else "",
        scopes=_all(parts["scopes"], _SCOPE, "a tool, `prefix.*` or `*`") if "scopes" in parts else None,
        roles=_all(parts["roles"], _ROLE, "a role such as `treasury`") if "roles" in parts else None,
    )


def _person(node: Node, parts: dict[str, Node]) -> None:
    if "subject" not in parts:
        raise node.fail("expected `agent`, or `subject` for a token of a person")


def _condition(name: str, node: Node) -> Condition:
    tests = node.fields(_TESTS)
    if len(tests) != 1:
        raise node.fail("expected exactly one of `is`, `in` and `has`")
    ((test, value),) = tests.items()
    among = tuple(_value(each) for each in value.items()) if test == "in" else (_value(value),)
    return Condition(path=_path(node, name), test=test, among=among)  # type: ignore[arg-type]  # one of `_TESTS`


def _value(node: Node) -> Value:
    if type(node.value) not in (str, int, bool):
        raise node.fail("expected a text, an integer, true or false")
    value: Value = node.value
    return value


def _path(node: Node, name: str) -> tuple[str, ...]:
    """A claim by its name, or by a JSON Pointer when it lies within another one."""
    if not name.startswith("/"):
        return (name,)
    parts = tuple(part.replace("~1", "/").replace("~0", "~") for part in name[1:].split("/"))
    if "".join(f"/{escape(part)}" for part in parts) != name or not all(parts):
        raise node.fail("expected a claim, or a JSON Pointer such as `/realm_access/roles`")
    return parts


def _uri(node: Node) -> str:
    text = _match(node, _VISIBLE, "a URL")
    try:
        found = urlsplit(text)
        host, _ = found.hostname, found.port
    except ValueError:
        raise node.fail("expected a URL") from None
    if not host or found.username is not None or found.fragment or found.scheme not in ("https", "http"):
        raise node.fail("expected a URL such as https://login.example/keys, without a user or a fragment")
    if found.scheme == "http" and host not in LOOPBACK:
        raise node.fail("expected https: who can change the keys on their way is believed; http is for this host alone")
    return text


def _all(node: Node, pattern: re.Pattern[str], expected: str) -> tuple[str, ...]:
    return tuple(_match(each, pattern, expected) for each in node.items(empty=True))


def _match(node: Node, pattern: re.Pattern[str], expected: str) -> str:
    text = node.text()
    if not pattern.fullmatch(text):
        raise node.fail(f"expected {expected}")
    return text


def claim(claims: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path of objects; `None` where there is nothing."""
    for part in path:
        if not isinstance(claims, dict):
            return None
        claims = claims.get(part)
    return claims
