"""The running parts of one gateway process: started, followed, and stopped together."""

import asyncio
import contextlib
import gc
import os
from datetime import datetime, timedelta

from aegis.adapters import keyring, monitorkey, policies
from aegis.adapters.anchor import Anchor
from aegis.adapters.http_upstream import HttpUpstream
from aegis.adapters.keyring import Keyring
from aegis.adapters.oidc import OtherIssuers
from aegis.adapters.opa import OpaEngine
from aegis.adapters.otlp import Exporter, target
from aegis.adapters.triggers import TriggerFiles
from aegis.adapters.webhook import Channels, WebhookSender
from aegis.adapters.witnesses import asking
from aegis.app.exports import Exports
from aegis.app.plans import PlanStudy
from aegis.app.tasks import Tasks
from aegis.app.tenants import pinned_prompt
from aegis.app.workflows import Workflows
from aegis.crypto.jwk import PrivateKey
from aegis.errors import AegisError, ConfigError, IdentityError, StoreError
from aegis.identity.epoch import Revoked
from aegis.identity.token import Override, build_override, mint
from aegis.identity.verify import Verifier
from aegis.model import conventions as names
from aegis.model.approval import Approval
from aegis.model.principal import Principal
from aegis.model.span import Span, Work
from aegis.runtime import escalations, exporting, halts, ids, indexing, notices, sealing, triggers, vault
from aegis.runtime.credentials import EVERY_SECONDS as CREDENTIALS_SECONDS
from aegis.runtime.credentials import SealedCredentials
from aegis.runtime.directories import Directories
from aegis.runtime.enforce import Gate
from aegis.runtime.facts import FactSource
from aegis.runtime.following import Follower, Followers
from aegis.runtime.indexing import Indexer
from aegis.runtime.issuing import Issuer
from aegis.runtime.keychanges import KeyChanges
from aegis.runtime.letters import Letters
from aegis.runtime.messages import EVERY_SECONDS as MAIL_SECONDS
from aegis.runtime.messages import Messages
from aegis.runtime.notices import Notices
from aegis.runtime.rollout import EVERY_SECONDS, Rollout, Source
from aegis.runtime.runs import settling, sweep
from aegis.runtime.runs.submission import Submissions
from aegis.runtime.sealing import Sealer
from aegis.runtime.toolbox import Toolbox
from aegis.settings import Settings

SWEEP_SECONDS = 2.0
FORGET_SECONDS = 3600.0
REMEMBERED = timedelta(days=31)  # the longest window, and a day for clocks that differ
OVERRIDE_TTL = timedelta(seconds=60)


class App:
    """The running parts of one gateway process."""

    def __init__(
        self,
        settings: Settings,
        gate: Gate,
        verifier: Verifier,
        ring: Keyring,
        upstream: HttpUpstream,
        rollout: Rollout,
        directories: Directories,
        toolbox: Toolbox,
        workflows: Workflows,
        opa: OpaEngine | None = None,
    ) -> None:
        self.settings = settings
        self.gate = gate
        self.rollout = rollout
        self.directories = directories
        self.toolbox = toolbox
        self.workflows = workflows
        self.plans = Submissions(gate, workflows.starting, PlanStudy(settings))
        self.verifier = verifier
        self.keyring = ring
        self.tasks = Tasks(settings, gate, workflows, verifier, self.token_key)
        self.key_changes = KeyChanges(
            store=gate.store, clock=gate.clock, snapshot=gate.snapshot, ring=ring, verifier=verifier, instance=gate.instance
        )
        self.other_issuers = OtherIssuers(settings.tenants, lambda: [tenant.name for tenant in gate.snapshot])
        self.issuer = Issuer(
            store=gate.store,
            clock=gate.clock,
            halts=gate.halts,
            snapshot=gate.snapshot,
            verifier=verifier,
            audience=settings.gateway.audience,
            signer=self.token_key,
            prompts=lambda tenant, entry: pinned_prompt(
                settings, tenant, entry, ring.keys, gate.clock.now(), demanding=toolbox.demanding(tenant)
            ),
            mapper=self.other_issuers.principal_of,
            instance=gate.instance,
        )
        self.credentials = SealedCredentials(gate.store, gate.vault, gate.clock, gate.snapshot)
        self._upstream = upstream
        self._upstream.sealed = self.credentials
        self.messages = Messages(
            gate.store,
            gate.vault,
            gate.clock,
            FactSource(gate.store, gate.clock, gate.halts),
            Letters(gate.store, gate.vault, gate.clock),
            gate.snapshot,
        )
        self.escalations = escalations.Escalations(gate.store, gate.clock, gate.snapshot, gate.desk, gate.spans)
        self.channels = Channels(settings.tenants, settings.root, lambda: [tenant.name for tenant in gate.snapshot])
        self.webhooks = WebhookSender(self.channels.secrets, gate.clock.now)
        self.notices = Notices(
            gate.store,
            gate.clock,
            gate.desk,
            self.webhooks,
            self.channels.all,
            instance=gate.instance,
            url=settings.gateway.url,
        )
        self._opa = opa
        collector = target(settings.telemetry.otlp_url, os.environ, gate.instance)
        seconds = settings.telemetry.metrics_seconds
        self.telemetry = Exporter(collector, gate.spans, metrics_seconds=seconds) if collector else None
        self.witnesses = asking(settings.evidence.witnesses, settings.evidence.needed, gate.store)
        self.sealer = Sealer(
            gate.store,
            gate.clock,
            lambda tenant, now: ring.signer("log", tenant, now),
            Anchor(settings.anchor),
            self.witnesses,
            gate.instance,
            timedelta(seconds=settings.evidence.max_age_seconds),
        )
        gate.spans.watch(self._seal_soon)
        stated = TriggerFiles(settings.tenants)
        self.trips = triggers.Trips(gate.store, gate.clock, gate.halts, gate.snapshot, stated, self.sealer.wrong)
        self.exports: Exports | None = None
        self.following = Followers()
        for follower in (
            Follower(name="recovery", every_seconds=SWEEP_SECONDS, work=gate.recovery.sweep, at_once=True),
            # Decisions deny once the last reading of halts is stale, whatever `/readyz` says.
            Follower(name="halts", every_seconds=halts.EVERY_SECONDS, work=self._follow_halts, tells=False),
            # A document that has become wrong is logged, and the one before it stays in force.
            Follower(name="triggers", every_seconds=triggers.EVERY_SECONDS, work=self.trips.turn, tells=False),
            Follower(name="sealing", every_seconds=sealing.EVERY_SECONDS, work=self.sealer.turn),
            Follower(name="keys", every_seconds=keyring.EVERY_SECONDS, work=self.key_changes.refresh),
            Follower(name="issuers", every_seconds=EVERY_SECONDS, work=self.other_issuers.refresh),
            Follower(name="policies", every_seconds=EVERY_SECONDS, work=rollout.refresh),
            Follower(name="messages", every_seconds=MAIL_SECONDS, work=self.messages.sweep),
            # That a receiver hears late of something is no reason to refuse calls.
            Follower(name="channels", every_seconds=notices.EVERY_SECONDS, work=self.notices.turn, tells=False),
            # An approval that is over counts as expired whether or not that is recorded: the next turn tries again.
            Follower(name="approvals", every_seconds=escalations.EVERY_SECONDS, work=self.escalations.sweep, tells=False),
            Follower(name="tools", every_seconds=EVERY_SECONDS, work=toolbox.refresh),
            Follower(name="directories", every_seconds=EVERY_SECONDS, work=directories.refresh),
            # What a crash of this or another process left of runs: the next turn tries again.
            Follower(name="tasks", every_seconds=settling.EVERY_SECONDS, work=self.tasks.settling.turn, tells=False),
            Follower(name="queues", every_seconds=EVERY_SECONDS, work=workflows.follow),
            Follower(name="runs", every_seconds=sweep.EVERY_SECONDS, work=workflows.sweep.turn),
            Follower(name="halted runs", every_seconds=halts.EVERY_SECONDS, work=workflows.waking.halted, tells=False),
            Follower(name="credentials", every_seconds=CREDENTIALS_SECONDS, work=self.credentials.refresh),
            Follower(name="erasures", every_seconds=vault.EVERY_SECONDS, work=gate.vault.refresh),
            # A search reads what is not indexed yet: the next turn tries again.
            Follower(name="index", every_seconds=indexing.EVERY_SECONDS, work=Indexer(gate.store).turn, tells=False),
            # Old entries only take space: the next turn tries again.
            Follower(name="forget", every_seconds=FORGET_SECONDS, work=self._forget, at_once=True, tells=False),
        ):
            self.following.add(follower)

    async def start(self) -> None:
        """Take the instance's place, settle what an earlier process left, and begin to sweep."""
        self.gate.clock.witness(await self.gate.store.latest())
        await self.gate.store.register(self.gate.instance)
        await self._check_evidence()
        for tenant in self.gate.snapshot:
            await escalations.adopt(self.gate.store, tenant.name)
        await self.follow_revocations()  # before anything that a key signed is believed
        await self.key_changes.refresh()
        await self.toolbox.start()  # first: versions of the registry compile with contracts that are pinned
        await self.rollout.refresh()
        await self.directories.refresh()
        await self.other_issuers.refresh()
        self._some_policy()
        await self._upstream.start()
        await self.credentials.refresh()
        if self._opa is not None:
            await self._opa.start()
        await self.gate.halts.refresh()
        await self.workflows.start()
        self._export()
        if self.telemetry is not None:
            self.telemetry.start()
        self.following.start()
        gc.collect()
        gc.freeze()  # the snapshot lives as long as the process: keep it out of every collection
        gc.set_threshold(100_000, 50, 100)

    async def _check_evidence(self) -> None:
        """Hold the store against the anchor and the witnesses; a process that must not start leaves no connections."""
        try:
            await self.sealer.check()
        except AegisError:
            if self.witnesses is not None:
                await self.witnesses.close()
            raise

    async def stop(self) -> None:
        """Finish every call that was permitted, record it, and let go of everything."""
        await self.following.stop()
        await self.workflows.stop()
        await self.tasks.close()
        await self.gate.drain()
        if self.telemetry is not None:
            await asyncio.to_thread(self.telemetry.stop)
        with contextlib.suppress(AegisError):  # what cannot be sealed now is, or is refused, at the next start
            await self.sealer.seal()
        if self.witnesses is not None:
            await self.witnesses.close()
        await self._upstream.close()
        await self.webhooks.close()
        if self.exports is not None:
            await self.exports.close()
        await self.other_issuers.close()
        if self._opa is not None:
            await self._opa.close()
        await self.gate.store.close()

    async def unready(self) -> list[str]:
        """Why this process cannot decide and record now; empty when it can."""
        why = []
        if not self.gate.clock.trusted:
            why.append(f"clock: {self.gate.clock.behind.total_seconds():.0f} s behind the journal")
        stats = await self.gate.store.stats()
        if stats.get("halted"):
            why.append("store: the writer has stopped; restart the gateway, which checks the store")
        if self.gate.halts.stale:
            why.append("halts: what is halted cannot be read")
        why += self.following.troubles()
        if self._opa is not None and self.settings.policy.engine == "opa" and not await self._opa.reachable():
            why.append("policy engine: no answer from `policy.opa_url`; until then every call is denied")
        return why

    def _seal_soon(self, span: Span) -> None:
        """What a person answered for, and what is done on it, does not wait for the second to pass."""
        if span.work is Work.APPROVAL or span.attributes.get(names.APPROVAL_ID):
            self.sealer.soon()

    def is_operator(self, token: str) -> bool:
        """Whether `token` is the key of whoever watches this gateway, whatever tenant they belong to."""
        return monitorkey.fits(self.settings.keys, token)

    def token_key(self, tenant: str, now: datetime) -> PrivateKey:
        """The key by which this host signs tokens of a tenant.

        Raises:
            IdentityError: It lies elsewhere: `no_signing_key`.
        """
        try:
            return self.keyring.signer("sts", tenant, now)
        except ConfigError:
            raise IdentityError("no_signing_key", "this gateway does not sign tokens: ask the one that does") from None

    def override_token(self, held: Approval, who: Principal) -> str:
        """The one-time token of an approval that was granted: at most 60 seconds, for this agent and this request only."""
        self.require_fresh()
        now = self.gate.clock.now()
        key = self.keyring.signer("override", held.tenant, now)
        return mint(
            build_override(
                Override(
                    tenant=held.tenant,
                    agent_id=who.agent_id,
                    approval_id=held.approval_id,
                    request_hash=held.request_hash,
                    token_id=ids.new("ovr", now),
                ),
                now=now,
                ttl=OVERRIDE_TTL,
                audience=self.settings.gateway.audience,
            ),
            key,
        )

    def require_fresh(self) -> None:
        """Called before authority is given out or taken in: a token, an answer to an approval.

        Raises:
            StoreError: What is halted and revoked could not be read lately, so nobody knows whether this may be.
        """
        if self.gate.halts.stale:
            raise StoreError("what is halted and revoked cannot be read; until it can, nothing is issued and no answer is taken")

    async def _follow_halts(self) -> None:
        await self.follow_revocations()
        await self.gate.halts.follow(self.gate.instance)  # last, so that its age speaks for both

    async def follow_revocations(self) -> None:
        """Refuse what has been taken back by now; commands do it once, a serving process again and again."""
        for revoked in await self.gate.revocations.recent():
            self.verifier.revoke(revoked.tenant, before=revoked.before, who=revoked.who)
        self.verifier.hold(Revoked(await self.gate.revocations.tokens()))
        if self.keyring.revoke(await self.gate.revocations.keys()):
            self.verifier.swap(self.keyring.keys)

    def _export(self) -> None:
        """Send events where the settings say. That nobody takes them is no reason to refuse calls."""
        if self.settings.export.url and self.settings.export.by == "gateway":
            names = [tenant.name for tenant in self.gate.snapshot]
            self.exports = Exports(self.settings, self.gate.store, self.gate.clock, self.gate.instance, names)
            work = self.exports.exporter.turn
            self.following.add(Follower(name="export", every_seconds=exporting.EVERY_SECONDS, work=work, tells=False))

    async def _forget(self) -> None:
        """Remove what no window of history can reach any more."""
        await self.gate.store.forget(self.gate.clock.now() - REMEMBERED)
        for tenant in self.gate.snapshot:
            await self.gate.once.forget(tenant.name)
            await self.gate.resources.tidy(tenant.name)
            await self.gate.store.shed(tenant.name)  # what retention let go of and was interrupted in removing
            await self.gate.delegations.expire(tenant.name, self.gate.recovery)

    def _some_policy(self) -> None:
        for tenant in self.gate.snapshot:
            if tenant.enforced is None and tenant.shadow is None and self.rollout.source(tenant.name) is Source.FILES:
                path = self.settings.tenants / tenant.name / policies.FILE
                raise ConfigError(f"{path}: not found; without a policy nothing is allowed")
