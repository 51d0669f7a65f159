"""A real Open Policy Agent takes our bundles, and refuses what we refuse."""

import json
import subprocess

import httpx
import pytest

from aegis.policy.bundle import archive, signature, structured
from bundle.made import KEY, MODULE, OTHER, build, gzipped, signed, tar
from opa.server import DidNotStart, Server, binary

GOOD = build()
FILES = archive.unpack(GOOD)


def words(tmp_path, packed, key=KEY, scope="acme"):
    (tmp_path / "bundle.tar.gz").write_bytes(packed)
    (tmp_path / "key.pem").write_text(key.public.pem)
    place = str(tmp_path / "key.pem")
    return ["--verification-key", place, "--verification-key-id", key.kid, "--signing-alg", "ES256", "--scope", scope]


def verified(tmp_path, packed, **given):
    """(taken, text) of `opa build`, which reads and verifies a bundle before anything else."""
    told = [binary(), "build", *words(tmp_path, packed, **given), "--bundle", "bundle.tar.gz", "--output", "out.tar.gz"]
    found = subprocess.run(told, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    return found.returncode == 0, found.stdout + found.stderr


def served(tmp_path, packed):
    """What a server answers that was started with the bundle and the key to verify it."""
    given = words(tmp_path, packed)
    with Server(bundles=[tmp_path / "bundle.tar.gz"], words=given) as server:
        return httpx.get(f"{server.url}/v1/data/aegis_acme/main/decision", timeout=30).json()


def test_a_server_that_was_given_the_key_serves_the_bundle(tmp_path):
    assert served(tmp_path, GOOD) == {"result": {"outcome": "deny", "limit": 5}}
    assert verified(tmp_path, GOOD)[0]


def test_a_server_does_not_start_with_a_tampered_bundle(tmp_path):
    files = FILES | {"aegis_acme/main.rego": MODULE.replace("deny", "allow").encode()}
    with pytest.raises(DidNotStart, match=r"verif|digest|mismatch"):
        served(tmp_path, gzipped(tar(sorted(files.items()))))


@pytest.mark.parametrize(
    ("packed", "given"),
    [
        (gzipped(tar(sorted((FILES | {"aegis_acme/main.rego": MODULE.replace("deny", "allow").encode()}).items()))), {}),
        (gzipped(tar(sorted((FILES | {"data.json": b'{"aegisdata":{"acme":{"tenant":{"limit":6}}}}'}).items()))), {}),
        (gzipped(tar(sorted((FILES | {"aegis/policy.yaml": b"other"}).items()))), {}),
        (gzipped(tar(sorted((FILES | {"aegis_acme/more.rego": b"package aegis_acme.more\n"}).items()))), {}),
        (gzipped(tar(sorted((n, c) for n, c in FILES.items() if n != "aegis_acme/main.rego"))), {}),
        (gzipped(tar(sorted((n, c) for n, c in FILES.items() if n != signature.FILE))), {}),
        (gzipped(tar(sorted((FILES | {signature.FILE: structured.render({"signatures": []})}).items()))), {}),
        (GOOD, {"key": OTHER}),
        (GOOD, {"scope": "globex"}),
        (signed(FILES, scope="globex"), {}),
    ],
    ids=[
        "module",
        "data",
        "source",
        "added",
        "missing",
        "unsigned",
        "no signature",
        "other key",
        "other scope",
        "signed for other",
    ],
)
def test_what_we_refuse_opa_refuses_too(tmp_path, packed, given):
    taken, text = verified(tmp_path, packed, **given)
    assert not taken, text


def test_opa_computes_the_digests_that_we_sign(tmp_path):
    """`opa sign` over the unpacked files lists what our signature lists."""
    for name, content in FILES.items():
        if name != signature.FILE:
            (tmp_path / "b" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "b" / name).write_bytes(content)
    (tmp_path / "hmac").write_text("test-secret")
    done = subprocess.run(
        [binary(), "sign", "--signing-key", "test-secret", "--signing-alg", "HS256", "--bundle", "b"],
        capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = {each["name"].removeprefix("b/"): each["hash"] for each in _claims((tmp_path / signature.FILE).read_text())}
    assert theirs == {each["name"]: each["hash"] for each in _claims(FILES[signature.FILE])}


def _claims(text):
    import jwt

    return jwt.decode(json.loads(text)["signatures"][0], options={"verify_signature": False})["files"]
