"""Where a command finds the set that it works on: a file, or the policy of a tenant of the working directory."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from aegis.policy.duration import UNITS
from aegis.policy.ir import Policy
from aegis.surfaces.cli import context


class Opened(Struct, frozen=True, kw_only=True):
    """A set that loaded, the data of its tenant, and its file."""

    policy: Policy
    tenant_data: Mapping[str, Any]
    path: Path


def open_set(ctx: click.Context, file: Path | None, tenant: str | None) -> Opened:
    """The set in `file`, with the data and contracts that lie beside it; or a tenant's."""
    from aegis.adapters import catalogue, messages, policies
    from aegis.model.document import parse
    from aegis.policy.language import load
    from aegis.policy.rego_lines import rego_files

    if file is None:
        name = context.the_tenant(ctx, tenant)
        home = context.settings(ctx).tenants / name
        policy, data = policies.load(home, name)
        return Opened(policy=policy, tenant_data=data, path=home / policies.FILE)
    text = catalogue.read(file)
    home = file.parent
    # Contracts are read when the set names some; without data beside it, what refers to data is unknown.
    known = messages.registered(home, home.resolve().name).by_digest if "contract:" in text else {}
    if (home / policies.DATA).is_file():
        policy, sources = policies.load_file(file, known)
        return Opened(policy=policy, tenant_data=sources.tenant_data, path=file)
    named = rego_files(parse(text, source=str(file)).value) if "rego" in text else ()
    modules = {name: catalogue.read(home / name) for name in named}
    return Opened(policy=load(text, source=str(file), contracts=known, files=modules), tenant_data={}, path=file)


def since_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option `--since`, a time such as `14d`."""
    return click.option(
        "--since", default="14d", show_default=True, metavar="TIME", callback=_time, help="How far back: 14d, 6h, 30m."
    )(command)


def _time(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:
    number, unit = value[:-1], value[-1:]
    if unit not in UNITS or not (number.isascii() and number.isdigit()) or len(number) > 6:
        raise click.BadParameter("expected a whole number and a unit (s, m, h, d), such as 14d", ctx, param)
    return timedelta(seconds=int(number) * UNITS[unit])


def set_argument(command: Callable[..., Any]) -> Callable[..., Any]:
    """The argument `[FILE]` and the option `--tenant`, the same for every command about one set."""
    found = click.argument("file", metavar="[FILE]", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
    return found(context.tenant_option(command))
