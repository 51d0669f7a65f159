"""`.tar.gz` in one exact form: what `unpack` takes is what `pack` writes.

A tarball is a format with many readers that disagree. So each header must be, byte for byte, the one that we would write for that
name and size: a regular file, mode 0644, nobody's, of 1970. Names are sorted, which also means that none comes twice. The stream is
one gzip member with a fixed header and nothing behind it. It is unpacked piece by piece against limits, so that a bomb is noticed
while it is small.
"""

import zlib
from collections.abc import Mapping

from aegis.errors import BundleError

MAX_PACKED = 8 * 1024 * 1024
MAX_UNPACKED = 64 * 1024 * 1024
MAX_RATIO = 100
MAX_ENTRIES = 4096
MAX_NAME = 100
FREE = 1024 * 1024  # so much may come out of any stream before the ratio counts: small text packs well
_PIECE = 64 * 1024
_BLOCK = 512
_GZIP = bytes.fromhex("1f8b08000000000002ff")
_END = bytes(2 * _BLOCK)
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_KINDS = {
    b"1": "a hard link",
    b"2": "a symbolic link",
    b"3": "a device",
    b"4": "a device",
    b"5": "a directory",
    b"6": "a pipe",
    b"x": "a pax header",
    b"g": "a pax header",
    b"L": "a long name",
    b"S": "a sparse file",
}


def pack(files: Mapping[str, bytes]) -> bytes:
    """The tarball of `files`; the same bytes for the same files (and the same zlib).

    Raises:
        BundleError: `path`, `entries`, `size`.
    """
    if len(files) > MAX_ENTRIES:
        raise BundleError("entries", f"expected at most {MAX_ENTRIES} files, found {len(files)}")
    parts = []
    for name in sorted(files):
        check_name(name)
        parts += [_header(name, len(files[name])), files[name], bytes(-len(files[name]) % _BLOCK)]
    tar = b"".join([*parts, _END])
    if len(tar) > MAX_UNPACKED:
        raise BundleError("size", f"unpacked, a bundle has at most {MAX_UNPACKED} bytes, found {len(tar)}")
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = packer.compress(tar) + packer.flush()
    packed = _GZIP + body + zlib.crc32(tar).to_bytes(4, "little") + len(tar).to_bytes(4, "little")
    if len(packed) > MAX_PACKED:
        raise BundleError("size", f"a bundle has at most {MAX_PACKED} bytes, found {len(packed)}")
    return packed


def unpack(packed: bytes) -> dict[str, bytes]:
    """The files of a tarball, in order of name.

    Raises:
        BundleError: `size`, `ratio`, `gzip`, `trailing`, `tar`, `entry`, `path`, `duplicate`, `order`, `entries`.
    """
    tar = _inflate(packed)
    files: dict[str, bytes] = {}
    at, last = 0, ""
    while tar[at : at + _BLOCK] != _END[:_BLOCK]:
        name, size = _entry(tar[at : at + _BLOCK])
        if name <= last:
            reason = "duplicate" if name in files else "order"
            raise BundleError(reason, f"entry `{name}`: each path comes once, in order of name")
        at += _BLOCK
        content = tar[at : at + size]
        padded = at + size + -size % _BLOCK
        if len(content) != size or tar[at + size : padded].strip(b"\0"):
            raise BundleError("tar", f"entry `{name}`: its content is cut short or not padded with zeros")
        files[name] = content
        if len(files) > MAX_ENTRIES:
            raise BundleError("entries", f"expected at most {MAX_ENTRIES} entries")
        at, last = padded, name
    if tar[at:] != _END:
        raise BundleError("trailing", "a tarball ends with two empty blocks and nothing behind them")
    return files


def check_name(name: str) -> None:
    """Refuse a path that could mean a place outside, or two places on two systems.

    Raises:
        BundleError: `path`.
    """
    parts = name.split("/")
    if not 0 < len(name) <= MAX_NAME or not all(parts):
        raise BundleError("path", f"a path is relative and has 1 to {MAX_NAME} characters and no empty part")
    if any(part in (".", "..") or not _PLAIN.issuperset(part) for part in parts):
        raise BundleError("path", "a part of a path consists of letters, digits, `.`, `_` and `-`, and is not `.` or `..`")


def _inflate(packed: bytes) -> bytes:
    if len(packed) > MAX_PACKED:
        raise BundleError("size", f"a bundle has at most {MAX_PACKED} bytes, found {len(packed)}")
    if not packed.startswith(_GZIP):
        raise BundleError("gzip", "not a bundle: the gzip header is not the one that `aegis policy build` writes")
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    allowed = min(MAX_UNPACKED, max(FREE, MAX_RATIO * len(packed)))
    out = bytearray()
    rest = packed
    try:
        while not inflater.eof:
            piece = inflater.decompress(rest, _PIECE)
            rest = inflater.unconsumed_tail
            out += piece
            if len(out) > allowed:
                break
            if not piece and not rest and not inflater.eof:
                raise BundleError("gzip", "the gzip stream is cut short")
    except zlib.error:
        raise BundleError("gzip", "the gzip stream is damaged") from None
    if len(out) > MAX_UNPACKED:
        raise BundleError("size", f"unpacked, a bundle has at most {MAX_UNPACKED} bytes")
    if len(out) > allowed:
        raise BundleError("ratio", f"a bundle unpacks to at most {MAX_RATIO} times its size")
    if inflater.unused_data:
        raise BundleError("trailing", "there is data behind the gzip stream")
    return bytes(out)


def _entry(header: bytes) -> tuple[str, int]:
    """Name and size in a header that is the one we would write."""
    if len(header) != _BLOCK:
        raise BundleError("tar", "the tarball is cut short")
    kind = header[156:157]
    if kind != b"0":
        raise BundleError("entry", f"expected regular files only, found {_KINDS.get(kind, 'an entry of another kind')}")
    name, size = header[:100].rstrip(b"\0"), header[124:135]
    if not name.isascii() or len(size) != 11 or not all(0x30 <= digit <= 0x37 for digit in size):
        raise BundleError("tar", "a header holds a name that is not ASCII or a size that is not octal")
    text = name.decode("ascii")
    check_name(text)
    if _header(text, int(size, 8)) != header:
        raise BundleError("tar", f"entry `{text}`: its header is not the one that `aegis policy build` writes")
    return text, int(size, 8)


def _header(name: str, size: int) -> bytes:
    """A header of a regular file.

    Source: POSIX.1-2017, pax, section "ustar Interchange Format".
    """
    fields = (
        (name.encode("ascii"), 100),
        (b"0000644", 8),
        (b"0000000", 8),
        (b"0000000", 8),
        (b"%011o" % size, 12),
        (b"00000000000", 12),
        (b" " * 8, 8),
        (b"0", 1),
        (b"", 100),
        (b"ustar\x00" + b"00", 8),
        (b"", 64),
        (b"0000000", 8),
        (b"0000000", 8),
        (b"", 167),
    )
    head = b"".join(value.ljust(width, b"\0") for value, width in fields)
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]
