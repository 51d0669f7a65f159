"""What the independent `aics-tlog` thinks of a case on standard input. It runs in a Python of its own, and imports nothing of ours."""

import base64
import json
import sys

import aics_tlog as tlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def opinion(case):
    bodies = [body.encode() for body in case["bodies"]]
    log, witness = tlog.parse_vkey(case["log"]), tlog.parse_vkey(case["witness"])
    seen = tlog.verify_checkpoint(tlog.parse_note(case["note"]), log, [witness], quorum=1, expected_origin=case["origin"])
    forged = tlog.parse_note(case["note"].replace(f"\n{seen.size}\n", f"\n{seen.size + 1}\n"))
    tree = tlog.MerkleTree(bodies[: seen.size])
    inclusion = {int(index): decoded(path) for index, path in case["inclusion"].items()}
    growth = {int(size): decoded(path) for size, path in case["consistency"].items()}
    return {
        "believed": [seen.ok, seen.witnesses, seen.timestamps],
        "forged": tlog.verify_checkpoint(forged, log, [witness], quorum=1).ok,
        "root": tree.root() == seen.root,
        "included": [tlog.verify_leaf_inclusion(bodies[at], at, seen.size, path, seen.root) for at, path in inclusion.items()],
        "changed": [
            tlog.verify_leaf_inclusion(bodies[at] + b" ", at, seen.size, path, seen.root) for at, path in inclusion.items()
        ],
        "grew": [tlog.verify_consistency(size, seen.size, tree.root(size), seen.root, path) for size, path in growth.items()],
    }


def own(case):
    """A log of its own over the same events, for our verifier to judge."""
    bodies, key = [body.encode() for body in case["bodies"]], Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    other, origin = Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))), case["origin"]
    tree = tlog.MerkleTree(bodies)
    note = tlog.sign_checkpoint(tlog.Checkpoint(origin, len(bodies), tree.root()), key, origin)
    _, line = tlog.sign_cosignature(other, "witness.other", case["now"], origin, len(bodies), tree.root())
    return {
        "note": tlog.Note(text=note.text, signatures=(*note.signatures, line)).serialise(),
        "log": tlog.format_vkey(tlog.vkey_from_ed25519(origin, key.public_key())),
        "witness": tlog.format_vkey(tlog.cosignature_vkey("witness.other", other.public_key())),
        "inclusion": [encoded(tree.inclusion_proof(index)) for index in range(len(bodies))],
    }


def decoded(path):
    return [base64.b64decode(each) for each in path]


def encoded(path):
    return [base64.b64encode(each).decode() for each in path]


given = json.load(sys.stdin)
json.dump({"opinion": opinion(given), "own": own(given)}, sys.stdout)
