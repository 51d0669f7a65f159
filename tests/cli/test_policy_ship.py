"""`aegis policy build, push, promote, rollback, history, show` as people use them, against a gateway that runs."""

import json
import subprocess
import tarfile

import pytest

from cli.command import aegis
from gateway.conftest import on_sqlite, w
from opa.server import binary
from registry.shipped import rules, status, text, within

__all__ = ["on_sqlite", "w"]
ALICE = ("--as", "person:alice")
WHY = (*ALICE, "--reason", "because")


@pytest.fixture
def policy(w):
    """Runs `aegis policy` in the directory of the world."""
    (w.root / "aegis.toml").write_text("")

    def run(*words, code=0, tenant="acme", js=False):
        done = aegis(
            w.root, *(("--json",) if js else ()), "policy", words[0], "--tenant", tenant, *words[1:],
            env={"AEGIS_STORE_URL": w.settings.store.url},
        )  # fmt: skip
        assert done.returncode == code, done.stderr + done.stdout
        assert js or max(map(len, (done.stdout + done.stderr).splitlines()), default=0) <= 120
        return json.loads(done.stdout) if js else done.stdout + done.stderr

    return run


def test_the_life_of_a_version(w, policy):
    path = w.root / "tenants/acme/policy.yaml"
    path.write_text(text(w, 1))
    assert "version 1 of acme: sha256:" in policy("push", "-m", "first", *ALICE)
    assert "version 1 decides for acme (activation 1)" in policy("promote", "1", *WHY)
    path.write_text(path.read_text().replace("read.v1", "read.v2"))
    policy("push", "-m", "second", *ALICE)
    assert "version 2 is in shadow beside version 1 for acme" in policy("promote", "2", "--shadow", *WHY)
    within(20, lambda: (status(w).enforced, status(w).shadow) == (1, 2))
    assert rules(w) == ["read.mask", "read.v1"]
    policy("promote", "2", *WHY)
    within(20, lambda: status(w).enforced == 2)
    assert rules(w) == ["read.mask", "read.v2"]
    assert "version 1 decides for acme (activation 4)" in policy("rollback", *WHY)
    within(20, lambda: status(w).enforced == 1)
    assert rules(w) == ["read.mask", "read.v1"]
    found = policy("history", js=True)
    assert [(v["number"], v["state"], v["message"]) for v in found["versions"]] == [(2, "", "second"), (1, "enforced", "first")]
    assert [(a["counter"], a["number"], a["mode"]) for a in found["activations"]] == [
        (4, 1, "enforce"), (3, 2, "enforce"), (2, 2, "shadow"), (1, 1, "enforce"),
    ]  # fmt: skip
    assert "read.v2" in policy("show", "2")
    assert policy("show", "2", js=True)["refused"] == ""
    assert rules(w, "globex") == ["read.allow", "read.mask"]
    assert policy("history", tenant="globex", js=True)["versions"] == []


def test_a_bundle_of_one_tenant_is_never_pushed_for_another(w, policy):
    policy("build", "-o", str(w.root / "acme.tar.gz"))
    told = policy("push", str(w.root / "acme.tar.gz"), "-m", "x", *ALICE, tenant="globex", code=1)
    assert "not by a key that is trusted with bundles of this tenant" in told
    assert policy("history", tenant="globex", js=True)["versions"] == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("promote", "7", *WHY), "no version 7 of tenant `acme`; there is none yet: `aegis policy push` makes one"),
        (("rollback", *WHY), "no version of tenant `acme` is enforced"),
        (("show", "1"), "no version 1"),
        (("push", "-m", "x", "--as", "person:mallory"), "person:mallory"),
    ],
)
def test_what_cannot_be_done_is_said(on_sqlite, policy_on_sqlite, words, told):
    assert told in policy_on_sqlite(*words)


@pytest.fixture
def policy_on_sqlite(on_sqlite):
    (on_sqlite.root / "aegis.toml").write_text("")

    def run(*words):
        done = aegis(on_sqlite.root, "policy", words[0], "--tenant", "acme", *words[1:])
        assert done.returncode in (1, 2, 5)
        return done.stderr

    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    place = tmp_path_factory.mktemp("ship") / "home"
    assert aegis(None, "init", str(place)).returncode == 0
    return place


def test_build_writes_the_same_bytes_each_time(home):
    for name in ("one.tar.gz", "two.tar.gz"):
        done = aegis(home, "policy", "build", "-o", str(home / name))
        assert done.returncode == 0, done.stderr
    assert (home / "one.tar.gz").read_bytes() == (home / "two.tar.gz").read_bytes()
    with tarfile.open(home / "one.tar.gz") as found:
        assert {".manifest", ".signatures.json", "data.json", "aegis/policy.yaml", "aegis_acme/main.rego"} <= set(found.getnames())


def test_a_place_where_nothing_can_be_written_is_named(home):
    done = aegis(home, "policy", "build", "-o", str(home / "none/x.tar.gz"))
    assert (done.returncode, done.stderr) == (2, f"aegis: {home}/none/x.tar.gz: cannot be written: FileNotFoundError\n")


def test_what_is_no_bundle_is_not_pushed(home):
    (home / "junk").write_bytes(b"junk")
    done = aegis(home, "policy", "push", str(home / "junk"), "-m", "x", "--as", "person:alice")
    assert done.returncode == 1
    assert "not a bundle" in done.stderr


def test_build_takes_a_file_and_a_key(home):
    key = next((home / "keys/bundle/acme/_").glob("*.jwk.json"))
    words = ["policy", "build", str(home / "tenants/acme/policy.yaml"), "--key", str(key), "-o", str(home / "three.tar.gz")]
    done = aegis(home, "--json", *words)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert (made["tenant"], made["size_bytes"]) == ("acme", (home / "three.tar.gz").stat().st_size)
    assert aegis(home, *words[:-1], "-", "--library").returncode == 2


def test_a_real_opa_evaluates_what_build_writes_with_the_key_that_keys_pem_prints(home):
    for words in (("-o", "acme.tar.gz"), ("--library", "-o", "lib.tar.gz")):
        assert aegis(home, "policy", "build", *words).returncode == 0
    (home / "acme.pem").write_text(aegis(home, "keys", "pem").stdout)
    verified = ["--verification-key", "acme.pem", "--signing-alg", "ES256", "--scope", "acme"]
    built = subprocess.run(
        [binary(), "build", "-b", "acme.tar.gz", "lib.tar.gz", *verified, "-o", "out.tar.gz"],
        capture_output=True, text=True, check=False, cwd=home,
    )  # fmt: skip
    assert built.returncode == 0, built.stdout + built.stderr
    evaluated = subprocess.run(
        [binary(), "eval", "-b", "acme.tar.gz", "-b", "lib.tar.gz", "--format", "json", "data.aegis_acme.main.decision.outcome"],
        capture_output=True, text=True, check=False, cwd=home,
    )  # fmt: skip
    assert json.loads(evaluated.stdout)["result"][0]["expressions"][0]["value"] == "deny", evaluated.stderr


def test_keys_for_shipping_are_listed_rotated_and_printed(home):
    before = aegis(home, "keys", "pem").stdout
    assert before.startswith("-----BEGIN PUBLIC KEY-----\n")
    listed = json.loads(aegis(home, "--json", "keys", "list").stdout)["keys"]
    assert {"publisher", "bundle"} <= {key["class"] for key in listed}
    assert aegis(home, "keys", "rotate", "bundle").returncode == 0
    newest = json.loads(aegis(home, "--json", "keys", "pem").stdout)
    assert newest["pem"] != before
    assert (newest["scope"], newest["algorithm"]) == ("acme", "ES256")
    bundles = [key for key in json.loads(aegis(home, "--json", "keys", "list").stdout)["keys"] if key["class"] == "bundle"]
    assert len(bundles) == 2


def test_check_says_who_decides(home):
    words = ["--as", "person:alice"]
    assert aegis(home, "policy", "push", "-m", "x", *words).returncode == 0
    assert "tenants/acme/policy.yaml decides" in aegis(home, "check").stdout.replace("\n", " ")
    assert aegis(home, "policy", "promote", "1", "--reason", "x", *words).returncode == 0
    done = aegis(home, "--json", "check")
    assert done.returncode == 0, done.stdout
    row = next(row for row in json.loads(done.stdout)["results"] if row["what"] == "policy acme")
    assert row["text"] == "the registry decides: version 1 (activation 1); the files do not"
    policy = home / "tenants/acme/policy.yaml"
    policy.rename(home / "away")
    done = aegis(home, "--json", "check")
    assert (done.returncode, "the registry decides" in done.stdout) == (0, True), done.stdout
    (home / "data").rename(home / "data-away")
    done = aegis(home, "check")
    assert (done.returncode, "the registry holds no version" in " ".join(done.stdout.split())) == (1, True), done.stdout
