"""What tests of keys and revocation ask of gateways."""

import contextlib
import io
import json
import time

import pytest

from aegis.crypto import jws


def aegis(w, *words, code=0):
    """Run the command in the directory of a world; what it printed."""
    from aegis.surfaces.cli.main import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed), pytest.raises(SystemExit) as ended:
        main(["--dir", str(w.root), *words])
    assert ended.value.code == code, (ended.value.code, printed.getvalue())
    return printed.getvalue()


def jti(token):
    return json.loads(jws.parse(token).payload)["jti"]


def kid(token):
    return jws.parse(token).kid


def reason(w, token, path="/v1/tools"):
    """Why a gateway refuses the token; empty when it takes it."""
    told = w.get(path, token)
    if told.status_code == 200:
        return ""
    assert told.status_code == 401, told.text
    return told.json()["detail"].removeprefix("refused: ")


def until(holds, what="it never came true"):
    deadline = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def everywhere(gateways, token, wanted):
    """Wait until each gateway refuses the token for this reason (or takes it: an empty one)."""
    for each in gateways:
        until(lambda each=each: reason(each, token) == wanted, f"expected `{wanted}`, found `{reason(each, token)}`")
