"""How each version of a tool stands: what lies in the folder, held against the pins and the demands of the tenant. Pure."""

from collections.abc import Mapping

from msgspec import Struct

from aegis.errors import AegisError, ConfigError
from aegis.model.contract import Contract
from aegis.model.provenance import Folder, Manifest, Objection, Trust, contract_of, mismatch, unapproved, unsigned
from aegis.runtime.pins import Pin, name


class Standing(Struct, frozen=True, kw_only=True):
    """One version of a tool: the contract that stands for it, what stands against it, and the other digest that was found."""

    contract: Contract
    objection: Objection | None = None
    found: str = ""


def standings(folder: Folder, pins: Mapping[str, Pin], pinned: Mapping[str, Contract]) -> list[Standing]:
    """How each version in a folder stands. `pinned` are contracts by digest, of versions whose files say something else now."""
    others = {pin.name: pin for pin, _ in differing(folder, pins)}
    found = []
    for each in folder.manifests:
        pin = others.get(name(each.contract))
        if pin is None:
            objection = _objection(each, pins.get(name(each.contract)), folder.trust)
            found.append(Standing(contract=each.contract, objection=objection))
        else:
            contract = pinned.get(pin.digest, each.contract)
            found.append(Standing(contract=contract, objection=mismatch(pin.digest), found=each.contract.digest))
    return found


def differing(folder: Folder, pins: Mapping[str, Pin]) -> list[tuple[Pin, Manifest]]:
    """Versions whose content is not what was pinned."""
    known = ((pins.get(name(each.contract)), each) for each in folder.manifests)
    return [(pin, each) for pin, each in known if pin is not None and pin.digest != each.contract.digest]


def _objection(each: Manifest, pin: Pin | None, trust: Trust) -> Objection | None:
    """What stands against a version whose content is what was pinned."""
    demand = trust.of(each.contract)
    if demand.approved and (pin is None or not pin.by):
        return unapproved()
    if len(each.owners) < demand.signatures:
        return unsigned(demand.signatures, len(each.owners), each.problem)
    return None


def outdated(serving: Contract, pins: Mapping[str, Pin]) -> Objection | None:
    """What stands against a contract that still serves, although the folder says something else."""
    pin = pins.get(name(serving))
    return mismatch(pin.digest) if pin is not None and pin.digest != serving.digest else None


def still_demands(tenant: str, before: Folder | None, found: Folder) -> None:
    """Whoever may remove a file must not lift all demands by it."""
    if before is not None and before.trust.stated and not found.trust.stated:
        raise ConfigError(f"{tenant}/trust.yaml: is gone; what it demanded is still demanded")


def pinned_contract(stated: str) -> Contract | None:
    """The contract that a pinned text states; none when this version of the program does not understand it."""
    try:
        return contract_of(stated, source="pinned")
    except AegisError:
        return None
