"""Our notes and proofs before an implementation that is not ours, and its before our verifier: `aics-tlog` from PyPI."""

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from aegis.crypto import note
from aegis.crypto.merkle import Frontier, consistency_proof, inclusion_proof, leaf_hash
from aegis_verify import Trust, read_key, verify_proof
from verify import ledger
from verify.ledger import NOW, ORIGIN, WITNESS, Log, events, question

COUNT = 300
LEAVES = [leaf_hash(each) for each in events(COUNT)]
NEWER = ("python3.14", "python3.13", "python3.12")


def pythons():
    """Interpreters of 3.12 or newer, as they are called and as version managers keep them."""
    for name in NEWER:
        homes = [Path.home() / ".pyenv/versions", Path.home() / ".local/share/uv/python"]
        yield from filter(None, [shutil.which(name)])
        yield from (str(path) for home in homes for path in sorted(home.glob(f"*/bin/{name}")))


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """A virtual environment with the independent implementation."""
    home = tmp_path_factory.mktemp("independent") / "venv"
    for python in pythons():
        if subprocess.run([python, "-m", "venv", str(home)], capture_output=True, check=False).returncode == 0:
            install = [str(home / "bin/python"), "-m", "pip", "install", "-q", "--disable-pip-version-check", "aics-tlog>=0.2,<0.3"]
            ran = subprocess.run(install, capture_output=True, text=True, check=False, timeout=200)
            if ran.returncode:
                pytest.skip("aics-tlog cannot be installed: no package index can be reached")
            return home / "bin/python"
    pytest.skip("aics-tlog needs Python 3.12 or newer, and there is none")


def subtree(level, number):
    return Frontier().extend(LEAVES[number << level : (number + 1) << level]).root


def encoded(path):
    return [base64.b64encode(each).decode() for each in path]


@pytest.fixture(scope="module")
def said(interpreter):
    case = {
        "origin": ORIGIN,
        "now": NOW,
        "bodies": [each.decode() for each in events(COUNT)],
        "note": Log.of(events(COUNT)).note.decode(),
        "log": note.vkey(ORIGIN, ledger.LOG_KEY.public),
        "witness": note.vkey(WITNESS, ledger.WITNESS_KEY.public, note.COSIGNATURE),
        "inclusion": {index: encoded(inclusion_proof(index, COUNT, subtree)) for index in range(0, COUNT, 7)},
        "consistency": {size: encoded(consistency_proof(size, COUNT, subtree)) for size in range(0, COUNT + 1, 13)},
    }
    script = Path(__file__).with_name("independent.py")
    ran = subprocess.run([str(interpreter), str(script)], input=json.dumps(case), capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_the_independent_implementation_believes_our_checkpoints_and_cosignatures(said):
    assert said["opinion"]["believed"] == [True, [WITNESS], {WITNESS: NOW}]
    assert said["opinion"]["forged"] is False
    assert said["opinion"]["root"] is True


def test_it_believes_our_proofs_and_no_changed_event(said):
    assert said["opinion"]["included"] == [True] * len(range(0, COUNT, 7))
    assert said["opinion"]["changed"] == [False] * len(range(0, COUNT, 7))
    assert said["opinion"]["grew"] == [True] * len(range(0, COUNT + 1, 13))


def test_our_verifier_believes_its_notes_and_proofs_and_no_changed_event(said):
    own = said["own"]
    trust = Trust((read_key(own["log"]),), {"w": read_key(own["witness"])}, {}, "w")
    for index in range(0, COUNT, 11):
        text = "\n".join(["c2sp.org/tlog-proof@v1", f"index {index}", *own["inclusion"][index], "", own["note"]]).encode()
        good = verify_proof(events(COUNT)[index], text, question(trust, max_age=60))
        assert good.ok, good.findings
        assert not verify_proof(events(COUNT)[index - 1], text, question(trust)).ok
