"""Verify what an Aegis gateway exported, without Aegis: one file, the standard library, Python 3.9 or newer.

    python aegis_verify.py BUNDLE --key VKEY [--policy FILE] [--against NOTE ...] [--max-age SECONDS] [--json]
    python aegis_verify.py verify-proof EVENT PROOF --key VKEY
    python aegis_verify.py consistency OLDNOTE NEWNOTE BUNDLE --key VKEY

The rules, in the order in which they are applied:

1. Only keys that the auditor brings are believed (`--key`, `--witness`, `--policy`). Those in the bundle are its own word.
2. A checkpoint is a note (C2SP signed-note, tlog-checkpoint): origin, number of events, root. The log's key must have signed it,
   the witnesses must have cosigned it as the policy says, and a bad signature of a known key spoils the whole note.
3. The tree over the leaves (RFC 6962) must have the signed root; so must the tree at every other note that the auditor or the
   bundle has, at the size of that note. Two notes that were signed validly and contradict each other prove a fork.
4. Each event is a line of canonical JSON (RFC 8785, no floats); its hash must be the leaf of its place, and it names its place,
   its log and its tenant. Where leaves and events differ, the place and the kind of the first difference are told.
5. Events after the newest checkpoint are checked in form only: nobody has signed them yet, and the verdict says how many.
6. Only a fresh cosignature proves that this is the newest state (`--max-age`): an old copy has good signatures, too.

Exit codes: 0 valid, 1 invalid, 2 wrong usage or something could not be read.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import hashlib
import io
import json
import re
import shutil
import sys
import textwrap
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, NamedTuple, NoReturn, Protocol

HASH = 32
FORMAT = "aegis.bundle/v1"
REPORT = "aegis.verify/v1"
MAX_SIZE = 2**53 - 1
MAX_NOTE_BYTES = 1 << 20
MAX_EVENT_BYTES = 16 << 20
MAX_SIGNATURES = 100
MAX_NAMES = 256
MAX_EARLIER_NOTES = 1024
MAX_NUMBERS = 8
MAX_SEARCHED_BYTES = 1 << 35
CLOCK_SKEW_SECONDS = 300
PROGRESS_EVERY = 20_000
MOST_TOLD = 3
VALID, INVALID, UNUSABLE = 0, 1, 2

MEANINGS = {
    "edit": "It was changed or replaced after the log had signed it.",
    "delete": "The log signed events here that are gone, while later ones are there.",
    "insert": "Something stands here that the log has not signed at this place.",
    "swap": "Events that the log signed stand in another order.",
    "truncate": "The log signed more events than there are: the end is missing.",
    "fork": "The key of the log signed two histories that contradict each other. Keep both notes: together they prove it.",
    "rollback": "A checkpoint that was kept elsewhere covers more events than there are here: an older state was put back.",
    "stale": "Nobody outside has confirmed lately that this is the newest state: an older copy would look the same.",
    "signature": "A signature that has to be there is missing or wrong. Believe nothing of this until you know why.",
    "malformed": "This is not what a gateway writes. It was damaged, or made by something else.",
}
"""What each kind of finding means to whoever reads it."""


class Finding(NamedTuple):
    """Something wrong: kind, place by `seq` (`None` where it has none), words, and the end of the range in which it lies."""

    kind: str
    seq: int | None
    text: str
    upto: int | None = None


class BrokenError(Exception):
    """What was read cannot be believed; `finding` says why."""

    def __init__(self, kind: str, text: str, seq: int | None = None) -> None:
        super().__init__(text)
        self.finding = Finding(kind, seq, text)


class UnusableError(Exception):
    """The question cannot be answered: wrong usage, or a file cannot be read."""


# -------- hashes and trees


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf (RFC 6962, section 2.1)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """A Merkle tree that grows by leaf hashes and keeps one hash for each complete subtree."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """Append a leaf hash."""
        bits, peaks = self.size, self._peaks
        while bits & 1:
            leaf = hashlib.sha256(b"\x01" + peaks.pop() + leaf).digest()
            bits >>= 1
        peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Root of the tree as it is now."""
        if not self._peaks:
            return hashlib.sha256(b"").digest()
        root = self._peaks[-1]
        for peak in self._peaks[-2::-1]:
            root = node_hash(peak, root)
        return root


def roots(leaves: Iterable[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """The roots of the trees over the first leaves, for those `sizes` that the leaves reach."""
    tree, found = Tree(), {}
    wanted = sorted(set(sizes), reverse=True)
    for leaf in leaves:
        while wanted and wanted[-1] <= tree.size:
            found[wanted.pop()] = tree.root()
        if not wanted:
            return found
        tree.append(leaf)
    while wanted and wanted[-1] <= tree.size:
        found[wanted.pop()] = tree.root()
    return found


def included(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether `proof` leads from the leaf at `index` to the root (RFC 9162, section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def consistent(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether `proof` shows that the newer tree begins with the older one (RFC 9162, section 2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == 0:
        return not proof and old_root == Tree().root() and (new > 0 or new_root == old_root)
    if old == new:
        return not proof and old_root == new_root
    steps = list(proof) if old & (old - 1) else [old_root, *proof]
    if not proof:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    former = found = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            former, found = node_hash(step, former), node_hash(step, found)
            while place and not place & 1:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, step)
        place, last = place >> 1, last >> 1
    return last == 0 and former == old_root and found == new_root


# -------- Ed25519 (RFC 8032, section 5.1)

_P = 2**255 - 19
_ORDER = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_SQRT_M1 = pow(2, (_P - 1) // 4, _P)
_Point = tuple[int, int, int, int]  # extended coordinates X, Y, Z, T
_NEUTRAL: _Point = (0, 1, 1, 0)


def ed25519(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is good, strictly: canonical S and points, none of small order, the equation without cofactor.

    Source: RFC 8032, section 5.1.7.
    """
    if len(public) != 32 or len(signature) != 64:
        return False
    s = int.from_bytes(signature[32:], "little")
    key, commitment = _decode_point(public), _decode_point(signature[:32])
    if s >= _ORDER or key is None or commitment is None or _small(key) or _small(commitment):
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % _ORDER
    x, y, z, t = key
    return _equal(_times_both(s, _BASE, challenge, (_P - x, y, z, _P - t)), commitment)


def _decode_point(data: bytes) -> _Point | None:
    """The point of its 32 bytes; `None` when they are not the canonical ones of a point (RFC 8032, section 5.1.3)."""
    number = int.from_bytes(data, "little")
    sign, y = number >> 255, number & ((1 << 255) - 1)
    if y >= _P:
        return None
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _SQRT_M1 % _P
    if (x * x - square) % _P or (x == 0 and sign):
        return None
    if x & 1 != sign:
        x = _P - x
    return x, y, 1, x * y % _P


def _add(left: _Point, right: _Point) -> _Point:
    """RFC 8032, section 5.1.4; the formulas are complete, so they double as well."""
    x1, y1, z1, t1 = left
    x2, y2, z2, t2 = right
    a, b = (y1 - x1) * (y2 - x2) % _P, (y1 + x1) * (y2 + x2) % _P
    c, d = 2 * t1 * t2 * _D % _P, 2 * z1 * z2 % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times_both(first: int, left: _Point, second: int, right: _Point) -> _Point:
    """`first` times `left` plus `second` times `right`. Nothing here is secret, so the time it takes may tell."""
    choices = (_NEUTRAL, left, right, _add(left, right))
    found = _NEUTRAL
    for bit in range(max(first.bit_length(), second.bit_length()) - 1, -1, -1):
        found = _add(found, found)
        choice = (first >> bit & 1) | (second >> bit & 1) << 1
        if choice:
            found = _add(found, choices[choice])
    return found


def _equal(left: _Point, right: _Point) -> bool:
    x1, y1, z1, _ = left
    x2, y2, z2, _ = right
    return (x1 * z2 - x2 * z1) % _P == 0 and (y1 * z2 - y2 * z1) % _P == 0


def _small(point: _Point) -> bool:
    """Whether the point has one of the orders 1, 2, 4, 8: a key like that signs anything."""
    for _ in range(3):
        point = _add(point, point)
    return _equal(point, _NEUTRAL)


_base = _decode_point((4 * pow(5, _P - 2, _P) % _P).to_bytes(32, "little"))
assert _base is not None
_BASE: _Point = _base

Check = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) to whether it is good; whoever has a faster library may pass its own."""


# -------- keys and policies


class Key(NamedTuple):
    """A verifier key of C2SP signed-note. `kind` is 1 for a log (note signature), 4 for a witness (timestamped cosignature)."""

    name: str
    kind: int
    public: bytes

    @property
    def id(self) -> bytes:
        """The first bytes of the hash by which a signature line names its key."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}"


def read_key(text: str) -> Key:
    """The key of its text, `NAME+ID+BASE64`.

    Raises:
        UnusableError: It is not a key, or its id does not belong to it.
    """
    name, _, rest = text.strip().partition("+")
    number, _, encoded = rest.partition("+")
    data = _base64(encoded)
    if not name or data is None or len(data) != 33 or data[0] not in (1, 4) or any(letter.isspace() for letter in name):
        raise UnusableError("not a key: expected NAME+8 HEXADECIMAL DIGITS+BASE64 of an Ed25519 key of a log or witness")
    key = Key(name, data[0], data[1:])
    if number != key.id.hex():
        raise UnusableError(f"the key of `{name}` is damaged: its id and its bytes do not belong together")
    return key


class Trust(NamedTuple):
    """Whom the auditor believes: keys of logs, and witnesses with the rule that says how many of them must have cosigned.

    `groups` maps a name to how many of which members it takes; `quorum` is a name or `none`.
    """

    logs: tuple[Key, ...] = ()
    witnesses: Mapping[str, Key] = {}
    groups: Mapping[str, tuple[int, tuple[str, ...]]] = {}
    quorum: str = "none"
    theirs: bool = False

    def met(self, cosigners: Iterable[Key], name: str | None = None) -> bool:
        """Whether these witnesses are enough."""
        there = set(cosigners)
        wanted = self.quorum if name is None else name
        if wanted == "none":
            return True
        if wanted in self.witnesses:
            return self.witnesses[wanted] in there
        least, members = self.groups[wanted]
        return sum(self.met(there, member) for member in members) >= least

    def keys(self, origin: str) -> list[Key]:
        """The keys that may sign or cosign checkpoints of this log."""
        return [key for key in self.logs if key.name == origin] + list(self.witnesses.values())


def read_policy(text: str) -> Trust:
    """The policy of a C2SP tlog-policy file.

    Raises:
        UnusableError: With the number of the line.
    """
    reader = _Policy()
    for number, line in enumerate(text.split("\n"), 1):
        words = re.split(r"[ \t]+", line.strip(" \t"))
        if words[0] and not words[0].startswith("#"):
            try:
                reader.take(words)
            except UnusableError as error:
                raise UnusableError(f"policy, line {number}: {error}") from None
    return reader.trust()


class _Policy:
    """A policy as it is read, line by line: names must be defined above the line that uses them."""

    def __init__(self) -> None:
        self._logs: list[Key] = []
        self._witnesses: dict[str, Key] = {}
        self._groups: dict[str, tuple[int, tuple[str, ...]]] = {}
        self._members: set[str] = set()
        self._quorum = ""

    def take(self, words: Sequence[str]) -> None:
        """One line, in words."""
        if words[0] == "log" and len(words) in (2, 3):
            self._logs.append(_of_kind(read_key(words[1]), 1))
        elif words[0] == "witness" and len(words) in (3, 4):
            self._witnesses[self._fresh(words[1])] = _of_kind(read_key(words[2]), 4)
        elif words[0] == "group" and len(words) > 3:
            self._groups[self._fresh(words[1])] = self._group(words[2], words[3:])
        elif words[0] == "quorum" and len(words) == 2 and not self._quorum:
            self._quorum = words[1]
            if self._quorum not in ("none", *self._witnesses, *self._groups):
                raise UnusableError(f"`{self._quorum}` is not defined above")
        else:
            raise UnusableError("expected log, witness, group or one quorum")

    def trust(self) -> Trust:
        """The policy, when it is whole."""
        publics = [key.public for key in (*self._logs, *self._witnesses.values())]
        if len(set(publics)) != len(publics):
            raise UnusableError("policy: one key stands twice")
        if not self._quorum:
            raise UnusableError("policy: the line `quorum NAME` is missing (`quorum none` wants no witness)")
        return Trust(tuple(self._logs), self._witnesses, self._groups, self._quorum)

    def _fresh(self, name: str) -> str:
        if len(self._witnesses) + len(self._groups) >= MAX_NAMES:
            raise UnusableError(f"more than {MAX_NAMES} witnesses and groups")
        if name == "none" or name in self._witnesses or name in self._groups:
            raise UnusableError(f"the name `{name}` is taken")
        return name

    def _group(self, least: str, names: Sequence[str]) -> tuple[int, tuple[str, ...]]:
        for name in names:
            if name in self._members or name not in (*self._witnesses, *self._groups):
                raise UnusableError(f"`{name}` is not defined above, or is already a member of a group")
            self._members.add(name)
        number = int(least) if re.fullmatch("[1-9][0-9]{0,5}", least) else 0
        count = {"all": len(names), "any": 1}.get(least, number)
        if not 1 <= count <= len(names):
            raise UnusableError(f"`{least}`: expected all, any, or a number from 1 to {len(names)}")
        return count, tuple(names)


def _of_kind(key: Key, kind: int) -> Key:
    if key.kind != kind:
        raise UnusableError(f"`{key.name}` is the key of a {'witness' if key.kind == 4 else 'log'}")
    return key


# -------- notes and checkpoints


class Checkpoint(NamedTuple):
    """What a verified note says, who signed it, and which witnesses cosigned it when (seconds since 1970)."""

    origin: str
    size: int
    root: bytes
    signers: tuple[Key, ...]
    cosigners: Mapping[Key, int]
    label: str


def split_note(note: bytes, label: str) -> tuple[str, list[tuple[str, bytes]]]:
    """Text and signature lines (name, key id and signature) of a note, strictly (C2SP signed-note)."""
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError:
        raise BrokenError("malformed", f"{label} is not UTF-8") from None
    head, gap, tail = whole.rpartition("\n\n")
    if len(note) > MAX_NOTE_BYTES or not gap or not tail.endswith("\n") or any(letter < " " and letter != "\n" for letter in whole):
        raise BrokenError("malformed", f"{label} is not a signed note")
    lines = dict.fromkeys(tail[:-1].split("\n"))  # a line that stands there again says nothing new
    if len(lines) > MAX_SIGNATURES:
        raise BrokenError("malformed", f"{label} has more than {MAX_SIGNATURES} signatures")
    found = []
    for line in lines:
        dash, name, encoded = (*line.split(" "), "", "")[:3] if line.count(" ") == 2 else ("", "", "")
        data = _base64(encoded)
        if dash != "\u2014" or not name or "+" in name or any(letter.isspace() for letter in name) or data is None or len(data) < 5:
            raise BrokenError("malformed", f"{label} has a line among its signatures that is none")
        found.append((name, data))
    return head + "\n", found


def open_note(note: bytes, trust: Trust, label: str, check: Check = ed25519) -> Checkpoint:
    """The checkpoint of a note that a log of the policy signed.

    Raises:
        BrokenError: `malformed`, or `signature`.
    """
    text, lines = split_note(note, label)
    origin, size, root = _checkpoint_text(text, label)
    keys = {(key.name, key.id): key for key in trust.keys(origin)}
    signers: list[Key] = []
    cosigners: dict[Key, int] = {}
    for name, data in lines:
        key = keys.get((name, data[:4]))
        if key is None:
            continue  # unknown signers are ignored, as the format says
        if key.kind == 4:
            cosigners[key] = max(cosigners.get(key, 0), _cosigned(key, data[4:], text, label, check))
        elif check(key.public, text.encode(), data[4:]):
            signers.append(key)
        else:
            raise BrokenError("signature", f"{label}: the signature of `{key}` is wrong")
    if not signers:
        raise BrokenError("signature", f"{label} of the log `{origin}` is not signed by {_expected(trust)}")
    return Checkpoint(origin, size, root, tuple(signers), cosigners, label)


def _expected(trust: Trust) -> str:
    names = ", ".join(f"`{key}`" for key in trust.logs)
    return f"the key that you gave ({names}); was the key changed? give every one" if names else "any key that you gave"


def _checkpoint_text(text: str, label: str) -> tuple[str, int, bytes]:
    """Origin, size and root; lines of extensions may follow (C2SP tlog-checkpoint)."""
    lines = text[:-1].split("\n")
    root = _base64(lines[2]) if len(lines) >= 3 else None
    if len(lines) < 3 or not all(lines) or not re.fullmatch("0|[1-9][0-9]{0,15}", lines[1]) or root is None or len(root) != HASH:
        raise BrokenError("malformed", f"{label} is not a checkpoint: expected origin, size and root")
    return lines[0], int(lines[1]), root


def _cosigned(key: Key, data: bytes, text: str, label: str, check: Check) -> int:
    """When the witness cosigned (C2SP tlog-cosignature)."""
    moment = int.from_bytes(data[:8], "big")
    message = f"cosignature/v1\ntime {moment}\n{text}".encode()
    if len(data) != 72 or moment >= 2**63 or not check(key.public, message, data[8:]):
        raise BrokenError("signature", f"{label}: the cosignature of `{key}` is wrong")
    return moment


def _base64(text: str) -> bytes | None:
    """The bytes of standard base64 in its one canonical text; `None` when it is not."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        return None
    return data if base64.b64encode(data).decode() == text else None


# -------- events


def read_event(body: bytes) -> dict[str, Any]:
    """The event of its canonical bytes.

    Raises:
        ValueError: The bytes are not the canonical ones (RFC 8785), hold a float or an integer beyond 2^53 - 1, or are no object.
    """
    try:
        text = body.decode("utf-8")
        event = json.loads(text, parse_float=_refused, parse_constant=_refused, parse_int=_integer if _LONG.search(body) else None)
        again = _canonical(event) if _BEYOND.search(body) else _dumps(event)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(event, dict) or again != text:
        raise ValueError("not the canonical bytes of an object")
    return event


_dumps = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_LONG = re.compile(rb"[0-9]{16}")
# RFC 8785 sorts names by UTF-16, Python by code points: they differ where a character of U+E000 or above stands.
_BEYOND = re.compile(rb"[\xee-\xff]")


def _refused(_: str) -> NoReturn:
    raise ValueError("a number that is no integer")


def _integer(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > MAX_SIZE:
        raise ValueError("an integer beyond 2^53 - 1")
    return int(text)


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: name.encode("utf-16-be", "surrogatepass"))
        return "{" + ",".join(f"{_dumps(name)}:{_canonical(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return _dumps(value)


def seq_of(body: bytes) -> int | None:
    """The place that an event names itself; `None` when it names none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    place: object = found.get("seq") if isinstance(found, dict) else None
    return place if type(place) is int and abs(place) <= MAX_SIZE else None


def renumbered(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """What stands before and after the number that may be the place; more than one pair when `seq` is a name inside, too.

    Only some, so that an event full of such names does not keep the auditor busy for ever.
    """
    for found in islice(re.finditer(rb'"seq":(?:0|[1-9][0-9]*)(?=[,}])', body), MAX_NUMBERS):
        yield body[: found.start() + 6], body[found.end() :]


def stands_for(body: bytes, place: int, leaf: bytes) -> bool:
    """Whether this body is the event of that leaf, as it is or once it names that place again."""
    number = str(place).encode()
    return leaf_hash(body) == leaf or any(leaf_hash(before + number + after) == leaf for before, after in renumbered(body))


# -------- what is verified


Row = Mapping[str, Any]
"""What the columns of a store repeat of an event, by the names that these have in the event."""
_NO_ROW: Row = {}


class Source(Protocol):
    """What is verified: a bundle, or a live store. `bodies` may be asked for more than once and always gives the same."""

    origin: str
    tenant: str
    size: int | None
    """How many events the newest checkpoint covers, as the source says; `None` when it does not say."""
    first: int
    """Place of the first event that is there."""
    end: int | None
    """One more than the place of the last event, as the source says; `None` when it does not say."""
    selected: bool
    """Whether events were picked out, so that places are missing between them."""
    recorded: tuple[int, bytes] | None
    """Size and root that a store keeps of itself, unsigned, also over the events that are not sealed yet."""
    exact: bool
    """Whether there has to be one leaf for each event that the checkpoint covers; a live store has only the complete tiles."""

    def checkpoint(self) -> bytes:
        """The newest note."""

    def earlier(self) -> Iterable[tuple[str, bytes]]:
        """Older notes of the same log, each with a label that tells the auditor which it is."""

    def leaves(self) -> bytes:
        """The leaf hashes from 0 that the log claims, one after the other."""

    def bodies(self) -> Iterator[tuple[Row, bytes]]:
        """The events in their order: what a row says beside the bytes (nothing where there is no row), and the bytes."""


class Bundle:
    """A bundle in a directory, or in a zip of one."""

    exact = True
    recorded: tuple[int, bytes] | None = None

    def __init__(self, path: str) -> None:
        """Read what the bundle says of itself.

        Raises:
            UnusableError: There is nothing at `path`.
            BrokenError: What is there is no bundle.
        """
        self._path = Path(path)
        self._zip: zipfile.ZipFile | None = None
        self._prefix = ""
        if not self._path.exists():
            raise UnusableError(f"nothing is at `{path}`")
        if not self._path.is_dir():
            self._open_zip()
        about = self._about()
        self.origin, self.tenant, self.first, self._size = about["origin"], about["tenant"], about["first"], about["size"]
        self.size: int | None = self._size
        self.end: int | None = None if about.get("selection") else about["last"] + 1
        self.selected = bool(about.get("selection"))

    def _open_zip(self) -> None:
        try:
            self._zip = zipfile.ZipFile(self._path)
        except PermissionError:
            raise
        except (zipfile.BadZipFile, OSError, NotImplementedError, ValueError):
            raise BrokenError("malformed", "the bundle is neither a directory nor a readable zip file") from None
        names = self._zip.namelist()
        if len(set(names)) != len(names):
            raise BrokenError("malformed", "the zip file holds two files of one name")
        found = [name for name in names if name.rpartition("/")[2] == "bundle.json"]
        if len(found) != 1:
            raise BrokenError("malformed", "the zip file holds no bundle.json, or more than one")
        self._prefix = found[0][: -len("bundle.json")]

    def _about(self) -> dict[str, Any]:
        try:
            about = json.loads(self._small("bundle.json"))
        except (ValueError, RecursionError):
            about = None
        if not isinstance(about, dict) or about.get("apiVersion") != FORMAT:
            raise BrokenError("malformed", f"bundle.json does not say `{FORMAT}`")
        numbers = {name: about.get(name) for name in ("size", "first", "last")}
        least = {"last": -1}  # of a log without events
        if any(
            type(number) is not int or not least.get(name, 0) <= number <= MAX_SIZE for name, number in numbers.items()
        ) or not all(isinstance(about.get(name), str) for name in ("origin", "tenant")):
            raise BrokenError("malformed", "bundle.json: expected origin, tenant, and the numbers size, first and last")
        return about

    def checkpoint(self) -> bytes:
        """The newest note."""
        return self._small("checkpoint.txt")

    def policy(self) -> str:
        """The keys as the bundle names them: its own word."""
        return self._small("policy.txt").decode("utf-8", "replace")

    def earlier(self) -> Iterator[tuple[str, bytes]]:
        """The notes below checkpoints/, by size."""
        names = [name for name in self._listed("checkpoints") if re.fullmatch("[0-9]{1,16}[.]txt", name)]
        if len(names) > MAX_EARLIER_NOTES:
            raise BrokenError("malformed", "there are more earlier checkpoints than any gateway writes")
        for name in sorted(names, key=lambda each: int(each[:-4])):
            yield f"checkpoints/{name}", self._small(f"checkpoints/{name}")

    def leaves(self) -> bytes:
        """The whole of leaves.bin, at most what `size` wants and a little more, so that too much is noticed and never read."""
        with self._stream("leaves.bin") as stream:
            return stream.read(self._size * HASH + 1)

    def bodies(self) -> Iterator[tuple[Row, bytes]]:
        """The lines of events.jsonl."""
        with self._stream("events.jsonl") as stream:
            number = 0
            while line := stream.readline(MAX_EVENT_BYTES + 1):
                number += 1
                if len(line) > MAX_EVENT_BYTES:
                    raise BrokenError("malformed", f"line {number} of events.jsonl is longer than any event")
                if not line.endswith(b"\n"):
                    raise BrokenError("truncate", f"events.jsonl ends in the middle of its line {number}", self.first + number - 1)
                yield _NO_ROW, line[:-1]

    def _listed(self, folder: str) -> list[str]:
        if self._zip is None:
            home = self._path / folder
            return [path.name for path in home.iterdir()] if home.is_dir() else []
        prefix = f"{self._prefix}{folder}/"
        return [name[len(prefix) :] for name in self._zip.namelist() if name.startswith(prefix)]

    def _small(self, name: str) -> bytes:
        with self._stream(name) as stream:
            data = stream.read(MAX_NOTE_BYTES + 1)
        if len(data) > MAX_NOTE_BYTES:
            raise BrokenError("malformed", f"{name} is larger than any gateway writes it")
        return data

    def _stream(self, name: str) -> IO[bytes]:
        try:
            if self._zip is None:
                if (self._path / name).exists() and not (self._path / name).is_file():
                    raise BrokenError("malformed", f"{name} is not a regular file")
                return (self._path / name).open("rb")
            found = self._zip.getinfo(self._prefix + name)
            if found.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BrokenError("malformed", f"{name} is packed in a way that no gateway uses")
            return _Readable(self._zip.open(found), name)
        except (KeyError, FileNotFoundError, IsADirectoryError):
            raise BrokenError("malformed", f"the bundle has no {name}") from None
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OSError):
            if self._zip is None:
                raise
            raise BrokenError("malformed", f"{name} cannot be read from the zip file") from None


class _Readable(io.BufferedReader):
    """A file in a zip: what is damaged there is a finding, not a traceback."""

    def __init__(self, inner: IO[bytes], label: str) -> None:
        super().__init__(inner, 1 << 20)  # type: ignore[arg-type]  # a raw stream in all but its type
        self._label = label

    def read(self, size: int | None = -1, /) -> bytes:
        """As any reader."""
        return self._guarded(super().read, size)

    def readline(self, size: int | None = -1, /) -> bytes:
        """As any reader."""
        return self._guarded(super().readline, size)

    def _guarded(self, read: Callable[[int | None], bytes], size: int | None) -> bytes:
        try:
            return read(size)
        except (zipfile.BadZipFile, EOFError, OSError, zlib.error, ValueError):
            raise BrokenError("malformed", f"{self._label} is damaged in the zip file") from None


# -------- verification


class Report(NamedTuple):
    """The verdict. `findings` are empty when all is well; the first is the first bad place."""

    origin: str
    findings: tuple[Finding, ...]
    newest: Checkpoint | None = None
    trust: Trust = Trust()
    now: float = 0.0
    first: int = 0
    events: int = 0
    """Events that were read, from place `first` on."""
    unsealed: int = 0
    earlier: int = 0
    outside: int = 0
    selected: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings


class Question(NamedTuple):
    """How to verify: whom to believe, notes that were kept elsewhere, how old the newest cosignature may be, and by which clock.

    `part` allows that only some of the events are there.
    """

    trust: Trust
    now: float
    against: Sequence[tuple[str, bytes]] = ()
    max_age: float | None = None
    part: bool = False
    check: Check = ed25519
    progress: Callable[[int], None] | None = None


def verify(source: Source, question: Question) -> Report:
    """The verdict on `source`."""
    return _Verification(source, question).report()


class _Walked(NamedTuple):
    """What one pass over the events found.

    `events` were read. `differs` is the first place whose event is not that of the claimed leaf; `odd` is the first finding
    of form before that; `tail` are the leaves of the events beyond the claimed ones.
    """

    events: int
    differs: int | None
    odd: Finding | None
    tail: bytes
    retained: int


class _Verification:
    """One verification, from the signatures inwards."""

    def __init__(self, source: Source, question: Question) -> None:
        self.source, self._ask = source, question
        self._findings: list[Finding] = []
        self._leaves = memoryview(b"")
        self.known = 0

    def report(self) -> Report:
        source = self.source
        try:
            return self._judged()
        except BrokenError as error:
            return Report(source.origin, (error.finding,), trust=self._ask.trust, now=self._ask.now)

    def _judged(self) -> Report:
        source, ask = self.source, self._ask
        newest = self._opened(source.checkpoint(), "checkpoint.txt")
        if newest.origin != source.origin:
            raise BrokenError("malformed", f"the bundle says that it is of the log `{source.origin}`, its checkpoint is of another")
        inside = [self._opened(note, label) for label, note in source.earlier()]
        outside = [self._opened(note, label) for label, note in ask.against]
        _one_history([newest, *inside, *outside])
        if source.size is not None and source.size > newest.size:  # so that no more is read than was signed
            raise BrokenError("malformed", f"bundle.json says {source.size} events, the checkpoint {newest.size}")
        leaves = source.leaves()
        self._leaves, self.known = memoryview(leaves), len(leaves) // HASH
        if len(leaves) % HASH or self.known > newest.size:
            raise BrokenError("malformed", f"leaves.bin does not hold one leaf for each of the {newest.size} signed events")
        if source.first > self.known:
            raise BrokenError("malformed", "leaves of events that are not in the bundle are missing")
        walked = self._selected(newest) if source.selected else self._walked(newest.size)
        self._judge_tree(newest, inside, outside, walked)
        self._judge_witnesses(max((*outside, newest), key=lambda note: (note.size, len(note.cosigners))))
        end = source.first + walked.events
        unsealed = 0 if source.selected else max(0, end - newest.size)
        found = tuple(sorted(self._findings, key=lambda each: (each.seq is None, each.seq or 0)))
        return Report(
            source.origin,
            found,
            newest,
            ask.trust,
            ask.now,
            source.first,
            walked.events,
            unsealed,
            len(inside),
            len(outside),
            source.selected,
        )

    def _opened(self, note: bytes, label: str) -> Checkpoint:
        opened = open_note(note, self._ask.trust, label, self._ask.check)
        if opened.origin != self.source.origin:
            raise BrokenError("malformed", f"{label} is of the log `{opened.origin}`, not of `{self.source.origin}`")
        return opened

    # The pass over the events.

    def leaf(self, place: int) -> bytes:
        """The leaf that the log claims for this place."""
        return bytes(self._leaves[place * HASH : (place + 1) * HASH])

    def _walked(self, signed: int) -> _Walked:
        place = self.source.first
        differs, odd, tail, retained = None, None, bytearray(), 0
        for row, body in self.source.bodies():
            leaf = leaf_hash(body)
            if place >= self.known:
                tail += leaf
            elif differs is None and leaf != self.leaf(place):
                differs = place
            if differs is None and odd is None:
                odd, kept = self._form(body, place, row)
                # What nobody has signed yet excuses nothing: anybody can write that into a bundle.
                retained = max(retained, kept if place < signed or not self.source.exact else 0)
            place += 1
            if self._ask.progress is not None and place % PROGRESS_EVERY == 0:
                self._ask.progress(place)
        return _Walked(place - self.source.first, differs, odd, bytes(tail), retained)

    def _form(self, body: bytes, place: int, row: Row) -> tuple[Finding | None, int]:
        """What is wrong with an event in itself; and up to which place it says that older ones were dropped by retention."""
        try:
            event = read_event(body)
        except ValueError as error:
            return Finding("malformed", place, f"event {place}: {error}"), 0
        if event.get("origin") != self.source.origin or event.get("tenant") != self.source.tenant:
            return Finding("malformed", place, f"event {place} says that it is of another log or tenant"), 0
        if type(event.get("seq")) is not int or event["seq"] != place:
            return self._misnumbered(place), 0
        for name, value in row.items():
            if event.get(name) != value:
                return Finding("edit", place, f"event {place} is whole, but `{name}` of the row that it is kept in is another"), 0
        dropped = event.get("first") if event.get("type") == "retention" else 0
        return None, dropped if type(dropped) is int else 0

    def _selected(self, newest: Checkpoint) -> _Walked:
        """Events that were picked out: each stands for itself, at the place that it names."""
        last, count, odd = -1, 0, None
        for _, body in self.source.bodies():
            place = seq_of(body)
            if odd is None and (place is None or place <= last):
                odd = Finding("malformed", None, f"event {count + 1} of the selection names no place after the one before")
            elif odd is None and place is not None:
                odd = self._picked(body, place, newest)
                last = place
            count += 1
        return _Walked(count, None, odd, b"", 0)

    def _picked(self, body: bytes, place: int, newest: Checkpoint) -> Finding | None:
        if place >= newest.size:
            return Finding("insert", place, f"event {place} is beyond the {newest.size} that the checkpoint covers")
        if place >= self.known or leaf_hash(body) != self.leaf(place):
            return Finding("edit", place, f"event {place} is not the one that the log signed")
        return self._form(body, place, _NO_ROW)[0]

    # The judgement.

    def _judge_tree(self, newest: Checkpoint, inside: Sequence[Checkpoint], outside: Sequence[Checkpoint], walked: _Walked) -> None:
        notes = sorted([*inside, newest], key=lambda note: note.size)
        every, recorded = [*notes, *outside], self.source.recorded
        sizes = [note.size for note in every] + ([recorded[0]] if recorded else [])
        found = roots(self._claimed(walked), sizes)
        if found.get(newest.size) == newest.root:
            self._judge_events(newest, walked)
            if recorded and not self._findings and found.get(recorded[0]) != recorded[1]:
                text = f"the events from {newest.size} on, which are not sealed yet, are not those that were recorded"
                self._findings.append(Finding("edit", newest.size, text, recorded[0]))
            self._judge_notes(every, found)
            return
        good = max((note.size for note in every if found.get(note.size) == note.root), default=0)
        wrong = min(
            (note.size for note in every if note.size > good and found.get(note.size, note.root) != note.root), default=newest.size
        )
        self._narrowed(newest, walked, good, wrong, reached=newest.size in found)

    def _claimed(self, walked: _Walked) -> Iterator[bytes]:
        """The leaves that the log claims, and then those of the events after them."""
        for source in (self._leaves, memoryview(walked.tail)):
            for at in range(0, len(source), HASH):
                yield bytes(source[at : at + HASH])

    def _judge_events(self, newest: Checkpoint, walked: _Walked) -> None:
        """The claimed leaves are the signed ones: find the first event that is not what they say."""
        source, end = self.source, self.source.first + walked.events
        if self.known != newest.size and source.exact:
            self._findings.append(Finding("malformed", None, f"leaves.bin holds {self.known} leaves of {newest.size}"))
        if walked.differs is not None:
            self._findings.append(self._classified(walked.differs, _ByLeaf(self)))
        elif source.size not in (None, newest.size):
            self._findings.append(
                Finding("malformed", None, f"bundle.json says {source.size} events, the checkpoint {newest.size}")
            )
        elif walked.odd is not None:
            self._findings.append(walked.odd)
        elif source.end is not None and end != source.end:
            kind = "truncate" if end < source.end else "malformed"
            self._findings.append(
                Finding(kind, min(end, source.end), f"there are events up to {end - 1}, not {source.end - 1} as stated")
            )
        elif not self._ask.part and (source.selected or end < newest.size):
            text = f"there are only events {source.first} to {end - 1} of the {newest.size} that were signed"
            self._findings.append(_missing("truncate", end, text, selected=source.selected))
        elif not self._ask.part and source.first > walked.retained:
            text = f"the events before {source.first} are not here, and none that was signed says that retention dropped them"
            self._findings.append(_missing("delete", 0, text, selected=False))

    def _judge_notes(self, every: Sequence[Checkpoint], found: Mapping[int, bytes]) -> None:
        for note in every:
            if note.size not in found:
                text = f"{note.label} covers {note.size} events; what is here ends before: an older state"
                self._findings.append(Finding("rollback", max(found, default=0), text, note.size))
            elif found[note.size] != note.root:
                text = f"{note.label} was signed for another history than this, somewhere in its first {note.size} events"
                self._findings.append(Finding("fork", None, text, note.size))

    def _narrowed(self, newest: Checkpoint, walked: _Walked, good: int, wrong: int, *, reached: bool) -> None:
        """The claimed leaves are not the signed ones: the place lies in [good, wrong), between two notes."""
        end = self.source.first + walked.events
        if walked.differs is not None and self.source.first == 0:
            theirs = roots((leaf_hash(body) for _, body in self.source.bodies()), [newest.size])
            if theirs.get(newest.size) == newest.root:
                text = f"leaves.bin is damaged at leaf {walked.differs}; the events themselves are those that were signed"
                self._findings.append(Finding("malformed", walked.differs, text))
                return
        if walked.differs is not None:
            named = self._classified(walked.differs, _ByLeaf(self))
            # Leaves that nobody signed are still believed where they know an event at another place: no chance makes such a hash.
            if walked.differs < good or named.kind != "edit":
                doubt = f"; of those from {good} on, others may have been changed too" if walked.differs > good else ""
                self._findings.append(named._replace(text=named.text + doubt))
                return
        if walked.odd is not None and (walked.odd.seq or 0) < wrong:
            self._findings.append(walked.odd)
            return
        if walked.differs is None and not reached and wrong == newest.size:
            text = f"{newest.size} events were signed, and there are {end}; a checkpoint vouches for the first {good} of them"
            self._findings.append(Finding("truncate", end, text, newest.size))
            return
        kind = "delete" if end < newest.size and not self._ask.part else "edit"
        place = good if walked.differs is None else max(good, walked.differs)
        text = f"the events from {good} to {wrong - 1} are not those that were signed; the leaves were changed with them"
        self._findings.append(Finding(kind, place, text, wrong))

    def _judge_witnesses(self, newest: Checkpoint) -> None:
        trust, limit = self._ask.trust, self._ask.max_age
        if not trust.met(newest.cosigners):
            text = f"the checkpoint of {newest.size} events has not the cosignatures that the policy wants"
            self._findings.append(Finding("signature", None, text))
        elif limit is not None and not trust.met(
            key for key, moment in newest.cosigners.items() if -CLOCK_SKEW_SECONDS <= self._ask.now - moment <= limit
        ):
            text = f"the cosignatures of the newest checkpoint are older than {limit:g} seconds, or from the future"
            self._findings.append(Finding("stale", None, text))

    # The kind of the first difference. A body "is" an event when its hash says so, also after its number has been put right.

    def _misnumbered(self, place: int) -> Finding:
        found = self._classified(place, _ByNumber(self))
        if found.kind == "insert" and seq_of(_ByNumber(self).body_at(place)) == place - 1:
            text = f"two events name the place {place - 1}: one of them was put in"
            return Finding("insert", place - 1, text, place)
        return found

    def _classified(self, place: int, by: _ByLeaf | _ByNumber) -> Finding:
        """What happened at `place`, told by which event stands there now and where that of this place has gone."""
        body = by.body_at(place)
        is_now = by.place_of(body, place)
        has_gone = by.found_after(place, place)
        again = is_now is not None and is_now > place and by.found_after(is_now, place) is not None
        if is_now is not None and is_now > place and not again and has_gone is None:
            gone = f"event {place} is" if is_now == place + 1 else f"events {place} to {is_now - 1} are"
            return Finding("delete", place, f"{gone} gone; event {is_now} stands there", is_now)
        if is_now is not None and is_now > place and not again and has_gone is not None:
            return Finding("swap", place, f"event {is_now} stands where event {place} was; that one stands at {has_gone}", has_gone)
        if has_gone is not None:
            what = "something that the log never signed" if is_now is None else f"a copy of event {is_now}"
            return Finding("insert", place, f"{what} stands where event {place} was; that one stands at {has_gone}", has_gone)
        return Finding("edit", place, f"event {place} is not the one that the log signed")


class _ByLeaf:
    """Tells events by the leaves that were signed."""

    def __init__(self, of: _Verification) -> None:
        self._of = of

    def body_at(self, place: int) -> bytes:
        """The event that stands at `place` now."""
        return next(body for at, body in _placed(self._of.source) if at == place)

    def place_of(self, body: bytes, place: int) -> int | None:
        """Which of the signed events this is: looked for after `place`, then before."""
        verification, leaf, parts = self._of, leaf_hash(body), list(renumbered(body))
        if len(parts) * len(body) * verification.known > MAX_SEARCHED_BYTES:
            parts = []  # it would take minutes; the place is named all the same
        for at in chain(range(place + 1, verification.known), range(place)):
            signed = verification.leaf(at)
            if signed == leaf or any(leaf_hash(b"%b%d%b" % (before, at, after)) == signed for before, after in parts):
                return at
        own: int | None = seq_of(body)  # an event after the signed ones may have moved up
        return own if own is not None and own >= verification.known else None

    def found_after(self, event: int, place: int) -> int | None:
        """Where after `place` the signed event of this number stands."""
        if event >= self._of.known:
            return None
        leaf = self._of.leaf(event)
        return next((at for at, body in _placed(self._of.source) if at > place and stands_for(body, event, leaf)), None)


class _ByNumber:
    """Tells events by the places that they name, where leaves say nothing."""

    def __init__(self, of: _Verification) -> None:
        self._of = of

    def body_at(self, place: int) -> bytes:
        """The event that stands at `place` now."""
        return next(body for at, body in _placed(self._of.source) if at == place)

    def place_of(self, body: bytes, _: int) -> int | None:
        """The number that it names."""
        return seq_of(body)

    def found_after(self, event: int, place: int) -> int | None:
        """Where after `place` an event names this number."""
        return next((at for at, body in _placed(self._of.source) if at > place and seq_of(body) == event), None)


def _placed(source: Source) -> Iterator[tuple[int, bytes]]:
    return ((place, body) for place, (_, body) in enumerate(source.bodies(), source.first))


def _missing(kind: str, place: int, text: str, *, selected: bool) -> Finding:
    what = "a selection of events" if selected else text
    return Finding(kind, place, f"{what}; if you asked for a part, say so with --part")


def _one_history(notes: Sequence[Checkpoint]) -> None:
    """Refuse two notes that contradict each other already by themselves."""
    known: dict[int, Checkpoint] = {}
    for note in notes:
        other = known.setdefault(note.size, note)
        if other.root != note.root:
            text = f"{other.label} and {note.label} are both signed for {note.size} events, with different roots"
            raise BrokenError("fork", text)


# -------- proofs


class Proof(NamedTuple):
    """What a C2SP tlog-proof holds: the place of the event, the path to the root, and the note."""

    place: int
    path: tuple[bytes, ...]
    note: bytes


def read_proof(data: bytes) -> Proof:
    """The proof of its text.

    Raises:
        BrokenError: `malformed`.
    """
    head, _, note = data.partition(b"\n\n")
    lines = head.decode("utf-8", "replace").split("\n")
    if lines[0] == "c2sp.org/tlog-proof@v1":
        rest = lines[2:] if len(lines) > 1 and lines[1].startswith("extra ") else lines[1:]
        path = _hashes(rest[1:])
        if rest and re.fullmatch("index (0|[1-9][0-9]{0,15})", rest[0]) and path is not None and note:
            return Proof(int(rest[0][6:]), path, note)
    raise BrokenError("malformed", "the proof is not a C2SP tlog-proof")


def verify_proof(event: bytes, proof: bytes, question: Question) -> Report:
    """Whether the log of the policy holds this event, at the place that the proof says."""
    try:
        read = read_proof(proof)
        note = open_note(read.note, question.trust, "the checkpoint of the proof", question.check)
        body = event[:-1] if event.endswith(b"\n") else event
        findings = _proven(body, read, note, question)
    except BrokenError as error:
        return Report("", (error.finding,), trust=question.trust, now=question.now)
    return Report(note.origin, findings, note, question.trust, question.now, read.place, 1)


def _proven(body: bytes, proof: Proof, note: Checkpoint, question: Question) -> tuple[Finding, ...]:
    if not included(leaf_hash(body), proof.place, note.size, proof.path, note.root):
        return (Finding("edit", proof.place, f"the proof does not lead from this event to the root over {note.size} events"),)
    try:
        stated = read_event(body)
    except ValueError as error:
        return (Finding("malformed", proof.place, f"the event: {error}"),)
    if (stated.get("origin"), stated.get("seq")) != (note.origin, proof.place):
        return (Finding("malformed", proof.place, "the event says that it is of another log or place"),)
    return _witnessed(note, question)


def read_consistency(data: bytes) -> tuple[int, tuple[bytes, ...]]:
    """Older size and hashes of a consistency proof, in the form in which witnesses take it (C2SP tlog-witness).

    Raises:
        BrokenError: `malformed`.
    """
    lines = data.partition(b"\n\n")[0].decode("utf-8", "replace").rstrip("\n").split("\n")
    path = _hashes(lines[1:])
    if not re.fullmatch("old (0|[1-9][0-9]{0,15})", lines[0]) or path is None:
        raise BrokenError("malformed", "the proof is not one of consistency: expected `old SIZE` and hashes")
    return int(lines[0][4:]), path


def verify_consistency(
    old: bytes, new: bytes, question: Question, *, proof: bytes | None = None, source: Source | None = None
) -> Report:
    """Whether the log only grew between two notes, by a proof or by the leaves of a bundle."""
    try:
        older = open_note(old, question.trust, "the old note", question.check)
        newer = open_note(new, question.trust, "the new note", question.check)
        findings = _grew(older, newer, proof, source) or _witnessed(newer, question)
    except BrokenError as error:
        return Report("", (error.finding,), trust=question.trust, now=question.now)
    return Report(newer.origin, findings, newer, question.trust, question.now, earlier=1)


def _grew(older: Checkpoint, newer: Checkpoint, proof: bytes | None, source: Source | None) -> tuple[Finding, ...]:
    if older.origin != newer.origin:
        return (Finding("malformed", None, "the two notes are of different logs"),)
    if older.size > newer.size:
        return (Finding("rollback", None, f"the old note covers {older.size} events, the new one only {newer.size}"),)
    if older.size == newer.size and older.root != newer.root:
        return (Finding("fork", None, f"both notes are signed for {newer.size} events, with different roots", newer.size),)
    if proof is not None:
        size, path = read_consistency(proof)
        if size == older.size and consistent(size, older.root, newer.size, newer.root, path):
            return ()
        return (Finding("malformed", None, f"the proof does not lead from {older.size} events to {newer.size}"),)
    assert source is not None, "a proof or leaves"
    if source.size != newer.size:
        return (Finding("malformed", None, f"the bundle is of {source.size} events, the new note of {newer.size}"),)
    data = source.leaves()
    found = roots((data[at : at + HASH] for at in range(0, len(data) - HASH + 1, HASH)), [older.size, newer.size])
    if found.get(newer.size) != newer.root:
        return (Finding("malformed", None, "the leaves of the bundle are not those of the new note"),)
    if found.get(older.size) != older.root:
        return (
            Finding(
                "fork", None, f"the log of the new note does not begin with the {older.size} events of the old one", older.size
            ),
        )
    return ()


def _witnessed(note: Checkpoint, question: Question) -> tuple[Finding, ...]:
    trust, limit = question.trust, question.max_age
    if not trust.met(note.cosigners):
        return (Finding("signature", None, f"the checkpoint of {note.size} events has not the cosignatures that the policy wants"),)
    fresh = [key for key, moment in note.cosigners.items() if -CLOCK_SKEW_SECONDS <= question.now - moment <= (limit or 0)]
    if limit is not None and not trust.met(fresh):
        return (Finding("stale", None, f"the cosignatures are older than {limit:g} seconds, or from the future"),)
    return ()


def _hashes(lines: Sequence[str]) -> tuple[bytes, ...] | None:
    found = [_base64(line) for line in lines]
    return tuple(each for each in found if each is not None and len(each) == HASH) if all(map(_is_hash, found)) else None


def _is_hash(data: bytes | None) -> bool:
    return data is not None and len(data) == HASH


# -------- what is printed


def document(report: Report) -> dict[str, Any]:
    """The verdict for a program."""
    newest = report.newest
    return {
        "schema": REPORT,
        "ok": report.ok,
        "origin": report.origin,
        "findings": [
            {"kind": kind, "seq": seq, "upto": upto, "text": text, "means": MEANINGS[kind]}
            for kind, seq, text, upto in report.findings
        ],
        "size": None if newest is None else newest.size,
        "root": None if newest is None else base64.b64encode(newest.root).decode(),
        "signed_by": [] if newest is None else [str(key) for key in newest.signers],
        "cosigned_by": [] if newest is None else [{"key": str(key), "at": _moment(at)} for key, at in newest.cosigners.items()],
        "events": {"first": report.first, "count": report.events, "unsealed": report.unsealed, "selected": report.selected},
        "checkpoints": {"earlier": report.earlier, "outside": report.outside},
        "keys_of_the_bundle": report.trust.theirs,
    }


def told(report: Report) -> str:
    """The verdict for a person, at most 80 columns."""
    lines = _told_well(report) if report.ok else _told_badly(report)
    if report.trust.theirs:
        lines += ["", *_wrapped("The keys were taken from the bundle itself, so this only says that it agrees with itself: "
                                "whoever can write the bundle can write the keys. Bring your own with --key.")]  # fmt: skip
    return "\n".join(lines)


def _told_well(report: Report) -> list[str]:
    newest = report.newest
    if newest is None:
        return [f"VALID: nothing was recorded yet in {report.origin}"]
    events = f"{report.events} checked" + ("" if report.selected or not report.events else f", {_places(report)}")
    whole = not report.selected and report.first == 0 and report.events >= newest.size
    lines = ["VALID: nothing was changed, added or removed" + ("" if whole else ", as far as these events go"), ""]
    if report.events:
        lines += _field("events", events + f" (the log signed {newest.size})")
    lines += _fields(report, newest)
    if report.earlier or report.outside:
        lines += _field("older notes", f"{report.earlier + report.outside}, all of the same history")
    if report.unsealed:
        lines += _field("not sealed", f"{report.unsealed} newer events, which nobody has signed yet: checked in form only")
    return lines


def _places(report: Report) -> str:
    last = report.first + report.events - 1
    return f"{report.first} to {last}" if report.events > 1 else f"number {last}"


def _told_badly(report: Report) -> list[str]:
    first, *others = report.findings
    where = "" if first.seq is None else f" at event {first.seq}"
    lines = [f"INVALID: {first.kind}{where}", "", *_field("what", first.text), *_field("means", MEANINGS[first.kind])]
    for each in others[:MOST_TOLD]:
        lines += _field("also", f"{each.kind}: {each.text}")
    if len(others) > MOST_TOLD:
        lines += _field("also", f"{len(others) - MOST_TOLD} more; --json lists them")
    return lines + ([] if report.newest is None else _fields(report, report.newest))


def _fields(report: Report, newest: Checkpoint) -> list[str]:
    lines = _field("log", newest.origin) + _field("checkpoint", f"{newest.size} events")
    lines += _field("root", base64.b64encode(newest.root).decode())
    for key in newest.signers:
        lines += _field("signed by", str(key))
    for key, moment in newest.cosigners.items():
        lines += _field("cosigned by", f"{key} at {_moment(moment)} ({report.now - moment:.0f} s ago)")
    if not newest.cosigners:
        lines += _field("cosigned by", "nobody that you named: an old copy would look the same as the newest state")
    return lines


def _moment(seconds: int) -> str:
    """The time in UTC; seconds beyond any calendar as they are."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"{seconds} seconds after 1970"


def _field(name: str, text: str) -> list[str]:
    first, *rest = _wrapped(text, _columns() - 16) or [""]
    return [f"  {name:<13} {first}", *(" " * 16 + line for line in rest)]


def _columns() -> int:
    """The width of the terminal, or of the variable COLUMNS, but no more than 80."""
    return min(80, max(40, shutil.get_terminal_size((80, 24)).columns))


def _wrapped(text: str, width: int = 0) -> list[str]:
    plain = "".join(letter if letter.isprintable() else "?" for letter in text)
    return textwrap.wrap(plain, width or _columns(), break_on_hyphens=False)


# -------- the command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code says the verdict."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    commands = {"verify": _bundle, "verify-proof": _proof, "consistency": _consistency}
    name = given.pop(0) if given and given[0] in commands else "verify"
    try:
        report, as_json = commands[name](given)
    except UnusableError as error:
        return _unusable(str(error))
    except OSError as error:
        return _unusable(f"cannot read `{error.filename}`: {error.strerror}")
    except Exception as error:  # whatever it is: exit code 1 is a verdict, and there is none
        return _unusable(f"this could not be verified ({type(error).__name__}): it is too large, or not what this program knows")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not know every letter
    print(json.dumps(document(report), indent=2) if as_json else told(report))
    return VALID if report.ok else INVALID


def _unusable(text: str) -> int:
    print("aegis-verify: " + "".join(letter if letter.isprintable() else "?" for letter in text), file=sys.stderr)
    return UNUSABLE


def _parser(name: str, purpose: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"aegis-verify{name}", description=purpose, allow_abbrev=False)
    parser.add_argument("--key", action="append", default=[], metavar="VKEY", help="the key of the log, or its file")
    parser.add_argument("--witness", action="append", default=[], metavar="VKEY", help="a witness that must have cosigned")
    parser.add_argument("--policy", metavar="FILE", help="keys, witnesses and quorum as a C2SP tlog-policy")
    parser.add_argument("--max-age", type=float, metavar="SECONDS", help="how old the witnesses' cosignatures may be")
    parser.add_argument("--json", action="store_true", help="the verdict as JSON")
    return parser


def _bundle(given: Sequence[str]) -> tuple[Report, bool]:
    parser = _parser("", "Verify a bundle. Also: aegis-verify verify-proof, aegis-verify consistency.")
    parser.add_argument("bundle", metavar="BUNDLE", help="a directory, or a zip file of it")
    parser.add_argument(
        "--against", action="append", default=[], metavar="NOTE", help="a checkpoint that you kept; may be repeated"
    )
    parser.add_argument("--part", action="store_true", help="accept a bundle that holds only some of the events")
    parser.add_argument("--trust-bundle-keys", action="store_true", help="believe the keys in the bundle (proves little)")
    asked = parser.parse_args(given)
    notes = [(path, Path(path).read_bytes()) for path in asked.against]
    try:
        bundle = Bundle(asked.bundle)
        own = read_policy(bundle.policy()) if asked.trust_bundle_keys else None
    except BrokenError as error:
        return Report("", (error.finding,)), asked.json
    trust = own._replace(theirs=True) if own is not None else _trusted(asked)
    question = Question(trust, time.time(), notes, _max_age(asked.max_age, trust), asked.part, progress=_progress())
    return verify(bundle, question), asked.json


def _proof(given: Sequence[str]) -> tuple[Report, bool]:
    parser = _parser(" verify-proof", "Verify that a log holds an event.")
    parser.add_argument("event", metavar="EVENT", help="a file with the exact bytes of the event")
    parser.add_argument("proof", metavar="PROOF", help="a file with its tlog-proof")
    asked = parser.parse_args(given)
    trust = _trusted(asked)
    question = Question(trust, time.time(), max_age=_max_age(asked.max_age, trust))
    return verify_proof(Path(asked.event).read_bytes(), Path(asked.proof).read_bytes(), question), asked.json


def _consistency(given: Sequence[str]) -> tuple[Report, bool]:
    parser = _parser(" consistency", "Verify that a log only grew between two checkpoints.")
    parser.add_argument("old", metavar="OLDNOTE")
    parser.add_argument("new", metavar="NEWNOTE")
    parser.add_argument("bundle", metavar="BUNDLE", nargs="?", help="a bundle whose leaves show it")
    parser.add_argument("--proof", metavar="FILE", help="a consistency proof instead of a bundle")
    asked = parser.parse_args(given)
    if (asked.bundle is None) == (asked.proof is None):
        raise UnusableError("give a BUNDLE or --proof FILE")
    trust = _trusted(asked)
    question = Question(trust, time.time(), max_age=_max_age(asked.max_age, trust))
    old, new = Path(asked.old).read_bytes(), Path(asked.new).read_bytes()
    if asked.proof is not None:
        return verify_consistency(old, new, question, proof=Path(asked.proof).read_bytes()), asked.json
    try:
        bundle = Bundle(asked.bundle)
    except BrokenError as error:
        return Report("", (error.finding,)), asked.json
    return verify_consistency(old, new, question, source=bundle), asked.json


def trusted(keys: Sequence[str], witnesses: Sequence[str], policy: str | None) -> Trust:
    """Whom to believe: the policy, where `keys` take the place of its logs; `witnesses` have to have cosigned as well.

    Raises:
        UnusableError: Nobody would be believed, or a key is none.
    """
    trust = Trust() if policy is None else read_policy(policy)
    logs = tuple(_of_kind(read_key(key), 1) for key in keys) or trust.logs
    if not logs:
        raise UnusableError("whom shall I believe? give the log's key with --key, or a policy with --policy")
    named = {f"--witness {number}": _of_kind(read_key(key), 4) for number, key in enumerate(witnesses, 1)}
    if not named:
        return trust._replace(logs=logs)
    members = (*named, *(() if trust.quorum == "none" else (trust.quorum,)))
    groups = {**trust.groups, "--witness": (len(members), members)}
    return Trust(logs, {**trust.witnesses, **named}, groups, "--witness")


def _trusted(asked: argparse.Namespace) -> Trust:
    policy = None if asked.policy is None else _text(asked.policy)
    return trusted([_key_text(key) for key in asked.key], [_key_text(key) for key in asked.witness], policy)


def _key_text(given: str) -> str:
    """The key itself, or what stands in the file of that name."""
    return given if "+" in given or not Path(given).is_file() else _text(given)


def _text(path: str) -> str:
    try:
        return Path(path).read_text("utf-8")
    except UnicodeDecodeError:
        raise UnusableError(f"`{path}` is not text") from None


def _max_age(seconds: float | None, trust: Trust) -> float | None:
    if seconds is not None and trust.quorum == "none":
        raise UnusableError(
            "--max-age needs a witness (--witness, or a quorum in --policy): only a fresh cosignature tells the age"
        )
    if seconds is not None and not seconds >= 0:
        raise UnusableError("--max-age: expected seconds, 0 or more")
    return seconds


def _progress() -> Callable[[int], None] | None:
    """Tell a person how far it is; a file or program that reads along is told nothing."""
    if not sys.stderr.isatty():
        return None
    return lambda place: print(f"\r{place} events", end="\r", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
