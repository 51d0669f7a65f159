"""What people do with versions: push, promote, roll back. A version is tried here before it is made active for everybody.

    push      the next number for a signed bundle; nothing decides otherwise yet
    promote   enforce: it decides, and whatever was in shadow is dropped.  shadow: what is enforced goes on, it is recorded beside
    rollback  an older version decides again: the same release, under a higher counter

A set that says `mode: shadow` itself is promoted in shadow.
"""

from datetime import datetime
from typing import Any

import msgspec

from aegis.crypto.jwk import PrivateKey
from aegis.errors import BundleError, ConfigError
from aegis.policy.bundle.bundle import Bundle
from aegis.policy.bundle.statement import Activation, Mode, Pin, Release, sign
from aegis.runtime.registry_rows import Active, Signed
from aegis.runtime.rollout import Rollout


async def push(
    rollout: Rollout, bundle: Bundle, packed: bytes, *, author: str, message: str, key: PrivateKey, statement: str = ""
) -> Release:
    """Store the bundle as the next version of its tenant; it must compile here and pass its own tests.

    Raises:
        BundleError: It does not.
    """
    await rollout.candidates.bundle(bundle)

    def made(number: int, now: datetime) -> Signed:
        release = Release(
            tenant=bundle.tenant,
            number=number,
            sha256=bundle.sha256,
            name=bundle.name,
            revision=bundle.revision,
            policy=bundle.policy_digest,
            author=author,
            message=message,
            time=now,
        )
        return Signed(release, sign(release, key))

    return await rollout.registry.push(bundle.tenant, packed, made, statement=statement)


async def promote(
    rollout: Rollout, tenant: str, number: int, *, shadow: bool, by: str, reason: str, key: PrivateKey, statement: str = ""
) -> Activation:
    """Make a version active.

    Raises:
        ConfigError: There is no such version.
        BundleError: It cannot be trusted, does not compile here, or fails its own tests.
    """
    pin = await pin_of(rollout, tenant, number)
    ruling = await rollout.candidates.version(tenant, pin)
    mode: Mode = "shadow" if shadow or ruling.policy.shadow else "enforce"
    counter = await _last_counter(rollout, tenant)

    def made(former: Active | None, now: datetime) -> Signed:
        goes_on = rollout.candidates.activation(former).enforced if former and mode == "shadow" else None
        activation = Activation(
            tenant=tenant,
            counter=max(counter, former.counter if former else 0) + 1,
            mode=mode,
            enforced=pin if mode == "enforce" else goes_on,
            shadow=pin if mode == "shadow" else None,
            by=by,
            reason=reason,
            time=now,
        )
        return Signed(activation, sign(activation, key))

    return await rollout.registry.activate(tenant, made, statement=statement)


async def rollback(
    rollout: Rollout, tenant: str, number: int | None, *, by: str, reason: str, key: PrivateKey, statement: str = ""
) -> Activation:
    """Let an older version decide again; without a number the one that decided before the present one.

    Raises:
        ConfigError: There is none, or the number is not that of an older version.
        BundleError: As `promote`.
    """
    present = await enforced_now(rollout, tenant)
    if present is None:
        raise ConfigError(f"no version of tenant `{tenant}` is enforced, so there is nothing to go back from")
    if number is not None and number >= present.number:
        raise ConfigError(f"version {number} is not older than version {present.number}, which decides now: use `promote`")
    wanted = number if number is not None else await _before(rollout, tenant, present)
    return await promote(rollout, tenant, wanted, shadow=False, by=by, reason=reason, key=key, statement=statement)


async def pin_of(rollout: Rollout, tenant: str, number: int) -> Pin:
    """The version of this number.

    Raises:
        ConfigError: There is none.
    """
    found = await rollout.registry.version(tenant, number)
    if found is None:
        last = await rollout.registry.last(tenant)
        there = f"the newest is {last}" if last else "there is none yet: `aegis policy push` makes one"
        raise ConfigError(f"no version {number} of tenant `{tenant}`; {there}")
    return Pin(number=number, sha256=found.release.sha256)


async def enforced_now(rollout: Rollout, tenant: str) -> Pin | None:
    """The version that the newest activation enforces."""
    active = await rollout.registry.active_of(tenant)
    return rollout.candidates.activation(active).enforced if active else None


async def _before(rollout: Rollout, tenant: str, present: Pin) -> int:
    """The newest version older than `present` that ever was enforced."""
    trusted = [_trusted(rollout, change) for change in await rollout.registry.changes(tenant)]
    enforced = [made.enforced.number for made in trusted if made is not None and made.enforced is not None]
    older = [number for number in enforced if number < present.number]
    if not older:
        raise ConfigError(f"no version of tenant `{tenant}` was enforced before version {present.number}: name one")
    return older[-1]


async def _last_counter(rollout: Rollout, tenant: str) -> int:
    """The counter of the newest activation that the journal tells of, whatever the row says."""
    active = await rollout.registry.active_of(tenant)
    counter = active.counter if active else 0
    while await rollout.registry.journaled(tenant, counter + 1):
        counter += 1
    return counter


async def told(rollout: Rollout, tenant: str) -> dict[str, Any]:
    """Versions and activations of a tenant, newest first, with what each version is doing now."""
    active = await rollout.registry.active_of(tenant)
    now = _trusted(rollout, active) if active else None
    pins = (("enforced", now.enforced), ("shadow", now.shadow)) if now else ()
    states = {pin.number: state for state, pin in pins if pin}
    versions = [
        msgspec.to_builtins(each.release, builtin_types=(datetime,)) | {"state": states.get(each.release.number, "")}
        for each in reversed(await rollout.registry.versions(tenant))
    ]
    changes = [_line(each.counter, _trusted(rollout, each)) for each in reversed(await rollout.registry.changes(tenant))]
    return {"versions": versions, "activations": changes}


def _trusted(rollout: Rollout, active: Active) -> Activation | None:
    try:
        return rollout.candidates.activation(active)
    except BundleError:
        return None


def _line(counter: int, made: Activation | None) -> dict[str, Any]:
    if made is None:
        return {"counter": counter, "number": 0, "mode": "", "by": "", "reason": "not signed by a key in use", "time": None}
    return {
        "counter": made.counter,
        "number": made.chosen.number,
        "mode": made.mode,
        "by": made.by,
        "reason": made.reason,
        "time": made.time,
    }
