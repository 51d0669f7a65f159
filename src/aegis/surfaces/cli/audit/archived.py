"""Archives as commands use them: verified with the keys of this place before anything in them is believed."""

from pathlib import Path
from typing import cast

import click

from aegis.app import App
from aegis.errors import ConfigError
from aegis.journal.store import Store
from aegis.surfaces.cli.audit.ledger import policy_of

archive_option = click.option(
    "--archive", type=click.Path(exists=True, path_type=Path), metavar="PATH", help="Look in this archive instead of the journal."
)


def verified(app: App, tenant: str, path: Path) -> tuple[int, int]:
    """The first place and the number of the events in a genuine archive of the tenant.

    Raises:
        ConfigError: It does not verify, or is another tenant's.
    """
    import aegis_verify as verifier
    from aegis.model.event import origin
    from aegis_verify import BrokenError, Question

    trust = verifier.read_policy(policy_of(app.settings, tenant))
    try:
        bundle = verifier.Bundle(str(path))
        report = verifier.verify(bundle, Question(trust, app.gate.clock.now().timestamp(), part=True))
    except BrokenError as error:
        raise ConfigError(f"`{path}` does not verify: {error.finding.text}") from None
    if not report.ok:
        raise ConfigError(f"`{path}` does not verify: {report.findings[0].text}")
    if bundle.origin != origin(tenant):
        raise ConfigError(f"`{path}` is an archive of `{bundle.origin}`, expected `{origin(tenant)}`")
    return report.first, report.events


def look_into(app: App, tenant: str, path: Path) -> None:
    """Put an archive in the place of the journal, for as long as this command runs; keys still come from the store."""
    from aegis.adapters.archived import Archived
    from aegis.adapters.kekfiles import KekFiles
    from aegis.runtime.vault import Vault

    verified(app, tenant, path)
    gate = app.gate
    gate.store = cast("Store", Archived(gate.store, path))  # all that it does not give itself it takes from the store
    gate.vault = Vault(gate.store, KekFiles(app.settings.keys))
