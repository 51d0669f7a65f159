"""Who calls: an agent with an access token, or a person with a token signed by the person's own key."""

from collections.abc import Mapping

from msgspec import Struct

from aegis.app import App
from aegis.errors import IdentityError
from aegis.identity.access import Access
from aegis.identity.chain import agree, agree_on
from aegis.identity.possession import Proof, expected_key, verify_proof
from aegis.identity.principal import principal
from aegis.model.principal import Principal
from aegis.surfaces.gateway import http


class Caller(Struct, frozen=True, kw_only=True):
    """The verified caller: exactly one of `agent` and `person` is set."""

    tenant: str
    name: str
    agent: Principal | None = None
    person: str = ""
    person_roles: tuple[str, ...] = ()
    access: Access | None = None
    proof: Proof | None = None

    def agrees(self, parent_agent_id: str, parent_request_id: str, txn: str = "", task: str = "") -> None:
        """Refuse a body that names another parent, run or task than the token.

        Raises:
            IdentityError: `parent_required`, `parent_mismatch`, `txn_mismatch`, `task_mismatch`.
        """
        who = agent(self)
        agree(who.parent, parent_agent_id, parent_request_id)
        agree_on("txn", who.txn, txn)
        agree_on("task", who.task, task)


def confirm(caller: Caller, headers: Mapping[str, str]) -> None:
    """Refuse headers that name another caller, parent, run or task than the token. They need not be sent, and give nothing.

    Raises:
        IdentityError: `tenant_mismatch`, `agent_mismatch`, `parent_mismatch`, `txn_mismatch`, `task_mismatch`.
    """
    who = caller.agent
    parent = who.parent if who else None
    signed = {
        "aegis-tenant": ("tenant", caller.tenant),
        "aegis-agent-id": ("agent", caller.name),
        "aegis-parent-agent-id": ("parent", parent.agent_id if parent else ""),
        "aegis-parent-request-id": ("parent", parent.request_id if parent else ""),
        "aegis-txn": ("txn", who.txn if who else ""),
        "aegis-task": ("task", who.task if who else ""),
    }
    for name, (what, value) in signed.items():
        agree_on(what, value, headers.get(name, ""))


def authenticate(app: App, request: http.Request) -> Caller:
    """The caller, or a refusal that tells the reason and nothing else."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() not in ("bearer", "dpop") or not token:
        raise http.refuse("unauthenticated", "expected `Authorization: Bearer TOKEN`", reason="no_token")
    try:
        now = app.gate.clock.now()
        if app.verifier.kind(token) == "person":
            said = app.verifier.person(token, now=now)
            tenant = app.gate.tenant(said.tenant)
            person = tenant.directory.people.get(said.person)
            if person is None or not person.enabled:
                raise IdentityError("unknown_person")  # noqa: TRY301 - one refusal below for every reason
            return Caller(tenant=said.tenant, name=person.id, person=person.id, person_roles=person.roles)
        access = app.verifier.access(token, now=now)
        directory = app.gate.tenant(access.tenant).directory
        who = principal(access, directory)
        bound = directory.agents[who.agent_id].proof_required
        proof = _possession(app, request, access, token, scheme.lower(), required=bound)
        return Caller(tenant=who.tenant, name=who.agent_id, agent=who, access=access, proof=proof)
    except IdentityError as error:
        raise http.refuse("unauthenticated", f"refused: {error.reason}", reason=error.reason) from None


def _possession(app: App, request: http.Request, access: Access, token: str, scheme: str, *, required: bool) -> Proof | None:
    """The proof that whoever sends a bound token holds its key; that it is shown for the first time is looked at later.

    Raises:
        IdentityError: `pop_required`, `pop_invalid`, `pop_stale`.
    """
    if not access.jkt:
        if required:
            raise IdentityError("pop_required", "the directory wants tokens of this agent bound to a key")
        if scheme == "dpop":
            raise IdentityError("pop_invalid", "the token is not bound to a key")
        return None
    text = request.headers.get("dpop", "")
    if scheme != "dpop" or not text:
        raise IdentityError("pop_required", "the token is bound to a key: send `Authorization: DPoP TOKEN` and a `DPoP` proof")
    proof = verify_proof(text, method=request.method, url=address(app, request), now=app.gate.clock.now(), token=token)
    expected_key(access.jkt, proof)
    return proof


def address(app: App, request: http.Request) -> str:
    """The address of the request as its caller knows it: of the setting `gateway.url`, or of the header `Host`."""
    base = app.settings.gateway.url or f"http://{request.headers['host']}"
    return f"{base.rstrip('/')}/{'/'.join(request.path)}"


def agent(caller: Caller) -> Principal:
    """The calling agent, or a refusal: people do not call tools."""
    if caller.agent is None:
        raise http.refuse("forbidden", "this path is for agents; a person's token was sent")
    return caller.agent
