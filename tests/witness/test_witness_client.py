"""Asking witnesses: what counts as a cosignature, and what a witness says when the log is not what it was."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from tests.witness.conftest import Run
from tests.witness.logs import ORIGIN, Log, Running, log

from aegis.adapters import witnesses as every
from aegis.adapters.witness_client import Witness
from aegis.adapters.witnesses import Witnesses
from aegis.crypto import note
from aegis.crypto.jwk import private_key
from aegis.crypto.note import COSIGNATURE, Note, Verifier
from aegis.errors import CorruptStoreError, LogBehindError, WitnessError

KEY = private_key(b"\x55" * 32)
LIAR = Verifier("liar.example", KEY.public, COSIGNATURE)
ELSEWHERE = "http://127.0.0.1:9"


def noted(log: Log, size: int | None = None) -> Note:
    return note.parse(log.note(size))


def ask(*members: Witness, log: Log, size: int | None = None, times: int = 1, there: int | None = None) -> list[note.Signature]:
    """What one set of witnesses answers to the last of so many askings; the store holds `there` events by then."""

    async def asked() -> list[note.Signature]:
        wanted = len(log.leaves) if size is None else size

        async def size_of(origin: str) -> int:
            assert origin == log.origin
            return wanted if there is None else there

        witnesses = Witnesses(members, len(members), size_of)

        async def prove(old: int) -> list[bytes]:
            return log.proof(old, wanted)

        try:
            for _ in range(times):
                found = await witnesses.cosign(noted(log, wanted), wanted, prove)
            return list(found)
        finally:
            await witnesses.close()

    return asyncio.run(asked())


def client(w: Running) -> Witness:
    return Witness(w.url, w.verifier)


def test_two_witnesses_are_asked_at_once_and_each_gives_its_cosignature(run: Run, acme: Log) -> None:
    one, two = run("w1.example", acme), run("w2.example", acme)
    lines = ask(client(one), client(two), log=acme, times=2)
    assert {signer.verifier for signer in note.verified(Note(noted(acme).text, tuple(lines)), [one.verifier, two.verifier])} == {
        one.verifier,
        two.verifier,
    }


def test_a_gateway_that_has_just_started_learns_from_where_the_proof_is_wanted(w: Running, acme: Log) -> None:
    for size in (3, 7, 7, 10):
        assert len(ask(client(w), log=acme, size=size)) == 1


def test_a_log_that_was_put_back_is_told_with_both_sizes(w: Running, acme: Log) -> None:
    ask(client(w), log=acme)
    with pytest.raises(LogBehindError, match=r"has 7 events here, but witness `w1\.example` has cosigned 10") as caught:
        ask(client(w), log=acme, size=7)
    assert caught.value.size == 10


def test_another_process_that_was_faster_is_no_alarm_and_no_trouble(w: Running, acme: Log) -> None:
    ask(client(w), log=acme)
    assert ask(client(w), log=acme, size=7, there=10) == []
    with pytest.raises(LogBehindError):
        ask(client(w), log=acme, size=7, there=9)


def test_a_log_that_was_rewritten_is_told_and_not_cosigned(w: Running, acme: Log) -> None:
    ask(client(w), log=acme)
    with pytest.raises(CorruptStoreError, match="has cosigned another root of size 10"):
        ask(client(w), log=Log().grow(10, b"forged"))
    with pytest.raises(CorruptStoreError, match="has cosigned a tree that this one does not begin with"):
        ask(client(w), log=Log().grow(12, b"forged"))


def test_one_that_does_not_answer_leaves_the_others_and_is_left_alone_for_a_while(w: Running, acme: Log) -> None:
    now = [0.0]

    async def size_of(origin: str) -> int:
        return 10

    async def asked() -> None:
        witnesses = Witnesses([Witness(ELSEWHERE, LIAR), client(w)], 2, size_of, clock=lambda: now[0])

        async def prove(old: int) -> list[bytes]:
            return acme.proof(old)

        try:
            assert [line.name for line in await witnesses.cosign(noted(acme), 10, prove)] == ["w1.example"]
            assert witnesses.troubles() == {"liar.example": "witness `liar.example`: ClientConnectorError"}
            member = witnesses._members[0]
            waits = []
            for _ in range(6):
                waits.append(member._until - now[0])
                now[0] = member._until
                await witnesses.cosign(noted(acme), 10, prove)
            assert waits == [1, 2, 4, 8, 16, 16]
        finally:
            await witnesses.close()

    asyncio.run(asked())


Answer = tuple[int, str, bytes]


@pytest.fixture
def lying() -> Iterator[Callable[[Answer], str]]:
    """A server that answers as it is told; its URL."""
    servers = []

    def start(answer: Answer) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                status, kind, body = answer
                self.send_response(status)
                self.send_header("content-type", kind)
                if 300 <= status < 400:
                    self.send_header("location", "/elsewhere")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def reason(url: str, acme: Log, old: int = 0, seconds: float = 2.0) -> WitnessError:
    async def asked() -> None:
        witness = Witness(url, LIAR, seconds=seconds)
        try:
            await witness.cosign(old, (), noted(acme))
        finally:
            await witness.close()

    with pytest.raises(WitnessError) as caught:
        asyncio.run(asked())
    return caught.value


TEXT = log(10).checkpoint().text
GOOD = note.cosign(TEXT, LIAR.name, KEY, 1_700_000_000)
PLAIN, SIZE = "text/plain", "text/x.tlog.size"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((200, PLAIN, b""), "untrue"),
        ((200, PLAIN, b"ok\n"), "untrue"),
        ((200, PLAIN, b"\xff\n"), "untrue"),
        ((200, PLAIN, GOOD.line.encode() * 1000), "untrue"),
        ((200, PLAIN, note.cosign("another\n", LIAR.name, KEY, 5).line.encode()), "untrue"),
        ((200, PLAIN, note.cosign(TEXT, LIAR.name, private_key(b"\x66" * 32), 5).line.encode()), "untrue"),
        ((200, PLAIN, note.sign(TEXT, LIAR.name, KEY).line.encode()), "untrue"),
        ((200, PLAIN, (GOOD.line + note.Signature(GOOD.name, GOOD.id, bytes(72)).line).encode()), "untrue"),
        ((409, SIZE, b"x\n"), "untrue"),
        ((409, SIZE, b"010\n"), "untrue"),
        ((409, SIZE, b"\xff"), "untrue"),
        ((409, PLAIN, b"10\n"), "refused"),
        ((302, PLAIN, b""), "refused"),
        ((404, PLAIN, b"no\n"), "refused"),
        ((500, PLAIN, b"no\n"), "refused"),
    ],
)
def test_what_is_not_a_cosignature_of_the_key_counts_for_nothing(
    lying: Callable[[Answer], str], acme: Log, answer: Answer, why: str
) -> None:
    assert reason(lying(answer), acme).reason == why


def test_a_size_is_believed_as_a_size(lying: Callable[[Answer], str], acme: Log) -> None:
    found = reason(lying((409, SIZE, b"7\n")), acme)
    assert (found.reason, found.size) == ("conflict", 7)
    assert reason(lying((409, SIZE, b"10\n")), acme, old=10).reason == "fork"


def test_lines_of_others_beside_the_cosignature_are_left_out(lying: Callable[[Answer], str], acme: Log) -> None:
    other = note.cosign(TEXT, "other.example", private_key(b"\x66" * 32), 5)
    url = lying((200, PLAIN, (other.line + GOOD.line).encode()))
    assert ask(Witness(url, LIAR), log=acme) == [GOOD]


def test_one_that_answers_too_late_is_not_waited_for(acme: Log) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = reason(f"http://127.0.0.1:{silent.getsockname()[1]}", acme, seconds=0.2)
    assert found.reason == "unreachable"


def test_one_that_is_too_slow_for_all_logs_does_not_hold_up_the_round(acme: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    monkeypatch.setattr(every, "ROUND_SECONDS", 0.3)
    logs = [log(3, origin=f"aegis.t{n}/audit/1") for n in range(40)]

    async def asked(url: str) -> None:
        async def size_of(origin: str) -> int:
            return 3

        async def prove(old: int) -> list[bytes]:
            return []

        witnesses = Witnesses([Witness(url, LIAR)], 1, size_of)
        try:
            given = await asyncio.gather(*(witnesses.cosign(noted(each), 3, prove) for each in logs))
            assert given == [[]] * 40
            assert witnesses.troubles() == {"liar.example": "witness `liar.example`: it is too slow for so many logs"}
        finally:
            await witnesses.close()

    with socket.create_server(("127.0.0.1", 0), backlog=100) as silent:
        asyncio.run(asked(f"http://127.0.0.1:{silent.getsockname()[1]}"))


def test_a_witness_that_lies_about_the_size_makes_noise_and_signs_nothing(lying: Callable[[Answer], str], acme: Log) -> None:
    with pytest.raises(LogBehindError):
        ask(Witness(lying((409, SIZE, b"999\n")), LIAR), log=acme)
    assert ask(Witness(lying((409, SIZE, b"5\n")), LIAR), log=acme) == []
    assert ORIGIN in noted(acme).text


def test_a_log_that_a_witness_does_not_know_is_told_once_though_it_cosigns_others_all_the_time(
    w: Running, acme: Log, caplog: pytest.LogCaptureFixture
) -> None:
    other = log(10, origin="aegis.globex/audit/1")

    async def size_of(origin: str) -> int:
        return 10

    async def nothing(old: int) -> list[bytes]:
        return []

    async def asked() -> None:
        witnesses = Witnesses([client(w)], 1, size_of)
        try:
            for _ in range(3):
                assert await witnesses.cosign(noted(acme), 10, nothing)
                assert not await witnesses.cosign(noted(other), 10, nothing)
            assert "aegis.globex/audit/1" in witnesses.troubles()["w1.example"]
        finally:
            await witnesses.close()

    asyncio.run(asked())
    assert [each.levelname for each in caplog.records if each.name == "aegis.witnesses"] == ["ERROR"]
