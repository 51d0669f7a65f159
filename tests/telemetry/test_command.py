"""`aegis audit spans`: a span that was changed where it is kept is found by one command."""

import json

import pytest

from aegis.adapters.otlp.kept import kept
from aegis.errors import InputError
from aegis.surfaces.cli.main import main
from telemetry.test_every_door import through_every_door, watched


def run(w, capsys, *words):
    with pytest.raises(SystemExit) as ended:
        main(["--dir", str(w.root), *words])
    return ended.value.code, capsys.readouterr()


@pytest.fixture
def file(traced, collector, tmp_path):
    """What a collector's file exporter would have written of calls through every door."""
    spans = watched(traced)
    through_every_door(traced)
    collector.wait(lambda c: len(c.spans) >= len(spans))
    (traced.root / "aegis.toml").write_text(f'[telemetry]\notlp_url = "{collector.url}"\n')
    path = tmp_path / "traces.json"
    path.write_bytes(b"\n".join(body for where, body in collector.bodies if where == "/v1/traces") + b"\n")
    return path


def test_spans_as_they_were_sent_agree(traced, file, capsys):
    code, told = run(traced, capsys, "audit", "spans", str(file))
    assert code == 0, told.err
    assert "spans agree with the journal" in told.out


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ('{"stringValue":"deny"}', '{"stringValue":"allow"}', "aegis.decision"),
        ('{"stringValue":"unknown"}', '{"stringValue":"done"}', "aegis.outcome"),
        (
            '"key":"aegis.tenant","value":{"stringValue":"acme"}',
            '"key":"aegis.tenant","value":{"stringValue":"globex"}',
            "no such event",
        ),
    ],
)
def test_a_span_that_was_changed_is_named_with_what_differs(traced, file, capsys, old, new, differs):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    code, told = run(traced, capsys, "--json", "audit", "spans", str(file))
    assert code == 1, told.err
    found = json.loads(told.out)
    assert found["changed"]
    assert all(differs in each["differs"] for each in found["changed"])


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"resourceSpans": 7}',
        "\x00",
        '{"resourceSpans": [{"scopeSpans": [{"scope": {"name": "aegis"}, "spans": [{}]}]}]}',
    ],
)
def test_a_line_that_holds_no_traces_is_named(text):
    with pytest.raises(InputError, match="line 2"):
        list(kept(["\n", text]))


def test_a_file_that_holds_no_traces_is_told_with_its_line(traced, file, capsys):
    file.write_text("{}\n")
    code, told = run(traced, capsys, "audit", "spans", str(file))
    assert code == 2
    assert "line 1" in told.err
