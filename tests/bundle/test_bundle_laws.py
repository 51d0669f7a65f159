"""However a good bundle is changed: it is refused, or it means the same. Nothing but `BundleError` ever comes out."""

import json
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis.crypto.jwk import encode
from aegis.errors import BundleError
from aegis.policy.bundle import archive, bundle, signature, structured
from bundle.made import KEY, OTHER, SOURCES, TARGET, build, gzipped, load, tar

GOOD = build()
FILES = archive.unpack(GOOD)
TAR = tar(sorted(FILES.items()))
JWT = json.loads(FILES[signature.FILE])["signatures"][0]
MEANT = {name: content for name, content in FILES.items() if name != signature.FILE}

edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "repeat", "swap"]), st.integers(0, 2**32), st.binary(min_size=1, max_size=8)
    ),
    min_size=1,
    max_size=4,
)


def edited(data, changes):
    for kind, place, more in changes:
        at = place % (len(data) + 1)
        if kind == "flip" and at < len(data):
            data = data[:at] + bytes([data[at] ^ (more[0] or 1)]) + data[at + 1 :]
        elif kind == "cut":
            data = data[:at] + data[at + more[0] :]
        elif kind == "insert":
            data = data[:at] + more + data[at:]
        elif kind == "repeat":
            data = data[: at + 512 * more[0]] + data[at:]
        elif kind == "swap":
            data = data[at:] + data[:at]
    return data


def same_or_refused(packed):
    try:
        found = load(packed)
    except BundleError:
        return
    assert {name: content for name, content in found.files.items() if name != signature.FILE} == MEANT
    assert found.sources == SOURCES


@settings(max_examples=400, deadline=None)
@given(edits)
def test_changed_bytes_of_the_file(changes):
    same_or_refused(edited(GOOD, changes))


@settings(max_examples=600, deadline=None)
@given(edits)
def test_changed_bytes_of_the_tarball(changes):
    same_or_refused(gzipped(edited(TAR, changes)))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(FILES)), edits)
def test_changed_bytes_of_one_file_in_a_sound_tarball(name, changes):
    files = FILES | {name: edited(FILES[name], changes)}
    same_or_refused(gzipped(tar(sorted(files.items()))))


@settings(max_examples=300, deadline=None)
@given(edits, st.integers(0, 2))
def test_changed_bytes_inside_the_signature(changes, part):
    from aegis.crypto.jwk import decode

    parts = JWT.split(".")
    parts[part] = encode(edited(decode(parts[part]), changes))
    files = FILES | {signature.FILE: structured.render({"signatures": [".".join(parts)]})}
    same_or_refused(gzipped(tar(sorted(files.items()))))


@settings(max_examples=200, deadline=None)
@given(st.permutations(sorted(FILES.items())), st.integers(0, 5), st.integers(0, 5))
def test_entries_in_another_order_dropped_or_doubled(entries, dropped, doubled):
    chosen = [*entries[dropped % 3 :], *entries[: doubled % 3]]
    same_or_refused(gzipped(tar(chosen)))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=2000), st.booleans())
def test_any_bytes_at_all(data, packed):
    with pytest.raises(BundleError):
        load(gzipped(data) if packed else data)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(FILES)), json_values)
def test_any_json_that_a_trusted_key_has_signed(name, value):
    """Whoever holds a key may sign nonsense: it must be refused as a bundle, never crash."""
    try:
        files = FILES | {name: structured.render(value)}
    except BundleError:
        return
    if name != signature.FILE:
        files[signature.FILE] = signature.sign({n: c for n, c in files.items() if n != signature.FILE}, "acme", KEY)
    try:
        load(gzipped(tar(sorted(files.items()))))
    except BundleError:
        return


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[a-zA-Z0-9._-]{1,8})?[a-z]", fullmatch=True), st.binary(max_size=700), max_size=6)
)
def test_what_is_packed_is_unpacked(files):
    assert archive.unpack(archive.pack(files)) == files
    assert archive.pack(dict(reversed(files.items()))) == archive.pack(files)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=5), json_values, max_size=3), st.text(max_size=200))
def test_whatever_the_tenants_data_is_it_comes_back(data, policy):
    sources = bundle.Sources(policy=policy.encode("utf-8", "replace").decode(), tenant_data=data)
    try:
        packed = build(sources=sources)
    except BundleError:
        return  # a number beyond 2^53, a lone surrogate: refused when it is built
    assert load(packed).sources == sources


def test_two_keys_never_stand_for_each_other():
    with pytest.raises(BundleError):
        load(build(key=OTHER), keys=(KEY.public,))
    assert load(build(target=TARGET), keys=(OTHER.public, KEY.public)).signed_by == KEY.kid


def test_another_compressor_of_the_same_tarball_is_the_same_bundle():
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    body = packer.compress(TAR) + packer.flush()
    packed = archive._GZIP + body + zlib.crc32(TAR).to_bytes(4, "little") + len(TAR).to_bytes(4, "little")
    assert packed != GOOD
    assert load(packed).sources == SOURCES
