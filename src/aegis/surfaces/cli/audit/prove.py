"""`aegis audit prove`, `verify-proof` and `consistency`: proofs that stand for themselves."""

import base64
from pathlib import Path

import click

import aegis_verify as verifier
from aegis.crypto import note as notes
from aegis.errors import ConfigError, NoteError
from aegis.journal import checkpoint, proofs
from aegis.runtime.clock import Clock
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.audit.ledger import Ledger, policy_of, with_ledger
from aegis.surfaces.cli.main import DONE, FAILED
from aegis_verify import Question, Report, Trust, UnusableError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("seq", type=click.IntRange(0))
@click.option("--event", "place", type=click.Path(path_type=Path), metavar="FILE", help="Write the exact bytes of the event there.")
@context.tenant_option
@click.pass_context
def prove(ctx: click.Context, seq: int, place: Path | None, tenant: str | None) -> None:
    """Print the proof (C2SP tlog-proof) that event SEQ stands in the log, under the newest checkpoint.

    The event itself goes with it: `aegis audit prove 7 --event event.json > event.tlog-proof`.
    """
    name = context.the_tenant(ctx, tenant)

    async def work(ledger: Ledger) -> tuple[bytes, str]:
        sealed = await ledger.newest(name)
        if seq >= sealed.size:
            raise ConfigError(
                f"event {seq} is not under a checkpoint: the newest covers {sealed.size} events, so 0 to {sealed.size - 1}"
            )
        path = await proofs.inclusion(ledger.store, name, seq, sealed.size)
        found = await ledger.store.at(name, [seq])
        if place is not None and not found:
            raise ConfigError(f"event {seq} is not kept any more; its proof still is")
        return found[0].body if found else b"", _proof_text(seq, path, sealed.note)

    body, text = with_ledger(ctx, work)
    if place is not None:
        _written(place, body)
    if context.as_json(ctx):
        output.document("prove", {"tenant": name, "seq": seq, "event": body.decode() or None, "proof": text})
    else:
        click.echo(text, nl=False)


@click.command("verify-proof")
@click.argument("event", type=FILE)
@click.argument("proof", type=FILE)
@click.option("--key", "keys", multiple=True, metavar="VKEY", help="The key of the log (default: the keys of this place).")
@click.option("--policy", metavar="FILE", type=FILE, help="Whom to believe, as a C2SP tlog-policy.")
@context.tenant_option
@click.pass_context
def verify_proof(
    ctx: click.Context, event: Path, proof: Path, keys: tuple[str, ...], policy: Path | None, tenant: str | None
) -> int:
    """Check that EVENT stands in the log where PROOF says. Exit code 1 when it does not."""
    question = Question(_trust(ctx, keys, policy, tenant), Clock().now().timestamp())
    return _told(ctx, verifier.verify_proof(event.read_bytes(), proof.read_bytes(), question))


@click.command()
@click.argument("old")
@click.argument("new", required=False)
@context.tenant_option
@click.pass_context
def consistency(ctx: click.Context, old: str, new: str | None, tenant: str | None) -> None:
    """Print the proof that the log only grew from OLD to NEW: files with checkpoints, or numbers of events.

    NEW is the newest checkpoint when it is left out. `aegis-verify consistency OLDNOTE NEWNOTE --proof FILE` checks the proof.
    """
    name = context.the_tenant(ctx, tenant)

    async def work(ledger: Ledger) -> tuple[int, int, str]:
        sealed = await ledger.newest(name)
        low, high = _size(old), sealed.size if new is None else _size(new)
        if not low <= high <= sealed.size:
            raise ConfigError(f"expected two sizes up to {sealed.size}, the older one first; found {low} and {high}")
        path = await proofs.consistency(ledger.store, name, low, high)
        note = sealed.note if new is None else _note(new)
        lines = [f"old {low}", *(base64.b64encode(each).decode() for each in path), "", note]
        return low, high, "\n".join(lines)

    low, high, text = with_ledger(ctx, work)
    if context.as_json(ctx):
        output.document("consistency", {"tenant": name, "old": low, "new": high, "proof": text})
    else:
        click.echo(text, nl=False)


def _proof_text(seq: int, path: list[bytes], note: str) -> str:
    """C2SP tlog-proof."""
    lines = ["c2sp.org/tlog-proof@v1", f"index {seq}", *(base64.b64encode(each).decode() for each in path), "", note]
    return "\n".join(lines)


def _size(given: str) -> int:
    """The number of events that is meant by a number or a file with a note."""
    try:
        if given.isdecimal():
            return checkpoint.size(given)
        return checkpoint.parse(notes.parse(Path(given).read_bytes()).text).size
    except NoteError as error:
        raise ConfigError(f"`{given}`: {error}") from None
    except OSError as error:
        raise ConfigError(f"`{given}`: expected a file with a checkpoint, or a number of events: {error.strerror}") from None


def _note(given: str) -> str:
    """The note of a file; a number has none."""
    return "" if given.isdecimal() else Path(given).read_text("utf-8")


def _trust(ctx: click.Context, keys: tuple[str, ...], policy: Path | None, tenant: str | None) -> Trust:
    try:
        if keys or policy is not None:
            return verifier.trusted(keys, (), None if policy is None else policy.read_text("utf-8"))
        name = context.the_tenant(ctx, tenant)
        return verifier.read_policy(policy_of(context.settings(ctx), name))
    except UnusableError as error:
        raise ConfigError(str(error)) from None


def _told(ctx: click.Context, report: Report) -> int:
    if context.as_json(ctx):
        output.document("verify_proof", verifier.document(report))
    else:
        click.echo(verifier.told(report))
    return DONE if report.ok else FAILED


def _written(place: Path, body: bytes) -> None:
    try:
        with place.open("xb") as file:
            file.write(body)
    except OSError as error:
        raise ConfigError(f"`{place}` cannot be written: {error.strerror}") from None
