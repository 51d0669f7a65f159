"""`aegis witness serve`."""

from pathlib import Path

import click


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--host", default="127.0.0.1", show_default=True, help="Listen on this address.")
@click.option("--port", type=click.IntRange(0, 65535), default=8430, show_default=True, help="Listen here; 0 takes a free port.")
def serve(directory: Path, host: str, port: int) -> None:
    """Cosign the checkpoints of the logs that the witness in DIRECTORY knows, until Ctrl-C or SIGTERM."""
    from aegis.adapters.witness import home
    from aegis.surfaces.witness import server

    name = home.load(directory).name
    server.serve(directory, host, port, lambda taken: click.echo(f"witness {name} is up on http://{host}:{taken}   (Ctrl-C stops)"))
