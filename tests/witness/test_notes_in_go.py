"""Our notes, cosignatures and proofs read by an independent implementation, and its notes read by us.

`golang.org/x/mod/sumdb` of the Go project knows notes and trees; the cosignature, which it does not know, is checked with its
interfaces and the Ed25519 of Go. Skipped where there is no Go, or its module cannot be had.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.witness.logs import log

from aegis.crypto import note
from aegis.crypto.jwk import private_key
from aegis.crypto.note import COSIGNATURE, Verifier

GO = shutil.which("go") or shutil.which("/usr/local/go/bin/go")
MODULE = "module check\n\ngo 1.22\n\nrequire golang.org/x/mod v0.42.0\n"
PROGRAM = r"""
package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// witness verifies C2SP cosignature/v1 lines.
type witness struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

func (w witness) Name() string    { return w.name }
func (w witness) KeyHash() uint32 { return w.hash }
func (w witness) Verify(msg, sig []byte) bool {
	if len(sig) != 8+ed25519.SignatureSize {
		return false
	}
	signed := fmt.Sprintf("cosignature/v1\ntime %d\n%s", binary.BigEndian.Uint64(sig), msg)
	return ed25519.Verify(w.key, []byte(signed), sig[8:])
}

type input struct {
	Note, Log, Witness string
	WitnessID          uint32
	WitnessKey         []byte
	Old, New           int64
	OldRoot, NewRoot   []byte
	Proof              [][]byte
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func hash(b []byte) (h tlog.Hash) { copy(h[:], b); return }

func main() {
	var in input
	must(json.NewDecoder(os.Stdin).Decode(&in))
	logKey, err := note.NewVerifier(in.Log)
	must(err)
	n, err := note.Open([]byte(in.Note), note.VerifierList(logKey, witness{in.Witness, in.WitnessID, in.WitnessKey}))
	must(err)
	tree, err := tlog.ParseTree([]byte("go.sum database tree\n" + strings.SplitN(n.Text, "\n", 2)[1]))
	must(err)
	var proof tlog.TreeProof
	for _, p := range in.Proof {
		proof = append(proof, hash(p))
	}
	must(tlog.CheckTree(proof, in.New, hash(in.NewRoot), in.Old, hash(in.OldRoot)))
	skey, vkey, err := note.GenerateKey(rand.Reader, "go.example/log")
	must(err)
	signer, err := note.NewSigner(skey)
	must(err)
	made, err := note.Sign(&note.Note{Text: n.Text}, signer)
	must(err)
	must(json.NewEncoder(os.Stdout).Encode(map[string]any{
		"signers": len(n.Sigs), "unknown": len(n.UnverifiedSigs), "size": tree.N,
		"root": base64.StdEncoding.EncodeToString(tree.Hash[:]), "note": string(made), "vkey": vkey,
	}))
}
"""


@pytest.fixture(scope="module")
def checker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GO is None:
        pytest.skip("there is no Go here")
    home = tmp_path_factory.mktemp("go")
    (home / "go.mod").write_text(MODULE)
    (home / "main.go").write_text(PROGRAM)
    built = subprocess.run(
        [GO, "build", "-o", "check", "."],
        check=False,
        cwd=home,
        env=os.environ | {"GOFLAGS": "-mod=mod"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    if built.returncode and "golang.org/x/mod" in built.stderr and "main.go" not in built.stderr:
        pytest.skip("the Go module golang.org/x/mod cannot be had here")
    assert built.returncode == 0, built.stderr
    return home / "check"


def test_what_we_sign_verifies_in_go_and_what_go_signs_verifies_here(checker: Path) -> None:
    acme, key = log(100), private_key(b"\x33" * 32)
    text = acme.checkpoint().text
    stranger = note.sign(text, "stranger.example", private_key(b"\x34" * 32))
    cosignature = note.cosign(text, "w.example", key, 1_700_000_000)
    made = note.parse(acme.note()).having([stranger, cosignature])
    for old in (1, 2, 37, 64, 99, 100):
        asked = {
            "Note": made.data.decode(),
            "Log": acme.verifier.vkey,
            "Witness": "w.example",
            "WitnessID": int.from_bytes(Verifier("w.example", key.public, COSIGNATURE).id),
            "WitnessKey": note.encode(note.decode(Verifier("w.example", key.public).vkey.split("+", 2)[2])[1:]),
            "Old": old,
            "New": 100,
            "OldRoot": note.encode(acme.checkpoint(old).root),
            "NewRoot": note.encode(acme.checkpoint().root),
            "Proof": [note.encode(step) for step in acme.proof(old)],
        }
        done = subprocess.run([checker], check=False, input=json.dumps(asked), capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert (said["signers"], said["unknown"], said["size"]) == (2, 1, 100)
        assert said["root"] == note.encode(acme.checkpoint().root)
    (signer,) = note.verified(note.parse(said["note"].encode()), [note.parse_vkey(said["vkey"])])
    assert signer.verifier.vkey == said["vkey"]
