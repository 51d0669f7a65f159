"""`aegis up`: the gateway in this terminal."""

import click

from aegis.surfaces.cli import context


@click.command()
@click.option("--port", type=int, help="Listen here instead of where the settings say; 0 takes a free port.")
@click.option("--host", help="Listen on this address instead.")
@click.pass_context
def up(ctx: click.Context, port: int | None, host: str | None) -> None:
    """Run the gateway of this working directory until Ctrl-C or SIGTERM; calls under way are finished first."""
    from msgspec.structs import replace

    from aegis.surfaces.gateway.server import serve

    settings = context.settings(ctx)
    gateway = settings.gateway
    gateway = replace(gateway, port=gateway.port if port is None else port, host=host or gateway.host)

    def listening(taken: int) -> None:
        click.echo(f"aegis is up on http://{gateway.host}:{taken}   (Ctrl-C stops; API: /openapi.json)")

    serve(replace(settings, gateway=gateway), listening)
