"""Who calls: an agent with an access token, or a person with a token signed by the person's own key."""

from msgspec import Struct

from aegis.app import App
from aegis.errors import IdentityError
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


def authenticate(app: App, request: http.Request) -> Caller:
    """The caller, or a refusal that tells the reason and nothing else."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
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
        who = principal(access, app.gate.tenant(access.tenant).directory)
        return Caller(tenant=who.tenant, name=who.agent_id, agent=who)
    except IdentityError as error:
        raise http.refuse("unauthenticated", f"refused: {error.reason}", reason=error.reason) from None


def agent(caller: Caller) -> Principal:
    """The calling agent, or a refusal: people do not call tools."""
    if caller.agent is None:
        raise http.refuse("forbidden", "this path is for agents; a person's token was sent")
    return caller.agent
