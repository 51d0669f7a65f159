"""Answers that come back over a channel: a statement of a person or a guardrail, in a webhook signed by the channel's secret.

    POST /v1/channels/{tenant}/{channel}/answers

The webhook's signature says who brings the statement, and nothing about what it is worth: that says the statement, which is checked
as it is at every other door. So whoever steals the secret of a channel can approve nothing. Until the signature is verified the
caller is nobody: refusals are counted in the system journal. From then on each is an event of the tenant.
"""

import os
from typing import Any

from aegis.crypto import webhook
from aegis.errors import ConfigError, StoreError
from aegis.surfaces.gateway import http, wire
from aegis.surfaces.gateway.asking import shaped, taken


async def answer(gateway: Any, exchange: Any, body: bytes, parts: tuple[str, ...]) -> tuple[int, Any]:
    """Take a statement over a channel."""
    app, (tenant, name) = gateway.app, parts
    message_id = webhook.verify(_secrets(app, tenant, name), exchange.request.headers, app.gate.clock.now(), body)
    exchange.tenant, exchange.agent_id, exchange.person = tenant, f"channel:{name}", True
    app.require_fresh()
    said = shaped(gateway, body, wire.AnswerBody)
    statement = app.verifier.statement(said.statement, now=app.gate.clock.now())
    if statement.tenant != tenant:
        raise http.refuse("approval-refused", f"the statement that `{message_id[:64]}` brings is for another tenant")
    return await taken(gateway, exchange, statement, said.statement)


def _secrets(app: Any, tenant: str, name: str) -> list[bytes]:
    """The secrets of a channel. Where there is none, one that nobody has: strangers do not learn which there are."""
    channel = app.channels.find(tenant, name)
    if channel is None or not channel.answers:
        return [os.urandom(webhook.SHORTEST)]
    try:
        found: list[bytes] = app.channels.secrets(channel)
    except ConfigError as error:
        raise StoreError(f"the secret of a channel cannot be read: {error}") from None
    return found
