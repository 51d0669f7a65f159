"""Bundles of a log that is made up here, with everything an insider has: bodies, leaves, notes, and keys to sign with."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aegis.crypto import note
from aegis.crypto.jwk import PrivateKey, private_key
from aegis.crypto.merkle import Frontier, leaf_hash
from aegis.journal.checkpoint import Checkpoint
from aegis.model.event import Event, encode
from aegis_verify import Bundle, Question, Report, Trust, read_key, verify

TENANT, ORIGIN, WITNESS = "acme", "aegis.acme/audit/1", "witness.example"
LOG_KEY, OTHER_KEY, WITNESS_KEY = (private_key(bytes([number]) * 32) for number in (1, 2, 3))
START = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
NOW = int(START.timestamp()) + 3600
TRUST = Trust(
    logs=(read_key(note.vkey(ORIGIN, LOG_KEY.public)),),
    witnesses={"w": read_key(note.vkey(WITNESS, WITNESS_KEY.public, note.COSIGNATURE))},
    quorum="w",
)


def body(seq: int, **data: object) -> bytes:
    """The canonical event of a place."""
    event = Event(
        id=f"event_{seq}",
        type="decision",
        tenant=TENANT,
        time=START + timedelta(seconds=seq),
        request_id=f"req_{seq // 2}",
        data={"decision": "allow", "tool": "payments.transfer", "nested": {"seq": seq}, **data},
    )
    return encode(event, seq)


def renumber(event: bytes, seq: int) -> bytes:
    """The event as an insider moves it to another place: with the number of that place inside."""
    from aegis.crypto.canonical import canon

    return canon({**json.loads(event), "seq": seq})


def root(leaves: Sequence[bytes]) -> bytes:
    return Frontier().extend(leaves).root


def signed(leaves: Sequence[bytes], key: PrivateKey = LOG_KEY, cosigned_at: int | None = NOW, origin: str = ORIGIN) -> bytes:
    """The note over these leaves."""
    text = Checkpoint(origin, len(leaves), root(leaves)).text
    lines = [note.sign(text, origin, key)]
    if cosigned_at is not None:
        lines.append(note.cosign(text, WITNESS, WITNESS_KEY, cosigned_at))
    return note.Note(text, tuple(lines)).data


@dataclass(frozen=True)
class Log:
    """What a bundle is written from: `size` of the events are sealed."""

    bodies: list[bytes]
    leaves: list[bytes]
    note: bytes
    earlier: dict[int, bytes] = field(default_factory=dict)
    first: int = 0
    last: int | None = None
    selection: str = ""

    @classmethod
    def of(cls, bodies: Sequence[bytes], size: int | None = None, *, sizes: Sequence[int] = (), key: PrivateKey = LOG_KEY) -> "Log":
        """A log as the gateway seals it."""
        sealed = [leaf_hash(each) for each in bodies[: len(bodies) if size is None else size]]
        return cls(list(bodies), sealed, signed(sealed, key), {count: signed(sealed[:count], key, None) for count in sizes})

    @property
    def size(self) -> int:
        return len(self.leaves)

    def with_bodies(self, change: Callable[[list[bytes]], list[bytes]]) -> "Log":
        """The same log whose events were changed behind its back."""
        return replace(self, bodies=change(list(self.bodies)))

    def with_leaves(self) -> "Log":
        """The leaves were made from the changed events, too; the signatures could not be."""
        return replace(self, leaves=[leaf_hash(each) for each in self.bodies[: self.size]])

    def write(self, home: Path) -> Path:
        """The bundle in a directory."""
        home.mkdir(parents=True, exist_ok=True)
        last = self.first + len(self.bodies) - 1 if self.last is None else self.last
        about = {
            "apiVersion": "aegis.bundle/v1",
            "origin": ORIGIN,
            "tenant": TENANT,
            "size": self.size,
            "first": self.first,
            "last": last,
            "created": "2026-11-21T09:00:00.000000Z",
        }
        if self.selection:
            about["selection"] = self.selection
        (home / "bundle.json").write_text(json.dumps(about))
        (home / "events.jsonl").write_bytes(b"".join(each + b"\n" for each in self.bodies))
        (home / "leaves.bin").write_bytes(b"".join(self.leaves))
        (home / "checkpoint.txt").write_bytes(self.note)
        (home / "checkpoints").mkdir(exist_ok=True)
        for count, text in self.earlier.items():
            (home / "checkpoints" / f"{count}.txt").write_bytes(text)
        return home


def events(count: int) -> list[bytes]:
    return [body(seq) for seq in range(count)]


def question(trust: Trust = TRUST, **changes: object) -> Question:
    return Question(trust, NOW, **changes)


def verdict(home: Path, **changes: object) -> Report:
    """What the verifier says of a bundle."""
    return verify(Bundle(str(home)), question(**changes))


def found(log: Log, home: Path, **changes: object) -> tuple[str, int | None]:
    """Kind and place of the first finding."""
    report = verdict(log.write(home), **changes)
    assert report.findings, "nothing was found"
    return report.findings[0].kind, report.findings[0].seq
