"""The command of the one file: what it prints, what it exits with, and whom it believes."""

import ast
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

import aegis_verify
from aegis.crypto import note
from aegis.crypto.merkle import Frontier, consistency_proof, inclusion_proof
from aegis.journal.bundle import policy
from aegis_verify import MEANINGS, Trust, UnusableError, main, read_key, read_policy, trusted
from verify import ledger
from verify.ledger import LOG_KEY, NOW, ORIGIN, OTHER_KEY, WITNESS, WITNESS_KEY, Log, body, events, signed

LOG = note.vkey(ORIGIN, LOG_KEY.public)
SEEN = note.vkey(WITNESS, WITNESS_KEY.public, note.COSIGNATURE)
SEALED = Log.of(events(40), 37, sizes=(5, 16, 30))
POLICY = policy([LOG], [SEEN], 1)
NOBODY_HAS_TO = policy([LOG], [], 0)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: NOW + 5.0)
    home = SEALED.write(tmp_path / "bundle")
    (home / "policy.txt").write_text(POLICY)
    return home


def told(capsys):
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80, text
    return text


class TestVerdicts:
    def test_a_good_bundle_is_told_in_words(self, home, capsys):
        assert main([str(home), "--key", LOG, "--witness", SEEN, "--max-age", "60"]) == 0
        text = told(capsys)
        for part in ("VALID", "40 checked, 0 to 39 (the log signed 37)", "3 newer events", WITNESS, "(5 s ago)", "all of the same"):
            assert part in text

    def test_a_good_bundle_without_a_witness_says_what_it_does_not_prove(self, home, capsys):
        assert main([str(home), "--key", LOG]) == 0
        assert "an old copy would look the same" in " ".join(told(capsys).split())

    @pytest.mark.parametrize("kind", ["edit", "truncate", "signature", "stale", "rollback", "fork", "malformed"])
    def test_a_bad_bundle_names_kind_place_and_meaning(self, home, capsys, tmp_path, kind):
        words = [str(home), "--key", LOG, "--witness", SEEN, "--max-age", "60"]
        kept = tmp_path / "kept.txt"
        if kind == "edit":
            (home / "events.jsonl").write_bytes((home / "events.jsonl").read_bytes().replace(b"event_12", b"event_99"))
        elif kind == "truncate":
            SEALED.with_bodies(lambda bodies: bodies[:20]).write(home)
        elif kind == "signature":
            words[2] = note.vkey(ORIGIN, OTHER_KEY.public)
        elif kind == "stale":
            replace(SEALED, note=signed(SEALED.leaves, cosigned_at=NOW - 600)).write(home)
        elif kind == "rollback":
            kept.write_bytes(Log.of(events(50)).note)
            words += ["--against", str(kept)]
        elif kind == "fork":
            kept.write_bytes(Log.of([body(0, x=1), *events(30)[1:]]).note)
            words += ["--against", str(kept)]
        else:
            (home / "checkpoint.txt").write_text("nothing")
        assert main(words) == 1
        text = told(capsys)
        assert text.startswith(f"INVALID: {kind}")
        assert MEANINGS[kind][:40] in " ".join(text.split())

    def test_many_findings_are_counted_and_not_all_told(self, tmp_path, capsys):
        older = replace(Log.of(events(20)), earlier=Log.of(events(40), sizes=range(21, 31)).earlier)
        assert main([str(older.write(tmp_path / "older")), "--key", LOG]) == 1
        text = told(capsys)
        assert text.startswith("INVALID: rollback at event 20")
        assert "6 more; --json lists them" in text

    def test_a_program_reads_the_same_as_json(self, home, capsys):
        assert main([str(home), "--key", LOG, "--json"]) == 0
        good = json.loads(capsys.readouterr().out)
        assert (good["schema"], good["ok"], good["size"]) == ("aegis.verify/v1", True, 37)
        assert good["events"] == {"first": 0, "count": 40, "unsealed": 3, "selected": False}
        (home / "leaves.bin").write_bytes(bytes(37 * 32))
        assert main([str(home), "--key", LOG, "--json"]) == 1
        bad = json.loads(capsys.readouterr().out)
        assert [(each["kind"], each["seq"]) for each in bad["findings"]] == [("malformed", 0)]

    def test_the_keys_of_the_bundle_are_believed_only_when_one_says_so_and_the_verdict_tells(self, home, capsys):
        assert main([str(home)]) == 2
        assert "whom shall I believe" in capsys.readouterr().err
        assert main([str(home), "--trust-bundle-keys"]) == 0
        assert "taken from the bundle itself" in told(capsys)

    def test_letters_that_would_paint_the_terminal_are_not_printed(self, home, capsys):
        evil = json.loads((home / "bundle.json").read_text()) | {"origin": "aegis.\u001b[31m\u202eacme/audit/1"}
        (home / "bundle.json").write_text(json.dumps(evil))
        assert main([str(home), "--key", LOG]) == 1
        assert not any(letter in capsys.readouterr().out for letter in "\u001b\u202e")


class TestUsage:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--key", "nonsense"], "not a key"),
            (["--key", LOG[:-9] + ("A" if LOG[-9] != "A" else "B") + LOG[-8:]], "damaged"),
            (["--key", SEEN], "key of a witness"),
            (["--key", LOG, "--witness", LOG], "key of a log"),
            (["--key", LOG, "--max-age", "60"], "needs a witness"),
            (["--key", LOG, "--witness", SEEN, "--max-age", "nan"], "expected seconds"),
            (["--policy", "/nonexistent"], "cannot read"),
            (["--key", LOG, "--against", "/nonexistent"], "cannot read"),
        ],
    )
    def test_wrong_usage_exits_with_2_and_says_why(self, home, capsys, words, said):
        assert main([str(home), *words]) == 2
        assert said in capsys.readouterr().err

    def test_a_bundle_that_is_not_there_is_no_verdict(self, tmp_path, capsys):
        assert main([str(tmp_path / "none"), "--key", LOG]) == 2
        assert "nothing is at" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["bundle.json", "checkpoint.txt", "events.jsonl", "leaves.bin"])
    def test_a_bundle_without_one_of_its_files_is_invalid(self, home, name, capsys):
        (home / name).unlink()
        assert main([str(home), "--key", LOG]) == 1
        assert f"the bundle has no {name}" in told(capsys)

    def test_a_zip_with_a_folder_inside_is_read_as_well(self, home, tmp_path):
        packed = shutil.make_archive(str(tmp_path / "packed"), "zip", home.parent, home.name)
        assert main([packed, "--key", LOG]) == 0

    def test_a_file_that_is_no_zip_is_invalid(self, tmp_path, capsys):
        (tmp_path / "bundle.zip").write_bytes(b"PK\x03\x04nothing")
        assert main([str(tmp_path / "bundle.zip"), "--key", LOG]) == 1
        assert "readable zip" in told(capsys)


class TestPolicies:
    KEYS: ClassVar = {
        name: note.vkey(name, ledger.private_key(bytes([at]) * 32).public, 4) for at, name in enumerate(["a", "b", "c", "d"], 20)
    }

    def policy(self, *lines):
        return read_policy("\n".join([*(f"witness {name} {key}" for name, key in self.KEYS.items()), *lines]) + "\n")

    @pytest.mark.parametrize(
        ("lines", "enough", "lacking"),
        [
            (["quorum none"], [""], []),
            (["quorum a"], ["a", "ab"], ["", "bcd"]),
            (["group g any a b", "quorum g"], ["a", "b"], ["", "cd"]),
            (["group g all a b", "quorum g"], ["ab"], ["a", "b", "acd"]),
            (["group g 2 a b c", "quorum g"], ["ab", "bc", "abc"], ["a", "ad"]),
            (
                ["# two levels", "group x any a b", " group  y\tall c d", "group z all x y", "quorum z"],
                ["acd", "bcd"],
                ["ab", "cd", "ac"],
            ),
        ],
    )
    def test_the_quorum_is_that_of_the_policy(self, lines, enough, lacking):
        trust = self.policy(*lines)
        for names in enough:
            assert trust.met(trust.witnesses[name] for name in names)
        for names in lacking:
            assert not trust.met(trust.witnesses[name] for name in names)

    @pytest.mark.parametrize(
        "lines",
        [
            [], ["quorum nobody"], ["quorum a", "quorum b"], ["group g 3 a b", "quorum g"], ["group g 0 a", "quorum g"],
            ["group g any", "quorum g"], ["group g any later", "quorum g"], ["group a any b", "quorum a"], ["group none any a", "quorum a"],
            ["group g any a", "group h any a", "quorum g"], ["group g any a a", "quorum g"], ["witness a2 " + KEYS["a"], "quorum a"],
            ["log " + KEYS["a"], "quorum a"], ["witness l " + LOG, "quorum a"], ["nonsense", "quorum a"], ["quorum a b"], ["group g 01 a", "quorum g"],
        ],
    )  # fmt: skip
    def test_a_policy_that_is_not_clear_is_refused(self, lines):
        with pytest.raises(UnusableError):
            self.policy(*lines)

    def test_the_policy_of_a_gateway_is_one(self):
        trust = read_policy(POLICY)
        assert [str(key) for key in trust.logs] == [str(read_key(LOG))]
        assert trust.quorum == "witnesses"
        assert read_policy(NOBODY_HAS_TO).quorum == "none"

    def test_keys_that_are_given_take_the_place_of_the_logs_of_the_policy(self):
        other = note.vkey(ORIGIN, OTHER_KEY.public)
        assert [key.public for key in trusted([other], [], POLICY).logs] == [read_key(other).public]

    def test_a_witness_that_is_given_has_to_have_cosigned_besides_the_quorum(self):
        trust = trusted([], [self.KEYS["b"]], POLICY)
        first, second = read_key(SEEN), read_key(self.KEYS["b"])
        assert trust.met([first, second])
        assert not trust.met([first])
        assert not trust.met([second])

    def test_nobody_is_believed_without_a_key(self):
        with pytest.raises(UnusableError):
            trusted([], [], "quorum none\n")
        assert Trust().keys(ORIGIN) == []


class TestProofs:
    @pytest.fixture
    def files(self, tmp_path):
        def subtree(level, number):
            return Frontier().extend(SEALED.leaves[number << level : (number + 1) << level]).root

        lines = [ledger.note.encode(each) for each in inclusion_proof(12, 37, subtree)]
        event, proof = tmp_path / "event.json", tmp_path / "event.tlog-proof"
        event.write_bytes(SEALED.bodies[12])
        proof.write_text("\n".join(["c2sp.org/tlog-proof@v1", "index 12", *lines, "", SEALED.note.decode()]))
        old, new, growth = tmp_path / "old.txt", tmp_path / "new.txt", tmp_path / "growth"
        old.write_bytes(SEALED.earlier[16])
        new.write_bytes(SEALED.note)
        steps = [ledger.note.encode(each) for each in consistency_proof(16, 37, subtree)]
        growth.write_text("\n".join(["old 16", *steps, "", SEALED.note.decode()]))
        return event, proof, old, new, growth

    def test_a_proof_is_verified_with_its_witness(self, files, capsys):
        event, proof, *_ = files
        assert main(["verify-proof", str(event), str(proof), "--key", LOG, "--witness", SEEN]) == 0
        assert "1 checked, number 12" in told(capsys)

    @pytest.mark.parametrize("change", [("index 12", "index 13"), ("tlog-proof@v1", "tlog-proof@v2"), ("index 12", "index 012")])
    def test_another_proof_is_not_believed(self, files, change, capsys):
        event, proof, *_ = files
        proof.write_text(proof.read_text().replace(*change))
        assert main(["verify-proof", str(event), str(proof), "--key", LOG]) == 1
        assert "INVALID" in told(capsys)

    def test_data_that_nobody_authenticates_is_passed_over(self, files):
        event, proof, *_ = files
        proof.write_text(proof.read_text().replace("index 12", "extra AAAA\nindex 12"))
        event.write_bytes(event.read_bytes() + b"\n")
        assert main(["verify-proof", str(event), str(proof), "--key", LOG]) == 0

    def test_a_log_that_grew_is_told_from_one_that_did_not(self, files, home, capsys):
        _, _, old, new, growth = files
        assert main(["consistency", str(old), str(new), "--proof", str(growth), "--key", LOG]) == 0
        assert main(["consistency", str(old), str(new), str(home), "--key", LOG]) == 0
        assert main(["consistency", str(new), str(old), "--proof", str(growth), "--key", LOG]) == 1
        assert "rollback" in told(capsys)
        forged = Log.of([body(0, x=1), *events(16)[1:]])
        old.write_bytes(forged.note)
        assert main(["consistency", str(old), str(new), str(home), "--key", LOG]) == 1
        assert "fork" in told(capsys)

    def test_leaves_or_a_proof_are_wanted(self, files, capsys):
        _, _, old, new, _ = files
        assert main(["consistency", str(old), str(new), "--key", LOG]) == 2
        assert "--proof" in capsys.readouterr().err


class TestOneFile:
    def test_it_imports_nothing_but_the_standard_library(self):
        tree = ast.parse(Path(aegis_verify.__file__).read_text("utf-8"))
        names = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert names <= sys.stdlib_module_names | {"__future__"}

    def test_it_runs_alone_in_any_folder_and_without_site_packages(self, home, tmp_path):
        alone = tmp_path / "elsewhere" / "aegis_verify.py"
        alone.parent.mkdir()
        shutil.copy(aegis_verify.__file__, alone)
        ran = subprocess.run(
            [sys.executable, "-I", "-S", str(alone), str(home), "--key", LOG],
            capture_output=True,
            text=True,
            check=False,
            env={},
            cwd=tmp_path,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.startswith("VALID")
