"""Channels: where a tenant's notices go, and whether answers may come back over them.

    tenants/TENANT/channels.yaml     aegis.channels/v1

A channel carries news and statements. It has no authority: whoever holds its secret learns that something waits, and may hand in a
statement that a person or a guardrail has signed, which counts as it would through every other door.
"""

import re

from msgspec import Struct

from aegis.model.document import Document
from aegis.model.node import Node, nearest

API_VERSION = "aegis.channels/v1"
FILE = "channels.yaml"
EVENTS = ("approval.asked", "approval.ended", "run.ended", "dead_letter")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,62}")
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


class Channel(Struct, frozen=True, kw_only=True):
    """One address. `secret_file` lies below the working directory; `shows`: the values that an approver sees go along.

    `answers`: signed statements are taken at `/v1/channels/TENANT/NAME/answers`.
    """

    name: str
    tenant: str
    url: str
    secret_file: str
    events: tuple[str, ...] = EVENTS
    shows: bool = False
    answers: bool = False


class Sent(Struct, frozen=True, kw_only=True):
    """What a receiver said to a notice: its status, 0 when there was no answer, and the first words."""

    status: int
    detail: str = ""

    @property
    def taken(self) -> bool:
        """Whether it has the notice now."""
        return 200 <= self.status < 300


def parse_channels(document: Document) -> tuple[Channel, ...]:
    """The channels that a document states.

    Raises:
        DocumentError: With the place, what was found and what was expected.
    """
    top = Node(document).fields(("apiVersion", "kind", "metadata", "spec"), ("apiVersion", "kind", "metadata", "spec"))
    top["apiVersion"].word((API_VERSION,))
    top["kind"].word(("Channels",))
    tenant = top["metadata"].fields(("tenant", "owner"), ("tenant",))["tenant"].text()
    spec = top["spec"].fields(("channels",), ("channels",))
    return tuple(_channel(name, tenant, node) for name, node in spec["channels"].members().items())


def _channel(name: str, tenant: str, node: Node) -> Channel:
    if not _NAME.fullmatch(name):
        raise node.fail("expected a name such as `desk`")
    parts = node.fields(("url", "secret_file", "events", "include", "answers"), ("url", "secret_file"))
    file = parts["secret_file"].text()
    if not _FILE.fullmatch(file):
        raise parts["secret_file"].fail("expected a file in the working directory such as `desk.whsec`")
    return Channel(
        name=name,
        tenant=tenant,
        url=parts["url"].text(),
        secret_file=file,
        events=tuple(_event(item) for item in parts["events"].items()) if "events" in parts else EVENTS,
        shows="include" in parts and parts["include"].word(("ids", "shown")) == "shown",
        answers="answers" in parts and parts["answers"].flag(),
    )


def _event(node: Node) -> str:
    name = node.text()
    if name not in EVENTS:
        raise node.fail(f"no such event `{name}`; expected one of {', '.join(EVENTS)}{nearest(name, EVENTS)}")
    return name
