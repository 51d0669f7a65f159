"""Signed notes: a text and the lines of those who signed it, as logs and witnesses exchange them. Pure: the time is the caller's.

A note is UTF-8 text that ends in a newline, an empty line, and one or more signature lines, each an em dash, a name and the base64
of a key id (4 bytes) with a signature. Two algorithms are known: Ed25519 over the text (0x01), and the cosignature of a witness
(0x04), which signs the time too and carries it.

parse     Reads what has the form and nothing else, so that a note has one text: no control characters, canonical base64.
verified  Says who signed. Lines of keys that are not asked for are ignored; a bad signature of a key that is asked for refuses the
          whole note, and so does a note that none of them signed.

A text means nothing before `verified` has answered.

Source: C2SP signed-note v1.0.0; C2SP tlog-cosignature v1.0.0 (Ed25519).
"""

import base64
import binascii
import re
from collections.abc import Iterable

from msgspec import Struct

from aegis.crypto import jwk
from aegis.crypto.digest import sha256_raw
from aegis.errors import NoteError

ED25519 = 0x01
COSIGNATURE = 0x04
MAX_NOTE = 262_144
MAX_SIGNATURES = 64
ID_BYTES = 4
TIME_BYTES = 8
MAX_TIME = 2**63 - 1
PREFIX = "\u2014 "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


class Verifier(Struct, frozen=True):
    """A key that notes may be signed with: one name, one algorithm, one public key."""

    name: str
    key: jwk.PublicKey
    algorithm: int = ED25519

    @property
    def id(self) -> bytes:
        """The four bytes that signature lines carry: a hint, not a digest to trust."""
        return sha256_raw(self.name.encode() + b"\n" + self._material)[:ID_BYTES]

    @property
    def vkey(self) -> str:
        """The key as people pass it around: NAME+ID+BASE64."""
        return f"{self.name}+{self.id.hex()}+{encode(self._material)}"

    @property
    def _material(self) -> bytes:
        return bytes([self.algorithm]) + jwk.decode(self.key.x)


class Signature(Struct, frozen=True):
    """One signature line; `value` is what follows the key id. It says nothing before it is verified."""

    name: str
    id: bytes
    value: bytes

    @property
    def line(self) -> str:
        """The line with its newline."""
        return f"{PREFIX}{self.name} {encode(self.id + self.value)}\n"


class Note(Struct, frozen=True):
    """A text, which ends in a newline, and its signature lines."""

    text: str
    signatures: tuple[Signature, ...]

    @property
    def data(self) -> bytes:
        """The whole note."""
        return (self.text + "\n" + "".join(signature.line for signature in self.signatures)).encode()

    def having(self, lines: Iterable[Signature]) -> "Note":
        """The same note with these lines, each in the place of an older one of the same key."""
        found = {(line.name, line.id): line for line in (*self.signatures, *lines)}
        return Note(self.text, tuple(found.values()))


class Signer(Struct, frozen=True):
    """Who signed a note, proven. `time` is that of a cosignature, in seconds since the epoch."""

    verifier: Verifier
    time: int | None = None


def vkey(name: str, key: jwk.PublicKey, algorithm: int = ED25519) -> str:
    """The text of a key that others are to verify with."""
    return Verifier(named(name), key, algorithm).vkey


def parse_vkey(text: str) -> Verifier:
    """The key of NAME+ID+BASE64.

    Raises:
        NoteError: `malformed`: it is not such a text, of another algorithm, or its id is not that of the key.
    """
    name, sign, rest = text.partition("+")
    written, second, material = rest.partition("+")
    if not sign or not second:
        raise NoteError("malformed", "a key is NAME+ID+BASE64")
    data = decode(material)
    if len(data) != 1 + jwk.SEED_BYTES or data[0] not in (ED25519, COSIGNATURE):
        raise NoteError("malformed", "expected an Ed25519 key of type 0x01 or 0x04")
    verifier = Verifier(named(name), jwk.public_key(jwk.encode(data[1:])), data[0])
    if written != verifier.id.hex():
        raise NoteError("malformed", "the id in the key is not that of its name and bytes: one of them was changed")
    return verifier


def sign(text: str, name: str, key: jwk.PrivateKey) -> Signature:
    """The line that `name` signs `text` with (0x01).

    Raises:
        NoteError: `malformed`: the text or the name cannot stand in a note.
    """
    verifier = Verifier(named(name), key.public)
    return Signature(name, verifier.id, key.sign(_body(text)))


def cosign(text: str, name: str, key: jwk.PrivateKey, time: int) -> Signature:
    """The line that the witness `name` signs the checkpoint `text` with at `time`, in seconds since the epoch (0x04).

    Raises:
        NoteError: `malformed`.
    """
    if not 0 <= time <= MAX_TIME:
        raise NoteError("malformed", "a cosignature has a time from 1970 on")
    verifier = Verifier(named(name), key.public, COSIGNATURE)
    return Signature(name, verifier.id, time.to_bytes(TIME_BYTES) + key.sign(_cosigned(_body(text), time)))


def parse(data: bytes) -> Note:
    """The note in `data`, not verified.

    Raises:
        NoteError: `malformed`.
    """
    if len(data) > MAX_NOTE:
        raise NoteError("malformed", f"a note has at most {MAX_NOTE} bytes")
    whole = _text(data)
    text, gap, lines = whole.rpartition("\n\n")
    if not gap:
        raise NoteError("malformed", "a note has an empty line before its signatures")
    return Note(text + "\n", parse_lines(lines.encode()))


def parse_lines(data: bytes) -> tuple[Signature, ...]:
    """The signature lines in `data`, such as a witness answers with: one or more, each with its newline.

    Raises:
        NoteError: `malformed`.
    """
    text = _text(data)
    if not text.endswith("\n"):
        raise NoteError("malformed", "a note ends in a signature line and a newline")
    lines = text[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteError("malformed", f"a note has at most {MAX_SIGNATURES} signatures")
    return tuple(_signature(line) for line in lines)


def verified(note: Note, keys: Iterable[Verifier]) -> tuple[Signer, ...]:
    """Who of `keys` signed, each once and a witness with its latest time; never nobody.

    Raises:
        NoteError: `signature`: a line of one of `keys` does not verify, or no line is of any of them.
    """
    known = {(key.name, key.id): key for key in keys}
    found: dict[Verifier, Signer] = {}
    for line in note.signatures:
        verifier = known.get((line.name, line.id))
        if verifier is not None:
            signer = _signer(_body(note.text), line, verifier)
            former = found.get(verifier, signer)
            found[verifier] = signer if (former.time or 0) <= (signer.time or 0) else former
    if not found:
        raise NoteError("signature", "none of the keys we trust has signed this note")
    return tuple(found.values())


def named(name: str) -> str:
    """A name that can stand in a signature line.

    Raises:
        NoteError: `malformed`.
    """
    if not name or "+" in name or any(character.isspace() for character in name) or _CONTROL.search(name):
        raise NoteError("malformed", "a key has a name without spaces and plus signs")
    return name


def encode(data: bytes) -> str:
    """Standard base64."""
    return base64.b64encode(data).decode()


def decode(text: str) -> bytes:
    """Strict base64: only the one text that encodes these bytes.

    Raises:
        NoteError: `malformed`.
    """
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise NoteError("malformed", "not base64") from None
    if encode(data) != text:
        raise NoteError("malformed", "not the canonical base64 text")
    return data


def _signature(line: str) -> Signature:
    """One line, without its newline."""
    name, space, value = line.removeprefix(PREFIX).partition(" ")
    if not line.startswith(PREFIX) or not space:
        raise NoteError("malformed", "a signature line is an em dash, a name and base64, with one space between them")
    data = decode(value)
    if len(data) <= ID_BYTES:
        raise NoteError("malformed", "a signature is a key id of 4 bytes and at least one byte more")
    return Signature(named(name), data[:ID_BYTES], data[ID_BYTES:])


def _signer(body: bytes, line: Signature, verifier: Verifier) -> Signer:
    """What this line proves."""
    signed, value, time = body, line.value, None
    if verifier.algorithm == COSIGNATURE:
        time, value = int.from_bytes(value[:TIME_BYTES]), value[TIME_BYTES:]
        signed = _cosigned(body, time)
    if (time or 0) > MAX_TIME or not verifier.key.verify(signed, value):
        raise NoteError("signature", f"the signature of `{verifier.name}` does not verify")
    return Signer(verifier, time)


def _cosigned(body: bytes, time: int) -> bytes:
    """What a witness signs: its header and the time before the text."""
    return b"cosignature/v1\ntime %d\n" % time + body


def _body(text: str) -> bytes:
    """The bytes of a text that can stand in a note."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        raise NoteError("malformed", "a note is UTF-8") from None
    if not text.endswith("\n") or _CONTROL.search(text):
        raise NoteError("malformed", "the text of a note ends in a newline and has no other control characters")
    return data


def _text(data: bytes) -> str:
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise NoteError("malformed", "a note is UTF-8") from None
    if _CONTROL.search(text):
        raise NoteError("malformed", "a note has no control characters but newlines")
    return text
