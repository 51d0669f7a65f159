"""What a turn costs, and that nothing is lost when one fails in the middle."""

import asyncio
import os

import pytest
from msgspec.structs import replace

from aegis.app import open_app
from aegis.errors import StoreBusyError
from aegis.model.decision import Verdict
from aegis.runtime import toolbox
from aegis.runtime.clock import Clock
from aegis.runtime.tenant import Snapshot
from provenance.hands import edit, file_of, told


def turns(w, work):
    """Run `work` on parts of its own, which serve nothing and turn only when they are told to."""

    async def inside():
        app = await open_app(w.settings, clock=Clock(w.hand))
        try:
            await app.toolbox.start()
            return await work(app)
        finally:
            await app.gate.store.close()

    w.stop()
    return asyncio.run(inside())


def objections(app, tool="records.read"):
    tenant = app.gate.tenant("acme")
    guard = next(each for each in tenant.guards if each.name == "provenance")
    return guard._standing[tenant.contracts[tool].digest]


def test_half_a_file_is_not_taken(on_sqlite):
    w = on_sqlite

    async def work(app):
        path = file_of(w)
        whole = path.read_text().replace("version: 1.0.0", "version: 1.0.1") + "# the end\n"
        path.write_text(whole.replace("# the end\n", "").replace(", ssn: {type: string}", ""))  # valid, and not what is meant
        await app.toolbox.refresh()
        half = app.gate.tenant("acme").contracts["records.read"].version
        path.write_text(whole)
        await app.toolbox.refresh()
        await app.toolbox.refresh()
        return half, app.gate.tenant("acme").contracts["records.read"]

    half, taken = turns(w, work)
    assert half == "1.0.0"
    assert (taken.version, "ssn" in taken.output_schema["properties"]) == ("1.0.1", True)


@pytest.mark.parametrize("lost", [1, 2, 3])
def test_what_the_store_does_not_take_denies_nevertheless_and_is_recorded_later(on_sqlite, lost):
    w = on_sqlite

    async def work(app):
        store, commit, refused = app.gate.store, app.gate.store.commit, []

        async def busy(unit):
            if len(refused) < lost:
                refused.append(unit)
                raise StoreBusyError("too many units are waiting")
            return await commit(unit)

        edit(w, "description: Reads.", "description: Reads all.")
        await app.toolbox.refresh()
        store.commit = busy
        for _ in range(lost):
            with pytest.raises(StoreBusyError):
                await app.toolbox.refresh()
            assert objections(app).reason == "tool_digest_mismatch"
        for _ in range(3):
            await app.toolbox.refresh()
        store.commit = commit

    turns(w, work)
    assert len(told(w, "tool_quarantined")) == 1


def test_a_quiet_turn_reads_one_row_and_writes_nothing(on_sqlite):
    w = on_sqlite

    async def work(app):
        store, asked = app.gate.store, []
        rows, find, commit = store.rows, store.find, store.commit
        store.rows = lambda *args, **more: asked.append(("rows", args)) or rows(*args, **more)
        store.find = lambda *args, **more: asked.append(("find", args)) or find(*args, **more)
        store.commit = lambda unit: asked.append(("commit", unit)) or commit(unit)
        for _ in range(5):
            await app.toolbox.refresh()
        return [kind for kind, _ in asked]

    assert turns(w, work) == ["rows"] * 5


def test_a_file_whose_time_was_put_back_is_looked_at(on_sqlite):
    w = on_sqlite

    async def work(app):
        path = file_of(w)
        before = path.stat()
        path.write_text(path.read_text().replace("description: Reads.", "description: Leaks."))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        await app.toolbox.refresh()
        await app.toolbox.refresh()
        return objections(app)

    assert turns(w, work).reason == "tool_digest_mismatch"


class A:
    name = "a"

    def __call__(self, *_) -> tuple[Verdict, ...]:
        return ()


class B(A):
    name = "b"


def test_changes_of_one_tenant_that_meet_are_both_served(on_sqlite):
    """A set that was compiled while contracts changed must not put the old contracts back."""
    tenant = on_sqlite.app.gate.tenant("acme")
    base = replace(tenant, guards=(A(), B()))
    snapshot = Snapshot({"acme": base, "globex": on_sqlite.app.gate.tenant("globex")})
    slow = replace(base, policy=replace(base.policy, version="9"), guards=(base.guards[0], B()))
    fast = replace(base, environment="elsewhere", guards=(A(), base.guards[1]))
    snapshot.put(fast, base=base)
    snapshot.put(slow, base=base)
    served = snapshot.get("acme")
    assert (served.policy.version, served.environment) == ("9", "elsewhere")
    assert served.guards == (fast.guards[0], slow.guards[1])
    assert snapshot.get("globex") is not None


def test_of_many_tenants_each_is_looked_at_in_its_turn_and_one_that_changes_at_once_again(on_sqlite, monkeypatch):
    monkeypatch.setattr(toolbox, "LOOKS", 1)
    w = on_sqlite

    async def work(app):
        looked = []
        stamp = app.toolbox._shelf.stamp
        app.toolbox._shelf.stamp = lambda tenant, now: looked.append(tenant) or stamp(tenant, now)
        for _ in range(4):
            await app.toolbox.refresh()
        quiet, looked[:] = list(looked), []
        edit(w, "description: Reads.", "description: Reads all.")
        for _ in range(3):
            await app.toolbox.refresh()
        return quiet, objections(app)

    quiet, objection = turns(w, work)
    assert quiet == ["acme", "globex", "acme", "globex"]
    assert objection.reason == "tool_digest_mismatch"


def test_gateways_that_start_at_the_same_moment_pin_each_version_once(w):
    async def inside():
        apps = [await open_app(w.settings, clock=Clock(w.hand)) for _ in range(4)]
        try:
            await asyncio.gather(*(app.toolbox.start() for app in apps))
            return [{name: pin.digest for name, pin in app.toolbox.pins.of("acme").items()} for app in apps]
        finally:
            for app in apps:
                await app.gate.store.close()

    for path in (w.root / "tenants/acme/tools").iterdir():
        path.write_text(path.read_text().replace("version: 1.0.0", "version: 1.0.1"))
    w.stop()
    found = asyncio.run(inside())
    assert all(each == found[0] for each in found)
    names = [event["tool"]["name"] for event in told(w, "tool_registered") if event["tool"]["version"] == "1.0.1"]
    assert sorted(names) == sorted(path.stem for path in (w.root / "tenants/acme/tools").iterdir())
    assert w.fsck() == []
