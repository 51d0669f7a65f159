"""Identity in process: making tokens, verifying them with and without the memory, and refusing what nobody signed."""

import gc
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from time import perf_counter_ns
from typing import Any

from aegis.crypto.jwk import private_key
from aegis.errors import IdentityError
from aegis.identity.directory import AgentEntry, Directory
from aegis.identity.keyset import KeyEntry, KeySet
from aegis.identity.principal import principal
from aegis.identity.token import Typed, build_access, mint
from aegis.identity.verify import Verifier

NOW = datetime(2026, 1, 7, 11, 0, tzinfo=UTC)
AUDIENCE = "aegis-gw"
TENANTS, TOKENS = 1_000, 2_000
HOT, COLD = 20_000, 2_000


def tenant(index: int) -> str:
    """The name of a tenant."""
    return f"tenant-{index % TENANTS}"


def claims(index: int) -> Typed:
    """A delegated token of the usual size."""
    return build_access(
        tenant=tenant(index),
        agent_id="agent:treasurer",
        subject="user:nora",
        roles=("treasury",),
        scopes=("payments.*", "ledger.read"),
        audience=AUDIENCE,
        now=NOW,
        token_id=f"tok_{index}",
        parent=("agent:planner", f"req_{index}"),
        txn=f"txn_{index}",
    )


def measured(name: str, act: Callable[[int], Any], times: int) -> dict[str, Any]:
    """A row of figures of `act`, which is called once with each number below `times`."""
    gc.collect()
    taken = []
    for index in range(times):
        start = perf_counter_ns()
        act(index)
        taken.append((perf_counter_ns() - start) / 1000)
    p50, p99 = median(taken), quantiles(taken, n=100)[98]
    return {"name": name, "p50_us": round(p50, 2), "p99_us": round(p99, 2), "per_second": round(1_000_000 / (sum(taken) / times))}


def refused(verifier: Verifier, token: str, reason: str) -> None:
    """Verify what must be refused: a bench that measures the wrong refusal measures nothing."""
    try:
        verifier.access(token, now=NOW)
    except IdentityError as error:
        if error.reason == reason:
            return
        raise
    raise AssertionError(f"expected `{reason}`, and the token was accepted")


def run() -> list[dict[str, Any]]:
    """One row for each thing that is measured."""
    keys = [private_key(secrets.token_bytes(32)) for _ in range(TENANTS)]
    known = KeySet(
        KeyEntry(key=key.public, key_class="sts", tenant=tenant(i), owner="", not_before=NOW) for i, key in enumerate(keys)
    )
    tokens = [mint(claims(i), keys[i % TENANTS]) for i in range(TOKENS)]
    forged = [token[:-20] + ("A" if token[-20] != "A" else "B") + token[-19:] for token in tokens]
    strangers = [mint(claims(i), private_key(secrets.token_bytes(32))) for i in range(COLD)]
    rows = [measured("mint a token", lambda i: mint(claims(i), keys[i % TENANTS]), COLD)]

    cold = Verifier(known, audience=AUDIENCE)
    rows.append(measured("verify, first time", lambda i: cold.access(tokens[i], now=NOW), TOKENS))
    rows.append(measured("verify, remembered", lambda i: cold.access(tokens[i % TOKENS], now=NOW), HOT))
    for index in range(TENANTS):
        cold.revoke(tenant(index), before=NOW - timedelta(hours=1))
    rows.append(measured("verify, remembered, 1000 epochs", lambda i: cold.access(tokens[i % TOKENS], now=NOW), HOT))

    rows.append(measured("refuse an unknown key", lambda i: refused(cold, strangers[i], "unknown_kid"), COLD))
    rows.append(measured("refuse a forged token, first time", lambda i: refused(cold, forged[i], "bad_signature"), TOKENS))
    rows.append(measured("refuse a forged token again", lambda i: refused(cold, forged[i % TOKENS], "bad_signature"), HOT))
    rows.append(measured("verify and find the principal", caller(cold, tokens), HOT))
    return rows


def caller(verifier: Verifier, tokens: list[str]) -> Callable[[int], Any]:
    """What a door does for each request: verify, then hold the token against the directory."""
    agents = {
        name: AgentEntry(id=name, roles=("treasury", "planner"), scopes=("payments.*", "ledger.*"), trust=4)
        for name in ("agent:treasurer", "agent:planner")
    }
    directories = {tenant(i): Directory(tenant=tenant(i), agents=agents, people={}) for i in range(TENANTS)}

    def act(index: int) -> None:
        access = verifier.access(tokens[index % len(tokens)], now=NOW)
        principal(access, directories[access.tenant])

    return act
