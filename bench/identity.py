"""Identity in process: making tokens, verifying them with and without the memory, and refusing what nobody signed."""

import gc
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from statistics import median, quantiles
from time import perf_counter_ns
from typing import Any

from aegis.crypto.jwk import PrivateKey, private_key
from aegis.errors import IdentityError
from aegis.identity.access import Access, build_access
from aegis.identity.delegation import Wanted, build_delegation, hand_down
from aegis.identity.directory import AgentEntry, Directory
from aegis.identity.keyset import KeyEntry, KeySet
from aegis.identity.possession import prove, verify_proof
from aegis.identity.principal import principal
from aegis.identity.token import Typed, mint
from aegis.identity.verify import Verifier
from aegis.model.authority import Authority, Grant, Limit

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
    rows.append(measured("verify a proof of possession", proven(), COLD))
    rows.append(measured("narrow and sign a delegation", handed_down(keys[0], cold.access(tokens[0], now=NOW)), COLD))
    return rows


def proven() -> Callable[[int], Any]:
    """What a bound token costs with each request: a proof that was never seen before."""
    key, url, token = private_key(secrets.token_bytes(32)), "http://127.0.0.1:8420/v1/tools/payments.transfer/call", "x" * 900
    proofs = [prove(key, method="POST", url=url, now=NOW, proof_id=str(number), token=token) for number in range(COLD)]
    return lambda index: verify_proof(proofs[index], method="POST", url=url, now=NOW, token=token)


def handed_down(key: PrivateKey, held: Access) -> Callable[[int], Any]:
    """What the token service works out for a delegation, without the journal."""
    grants = (Grant(tool="payments.transfer", limits=(("amount_minor", Limit(max=5000)),), calls=1),)
    wanted = Wanted(to="agent:child", authority=Authority(grants=grants))

    def act(index: int) -> None:
        made = hand_down(held, wanted, request_id=f"req_{index}", token_id=f"tok_d{index}", now=NOW)
        mint(build_delegation(made, audience=AUDIENCE, now=NOW), key)

    return act


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
