"""What a bundle is, and what is refused."""

import gzip
import io
import json
import tarfile

import pytest

from aegis.errors import BundleError
from aegis.policy.bundle import archive, bundle, signature, structured
from bundle.made import KEY, MODULE, OTHER, SOURCES, TARGET, build, checksummed, consistent, gzipped, load, signed, tar

GOOD = build()
FILES = archive.unpack(GOOD)


def refused(packed, reason, **given):
    with pytest.raises(BundleError) as caught:
        load(packed, **given)
    assert caught.value.reason == reason, str(caught.value)
    return str(caught.value)


def test_what_was_built_comes_back_whole():
    found = load(GOOD)
    assert (found.tenant, found.name, found.policy_digest, found.signed_by) == ("acme", "core", "sha256:11", KEY.kid)
    assert found.sources == SOURCES
    assert found.files["aegis_acme/main.rego"].decode() == MODULE


def test_the_same_content_gives_the_same_bytes_in_whatever_order_it_comes():
    data = dict(reversed(SOURCES.tenant_data.items()))
    assert (
        build(sources=bundle.Sources(policy=SOURCES.policy, tenant_data=data, contracts=SOURCES.contracts, rego=SOURCES.rego))
        == GOOD
    )


def test_the_revision_says_nothing_of_the_key():
    assert load(build(key=OTHER), keys=(OTHER.public,)).revision == load(GOOD).revision
    assert load(build(sources=bundle.Sources(policy="other"))).revision != load(GOOD).revision


def test_any_reader_of_tarballs_reads_it():
    with tarfile.open(fileobj=io.BytesIO(GOOD)) as found:
        members = found.getmembers()
        assert [member.name for member in members] == sorted(FILES)
        assert {(member.mtime, member.mode, member.uid, member.type) for member in members} == {(0, 0o644, 0, tarfile.REGTYPE)}
        assert found.extractfile("aegis_acme/main.rego").read().decode() == MODULE


def test_the_signature_is_one_that_another_library_verifies():
    import jwt

    token = json.loads(FILES[signature.FILE])["signatures"][0]
    claims = jwt.decode(token, KEY.public.pem, algorithms=["ES256"], options={"verify_signature": True})
    assert claims["scope"] == "acme"
    assert [each["name"] for each in claims["files"]] == sorted(set(FILES) - {signature.FILE})


def test_a_bundle_of_another_tenant_is_refused():
    refused(GOOD, "scope", tenant="globex")
    refused(signed(FILES, scope="globex"), "tenant", tenant="globex")


def test_a_key_that_is_not_trusted_is_refused():
    refused(build(key=OTHER), "key")
    refused(GOOD, "key", keys=())


def test_the_header_of_the_signature_decides_nothing():
    token = json.loads(FILES[signature.FILE])["signatures"][0]
    head, body, sig = token.split(".")
    from aegis.crypto.jwk import encode

    for header in (
        {"alg": "none", "kid": KEY.kid},
        {"alg": "HS256", "kid": KEY.kid},
        {"alg": "ES256", "kid": OTHER.kid},
        {"alg": "ES256"},
        {"alg": "ES256", "kid": KEY.kid, "jwk": {"kty": "EC"}},
    ):
        changed = f"{encode(structured.render(header))}.{body}.{sig}"
        files = FILES | {signature.FILE: structured.render({"signatures": [changed]})}
        refused(gzipped(tar(sorted(files.items()))), "key")
    files = FILES | {signature.FILE: structured.render({"signatures": [f"{head}.{body}."]})}
    refused(gzipped(tar(sorted(files.items()))), "signature")


def test_a_key_under_the_name_of_another_is_refused():
    stolen = OTHER.__class__(kid=KEY.kid, scalar=OTHER.scalar)
    refused(build_signed_by(stolen), "signature")


def build_signed_by(key):
    return signed(FILES, key=key)


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_signature_is_taken(count):
    token = json.loads(FILES[signature.FILE])["signatures"][0]
    files = FILES | {signature.FILE: structured.render({"signatures": [token] * count})}
    refused(gzipped(tar(sorted(files.items()))), "signature")


def test_a_bundle_without_signature_is_refused():
    refused(gzipped(tar(sorted((n, c) for n, c in FILES.items() if n != signature.FILE))), "unsigned")


def test_an_altered_file_is_named():
    files = FILES | {"aegis_acme/main.rego": MODULE.replace("deny", "allow").encode()}
    assert "`aegis_acme/main.rego` is not what was signed" in refused(gzipped(tar(sorted(files.items()))), "files")


def test_a_file_that_nobody_signed_is_named():
    files = FILES | {"aegis_acme/more.rego": b"package aegis_acme.more\n"}
    assert "`aegis_acme/more.rego`" in refused(gzipped(tar(sorted(files.items()))), "files")


def test_a_file_that_is_gone_is_named():
    files = {name: content for name, content in FILES.items() if name != "aegis_acme/main.rego"}
    assert "`aegis_acme/main.rego`" in refused(gzipped(tar(sorted(files.items()))), "files")


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.rego", "a/../b", "a//b", "./a", "a/.", "a\\b", "c:evil", "a b", "\x01", ""])
def test_a_path_that_leads_elsewhere_is_refused(name):
    refused(gzipped(tar([(name, b"x")])), "path")
    with pytest.raises(BundleError):
        archive.pack({name: b"x"})


def test_a_name_beyond_ascii_is_refused():
    header = checksummed(archive._header("a", 1).replace(b"a", b"\xe9", 1))
    refused(gzipped(header + b"x" + bytes(511) + bytes(1024)), "tar")


@pytest.mark.parametrize("kind", "1234567xgLKSVD")
def test_only_regular_files_are_taken(kind):
    header = archive._header("a", 0)
    refused(gzipped(checksummed(header[:156] + kind.encode() + header[157:]) + bytes(1024)), "entry")


def test_a_path_comes_once():
    refused(gzipped(tar([("a", b"1"), ("a", b"2")])), "duplicate")
    refused(gzipped(tar([("a", b"1"), ("b", b"1"), ("a", b"2")])), "duplicate")
    refused(gzipped(tar([("b", b"1"), ("a", b"2")])), "order")


def test_nothing_stands_behind_the_end():
    refused(GOOD + b"\0", "trailing")
    refused(GOOD + GOOD, "trailing")
    refused(gzipped(tar(sorted(FILES.items())) + bytes(512)), "trailing")
    refused(gzipped(tar(sorted(FILES.items()))[:-512]), "trailing")


def test_a_bundle_that_is_cut_short_is_refused():
    for length in (0, 5, 10, 11, len(GOOD) // 2, len(GOOD) - 9, len(GOOD) - 1):
        refused(GOOD[:length], "gzip")
    whole = tar(sorted(FILES.items()))
    for length in (0, 100, 512, 700):
        with pytest.raises(BundleError):
            load(gzipped(whole[:length]))


def test_another_writer_of_gzip_is_refused():
    refused(gzip.compress(tar(sorted(FILES.items()))), "gzip")


def test_a_bomb_is_not_unpacked(monkeypatch):
    import tracemalloc

    bomb = gzipped(bytes(200 * 1024 * 1024))
    tracemalloc.start()
    refused(bomb, "ratio")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024 * 1024


def test_more_than_is_allowed_is_refused(monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED", 1024 * 1024)
    import random

    noise = random.Random(7).randbytes(2 * 1024 * 1024)
    refused(gzipped(tar([("a", noise)])), "size")
    monkeypatch.setattr(archive, "MAX_PACKED", 1024)
    refused(b"x" * 1025, "size")
    with pytest.raises(BundleError):
        archive.pack({"a": noise})


def test_too_many_entries_are_refused(monkeypatch):
    monkeypatch.setattr(archive, "MAX_ENTRIES", 3)
    refused(gzipped(tar([(name, b"") for name in "abcd"])), "entries")
    with pytest.raises(BundleError):
        archive.pack(dict.fromkeys("abcd", b""))


def test_a_root_outside_the_tenant_is_refused_although_it_is_signed():
    refused(signed(FILES, roots=["aegis_acme", "aegisdata/acme", "system"]), "root")
    refused(signed(FILES, roots=[""]), "root")
    refused(consistent(FILES | {"data.json": structured.render({"aegisdata": {"globex": {}}})}), "root")
    refused(consistent(FILES | {"data.json": structured.render({"system": {}})}), "root")


@pytest.mark.parametrize("package", ["aegis_globex.main", "aegis_acmex", "system.authz", "aegis_acme_2dx.main", "aegis_acme[x]"])
def test_a_module_outside_the_tenant_is_refused_although_it_is_signed(package):
    refused(consistent(FILES | {"aegis_acme/x.rego": f"# fine\n\npackage {package}\n".encode()}), "root")
    with pytest.raises(BundleError):
        build(target=bundle.Target(modules={"aegis_acme/x.rego": f"package {package}\n"}, data=TARGET.data))


@pytest.mark.parametrize("end", ["\r", "\x0c", "\u2028", "\x85"])
def test_a_package_within_a_comment_hides_no_other_one(end):
    refused(
        consistent(FILES | {"aegis_acme/x.rego": f"# fine{end}package aegis_acme.x\npackage aegis_globex.x\n".encode()}), "root"
    )


def test_a_manifest_says_what_is_so():
    refused(signed(FILES, revision="sha256:00"), "manifest")
    refused(signed(FILES, rego_version=0), "manifest")
    refused(signed(FILES, more=1), "manifest")
    refused(signed(FILES, metadata={"tenant": "acme"}), "manifest")


def test_a_file_without_a_place_is_refused():
    refused(consistent(FILES | {"policy.wasm": b"x"}), "files")
    refused(consistent(FILES | {"data.yaml": b"x: 1"}), "files")


def test_json_in_another_form_is_refused_although_it_means_the_same():
    refused(consistent(FILES | {"data.json": b'{"aegisdata": {}}'}), "json")
    refused(consistent(FILES | {"aegis/tenant.json": b'{"a":1,"a":1}'}), "json")
    refused(consistent(FILES | {"aegis/contracts.json": b'{"a":1}'}), "json")
    refused(consistent(FILES | {"aegis/policy.yaml": b"\xff"}), "files")


@pytest.mark.parametrize("name", ["aegis/policy.yaml", "aegis/tenant.json", "aegis/contracts.json", "data.json", ".manifest"])
def test_a_bundle_without_a_part_that_it_must_have_is_refused_although_it_is_signed(name):
    files = {each: content for each, content in FILES.items() if each != name}
    refused(signed(files), "files")


def test_a_signature_in_another_form_is_refused_although_it_verifies():
    from aegis.crypto.jwk import encode

    head, body, _ = json.loads(FILES[signature.FILE])["signatures"][0].split(".")
    claims = json.loads(_decoded(body))
    for changed in (
        claims | {"iss": "somebody"},
        claims | {"iat": 1},
        claims | {"files": claims["files"][::-1]},
        claims | {"files": [each | {"algorithm": "MD5"} for each in claims["files"]]},
        claims | {"files": [*claims["files"], "x"]},
        claims | {"files": {}},
    ):
        signed_text = f"{head}.{encode(structured.render(changed))}"
        token = f"{signed_text}.{encode(KEY.sign(signed_text.encode()))}"
        refused(gzipped(tar(sorted((FILES | {signature.FILE: structured.render({"signatures": [token]})}).items()))), "files")


def _decoded(text):
    from aegis.crypto.jwk import decode

    return decode(text)


@pytest.mark.parametrize(
    "document", [{"signatures": [1]}, {"signatures": ["a.b"]}, {"signatures": "a.b.c"}, {"more": 1, "signatures": ["a.b.c"]}]
)
def test_a_signature_file_of_another_shape_is_refused(document):
    refused(gzipped(tar(sorted((FILES | {signature.FILE: structured.render(document)}).items()))), "signature")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800", {1, 2}])
def test_what_json_cannot_hold_does_not_stand_in_a_bundle(value):
    with pytest.raises(BundleError):
        build(sources=bundle.Sources(policy="x", tenant_data={"a": value}))


def test_more_than_can_be_unpacked_is_not_packed(monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED", 10_000)
    with pytest.raises(BundleError):
        archive.pack({"a": bytes(20_000)})


def test_the_shared_library_is_a_bundle_of_its_own_that_no_tenant_takes_for_its_policy():
    from aegis.policy.bundle.library import build_library
    from aegis.policy.rego.module import library

    packed = build_library(library(), scope="acme", key=KEY)
    files = archive.unpack(packed)
    assert signature.verify(files, "acme", (KEY.public,)) == KEY.kid
    assert json.loads(files[".manifest"])["roots"] == ["aegis/fold", "aegis/lib"]
    refused(packed, "files")


def test_a_module_with_a_long_name_stands_under_a_digest():
    long = {f"aegis_acme/tools/t_{'x' * 90}{each}.rego": f"package aegis_acme.tools.t{each}\n" for each in "ab"}
    found = load(build(target=bundle.Target(modules={**TARGET.modules, **long}, data=TARGET.data)))
    texts = {content.decode() for name, content in found.files.items() if name.startswith("aegis_acme/tools/")}
    assert texts == set(long.values())


def test_padding_holds_nothing():
    whole = tar(sorted(FILES.items()))
    first = len(FILES[".manifest"])
    assert first % 512
    refused(gzipped(whole[: 512 + first] + b"x" + whole[512 + first + 1 :]), "tar")
