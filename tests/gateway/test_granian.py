"""Another ASGI server under the same application: what servers let through differently, the application itself closes."""

import json
import os
import subprocess
import sys
import time

import httpx
import pytest

from faults.kills import free_port
from gateway.test_hostile_http import CASES, raw, status
from gateway.world import World


@pytest.fixture(scope="module")
def granian(tmp_path_factory):
    pytest.importorskip("granian")
    w = World(tmp_path_factory.mktemp("granian"), "sqlite:data/aegis.db")
    (w.root / "aegis.toml").write_text("[log]\nlevel = 'warning'\n")
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--http", "1", "--port", str(port), "--log-level", "error"]
    with (w.root / "log").open("w") as log:
        process = subprocess.Popen(
            [*command, "aegis.surfaces.gateway.served:app"], env={**os.environ, "AEGIS_DIR": str(w.root)}, stdout=log, stderr=log
        )
    w.url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                if httpx.get(w.url + "/readyz").status_code == 200:
                    break
            except httpx.HTTPError:
                assert process.poll() is None, (w.root / "log").read_text()
                time.sleep(0.05)
        yield w
    finally:
        process.terminate()
        assert process.wait(30) is not None
        w.close()


def test_a_call_a_denial_and_a_repetition_answer_as_elsewhere(granian):
    first = granian.call("pay.honours", {"amount": 5}, "k1")
    assert (first.status_code, first.json()["result"]) == (200, {"id": 1})
    assert granian.call("pay.honours", {"amount": 5}, "k1").json()["repeat_of"] == first.json()["request_id"]
    assert granian.call("pay.honours", {"amount": 6000}, "k2").json()["rule"] == "pay.ceiling"


def test_where_the_server_hides_one_of_two_lengths_there_is_still_one_reading(granian):
    """granian drops the length beside `chunked` before we see it; what was decided is what the tool gets, framed anew."""
    before = len(granian.tool.requests)
    raw(granian, CASES["length and chunked"](granian))
    assert [json.loads(r["body"]) for r in granian.tool.requests[before:]] in ([], [{"amount": 5}])


@pytest.mark.parametrize("name", [name for name in CASES if name != "length and chunked"])
def test_a_message_with_two_meanings_reaches_no_tool_here_either(granian, name):
    before = len(granian.tool.requests)
    answer = raw(granian, CASES[name](granian))
    assert status(answer) in (0, 400, 404, 411, 413, 415, 431), answer[:200]
    assert len(granian.tool.requests) == before
