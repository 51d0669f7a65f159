"""`aegis audit verify`: hold the journal of the store, or a bundle, against what was signed. The core is `aegis_verify`."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import click
from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

import aegis_verify as verifier
from aegis.errors import ConfigError, CorruptStoreError
from aegis.model.event import SYSTEM_TENANT, origin
from aegis.surfaces.cli import context, output
from aegis.surfaces.cli.audit.ledger import Ledger, with_ledger
from aegis.surfaces.cli.audit.live import NOTHING, Live
from aegis.surfaces.cli.main import DONE, FAILED
from aegis_verify import BrokenError, Finding, Question, Report, Trust, UnusableError

ANCHOR = "the anchor"
_PREFIX, _SUFFIX = origin("\n").split("\n")


@click.command()
@click.option("--bundle", "path", metavar="BUNDLE", help="A bundle instead of the store: a directory, or a zip file.")
@click.option("--part", is_flag=True, help="Accept a bundle that holds only some of the events.")
@click.option(
    "--policy", "policy", metavar="FILE", type=click.Path(path_type=Path), help="Whom to believe (default: the keys of this place)."
)
@click.option("--against", multiple=True, metavar="NOTE", help="A checkpoint that was kept elsewhere; may be repeated.")
@click.option("--max-age", type=click.FloatRange(0), metavar="SECONDS", help="How old the witnesses' cosignatures may be.")
@context.tenant_option
@click.pass_context
def verify(
    ctx: click.Context,
    path: str | None,
    part: bool,
    policy: Path | None,
    against: tuple[str, ...],
    max_age: float | None,
    tenant: str | None,
) -> int:
    """Check that nothing was changed, removed or added since it was signed. Exit code 1 names the first bad place.

    All tenants, and the operator's own log, unless one is named. Auditors use `aegis-verify`, which needs nothing of ours.
    """

    async def work(ledger: Ledger) -> list[Report]:
        ask = _Asking(ledger, policy, notes, max_age)
        if path is not None:
            return [ask.bundle(path, part=part)]
        names = [tenant] if tenant else await _logs(ledger, ask)
        return [await _live(ledger, ask, name) for name in names]

    try:
        notes = [(each, Path(each).read_bytes()) for each in against]
        reports = with_ledger(ctx, work)
    except (UnusableError, OSError) as error:
        raise ConfigError(str(error)) from None
    if context.as_json(ctx):
        output.document("verify", {"ok": all(report.ok for report in reports), "logs": list(map(verifier.document, reports))})
    else:
        click.echo("\n\n".join(map(verifier.told, reports)) or "no log: nothing was recorded yet")
    return DONE if all(report.ok for report in reports) else FAILED


class _Asking:
    """Whom this verification believes, and what it compares with."""

    def __init__(self, ledger: Ledger, policy: Path | None, against: list[tuple[str, bytes]], max_age: float | None) -> None:
        self._ledger = ledger
        self._given = None if policy is None else verifier.read_policy(policy.read_text("utf-8"))
        self._against = against + [(ANCHOR, note) for note in ledger.anchored().values()]
        self._max_age = max_age

    def trust(self, of: str) -> Trust:
        """Whom to believe about a log."""
        name = of.removeprefix(_PREFIX).removesuffix(_SUFFIX)
        return self._given if self._given is not None else verifier.read_policy(self._ledger.policy(name))

    def kept(self, of: str) -> list[tuple[str, bytes]]:
        """The notes from outside that are of this log."""
        return [(label, note) for label, note in self._against if note.startswith(of.encode() + b"\n")]

    def question(self, of: str, *, part: bool = False) -> Question:
        """What is asked about a log."""
        trust = self.trust(of)
        if self._max_age is not None and trust.quorum == "none":
            raise UnusableError("--max-age needs a witness (`[evidence] witness_key`, or a quorum in --policy)")
        now = self._ledger.clock.now().timestamp()
        return Question(trust, now, self.kept(of), self._max_age, part, check=_good, progress=_progress())

    def knows(self, of: str) -> bool:
        """Whether the policy that was given names this log."""
        return self._given is None or any(key.name == of for key in self._given.logs)

    def bundle(self, path: str, *, part: bool) -> Report:
        """The verdict on a bundle."""
        try:
            found = verifier.Bundle(path)
        except BrokenError as error:
            return Report("", (error.finding,))
        asked = self.question(found.origin, part=part)
        # A bundle that is older than this place is no rollback: what was sealed since is not in it.
        size = _size(found.checkpoint())
        kept = [(label, note) for label, note in asked.against if label != ANCHOR or _size(note) <= size]
        return verifier.verify(found, asked._replace(against=kept))

    def names(self) -> set[str]:
        """The logs that are known from outside the store."""
        firsts = [note.partition(b"\n")[0].decode("utf-8", "replace") for _, note in self._against]
        return {first for first in firsts if first.startswith(_PREFIX) and first.endswith(_SUFFIX)}


def _size(note: bytes) -> int:
    """How many events a note says that there are; 0 where it says nothing, which verification then tells."""
    said = note.split(b"\n", 2)[1:2]
    return int(said[0]) if said and said[0].isdigit() else 0


async def _logs(ledger: Ledger, ask: _Asking) -> list[str]:
    """The logs that are there, and those that ought to be."""
    found = {*await ledger.store.heads(), *(name.removeprefix(_PREFIX).removesuffix(_SUFFIX) for name in ask.names())}
    after = ""
    while rows := await ledger.store.find(SYSTEM_TENANT, "checkpoint", after=after):
        found |= {row.id for row in rows}
        after = rows[-1].id
    left = sorted(name for name in found if not ask.knows(origin(name)))
    if left:
        click.echo(f"not checked, because the policy names no key of theirs: {', '.join(left)}", err=True)
    return sorted(found - set(left))


async def _live(ledger: Ledger, ask: _Asking, tenant: str) -> Report:
    """The verdict on one log of the store, as it stood when this began."""
    try:
        return await _verdict(ledger, ask, tenant, origin(tenant))
    except (CorruptStoreError, TypeError, ValueError, AttributeError) as error:  # whoever has the database can put anything there
        text = f"a row of this log is not what a gateway writes ({type(error).__name__}); `aegis fsck` looks at each"
        return Report(origin(tenant), (Finding("malformed", None, text),))


async def _verdict(ledger: Ledger, ask: _Asking, tenant: str, of: str) -> Report:
    # In this order, so that whatever is written meanwhile is never missed: each reading covers at least the one before.
    earlier = await ledger.earlier(tenant)
    sealed = await ledger.sealed(tenant)
    kept = ask.kept(of)
    note = sealed.note.encode() if sealed is not None else kept[0][1] if kept else None
    head = (await ledger.store.heads()).get(tenant)
    if note is None:
        count = head.frontier.size if head else 0
        text = f"no checkpoint of the {count} events is kept: a gateway makes one when it starts, over older events too"
        return Report(of, (Finding("signature", None, text),) if count else ())
    source = Live(ledger.store, tenant, head or NOTHING, note, earlier)
    return await asyncio.to_thread(_judged, source, ask.question(of))


def _judged(source: Live, question: Question) -> Report:
    report = verifier.verify(source, question)
    broken = source.broken_tile() if report.ok else None
    return report if broken is None else report._replace(findings=(broken,))


def _good(public: bytes, message: bytes, signature: bytes) -> bool:
    """As `aegis_verify.ed25519`, fifty times as fast: an operator's log may hold thousands of notes."""
    try:
        VerifyKey(public).verify(message, signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def _progress() -> Callable[[int], None] | None:
    if not sys.stderr.isatty():
        return None
    return lambda place: click.echo(f"\r{place} events", nl=False, err=True)
