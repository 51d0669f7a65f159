"""What commands share: the working directory's settings, the running parts, and who is acting."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from aegis.app import App, open_app
from aegis.errors import ConfigError
from aegis.model.node import nearest
from aegis.settings import Settings, load

Result = TypeVar("Result")
IDS = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
"""Settings of commands whose argument is a key or its id: base64url, which may begin with `-`, and even with `-h`."""

JOURNAL = "#journal"
"""After the audience of the gateways: what is signed for it only proves to readers of the journal who did something."""


def settings(ctx: click.Context) -> Settings:
    """The settings of the working directory."""
    return load(ctx.obj["dir"])


def as_json(ctx: click.Context) -> bool:
    """Whether the output is for a program."""
    return bool(ctx.obj["json"])


def with_app(ctx: click.Context, work: Callable[[App], Awaitable[Result]]) -> Result:
    """Run `work` on the parts of this working directory, without serving anything."""
    return asyncio.run(_with_app(settings(ctx), work))


async def _with_app(found: Settings, work: Callable[[App], Awaitable[Result]]) -> Result:
    app = await open_app(found)
    if app.telemetry is not None:
        app.telemetry.start()
    try:
        app.gate.clock.witness(await app.gate.store.latest())
        await app.follow_revocations()
        return await work(app)
    finally:
        if app.telemetry is not None:
            await asyncio.to_thread(app.telemetry.stop)
        if app.witnesses is not None:
            await app.witnesses.close()
        await app.gate.store.close()


def the_tenant(ctx: click.Context, given: str | None, *, there: bool = True) -> str:
    """The tenant a command works on: the given one, `AEGIS_TENANT`, or the only one there is.

    A name without a folder would look like a tenant to whom nothing ever happened, so it is refused; keys (`there=False`) may be
    made before the folder is. Names such as `_system` are journals of ours.
    """
    name = given or os.environ.get("AEGIS_TENANT")
    if name:
        home = settings(ctx).tenants
        if there and not name.startswith("_") and not (home / name).is_dir():
            known = sorted(path.name for path in home.iterdir() if path.is_dir()) if home.is_dir() else []
            raise ConfigError(f"no tenant `{name}`; there are: {', '.join(known) or 'none'}{nearest(name, known)}")
        return name
    from aegis.adapters import directory

    found = sorted(directory.load_all(settings(ctx).tenants))
    if len(found) != 1:
        raise ConfigError(f"which tenant? pass --tenant or set AEGIS_TENANT; there are: {', '.join(found) or 'none'}")
    return found[0]


def signed_by(app: App, tenant: str, person: str) -> str:
    """Proof that the person of the directory is at work here, signed with their own key and checked as anybody would.

    It goes into the journal, which others read, and from there to receivers of events and to auditors: so it is made out to the
    journal, and no gateway takes it for the person.
    """
    from aegis.adapters import keyfiles
    from aegis.identity.token import build_person, mint

    now = app.gate.clock.now()
    key = keyfiles.load_private(app.settings.keys, "human", tenant, person, now=now)
    shown = mint(build_person(tenant=tenant, person=person, audience=app.settings.gateway.audience, now=now), key)
    known = app.gate.tenant(tenant).directory.people.get(app.verifier.person(shown, now=now).person)
    if known is None or not known.enabled:
        raise ConfigError(f"`{person}` is not a person of tenant `{tenant}`: see tenants/{tenant}/directory.yaml")
    return mint(build_person(tenant=tenant, person=person, audience=app.settings.gateway.audience + JOURNAL, now=now), key)


def tenant_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--tenant`, the same for every command."""
    return click.option("--tenant", help="Tenant (or AEGIS_TENANT; default: the only one).")(command)


def url_of(ctx: click.Context, given: str | None) -> str:
    """Where the gateway is: the given URL, `AEGIS_URL`, or what the settings say."""
    if given or os.environ.get("AEGIS_URL"):
        return given or os.environ["AEGIS_URL"]
    gateway = settings(ctx).gateway
    return f"http://{gateway.host}:{gateway.port}"
