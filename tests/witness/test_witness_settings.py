"""The section `[evidence]`, the commands, and what a witness does not bring with it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.witness.logs import Log, log

from aegis import settings
from aegis.adapters import keyfiles
from aegis.adapters.witness import home as homes
from aegis.adapters.witness import states
from aegis.crypto import note
from aegis.crypto.jwk import private_key
from aegis.crypto.note import COSIGNATURE, Verifier
from aegis.errors import ConfigError
from aegis.journal.witness import Request
from aegis.model.event import origin
from aegis.surfaces.cli.main import cli

ONE, TWO = (Verifier(f"w{n}.example", private_key(bytes([n]) * 32).public, COSIGNATURE).vkey for n in (1, 2))
AGAIN = Verifier("other.example", private_key(bytes([1]) * 32).public, COSIGNATURE).vkey
LOG = log(1).verifier.vkey


def loaded(tmp_path: Path, text: str, **environ: str) -> settings.Settings:
    (tmp_path / settings.FILE).write_text(f"[evidence]\n{text}")
    return settings.load(tmp_path, environ)


def test_witnesses_are_read_in_order_and_all_of_them_are_needed_unless_a_quorum_is_set(tmp_path: Path) -> None:
    text = f'witness_url = "https://w1.example/, http://127.0.0.1:8430"\nwitness_key = "{ONE}, {TWO}"\n'
    found = loaded(tmp_path, text).evidence
    assert [(url, key.vkey) for url, key in found.witnesses] == [("https://w1.example", ONE), ("http://127.0.0.1:8430", TWO)]
    assert found.needed == 2
    assert loaded(tmp_path, text + "quorum = 1\n").evidence.needed == 1
    assert loaded(tmp_path, "", AEGIS_EVIDENCE_WITNESS_URL="http://w", AEGIS_EVIDENCE_WITNESS_KEY=ONE).evidence.needed == 1


def test_without_witnesses_there_is_still_an_anchor_beside_the_settings(tmp_path: Path) -> None:
    found = loaded(tmp_path, "")
    assert (found.evidence.witnesses, found.evidence.needed, found.anchor) == ((), 0, tmp_path / "anchor")
    assert loaded(tmp_path, 'anchor = "/elsewhere/anchor"\n').anchor == Path("/elsewhere/anchor")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('witness_url = "http://w"', "expected a URL and a key for each witness, found 1 of `witness_url` and 0 keys"),
        (f'witness_key = "{ONE}"', "found 0 of `witness_url` and 1 keys"),
        (f'witness_url = "http://a,http://b"\nwitness_key = "{ONE}"', "found 2 of `witness_url` and 1 keys"),
        (f'witness_url = "w.example"\nwitness_key = "{ONE}"', "expected URLs that start with http:// or https://"),
        ('witness_url = "http://w"\nwitness_key = "nonsense"', "`aegis witness show` prints the key of a witness"),
        (f'witness_url = "http://w"\nwitness_key = "{LOG}"', "this is the key of a log"),
        (f'witness_url = "http://a,http://b"\nwitness_key = "{ONE},{ONE}"', "one key stands there twice"),
        (f'witness_url = "http://a,http://b"\nwitness_key = "{ONE},{AGAIN}"', "one key stands there twice"),
        ("quorum = 1", "`quorum` is 1, but there are 0 witnesses"),
        ("quorum = 17", "expected 0 to 16"),
        ("max_age_seconds = 0", "expected 1 to 86400"),
        ('anchor = ""', "expected a path, better on another disk than the database"),
        ('ancor = "x"', "did you mean `anchor`?"),
    ],
)
def test_what_is_wrong_with_evidence_is_told_with_file_and_reason(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert told in str(caught.value)
    assert "aegis.toml" in str(caught.value)


def run(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli, [str(each) for each in arguments], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    assert (done.return_value or 0) == code
    return done.output


def test_a_witness_is_made_shown_and_told_of_more_logs(tmp_path: Path) -> None:
    acme, globex = log(3), log(2, origin="aegis.globex/audit/1")
    place = tmp_path / "w"
    told = run("witness", "init", place, "--name", "w.example", "--log", acme.verifier.vkey)
    vkey = homes.load(place).verifier.vkey
    assert vkey in told
    assert "added 1; 1 were known" in run("witness", "add", place, acme.verifier.vkey, globex.verifier.vkey)
    request = Request(0, (), note.parse(acme.note()))
    states.cosign(homes.load(place), request, acme.checkpoint(), lambda: 1_700_000_000)
    shown = run("witness", "show", place)
    assert vkey in shown
    assert "2023-11-14T22:13:20Z" in shown
    assert all(len(line) <= 80 for line in shown.splitlines() if vkey not in line)
    found = json.loads(run("--json", "witness", "show", place))
    assert [(each["origin"], each["size"]) for each in found["logs"]] == [(acme.origin, 3), (globex.origin, None)]
    states.cosign(
        homes.load(place), Request(3, (), note.parse(Log().grow(3, b"x").note())), Log().grow(3, b"x").checkpoint(), lambda: 0
    )
    assert "a fork: the log has signed two trees" in run("witness", "show", place, code=1)
    with pytest.raises(ConfigError, match="not found; `aegis witness init"):
        run("witness", "show", tmp_path)


def test_a_gateway_prints_the_keys_of_its_logs_as_a_witness_wants_them(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    loaded(tmp_path, "")
    for tenant in ("acme", "_system"):
        keyfiles.create(tmp_path / "keys", "log", tenant, "", now=datetime.now(UTC))
    printed = run("--dir", tmp_path, "witness", "keys")
    homes.create(tmp_path / "w", "w.example", [])
    (tmp_path / "w" / homes.LOGS).write_text(printed)
    assert set(homes.logs(tmp_path / "w")) == {origin("acme"), origin("_system")}
    vkeys = json.loads(run("--dir", tmp_path, "--json", "witness", "keys"))["logs"]
    assert [f"log {vkey}" for vkey in vkeys] == printed.splitlines()


def test_a_witness_brings_neither_the_gateway_nor_a_store_with_it() -> None:
    program = """
import sys
import aegis.surfaces.cli.witness.serve, aegis.surfaces.witness.server, aegis.adapters.witness.home
print("\\n".join(name for name in sys.modules if name.startswith("aegis.")))
"""
    names = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    forbidden = (
        "aegis.runtime",
        "aegis.app",
        "aegis.policy",
        "aegis.surfaces.gateway",
        "aegis.adapters.sqlite",
        "aegis.adapters.postgres",
    )
    assert [name for name in names if name.startswith(forbidden)] == []
