"""The judgement of a witness, as laws: whatever it is asked, it cosigns one tree of a log and never a smaller one."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.witness.logs import ORIGIN, Log, log

from aegis.crypto import note
from aegis.crypto.jwk import private_key
from aegis.crypto.merkle import verify_consistency
from aegis.errors import NoteError
from aegis.journal import witness
from aegis.journal.checkpoint import Checkpoint
from aegis.journal.witness import FORK, UNPROVEN, Refusal, Request

MOST = 24
TRUE = log(MOST)
FORKED = [Log() for _ in range(3)]
for place, other in enumerate(FORKED):
    other.leaves = TRUE.leaves[: 5 * place]
    other.grow(MOST - len(other.leaves), b"forged")
sizes = st.integers(0, MOST)


class Asked:
    """One request as somebody may send it: a tree, a size, a claimed old size, and a proof that may be for something else."""

    def __init__(self, tree: Log, size: int, old: int, proved: tuple[Log, int]) -> None:
        self.request = Request(old, tuple(proved[0].proof(min(proved[1], size), size)), note.parse(tree.note(size)))
        self.wanted = tree.checkpoint(size)


trees = st.sampled_from([TRUE, *FORKED])
asked = st.builds(Asked, trees, sizes, sizes, st.tuples(trees, sizes))
honest = st.builds(lambda tree, old, size: Asked(tree, max(old, size), old, (tree, old)), trees, sizes, sizes)


@given(st.lists(asked | honest, max_size=12))
def test_what_is_cosigned_is_one_tree_that_only_grows(requests: list[Asked]) -> None:
    known: Checkpoint | None = None
    given_out: list[Asked] = []
    for each in requests:
        admitted = witness.admitted(each.request, {ORIGIN: [TRUE.verifier]})
        if isinstance(admitted, Refusal):
            assert admitted.status == 400
            continue
        if witness.judged(each.request, admitted, known) is None:
            known = admitted
            given_out.append(each)
    found = [each.wanted for each in given_out]
    assert [each.size for each in found] == sorted(each.size for each in found)
    for old, new in pairwise(found):
        assert any(tree.checkpoint(old.size) == old and tree.checkpoint(new.size) == new for tree in [TRUE, *FORKED])


@given(trees, sizes, sizes)
def test_a_log_that_only_grows_is_never_refused(tree: Log, old: int, size: int) -> None:
    old, size = sorted((old, size))
    request = Request(old, tuple(tree.proof(old, size)), note.parse(tree.note(size)))
    assert witness.judged(request, tree.checkpoint(size), tree.checkpoint(old)) is None


@given(sizes, sizes, st.sampled_from(FORKED))
def test_two_trees_of_one_size_are_always_evidence(size: int, old: int, forked: Log) -> None:
    true, false = TRUE.checkpoint(size), forked.checkpoint(size)
    found = witness.judged(Request(old, (), note.parse(forked.note(size))), false, true)
    assert (found is not None and found.evidence == FORK) is (true != false)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=8), sizes, sizes)
def test_a_proof_counts_only_if_it_holds(proof: list[bytes], old: int, size: int) -> None:
    old, size = sorted((old, size))
    true, wanted = TRUE.checkpoint(old), TRUE.checkpoint(size)
    found = witness.judged(Request(old, tuple(proof), note.parse(TRUE.note(size))), wanted, true)
    holds = verify_consistency(old, true.root, size, wanted.root, proof)
    assert (found is None) is holds
    assert holds or (found is not None and (found.status, found.evidence) == (422, UNPROVEN))


@given(asked | honest)
def test_every_request_is_read_as_it_was_written(each: Asked) -> None:
    assert witness.parse(each.request.data) == each.request


@given(st.binary(max_size=120))
def test_bytes_are_a_request_in_one_form_or_none(data: bytes) -> None:
    good = Request(3, tuple(TRUE.proof(3)), note.parse(TRUE.note())).data
    for candidate in (data, b"old 0\n\n" + data, data + good, good + data, good[: len(data)] + data + good[len(data) :]):
        try:
            found = witness.parse(candidate)
        except NoteError:
            continue
        assert found.data == candidate


@pytest.mark.parametrize(
    ("tree", "status"),
    [(log(3, origin="aegis.globex/audit/1"), 404), (log(3, key=private_key(b"\x99" * 32)), 403), (log(3), 400)],
    ids=["origin", "key", "size"],
)
def test_a_checkpoint_is_admitted_by_origin_then_signature_then_size(tree: Log, status: int) -> None:
    found = witness.admitted(Request(4, (), note.parse(tree.note())), {ORIGIN: [TRUE.verifier]})
    assert isinstance(found, Refusal)
    assert found.status == status
