"""The token service: who shows that it is an agent of the directory gets a short token of its own.

    client credentials   an assertion signed with the agent's own key -> a token of the agent for itself
    exchange             the same, and a delegation that is addressed to the agent -> a token with what was handed down
                         the same, and another issuer's token of a person -> a token of the agent for that person
                         another issuer's token alone, which the tenant maps to an agent -> a token of that agent

Each token is verified and held against the directory, as the gateway will do with it, before it is given out. The unit holds the
`token_issued` event, takes the assertion and the proof of possession (each is good once), and requires that every request that a
delegation stands on stands still.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from aegis.crypto.jwk import PrivateKey
from aegis.errors import IdentityError, StoreError
from aegis.identity.access import Access, build_access
from aegis.identity.chain import ChainGuard
from aegis.identity.delegation import Delegation, redeemed
from aegis.identity.directory import AgentEntry
from aegis.identity.foreign import Mapped
from aegis.identity.narrow import narrow
from aegis.identity.possession import Proof
from aegis.identity.principal import principal
from aegis.identity.token import ACCESS, LONGEST, Typed, mint
from aegis.identity.verify import Verifier
from aegis.journal.store import Store
from aegis.journal.unit import Committed, Conflict, Put, Require, Unit
from aegis.model.authority import Authority, scope_within
from aegis.model.event import Event
from aegis.model.facts import Facts
from aegis.model.principal import Principal
from aegis.model.proposal import Proposal
from aegis.runtime import ids, once, record
from aegis.runtime.clock import Clock
from aegis.runtime.facts import lineage_of, requests_of
from aegis.runtime.halts import Halts
from aegis.runtime.known import Known
from aegis.runtime.tenant import Snapshot, Tenant

TOOL = "aegis.token"
ATTEMPTS = 4


Mapper = Callable[[str, str, datetime], Awaitable[Mapped]]
"""(tenant, token, now) -> what it stands for, or an `IdentityError`."""


class Asked(Struct, frozen=True, kw_only=True):
    """A request for a token, as the door understood it. `tenant` is named only where nothing else says it."""

    assertion: str = ""
    delegation: str = ""
    foreign: str = ""
    tenant: str = ""
    authority: Authority = Authority()
    task: str = ""
    proof: Proof | None = None


class Client(Struct, frozen=True, kw_only=True):
    """Who asks, proven: `uses` are the ids of what this request uses up."""

    tenant: str
    agent_id: str
    uses: tuple[str, ...]
    prompt: str = ""
    mapped: Mapped | None = None


class Issued(Struct, frozen=True, kw_only=True):
    """A token that was given out, and what it says."""

    token: str
    access: Access


class Issuer:
    """Gives out tokens. One for each process; it holds no state of its own.

    `signer` gives the key that signs tokens of a tenant now; `prompts` the digest of the instructions that an agent must work by,
    empty when they are not pinned; `mapper` reads tokens of other issuers.
    """

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        halts: Halts,
        snapshot: Snapshot,
        verifier: Verifier,
        audience: str,
        signer: Callable[[str, datetime], PrivateKey],
        prompts: Callable[[str, AgentEntry], str],
        mapper: Mapper,
        instance: str,
    ) -> None:
        self._store = store
        self._clock = clock
        self._halts = halts
        self._snapshot = snapshot
        self._verifier = verifier
        self._audience = audience
        self._signer = signer
        self._prompts = prompts
        self._mapper = mapper
        self._instance = instance

    async def client(self, asked: Asked) -> Client:
        """Who asks.

        Raises:
            IdentityError: Nobody is proven to; nothing may be recorded in any tenant's journal.
        """
        now = self._clock.now()
        proof = (asked.proof.once,) if asked.proof else ()
        if not asked.assertion:
            return await self._foreign_client(asked, proof, now)
        said = self._verifier.assertion(asked.assertion, now=now)
        self._served(said.tenant)
        mapped = await self._mapper(said.tenant, asked.foreign, now) if asked.foreign else None
        if mapped is not None and mapped.agent_id not in ("", said.agent_id):
            raise IdentityError("wrong_owner", "the other issuer's token stands for another agent")
        used = once.named(said.issued_at, "assertion", said.kid, said.token_id)
        return Client(tenant=said.tenant, agent_id=said.agent_id, uses=(used, *proof), prompt=said.prompt, mapped=mapped)

    async def issue(self, client: Client, asked: Asked) -> Issued:
        """A token for a client, durable in the journal before it is given out.

        Raises:
            IdentityError: With the reason why there is none.
            StoreError: The journal cannot be written, or what was revoked cannot be read: nothing is issued.
        """
        if self._halts.stale or not self._clock.trusted:
            raise StoreError("what is halted or revoked cannot be read: no token is issued")
        tenant = self._served(client.tenant)
        for _ in range(ATTEMPTS):
            now = self._clock.now()
            entry = self._entry(tenant, client, asked)
            given = self._verifier.delegation(asked.delegation, now=now) if asked.delegation else None
            claims = self._redeemed(client, asked, entry, given, now) if given else self._own(client, asked, entry, now)
            issued = self._minted(tenant, claims, now)
            who = principal(issued.access, tenant.directory)
            known = await self._stands(tenant, who)
            if await self._recorded(client, asked, given, issued, who, known):
                return issued
        raise StoreError("the requests that this task stands on keep changing: try again")

    async def _foreign_client(self, asked: Asked, proof: tuple[str, ...], now: datetime) -> Client:
        if not asked.foreign or not asked.tenant:
            raise IdentityError(
                "no_client", "expected `client_assertion`, or another issuer's token and the `audience` it is to open"
            )
        # A tenant that is not served believes nobody: whoever has shown nothing yet is not told which tenants there are.
        mapped = await self._mapper(asked.tenant, asked.foreign, now)
        self._served(asked.tenant)
        if not mapped.agent_id:
            raise IdentityError(
                "no_client", "this token stands for a person: the agent that acts for them shows its `client_assertion`"
            )
        return Client(tenant=asked.tenant, agent_id=mapped.agent_id, uses=proof, mapped=mapped)

    def _served(self, tenant: str) -> Tenant:
        found = self._snapshot.get(tenant)
        if found is None:
            raise IdentityError("unknown_tenant", "this gateway does not serve the tenant")
        return found

    def _entry(self, tenant: Tenant, client: Client, asked: Asked) -> AgentEntry:
        entry = tenant.directory.agents.get(client.agent_id)
        if entry is None:
            raise IdentityError("unknown_agent")
        if not entry.enabled:
            raise IdentityError("agent_disabled")
        if entry.proof_required and asked.proof is None:
            raise IdentityError("pop_required", "tokens of this agent are bound to a key: send a `DPoP` proof")
        pinned = self._prompts(tenant.name, entry)
        if pinned and client.prompt != pinned:
            raise IdentityError("artifact_digest_mismatch", "the agent does not work by the instructions that are pinned for it")
        return entry

    def _own(self, client: Client, asked: Asked, entry: AgentEntry, now: datetime) -> Typed:
        mapped = client.mapped
        ceiling = entry.scopes if mapped is None or mapped.scopes is None else _meet(mapped.scopes, entry.scopes)
        roles = entry.roles if mapped is None or mapped.roles is None else tuple(r for r in entry.roles if r in mapped.roles)
        made = narrow(Authority(scopes=ceiling), asked.authority)
        left = LONGEST[ACCESS] if mapped is None else min(LONGEST[ACCESS], mapped.expires_at - now)
        if left < timedelta(seconds=1):
            raise IdentityError("expired")
        return build_access(
            tenant=client.tenant,
            agent_id=client.agent_id,
            subject=mapped.subject if mapped else client.agent_id,
            roles=roles,
            scopes=made.scopes,
            audience=self._audience,
            now=now,
            token_id=ids.new("tok", now),
            ttl=left,
            task=asked.task,
            grants=made.grants,
            budget_micros=made.budget_micros,
            jkt=asked.proof.jkt if asked.proof else "",
            prompt=client.prompt,
        )

    def _redeemed(self, client: Client, asked: Asked, entry: AgentEntry, given: Delegation, now: datetime) -> Typed:
        if (given.tenant, given.to) != (client.tenant, client.agent_id):
            raise IdentityError("wrong_delegate", "the delegation is addressed to another agent")
        if asked.authority != Authority() or asked.task:
            raise IdentityError("malformed", "a delegation is redeemed as it is: narrow it by a delegation of your own")
        return redeemed(
            given,
            roles=entry.roles,
            audience=self._audience,
            token_id=ids.new("tok", now),
            now=now,
            jkt=asked.proof.jkt if asked.proof else "",
            prompt=client.prompt,
        )

    def _minted(self, tenant: Tenant, claims: Typed, now: datetime) -> Issued:
        token = mint(claims, self._signer(tenant.name, now))
        return Issued(token=token, access=self._verifier.access(token, now=now))

    async def _stands(self, tenant: Tenant, who: Principal) -> Known:
        """Everything that the token stands on, read now; a token that could not be used is not given out."""
        known = Known()
        refs = requests_of(who)
        if refs:
            await known.read(self._store, tenant.name, refs)
        proposal = Proposal(principal=who, tool=TOOL, arguments={})
        halted, _ = self._halts.of(proposal)
        if halted:
            raise IdentityError("halted", halted)
        lineage = lineage_of(known, who)
        parent = lineage.get(who.parent.request_id) if who.parent else None
        for verdict in ChainGuard()(proposal, Facts(parent=parent, lineage=lineage)):
            raise IdentityError(verdict.rule.removeprefix("chain."), verdict.reason)
        return known

    async def _recorded(
        self, client: Client, asked: Asked, given: Delegation | None, issued: Issued, who: Principal, known: Known
    ) -> bool:
        """Commit; false when a request that the task stands on has changed meanwhile."""
        now = self._clock.now()
        event = Event(
            id=f"token:{issued.access.token_id}",
            type="token_issued",
            tenant=client.tenant,
            time=now,
            request_id=given.requests[0][1] if given else "",
            data=_data(client, asked, given, issued.access, who) | {"gateway": self._instance},
        )
        requires = [Require(kind=kind, id=name, version=known.version((kind, name))) for kind, name in requests_of(who)]
        writes: list[Put] = []
        for name in client.uses:
            require, put = once.taking(name)
            requires.append(require)
            writes.append(put)
        receipt = await self._store.commit(
            Unit(tenant=client.tenant, events=(event,), requires=tuple(requires), writes=tuple(writes))
        )
        if isinstance(receipt, Conflict) and any(row.kind == once.ONCE for row in receipt.rows):
            raise IdentityError("replayed", "this assertion or proof was used before")
        return isinstance(receipt, Committed)


def _data(client: Client, asked: Asked, given: Delegation | None, access: Access, who: Principal) -> dict[str, Any]:
    data: dict[str, Any] = {
        "actor": record.actor(who),
        "agent_id": access.agent_id,
        "grant": "delegation" if given else "issuer" if client.mapped else "client_credentials",
        "token_jti": access.token_id,
        "kid": access.kid,
        "roles": [record.text(role) for role in access.roles],
        "scopes": [record.text(scope) for scope in access.scopes],
        "tools": [each.tool for each in access.grants or ()],
        "bound": bool(access.jkt),
        "depth": len(access.chain),
        "txn": record.text(access.txn),
        "task": record.text(access.task),
        "expires_at": access.expires_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    if access.ancestors:
        data["token_ancestors"] = list(access.ancestors)
    if client.mapped:
        data["foreign_jti"] = record.text(client.mapped.token_id)
    if asked.proof:
        data["jkt"] = asked.proof.jkt
    if access.prompt:
        data["model"] = {"prompt_sha256": record.text(access.prompt)}
    return data


def _meet(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    """The scopes that both hold."""
    return tuple(
        dict.fromkeys([*(each for each in one if scope_within(each, other)), *(each for each in other if scope_within(each, one))])
    )
