"""Every way of changing a log is named with its first place: without the log's key and with it, with and without the leaves."""

from dataclasses import replace

import pytest

from aegis.crypto.merkle import leaf_hash
from verify import ledger
from verify.ledger import NOW, OTHER_KEY, Log, body, events, found, renumber, signed, verdict

COUNT, SIZE = 40, 37
SEALED = Log.of(events(COUNT), SIZE, sizes=(5, 16, 30))


def edited(bodies):
    bodies[12] = body(12, decision="deny")
    return bodies


def deleted(bodies):
    return bodies[:12] + bodies[13:]


def several_deleted(bodies):
    return bodies[:12] + bodies[17:]


def inserted(bodies):
    return [*bodies[:12], body(12, tool="files.read"), *bodies[12:]]


def copied_in(bodies):
    return [*bodies[:12], bodies[3], *bodies[12:]]


def swapped(bodies):
    bodies[12], bodies[20] = bodies[20], bodies[12]
    return bodies


def neighbours_swapped(bodies):
    bodies[12], bodies[13] = bodies[13], bodies[12]
    return bodies


def moved(bodies):
    bodies.insert(25, bodies.pop(12))
    return bodies


def cut(bodies):
    return bodies[:12]


def overwritten_by_a_copy(bodies):
    bodies[12] = bodies[20]
    return bodies


def numbered_anew(change):
    """The insider puts the numbers right inside the events, so that they look whole."""

    def changed(bodies):
        return [renumber(each, seq) for seq, each in enumerate(change(bodies))]

    return changed


CASES = [
    (edited, "edit"),
    (deleted, "delete"),
    (several_deleted, "delete"),
    (inserted, "insert"),
    (copied_in, "insert"),
    (swapped, "swap"),
    (neighbours_swapped, "swap"),
    (moved, "swap"),
    (cut, "truncate"),
    (overwritten_by_a_copy, "edit"),
]


def test_an_untouched_bundle_is_valid_and_says_what_was_checked(tmp_path):
    report = verdict(SEALED.write(tmp_path))
    assert report.ok
    assert (report.first, report.events, report.unsealed, report.earlier) == (0, COUNT, COUNT - SIZE, 3)
    assert list(report.newest.cosigners.values()) == [NOW]


@pytest.mark.parametrize("size", [0, 1, 2, 3, 255, 256, 257, 512, 1000])
def test_untouched_logs_of_any_size_are_valid(tmp_path, size):
    assert verdict(Log.of(events(size + 1), size, sizes=range(0, size, 100)).write(tmp_path)).ok


@pytest.mark.parametrize(("change", "kind"), CASES)
def test_a_change_behind_the_back_of_the_log_is_named(tmp_path, change, kind):
    assert found(SEALED.with_bodies(change), tmp_path) == (kind, 12)


@pytest.mark.parametrize(("change", "kind"), CASES)
def test_a_change_is_named_when_the_insider_numbered_the_events_anew(tmp_path, change, kind):
    assert found(SEALED.with_bodies(numbered_anew(change)), tmp_path) == (kind, 12)


@pytest.mark.parametrize(("change", "kind"), [case for case in CASES if case[0] is not edited])
def test_a_change_is_named_when_the_leaves_were_made_anew_too(tmp_path, change, kind):
    assert found(SEALED.with_bodies(change).with_leaves(), tmp_path) == (kind, 12)


@pytest.mark.parametrize("change", [edited, deleted, inserted, swapped, moved, cut])
def test_a_change_with_new_numbers_and_new_leaves_is_narrowed_between_two_checkpoints(tmp_path, change):
    changed = SEALED.with_bodies(numbered_anew(change)).with_leaves()
    report = verdict(changed.write(tmp_path))
    first = report.findings[0]
    assert first.kind in {"edit", "delete", "truncate"}
    assert first.seq <= 12 <= (first.upto or COUNT)
    assert first.seq in (5, 12)
    assert first.upto in (16, SIZE)


@pytest.mark.parametrize(("change", "kind"), [case for case in CASES if case[0] not in (edited, cut)])
def test_the_numbers_inside_betray_an_insider_who_signs_the_changed_log_with_the_stolen_key(tmp_path, change, kind):
    assert found(Log.of(change(events(COUNT)), SIZE), tmp_path) == (kind, 12)


@pytest.mark.parametrize("change", [edited, deleted, inserted, swapped, moved])
def test_a_log_that_was_rebuilt_with_the_stolen_key_is_a_fork_of_a_note_kept_elsewhere(tmp_path, change):
    kept = SEALED.note
    rebuilt = Log.of(numbered_anew(change)(events(COUNT)), SIZE)
    assert verdict(rebuilt.write(tmp_path)).ok, "without a note from outside nobody can tell"
    assert found(rebuilt, tmp_path, against=[("kept.txt", kept)])[0] == "fork"


def test_a_rebuilt_log_contradicts_the_earlier_notes_that_the_insider_left_in_the_bundle(tmp_path):
    rebuilt = replace(Log.of(numbered_anew(edited)(events(COUNT)), SIZE), earlier=SEALED.earlier)
    report = verdict(rebuilt.write(tmp_path))
    assert [(each.kind, each.upto) for each in report.findings] == [("fork", 16), ("fork", 30)]


def test_an_older_state_is_a_rollback_to_whoever_kept_a_newer_note(tmp_path):
    older = Log.of(events(20), 18)
    assert verdict(older.write(tmp_path)).ok
    kind, place = found(older, tmp_path, against=[("kept.txt", SEALED.note)])
    assert (kind, place) == ("rollback", 18)


def test_a_note_that_is_newer_than_the_bundle_is_no_rollback_when_the_events_are_there(tmp_path):
    crashed = Log.of(events(COUNT), 30)
    report = verdict(crashed.write(tmp_path), against=[("anchor", SEALED.note)])
    assert report.ok
    assert report.outside == 1


def test_a_rebuilt_state_that_is_smaller_than_a_kept_note_is_found(tmp_path):
    rebuilt = Log.of(numbered_anew(edited)(events(30)), 28)
    assert found(rebuilt, tmp_path, against=[("kept.txt", SEALED.note)])[0] == "rollback"


def test_events_that_nobody_signed_yet_are_told_and_checked_in_form(tmp_path):
    assert verdict(SEALED.write(tmp_path / "whole")).unsealed == 3
    gap = SEALED.with_bodies(lambda bodies: bodies[:38] + bodies[39:])
    assert found(gap, tmp_path / "gap") == ("delete", 38)


def test_a_missing_end_is_found_where_the_bundle_still_says_how_many_there_were(tmp_path):
    lost = replace(SEALED.with_bodies(lambda bodies: bodies[:38]), last=COUNT - 1)
    assert found(lost, tmp_path) == ("truncate", 38)


def test_the_last_line_cut_in_the_middle_is_a_truncation(tmp_path):
    home = SEALED.write(tmp_path)
    data = (home / "events.jsonl").read_bytes()
    (home / "events.jsonl").write_bytes(data[:-20])
    assert [(each.kind, each.seq) for each in verdict(home).findings] == [("truncate", COUNT - 1)]


def test_events_deleted_at_the_end_of_the_signed_ones_are_found_behind_unsealed_ones(tmp_path):
    assert found(SEALED.with_bodies(lambda bodies: bodies[:35] + bodies[37:]), tmp_path) == ("delete", 35)


def test_damaged_leaves_are_told_from_damaged_events(tmp_path):
    leaves = list(SEALED.leaves)
    leaves[20] = bytes(32)
    report = verdict(replace(SEALED, leaves=leaves).write(tmp_path))
    assert (report.findings[0].kind, report.findings[0].seq) == ("malformed", 20)
    assert "events themselves" in report.findings[0].text


def test_the_first_of_several_changes_is_named(tmp_path):
    def several(bodies):
        bodies[30] = body(30, x=1)
        return swapped(bodies)

    assert found(SEALED.with_bodies(several), tmp_path) == ("swap", 12)


def test_an_event_of_another_log_is_refused_even_when_it_was_sealed(tmp_path):
    bodies = events(10)
    bodies[4] = bodies[4].replace(b"aegis.acme", b"aegis.evil")
    assert found(Log.of(bodies), tmp_path) == ("malformed", 4)


def test_bytes_that_are_not_canonical_are_refused_even_when_they_were_sealed(tmp_path):
    bodies = events(10)
    bodies[4] = bodies[4].replace(b'"v":1}', b'"v": 1}')
    assert bodies[4] != body(4)
    assert found(Log.of(bodies), tmp_path) == ("malformed", 4)


class TestSignatures:
    def test_a_note_of_another_key_is_not_believed(self, tmp_path):
        assert found(Log.of(events(10), key=OTHER_KEY), tmp_path) == ("signature", None)

    def test_a_forged_signature_of_the_known_key_is_not_believed(self, tmp_path):
        forged = replace(SEALED, note=signed([leaf_hash(b"")]).split(b"\n\n")[0] + b"\n\n" + SEALED.note.split(b"\n\n")[1])
        assert found(forged, tmp_path) == ("signature", None)

    def test_a_forged_signature_is_not_believed_where_no_witness_signed_either(self, tmp_path):
        true, other = signed(SEALED.leaves, cosigned_at=None), signed(SEALED.leaves[:5], cosigned_at=None)
        forged = replace(SEALED, note=true.split(b"\n\n")[0] + b"\n\n" + other.split(b"\n\n")[1])
        report = verdict(forged.write(tmp_path), trust=ledger.TRUST._replace(quorum="none"))
        assert [each.kind for each in report.findings] == ["signature"]
        assert "is wrong" in report.findings[0].text

    def test_two_notes_beyond_the_bundle_prove_a_fork_by_themselves(self, tmp_path):
        longer = events(60)
        first, second = (Log.of(bodies).note for bodies in (longer, [*longer[:50], *numbered_anew(swapped)(longer)[:10]]))
        report = verdict(SEALED.write(tmp_path), against=[("mine.txt", first), ("yours.txt", second)])
        assert [each.kind for each in report.findings] == ["fork"]

    def test_a_checkpoint_without_the_witness_that_the_policy_wants_is_refused(self, tmp_path):
        assert found(replace(SEALED, note=signed(SEALED.leaves, cosigned_at=None)), tmp_path) == ("signature", None)

    def test_an_earlier_note_of_an_unknown_key_is_refused(self, tmp_path):
        strange = {5: signed(SEALED.leaves[:5], OTHER_KEY, None)}
        assert found(replace(SEALED, earlier=strange), tmp_path) == ("signature", None)

    def test_two_notes_of_one_size_prove_a_fork_whatever_else_the_bundle_holds(self, tmp_path):
        other = signed([leaf_hash(each) for each in numbered_anew(edited)(events(COUNT))[:SIZE]])
        report = verdict(SEALED.write(tmp_path), against=[("kept.txt", other)])
        assert [each.kind for each in report.findings] == ["fork"]

    def test_the_log_of_another_tenant_is_not_taken_for_this_one(self, tmp_path):
        other = signed(SEALED.leaves, origin="aegis.evil/audit/1")
        assert found(replace(SEALED, note=other), tmp_path)[0] == "signature"


class TestFreshness:
    def test_a_fresh_cosignature_is_enough(self, tmp_path):
        assert verdict(SEALED.write(tmp_path), max_age=60).ok

    @pytest.mark.parametrize("moment", [NOW - 61, NOW + 301, 0, 2**62])
    def test_an_old_cosignature_or_one_from_the_future_is_stale(self, tmp_path, moment):
        old = replace(SEALED, note=signed(SEALED.leaves, cosigned_at=moment))
        assert found(old, tmp_path, max_age=60) == ("stale", None)

    def test_a_fresh_cosignature_of_a_smaller_note_does_not_make_an_old_copy_fresh(self, tmp_path):
        old = replace(
            SEALED, note=signed(SEALED.leaves, cosigned_at=NOW - 3600), earlier={5: signed(SEALED.leaves[:5], cosigned_at=NOW)}
        )
        assert found(old, tmp_path, max_age=60) == ("stale", None)

    def test_the_newest_note_from_outside_counts(self, tmp_path):
        crashed = replace(Log.of(events(COUNT), 30), note=signed(SEALED.leaves[:30], cosigned_at=NOW - 3600))
        assert verdict(crashed.write(tmp_path), max_age=60, against=[("witness", SEALED.note)]).ok


class TestParts:
    PART = replace(SEALED, bodies=SEALED.bodies[10:20], first=10)

    def test_a_part_is_valid_for_whoever_asked_for_one(self, tmp_path):
        report = verdict(self.PART.write(tmp_path), part=True)
        assert report.ok
        assert (report.first, report.events) == (10, 10)

    def test_a_part_is_not_taken_for_the_whole(self, tmp_path):
        assert found(self.PART, tmp_path)[0] == "truncate"

    def test_an_edit_in_a_part_is_named_with_its_place_in_the_log(self, tmp_path):
        edit = replace(self.PART, bodies=[*self.PART.bodies[:3], body(13, x=1), *self.PART.bodies[4:]])
        assert found(edit, tmp_path, part=True) == ("edit", 13)

    def test_a_deletion_in_a_part_is_named(self, tmp_path):
        gone = replace(self.PART, bodies=[*self.PART.bodies[:3], *self.PART.bodies[4:]])
        assert found(gone, tmp_path, part=True) == ("delete", 13)

    def test_what_retention_dropped_is_missed_only_where_no_event_says_so(self, tmp_path):
        kept = replace(SEALED, bodies=SEALED.bodies[10:], first=10)
        assert found(kept, tmp_path / "plain") == ("delete", 0)
        bodies = [*events(20), ledger.body(20, first=10).replace(b'"type":"decision"', b'"type":"retention"'), body(21)]
        log = Log.of(bodies)
        assert verdict(replace(log, bodies=log.bodies[10:], first=10).write(tmp_path / "told")).ok
        assert found(replace(log, bodies=log.bodies[11:], first=11), tmp_path / "more") == ("delete", 0)

    def test_a_selection_is_checked_event_by_event(self, tmp_path):
        picked = replace(
            SEALED, bodies=[SEALED.bodies[4], SEALED.bodies[5], SEALED.bodies[30]], first=4, last=30, selection="request:req_2"
        )
        assert verdict(picked.write(tmp_path / "good"), part=True).events == 3
        assert found(picked, tmp_path / "whole")[0] == "truncate"
        bad = replace(picked, bodies=[SEALED.bodies[4], body(5, x=1), SEALED.bodies[30]])
        assert found(bad, tmp_path / "edit", part=True) == ("edit", 5)
        unordered = replace(picked, bodies=picked.bodies[::-1])
        assert found(unordered, tmp_path / "order", part=True)[0] == "malformed"
