"""The tree of RFC 6962: proofs against published vectors and against every tree up to a size; two implementations that agree."""

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import aegis_verify as other
from aegis.crypto.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    frontier_at,
    inclusion_proof,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)

VECTORS = Path(__file__).parents[3] / "shared" / "vectors" / "merkle" / "testdata"
LEAVES = [leaf_hash(str(number).encode()) for number in range(70)]
absent = pytest.mark.skipif(not VECTORS.is_dir(), reason="the vectors of transparency-dev/merkle are not beside the repository")


def subtree(level, number):
    width = 1 << level
    return Frontier().extend(LEAVES[number * width : (number + 1) * width]).root


def slow_root(leaves):
    """RFC 6962, section 2.1, to the letter."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else EMPTY_ROOT
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(slow_root(leaves[:split]), slow_root(leaves[split:]))


def cases(kind):
    return sorted((VECTORS / kind).rglob("*.json")) if VECTORS.is_dir() else [Path("none")]


def hashes(values):
    return [base64.b64decode(value) for value in values or ()]


def whole(*values):
    """Whether all are hashes: whatever reads them from outside refuses others before a proof is verified."""
    return all(len(value) == 32 for value in values)


@absent
@pytest.mark.parametrize("path", cases("inclusion"), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_published_inclusion_proofs(path):
    case = json.loads(path.read_text())
    leaf, root = base64.b64decode(case["leafHash"] or ""), base64.b64decode(case["root"] or "")
    proof = hashes(case["proof"])
    for verify in (verify_inclusion, other.included):
        good = whole(leaf, root, *proof) and verify(leaf, case["leafIdx"], case["treeSize"], proof, root)
        assert good is not case["wantErr"]


@absent
@pytest.mark.parametrize("path", cases("consistency"), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_published_consistency_proofs(path):
    case = json.loads(path.read_text())
    old, new = base64.b64decode(case["root1"] or ""), base64.b64decode(case["root2"] or "")
    proof = hashes(case["proof"])
    # The vectors hold that nothing follows from the empty tree. Witnesses (C2SP tlog-witness) begin with it, without a proof.
    begins = case["size1"] == 0 < case["size2"] and old == EMPTY_ROOT and not proof
    for verify in (verify_consistency, other.consistent):
        assert verify(case["size1"], old, case["size2"], new, proof) is (begins or not case["wantErr"])


def test_the_frontier_grows_to_the_root_of_the_rfc():
    for size in range(len(LEAVES) + 1):
        expected = slow_root(LEAVES[:size])
        assert Frontier().extend(LEAVES[:size]).root == expected
        assert other.roots(LEAVES, [size]) == {size: expected}
        assert frontier_at(size, subtree) == Frontier().extend(LEAVES[:size])


@given(st.integers(0, 70), st.integers(0, 70))
def test_a_frontier_that_is_continued_is_the_one_of_the_whole(split, end):
    begun = Frontier().extend(LEAVES[:split])
    assert begun.sound
    assert begun.extend(LEAVES[split : split + end]) == Frontier().extend(LEAVES[: split + end])


def test_every_inclusion_proof_holds_for_its_own_leaf_and_place_only():
    for size in range(1, 34):
        root = slow_root(LEAVES[:size])
        for index in range(size):
            proof = inclusion_proof(index, size, subtree)
            for verify in (verify_inclusion, other.included):
                assert verify(LEAVES[index], index, size, proof, root)
                assert not verify(LEAVES[index + 1], index, size, proof, root)
                assert not verify(LEAVES[index], index + 1, size, proof, root)
                assert not verify(LEAVES[index], index, size, [*proof, root], root)
                assert size == 1 or not verify(LEAVES[index], index, size, proof[:-1], root)


def test_every_consistency_proof_holds_for_its_own_trees_only():
    for new in range(1, 34):
        new_root = slow_root(LEAVES[:new])
        for old in range(new + 1):
            old_root, proof = slow_root(LEAVES[:old]), consistency_proof(old, new, subtree)
            for verify in (verify_consistency, other.consistent):
                assert verify(old, old_root, new, new_root, proof)
                assert not verify(old, slow_root(LEAVES[1 : old + 1]) if old else new_root, new, new_root, proof)
                assert not verify(old, old_root, new, slow_root(LEAVES[1 : new + 1]), proof) or old == 0
                assert not verify(old, old_root, new, new_root, [*proof, new_root])


@given(st.data())
def test_both_implementations_agree_on_damaged_proofs(data):
    new = data.draw(st.integers(1, 70))
    old = data.draw(st.integers(0, new))
    proof = data.draw(st.lists(st.sampled_from([*consistency_proof(old, new, subtree), *LEAVES[:3]]), max_size=8))
    args = (old, slow_root(LEAVES[:old]), new, slow_root(LEAVES[:new]), proof)
    assert verify_consistency(*args) == other.consistent(*args)
    index = data.draw(st.integers(0, new))
    path = data.draw(st.lists(st.sampled_from([*(inclusion_proof(old, new, subtree) if old < new else ()), LEAVES[0]]), max_size=8))
    assert verify_inclusion(LEAVES[old], index, new, path, args[3]) == other.included(LEAVES[old], index, new, path, args[3])


def test_leaves_and_nodes_cannot_stand_for_each_other():
    left, right = LEAVES[:2]
    assert leaf_hash(b"\x01" + left + right) != node_hash(left, right)
    assert leaf_hash(left + right) != node_hash(left, right)


def test_places_that_do_not_exist_have_no_proof():
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_proof(5, 5, subtree)
    with pytest.raises(ValueError, match="cannot begin"):
        consistency_proof(6, 5, subtree)
