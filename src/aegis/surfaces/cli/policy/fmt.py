"""`aegis policy fmt`: the one usual layout of a policy file."""

from pathlib import Path

import click

from aegis.policy.fmt import fmt as laid_out
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.main import DONE, FAILED


@click.command()
@click.argument("files", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="[FILE]...")
@click.option("--check", is_flag=True, help="Change nothing; exit code 1 when a file is laid out otherwise.")
@context.tenant_option
@click.pass_context
def fmt(ctx: click.Context, files: tuple[Path, ...], check: bool, tenant: str | None) -> int:
    """Lay out each FILE (default: the policy of the tenant) in the one usual way.

    Comments stay, and what the file says does not change. A file is replaced whole.
    """
    from aegis.adapters import policies, wholefile
    from aegis.adapters.catalogue import read

    paths = files or (context.settings(ctx).tenants / context.the_tenant(ctx, tenant) / policies.FILE,)
    changed = []
    for path in paths:
        text = read(path)
        written = laid_out(text, source=str(path))
        if written != text:
            changed.append(str(path))
            if not check:
                wholefile.write(path, written.encode(), wholefile.PUBLIC)
    if context.as_json(ctx):
        output.document("policy-fmt", {"ok": not (check and changed), "changed": changed, "files": len(paths)})
    else:
        for name in changed:
            click.echo(f"{'would change' if check else 'changed'} {name}")
        click.echo(f"{len(changed)} of {len(paths)} files {'are laid out otherwise' if check else 'changed'}")
    return FAILED if check and changed else DONE
