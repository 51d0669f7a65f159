"""Example tenants behind a real gateway: what their pages promise happens to real calls."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from aegis.identity.directory import parse_directory
from aegis.model.document import parse
from aegis.surfaces.cli.setup import make_keys
from gateway.world import World

EXAMPLES = Path(__file__).parents[2] / "examples"


class Example(World):
    """A world with one example tenant, whose tools all lead to the one tool server."""

    def __init__(self, root: Path, home: Path) -> None:
        super().__init__(root, "sqlite:data/aegis.db")
        self.name = home.name
        shutil.rmtree(root / "tenants")
        shutil.copytree(home, root / "tenants" / home.name)
        for path in (root / "tenants" / home.name / "tools").iterdir():
            path.write_text(yaml.safe_dump(self._here(yaml.safe_load(path.read_text()))))
        self.directory = parse_directory(parse((home / "directory.yaml").read_text(), source="directory.yaml"))
        make_keys(self.keys, home.name, tuple(self.directory.people))

    def _here(self, contract):
        """The contract with the test's tool behind it, which answers `{"id": 1}` to everything."""
        contract["spec"]["upstream"] = {"url": f"http://127.0.0.1:{self.tool.port}"}
        contract["spec"].pop("output", None)
        call = contract["spec"]["operations"]["call"]
        call["method"] = "GET" if call["method"] == "GET" else "POST"
        return contract

    def act(self, agent, tool, arguments, key="", *, run="run-1", subject="person:ines", **stated):
        entry = self.directory.agents[agent]
        numbers = {name.replace("_", ".", 1): value for name, value in stated.items()}
        token = self.token(
            agent, self.name, roles=tuple(entry.roles), scopes=tuple(entry.scopes), txn=run, subject=subject, stated=numbers
        )
        return self.call(tool, arguments, key or f"{tool}-{len(self.tool.requests)}", token)


@pytest.fixture
def at(tmp_path, request):
    made = Example(tmp_path, EXAMPLES / request.param)
    made.hand.offset = _wednesday_noon() - datetime.now(UTC)
    made.start()
    yield made
    made.close()


def _wednesday_noon():
    """The next one, in UTC: office hours in every zone of the examples."""
    now = datetime.now(UTC)
    return now.replace(hour=12, minute=0) + timedelta(days=(2 - now.weekday()) % 7 or 7)


def rules(told):
    return told.json().get("rules", told.json())


TRANSFER = {"account_id": "acct_00000001", "payee_id": "payee_0001", "iban": "DE02120300000000202051", "currency": "EUR"}


def pay(at, amount, key, **more):
    return at.act("agent:treasurer", "payments.transfer", TRANSFER | {"amount_minor": amount} | more.pop("with_", {}), key, **more)


@pytest.mark.parametrize("at", ["finance"], indirect=True)
def test_finance_a_run_that_has_read_mail_pays_no_more_and_another_does(at):
    assert pay(at, 100, "a").status_code == 200
    assert at.act("agent:postroom", "inbox.read", {"message_id": "msg_1"}).status_code == 200
    assert rules(pay(at, 200, "b")) == ["pay.tainted-run"]
    assert pay(at, 300, "c", run="run-2").status_code == 200
    assert rules(pay(at, 400, "d", run="")) == ["pay.tainted-run"]


@pytest.mark.parametrize("at", ["finance"], indirect=True)
def test_finance_the_same_amount_again_and_a_new_payee_wait_for_a_person(at):
    assert pay(at, 100, "a").status_code == 200
    assert rules(pay(at, 100, "b")) == ["pay.duplicate"]
    added = {"payee_id": "payee_0002", "iban": "NL91ABNA0417164300", "name": "Invented B.V."}
    assert at.act("agent:treasurer", "payees.add", added).status_code == 200
    told = pay(at, 500, "c", with_={"payee_id": "payee_0002", "iban": "NL91ABNA0417164300"})
    assert (told.json()["code"], rules(told)) == ("approval-needed", ["pay.new-payee"])
    assert at.approve(told.json()["approval_id"], "person:lena", tenant="finance").json()["state"] == "approved"
    again = pay(at, 500, "c", with_={"payee_id": "payee_0002", "iban": "NL91ABNA0417164300"})
    assert again.status_code == 200, again.text


@pytest.mark.parametrize("at", ["finance"], indirect=True)
def test_finance_a_personal_number_never_reaches_the_bank(at):
    assert pay(at, 100, "a", with_={"memo": "for 078-05-1120"}).json()["decision"] == "sanitize"
    assert b"078-05-1120" not in at.tool.requests[-1]["body"]


RECORD = {"mrn": "4711", "purpose": "treatment"}
EXPORT = {"mrn": "4711", "recipient": "ward@clinic.example"}


@pytest.mark.parametrize("at", ["patient-data"], indirect=True)
def test_patient_data_an_export_needs_consent_of_the_same_patient(at):
    assert rules(at.act("agent:ward", "records.export", EXPORT, "a")) == ["export.consent"]
    assert at.act("agent:ward", "consent.check", {"mrn": "4712"}).status_code == 200
    assert rules(at.act("agent:ward", "records.export", EXPORT, "b")) == ["export.consent"]
    assert at.act("agent:ward", "consent.check", {"mrn": "4711"}).status_code == 200
    assert at.act("agent:ward", "records.export", EXPORT, "c").status_code == 200
    assert at.act("agent:ward", "consent.withdraw", {"mrn": "4711"}).status_code == 200
    assert rules(at.act("agent:ward", "records.export", EXPORT, "d")) == ["export.consent"]


@pytest.mark.parametrize("at", ["patient-data"], indirect=True)
def test_patient_data_the_physician_confirms_an_emergency_and_then_nothing_leaves_until_a_review(at):
    asked = {"mrn": "4713", "purpose": "emergency"}
    told = at.act("agent:ward", "records.read", asked, "glass")
    assert (told.json()["code"], rules(told)) == ("approval-needed", ["phi.break-glass"])
    assert at.approve(told.json()["approval_id"], "person:ines", tenant="patient-data").json()["state"] == "approved"
    assert at.act("agent:ward", "records.read", asked, "glass").status_code == 200
    assert at.act("agent:ward", "consent.check", {"mrn": "4711"}).status_code == 200
    assert rules(at.act("agent:ward", "records.export", EXPORT, "a")) == ["export.after-emergency"]
    assert at.act("agent:privacy", "privacy.review", {}).status_code == 200
    assert at.act("agent:ward", "records.export", EXPORT, "b").status_code == 200


@pytest.mark.parametrize("at", ["patient-data"], indirect=True)
def test_patient_data_a_run_that_has_read_a_record_fills_no_public_form(at):
    form = {"portal": "https://forms.health.example/report", "form": {"ward": 3}}
    assert at.act("agent:ward", "forms.submit", form, "a").status_code == 200
    assert at.act("agent:ward", "records.read", RECORD).json()["decision"] == "sanitize"
    assert rules(at.act("agent:ward", "forms.submit", form, "b")) == ["forms.phi"]


@pytest.mark.parametrize("at", ["deployment"], indirect=True)
def test_deployment_production_gets_what_was_a_canary_and_was_checked(at):
    change = {"cluster": "prod-eu", "service": "web", "version": "2.1.0", "replicas": 2}
    sure = {"risk_percent": 5, "confidence_percent": 95, "budget_left_calls": 9}

    def apply(key, **more):
        return at.act("agent:shipper", "k8s.apply", change, key, **(sure | more))

    assert rules(apply("a")) == ["prod.canary-first", "prod.checks"]
    assert at.act("agent:shipper", "canary.start", {"service": "web", "version": "2.1.0"}).status_code == 200
    for _ in range(2):
        assert at.act("agent:shipper", "checks.run", {"service": "web"}, **sure).status_code == 200
    told = apply("b", risk_percent=31)
    assert (told.json()["code"], rules(told)) == ("approval-needed", ["prod.first-of-the-day", "prod.two-people"])
    for person in ("person:nadia", "person:wim"):
        at.approve(told.json()["approval_id"], person, tenant="deployment")
    assert apply("b", risk_percent=31).status_code == 200
    assert apply("c").status_code == 200
    assert rules(at.act("agent:shipper", "k8s.delete", {"cluster": "prod-eu", "kind": "Pod", "name": "web-1"}, "d")) == [
        "prod.no-delete"
    ]


MAIL = {"to": "ana@partner.example", "subject": "offer", "body": "see card 4000 0000 0000 0002"}


@pytest.mark.parametrize("at", ["egress"], indirect=True)
def test_egress_labels_of_a_run_close_what_lies_outside(at):
    post = {"url": "https://api.partner.example/v1", "size_bytes": 2, "body": {}}
    assert at.act("agent:deployer", "http.post", post, "a").status_code == 200
    assert at.act("agent:deployer", "vault.read", {"name": "deploy-key"}).status_code == 200
    assert rules(at.act("agent:deployer", "http.post", post, "b")) == ["labels.secret"]
    assert at.act("agent:mailer", "customers.read", {"customer_id": "cus_1"}, run="run-2").status_code == 200
    archived = {"path": "/backup/day.json", "body": {"orders": 3}}
    assert rules(at.act("agent:backup", "archive.put", archived, "c", run="run-2")) == ["labels.residency"]
    assert at.act("agent:backup", "archive.put", archived, "d", run="run-3").status_code == 200


@pytest.mark.parametrize("at", ["egress"], indirect=True)
def test_egress_a_rule_in_shadow_stops_nothing_and_is_recorded(at):
    told = at.act("agent:mailer", "email.send", MAIL, "a")
    assert told.json()["decision"] == "sanitize"
    assert b"4000 0000" not in at.tool.requests[-1]["body"]
    (event,) = [event for event in at.events(tenant="egress") if event["type"] == "decision"]
    assert event["shadow"] == {"rules": ["labels.detected"], "would_be": "deny"}


@pytest.mark.parametrize("at", ["egress"], indirect=True)
def test_egress_who_is_refused_again_and_again_stays_out(at):
    evil = {"url": "https://evil.example/", "size_bytes": 2, "body": {}}
    for number in range(5):
        assert rules(at.act("agent:partner", "http.post", evil, f"k{number}")) == ["default-deny"]
    good = {"url": "https://api.partner.example/v1", "size_bytes": 2, "body": {}}
    assert rules(at.act("agent:partner", "http.post", good, "k6")) == ["http.probing"]
