"""What `aegis tools` and `aegis artifacts` share: to sign a thing, and to tell how things stand."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aegis.errors import ConfigError
from aegis.surfaces.cli import context

if TYPE_CHECKING:
    from aegis.app import App
    from aegis.crypto.jwk import PrivateKey
    from aegis.identity.statement import Thing, Vouched
    from aegis.model.provenance import Objection
    from aegis.runtime.pins import Pin

MAX_LINES = 400


def signed(ctx: click.Context, path: Path, thing: "Thing", person: str) -> dict[str, Any]:
    """Sign a thing that lies in a file, beside the file; what was made."""
    from aegis.adapters import directory, keyfiles, trust, wholefile
    from aegis.identity import statement

    settings, now = context.settings(ctx), datetime.now(UTC)
    people = directory.load_all(settings.tenants)[context.the_tenant(ctx, thing.tenant)].people
    if person not in people or not people[person].enabled:
        raise ConfigError(f"`{person}` is not a person of tenant `{thing.tenant}`: see tenants/{thing.tenant}/directory.yaml")
    key = _publisher(settings.keys, thing.tenant, person, now)
    made = statement.sign(thing, key, by=person, time=now, source=path.name, beside=trust.envelope(path))
    wholefile.write(trust.beside(path), made, wholefile.PUBLIC)
    who = statement.vouched(made, thing, keyfiles.load_public(settings.keys), now)
    return {"name": thing.name, "digest": thing.digest, "signed_by": who.owners, "file": str(trust.beside(path))}


def pins(ctx: click.Context, tenants: Sequence[str]) -> "dict[str, Mapping[str, Pin]]":
    """The pins of tenants, by `NAME@VERSION`."""
    path = context.settings(ctx).sqlite_path
    if path is not None and not path.exists():
        return {tenant: {} for tenant in tenants}  # nothing was ever pinned, and a look makes no database

    async def work(app: "App") -> "dict[str, Mapping[str, Pin]]":
        return {tenant: dict(app.toolbox.pins.of(tenant)) for tenant in tenants}

    return context.with_app(ctx, work)


def verified(ctx: click.Context, tenant: str, pinned: "Mapping[str, Pin]") -> Iterator[dict[str, Any]]:
    """How each tool of a tenant stands."""
    from aegis.adapters import keyfiles, trust
    from aegis.adapters.shelf import Shelf
    from aegis.runtime.standing import standings

    settings, now = context.settings(ctx), datetime.now(UTC)
    keys = keyfiles.load_public(settings.keys)
    folder = Shelf(settings.tenants, lambda: keys).folder(tenant, now)
    for each, standing in zip(folder.manifests, standings(folder, pinned, {}), strict=True):
        found, contract = standing.objection, each.contract
        who = trust.vouchers(Path(contract.source), trust.tool(contract), keys, now)
        wanted = folder.trust.of(contract).signatures
        name = f"{contract.name}@{contract.version}"
        yield _row(name, contract.digest, who, wanted, _state(found, name in pinned)) | {
            "problem": f"{found.reason}: {found.text}" if found else _stale(who),
            "pinned": pinned[name].digest if name in pinned else "",
            "approved_by": pinned[name].by if name in pinned else "",
            "next": _next(found, name, contract.source),
        }


def artifacts(ctx: click.Context, tenant: str) -> Iterator[dict[str, Any]]:
    """How each prompt and workflow stands that a tenant pins."""
    from aegis.adapters import keyfiles, trust

    settings, now = context.settings(ctx), datetime.now(UTC)
    home, keys = settings.tenants / tenant, keyfiles.load_public(settings.keys)
    for each in trust.load(home, tenant).artifacts:
        digest, who, problem = trust.artifact_problems(home, tenant, each, keys, now)
        yield _row(each.file, digest, who, each.signatures, "failed" if problem else "ok") | {
            "problem": problem,
            "pinned": each.digest,
            "approved_by": "",
            "next": [],
        }


def difference(before: str, after: str) -> list[str]:
    """How two texts differ, line by line; what could write to a terminal is taken out of them."""
    from aegis.runtime.record import text

    found = difflib.unified_diff(_lines(before), _lines(after), "pinned", "in the folder", lineterm="")
    shown = [text(line, 500) for line in found]
    return shown if len(shown) <= MAX_LINES else [*shown[:MAX_LINES], f"... and {len(shown) - MAX_LINES} lines more"]


def _lines(text: str) -> list[str]:
    """Lines as an editor shows them: characters that only some programs break a line at stay in it."""
    return text.split("\n")


def _row(name: str, digest: str, who: "Vouched", wanted: int, state: str) -> dict[str, Any]:
    return {"name": name, "digest": digest, "state": state, "signed_by": list(who.owners), "wanted": wanted}


def _state(found: "Objection | None", seen: bool) -> str:
    states = {"tool#digest_mismatch": "quarantined", "tool#unapproved": "not approved", "tool#unsigned": "unsigned"}
    if found is not None:
        return states[found.rule]
    return "ok" if seen else "not seen yet"


def _stale(who: "Vouched") -> str:
    """A signature that is there and counts for nothing is told, even where none is demanded."""
    from aegis.adapters.trust import NO_SIGNATURE

    return "" if who.problem in ("", NO_SIGNATURE) else f"the statement beside it counts for nothing: {who.problem}"


def _next(found: "Objection | None", name: str, source: str) -> list[str]:
    """The commands that would mend it."""
    if found is None:
        return []
    if found.rule == "tool#unsigned":
        path, here = Path(source), Path.cwd()
        return [f"aegis tools sign {path.relative_to(here) if path.is_relative_to(here) else path} --as PERSON"]
    return [f"aegis tools diff {name}", f"aegis tools approve {name} --as PERSON --reason ..."]


def _publisher(keys: Path, tenant: str, person: str, now: datetime) -> "PrivateKey":
    """The person's own publisher key, or else the tenant's."""
    from aegis.adapters import keyfiles

    try:
        return keyfiles.load_private(keys, "publisher", tenant, person, now=now)
    except ConfigError:
        return keyfiles.load_private(keys, "publisher", tenant, "", now=now)
