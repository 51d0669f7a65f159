"""What commands that do something to a run share: who asks, and the request to the gateway, which a person signs."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

import click

from aegis.surfaces.cli import context

if TYPE_CHECKING:
    from aegis.runtime.runs.operating import Wanted

WHO = "Who you are: person:NAME, whose key is here, or agent:NAME (else AEGIS_TOKEN is used)."


def options(*, reason: bool = True) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`--as`, `--reason`, `--url` and `--tenant`, the same for every command."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        command = context.tenant_option(command)
        command = click.option("--url", help="The gateway (or AEGIS_URL; default: the one of the settings).")(command)
        if reason:
            command = click.option("--reason", default="", help="Why; it is recorded.")(command)
        return click.option("--as", "who", metavar="WHO", help=WHO)(command)

    return add


class Asking:
    """Somebody at the gateway; use it as a context manager."""

    def __init__(self, ctx: click.Context, who: str | None, url: str | None, tenant: str | None) -> None:
        self._ctx = ctx
        self._person = who if who is not None and who.startswith("person:") else ""
        self._tenant = context.the_tenant(ctx, tenant) if self._person or who else ""
        self.client = self._client(who, url, tenant)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ending: object) -> None:
        self.client.close()

    def do(self, wanted: "Wanted") -> dict[str, Any]:
        """Have it done; how the run stands after it."""
        signed = self._signed(wanted)
        if wanted.action == "signal":
            said: Mapping[str, Any] = self.client.signal(wanted.run, wanted.signal, wanted.payload, key=wanted.key, **signed)
        else:
            more = {"arguments": wanted.arguments} if wanted.action == "edit" else {}
            said = self.client.operate(wanted.run, wanted.action, node=wanted.node, **more, reason=wanted.reason or None, **signed)
        return dict(said)

    def _client(self, who: str | None, url: str | None, tenant: str | None) -> Any:
        from aegis.sdk.client import Client
        from aegis.surfaces.cli.call import client
        from aegis.surfaces.cli.token import person

        if not self._person:
            return client(self._ctx, url, who, tenant, None)
        return Client(context.url_of(self._ctx, url), person(self._ctx, self._person, self._tenant))

    def _signed(self, wanted: "Wanted") -> dict[str, str]:
        """What a person signs: exactly this, and nothing else can be made of it."""
        if not self._person:
            return {}
        import secrets
        from datetime import UTC, datetime

        from msgspec.structs import replace

        from aegis.adapters import keyfiles
        from aegis.identity.token import build_person, mint

        settings, now = context.settings(self._ctx), datetime.now(UTC)
        nonce = secrets.token_hex(16)
        audience = replace(wanted, nonce=nonce).audience(settings.gateway.audience)
        claims = build_person(tenant=self._tenant, person=self._person, audience=audience, now=now)
        statement = mint(claims, keyfiles.load_private(settings.keys, "human", self._tenant, self._person, now=now))
        return {"statement": statement, "nonce": nonce}
