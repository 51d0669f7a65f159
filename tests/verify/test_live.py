"""`aegis audit verify` on a store that somebody with the database has changed, on both databases."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from aegis_verify import Bundle, main
from verify import ledger
from verify.ledger import renumber
from verify.live import Place, private

GOOD = {"_system": [], "acme": [], "globex": []}


@pytest.fixture
def sealed(place):
    """600 events, so that two tiles are complete, sealed in four rounds; and three that are not sealed."""
    place.fill(5, tenant="globex")
    place.fill(100, 200, 250, 50)
    place.fill(3, sealed=False)
    return place


def hexed(place: Place, data: bytes) -> str:
    return f"X'{data.hex()}'" if place.home.kind == "sqlite" else f"'\\x{data.hex()}'::bytea"


def bodies(place: Place) -> list[bytes]:
    return [bytes(row[0]) for row in place.home.sql("SELECT body FROM event WHERE tenant = 'acme' ORDER BY seq")]


def rewritten(place: Place, changed: list[bytes]) -> None:
    """Put these bodies in the place of the events, as an insider would: every column follows the body."""
    rows = place.home.sql("SELECT seq, id, type, time, request_id, digest FROM event WHERE tenant = 'acme' ORDER BY seq")
    statements, known = ["DELETE FROM event WHERE tenant = 'acme'"], set()
    for seq, body in enumerate(changed):
        _, _, kind, time, request, digest = rows[min(seq, len(rows) - 1)]
        moment = time if isinstance(time, int) else f"'{time}'"
        name = json.loads(body)["id"]
        name, known = f"{name}-again" if name in known else name, {*known, name}
        statements.append(
            "INSERT INTO event (tenant, seq, id, type, time, request_id, body, digest) VALUES "
            f"('acme', {seq}, '{name}', '{kind}', {moment}, '{request}', {hexed(place, body)}, '{digest}')"
        )
    place.home.sql(*statements, "SELECT 1")


def test_an_untouched_store_is_valid(sealed):
    assert sealed.verify() == GOOD
    code, told = sealed.run("verify", "--tenant", "acme")
    assert code == 0
    assert "VALID" in told
    assert "3 newer events" in told
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("seq", [0, 255, 300, 555, 599])
def test_an_edited_body_is_found_wherever_it_is(sealed, seq):
    body = bodies(sealed)[seq]
    other = body.replace(b'"v":1', b'"v":2')
    assert other != body
    sealed.home.sql(f"UPDATE event SET body = {hexed(sealed, other)} WHERE tenant = 'acme' AND seq = {seq}", "SELECT 1")
    found = sealed.verify()
    kind, place = found["acme"][0]
    assert kind == "edit"
    # Below the complete tiles the place is exact; above them it lies between two checkpoints.
    assert place == (seq if seq < 512 else 550 if seq >= 550 else 300)
    assert {**found, "acme": []} == GOOD


@pytest.mark.parametrize("seq", [601])
def test_an_edit_of_what_is_not_sealed_yet_contradicts_what_the_store_recorded(sealed, seq):
    other = bodies(sealed)[seq].replace(b'"v":1', b'"v":2')
    sealed.home.sql(f"UPDATE event SET body = {hexed(sealed, other)} WHERE tenant = 'acme' AND seq = {seq}", "SELECT 1")
    assert sealed.verify()["acme"] == [("edit", 600)]


@pytest.mark.parametrize("seq", [0, 300, 570])
def test_a_deleted_row_is_named(sealed, seq):
    sealed.home.sql(f"DELETE FROM event WHERE tenant = 'acme' AND seq = {seq}", "SELECT 1")
    assert sealed.verify()["acme"] == [("delete", seq)]


def test_a_row_that_was_deleted_and_whose_followers_moved_up_is_named(sealed):
    kept = bodies(sealed)
    del kept[300]
    rewritten(sealed, [renumber(body, seq) for seq, body in enumerate(kept)])
    assert sealed.verify()["acme"] == [("delete", 300)]


def test_an_inserted_row_is_named(sealed):
    kept = bodies(sealed)
    kept.insert(300, kept[10])
    rewritten(sealed, [renumber(body, seq) for seq, body in enumerate(kept)])
    assert sealed.verify()["acme"] == [("insert", 300)]


def test_two_rows_that_changed_places_are_named(sealed):
    kept = bodies(sealed)
    kept[300], kept[310] = kept[310], kept[300]
    rewritten(sealed, kept)
    assert sealed.verify()["acme"] == [("swap", 300)]


def test_a_cut_end_is_a_truncation(sealed):
    sealed.home.sql("DELETE FROM event WHERE tenant = 'acme' AND seq >= 400", "SELECT 1")
    assert sealed.verify()["acme"] == [("truncate", 400)]


def test_a_log_that_is_gone_is_missed(sealed):
    sealed.home.sql("DELETE FROM event WHERE tenant = 'globex'", "DELETE FROM head WHERE tenant = 'globex'", "SELECT 1")
    assert sealed.verify()["globex"] == [("truncate", 0)]


def test_a_log_without_checkpoints_is_not_taken_for_a_good_one(sealed):
    for path in Path(sealed.root, "anchor").iterdir():
        path.unlink()
    table = sealed.home.sql("SELECT count(*) FROM state WHERE kind = 'checkpoint'")
    assert table == [(3,)]
    sealed.home.sql("DELETE FROM state WHERE kind = 'checkpoint' AND id = 'acme'", "SELECT 1")
    assert sealed.verify()["acme"] == [("signature", None)]


def test_an_older_checkpoint_that_was_put_back_is_a_rollback_against_the_anchor(sealed):
    older = bodies(sealed)[:300]
    rewritten(sealed, older)
    assert sealed.verify()["acme"][0][0] == "truncate"


def test_leaves_that_were_changed_in_their_tile_are_told(sealed):
    tile = bytes(sealed.home.sql("SELECT hashes FROM tile WHERE tenant = 'acme' AND level = 0 AND number = 1")[0][0])
    changed = hexed(sealed, tile[:320] + bytes(32) + tile[352:])
    sealed.home.sql(f"UPDATE tile SET hashes = {changed} WHERE tenant = 'acme' AND level = 0 AND number = 1", "SELECT 1")
    assert sealed.verify()["acme"] == [("malformed", 266)]


def test_a_tile_that_is_gone_is_told(sealed):
    sealed.home.sql("DELETE FROM tile WHERE tenant = 'acme' AND level = 0 AND number = 1", "SELECT 1")
    assert sealed.verify()["acme"] == [("malformed", None)]


class TestBundles:
    @pytest.mark.parametrize("name", ["evidence", "evidence.zip"])
    def test_a_bundle_is_verified_by_the_one_file(self, sealed, name, capsys):
        where = sealed.root / name
        sealed.run("bundle", str(where), "--tenant", "acme")
        assert main([str(where), "--key", sealed.key()]) == 0
        told = capsys.readouterr().out
        assert "603 checked, 0 to 602 (the log signed 600)" in told
        assert "older notes   3, all of the same history" in told
        assert main([str(where), "--key", sealed.key("globex")]) == 1
        assert sealed.verify("--bundle", str(where)) == {"acme": []}

    def test_a_bundle_that_is_older_than_the_store_is_no_rollback(self, sealed):
        sealed.run("bundle", str(sealed.root / "old"), "--tenant", "acme")
        sealed.fill(20)
        assert sealed.verify("--bundle", str(sealed.root / "old")) == {"acme": []}

    def test_a_bundle_of_the_operators_log_is_verified_too(self, sealed):
        where = sealed.root / "evidence"
        sealed.run("bundle", str(where), "--tenant", "_system")
        assert main([str(where), "--key", sealed.key("_system")]) == 0

    def test_a_range_and_a_request_are_parts_and_say_so(self, sealed, capsys):
        part, request = sealed.root / "part", sealed.root / "request.zip"
        sealed.run("bundle", str(part), "--tenant", "acme", "--from", "100", "--to", "199")
        sealed.run("bundle", str(request), "--tenant", "acme", "--request", "req_33")
        for where, count in ((part, 100), (request, 3)):
            assert main([str(where), "--key", sealed.key()]) == 1
            assert main([str(where), "--key", sealed.key(), "--part"]) == 0
            assert f"{count} checked" in capsys.readouterr().out

    def test_a_bundle_replaces_nothing(self, sealed):
        from aegis.errors import ConfigError

        (sealed.root / "evidence").mkdir()
        with pytest.raises(ConfigError, match="exists"):
            sealed.run("bundle", str(sealed.root / "evidence"), "--tenant", "acme")

    def test_a_store_that_was_changed_gives_a_bundle_that_says_so(self, sealed):
        sealed.home.sql("DELETE FROM event WHERE tenant = 'acme' AND seq = 300", "SELECT 1")
        where = sealed.root / "evidence"
        sealed.run("bundle", str(where), "--tenant", "acme")
        report = ledger.verify(Bundle(str(where)), ledger.question(ledger.Trust(logs=(ledger.read_key(sealed.key()),))))
        assert [(each.kind, each.seq) for each in report.findings] == [("delete", 300)]


class TestProofs:
    @pytest.mark.parametrize("seq", [0, 255, 256, 599])
    def test_a_proof_stands_for_itself(self, sealed, seq, capsys):
        event, proof = sealed.root / "event.json", sealed.root / "event.tlog-proof"
        _, text = sealed.run("prove", str(seq), "--event", str(event), "--tenant", "acme")
        proof.write_text(text)
        assert main(["verify-proof", str(event), str(proof), "--key", sealed.key()]) == 0
        assert sealed.run("verify-proof", str(event), str(proof), "--tenant", "acme")[0] == 0
        event.write_bytes(event.read_bytes().replace(b'"acme-', b'"evil-'))
        assert main(["verify-proof", str(event), str(proof), "--key", sealed.key()]) == 1
        assert "INVALID" in capsys.readouterr().out

    def test_what_is_not_sealed_has_no_proof_yet(self, sealed):
        from aegis.errors import ConfigError

        with pytest.raises(ConfigError, match="not under a checkpoint"):
            sealed.run("prove", "601", "--tenant", "acme")

    def test_a_log_that_grew_is_consistent(self, sealed):
        where = sealed.root / "evidence"
        sealed.run("bundle", str(where), "--tenant", "acme")
        old, new = where / "checkpoints" / "300.txt", where / "checkpoint.txt"
        proof = sealed.root / "growth"
        proof.write_text(sealed.run("consistency", str(old), "--tenant", "acme")[1])
        assert main(["consistency", str(old), str(new), "--proof", str(proof), "--key", sealed.key()]) == 0
        assert main(["consistency", str(old), str(new), str(where), "--key", sealed.key()]) == 0
        assert main(["consistency", str(new), str(old), str(where), "--key", sealed.key()]) == 1


def heads(place: Place):
    return place.home.sql("SELECT tenant, next, frontier FROM head")


def checkpoints(place: Place):
    return place.home.sql("SELECT id, body FROM state WHERE kind = 'checkpoint'")


def test_an_older_state_that_was_put_back_is_a_rollback_against_the_anchor(place):
    place.fill(5, tenant="globex")
    place.fill(300)
    kept, notes = heads(place), checkpoints(place)
    place.fill(40)
    for tenant, end, frontier in kept:
        place.home.sql(
            f"DELETE FROM event WHERE tenant = '{tenant}' AND seq >= {end}",
            f"UPDATE head SET next = {end}, frontier = {hexed(place, bytes(frontier))} WHERE tenant = '{tenant}'",
            "SELECT 1",
        )
    for tenant, body in notes:
        data = body if isinstance(body, bytes) else bytes(body)
        place.home.sql(f"UPDATE state SET body = {hexed(place, data)} WHERE kind = 'checkpoint' AND id = '{tenant}'", "SELECT 1")
    found = place.verify()
    assert found["acme"] == [("rollback", 300)]
    assert found["_system"][0][0] == "rollback"
    assert found["globex"] == []


@pytest.mark.parametrize("column", ["time", "type", "request_id", "id"])
def test_a_column_by_which_an_event_is_found_cannot_be_changed_unnoticed(sealed, column):
    value = "0" if column == "time" else "'x'"
    sealed.home.sql(f"UPDATE event SET {column} = {value} WHERE tenant = 'acme' AND seq = 300", "SELECT 1")
    assert sealed.verify()["acme"] == [("edit", 300)]


def test_a_body_that_is_not_json_and_a_frontier_that_is_none_are_findings_and_no_tracebacks(sealed):
    sealed.home.sql(f"UPDATE event SET body = {hexed(sealed, b'nothing')} WHERE tenant = 'acme' AND seq = 300", "SELECT 1")
    assert sealed.verify()["acme"] == [("edit", 300)]
    sealed.home.sql(f"UPDATE head SET frontier = {hexed(sealed, b'xx')} WHERE tenant = 'globex'", "SELECT 1")
    assert sealed.verify()["globex"] == [("edit", 5)]


def test_events_let_go_of_by_retention_leave_a_valid_log(sealed):
    """The event says so in the log itself; without it, events that are gone are missed."""
    sealed.home.sql(
        "DELETE FROM event WHERE tenant = 'acme' AND seq < 256", "UPDATE head SET first = 256 WHERE tenant = 'acme'", "SELECT 1"
    )
    assert sealed.verify()["acme"] == [("delete", 0)]


def test_a_store_that_is_written_and_sealed_all_the_time_gives_no_false_alarm(place):
    place.fill(300)
    done = threading.Event()
    writer = threading.Thread(target=place.keep_writing, args=(done,))
    writer.start()
    try:
        seen = [place.verify() for _ in range(4)]
    finally:
        done.set()
        writer.join()
    assert [each["acme"] + each["_system"] for each in seen] == [[]] * 4


def test_a_log_in_which_nothing_happened_yet_is_valid(place):
    place.fill(3, tenant="globex")
    assert place.verify("--tenant", "acme") == {"acme": []}
    assert "nothing was recorded yet" in place.run("verify", "--tenant", "acme")[1]


def test_a_policy_of_the_auditor_takes_the_place_of_the_keys_that_lie_here(sealed):
    policy = sealed.root / "tlog-policy.txt"
    policy.write_text(f"log {sealed.key()}\nquorum none\n")
    assert sealed.verify("--policy", str(policy)) == {"acme": []}
    policy.write_text(f"log {sealed.key('globex')}\nquorum none\n")
    assert sealed.verify("--policy", str(policy), "--tenant", "acme") == {"acme": [("signature", None)]}


def test_a_note_that_was_kept_elsewhere_is_compared(sealed):
    kept = sealed.root / "kept.txt"
    kept.write_bytes(ledger.signed([bytes(32)] * 10, key=private(sealed.root, "acme", datetime.now(UTC)), cosigned_at=None))
    assert sealed.verify("--against", str(kept))["acme"][0][0] == "fork"


@pytest.mark.parametrize("where", ["event SET body", "event SET time", "tile SET hashes", "head SET frontier"])
def test_a_value_of_another_type_in_a_database_that_takes_any_is_a_finding_and_no_traceback(sealed, where):
    if sealed.home.kind == "sqlite":  # PostgreSQL refuses it
        sealed.home.sql(f"UPDATE {where} = 'text' WHERE tenant = 'acme'", "SELECT 1")
        assert sealed.verify()["acme"]


def test_no_bundle_is_made_while_nobody_has_signed_what_retention_let_go_of(sealed):
    from aegis.errors import ConfigError

    sealed.home.sql("UPDATE event SET type = 'retention' WHERE tenant = 'acme' AND seq = 601", "SELECT 1")
    with pytest.raises(ConfigError, match="within a second"):
        sealed.run("bundle", str(sealed.root / "evidence"), "--tenant", "acme")
