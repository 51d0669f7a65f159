"""The last act: an auditor proves the log with one file and the public keys, and two forgeries of it are named."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import aegis_verify
from aegis.surfaces.cli.demo.run import run, show
from aegis.surfaces.cli.demo.stage import TENANT, Stage
from aegis.surfaces.cli.demo.tale import Tale


def evidence_act(stage: Stage, tale: Tale) -> None:
    """Hand the log to an auditor; then tamper with a copy, as somebody without the log's key and as somebody who has it."""
    tale.act("Evidence: one file and two keys prove what was decided, and that nothing is gone")
    stage.stop_gateway()  # it seals what it has recorded
    bundle = stage.directory / "bundle"
    run(stage, tale, "audit", "bundle", bundle.name)
    tale.say("The auditor has that directory, one file of Python without dependencies, and")
    tale.say("the public keys of log and witness, which came another way:")
    told = _verify(stage, bundle)
    show(tale, "python aegis_verify.py bundle --policy auditor.txt", told, until="older ")
    tale.expect("the verifier accepts the bundle", told.returncode == 0)

    edited = Path(shutil.copytree(bundle, stage.directory / "edited"))
    place = _turn_a_refusal(edited / "events.jsonl")
    tale.say(f"In a copy, event {place} now says `allow` instead of `deny`:")
    told = _verify(stage, edited)
    show(tale, "python aegis_verify.py edited --policy auditor.txt", told, until="log ")
    tale.expect(f"the verifier names event {place}", told.returncode == 1 and f"{place:,}" in told.stdout)

    forged = Path(shutil.copytree(edited, stage.directory / "forged"))
    _sign_anew(stage, forged)
    tale.say("An insider with the log's own key rebuilds that copy whole and signs it anew:")
    told = _verify(stage, forged)
    show(tale, "python aegis_verify.py forged --policy auditor.txt", told, until="log ")
    tale.expect("without the witness's cosignature it is refused", told.returncode == 1)
    shutil.copy(bundle / "checkpoint.txt", stage.directory / "kept.txt")
    told = _verify(stage, forged, "--against", "kept.txt", "--key", stage.log_keys()[1])
    show(tale, "python aegis_verify.py forged --key LOG --against kept.txt", told, until="log ")
    tale.expect("a checkpoint that was kept proves the fork", told.returncode == 1 and "fork" in told.stdout)


def _verify(stage: Stage, bundle: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the one-file verifier on its own: nothing of ours is on its path."""
    whom = () if "--key" in more else ("--policy", "auditor.txt")
    return subprocess.run(  # noqa: S603 - our own interpreter with our own words
        [sys.executable, "-I", str(aegis_verify.__file__), bundle.name, *whom, *more],
        cwd=stage.directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "COLUMNS": "74"},  # it is shown indented
    )


def _turn_a_refusal(events: Path) -> int:
    """Turn the first refusal into a permission, as somebody would who wants to have been allowed; where."""
    lines = events.read_bytes().split(b"\n")
    place = next(number for number, line in enumerate(lines) if b'"decision":"deny"' in line)
    lines[place] = lines[place].replace(b'"decision":"deny"', b'"decision":"allow"')
    events.write_bytes(b"\n".join(lines))
    return int(json.loads(lines[place])["seq"])


def _sign_anew(stage: Stage, bundle: Path) -> None:
    """Make the whole bundle agree with its events, and sign it with the log's key."""
    from aegis.adapters import keyfiles
    from aegis.crypto import note
    from aegis.crypto.merkle import Frontier, leaf_hash
    from aegis.journal.checkpoint import Checkpoint
    from aegis.model.event import origin

    size = int(json.loads((bundle / "bundle.json").read_text("utf-8"))["size"])
    leaves = [leaf_hash(line) for line in (bundle / "events.jsonl").read_bytes().split(b"\n")[:size]]
    (bundle / "leaves.bin").write_bytes(b"".join(leaves))
    text = Checkpoint(origin(TENANT), size, Frontier().extend(leaves).root).text
    key = keyfiles.load_private(stage.home / "keys", "log", TENANT, "")
    (bundle / "checkpoint.txt").write_bytes(note.Note(text, (note.sign(text, origin(TENANT), key),)).data)
    shutil.rmtree(bundle / "checkpoints", ignore_errors=True)
