"""`aegis policy schema`: the JSON Schema of the language."""

import json

import click

from aegis.policy.jsonschema import schema as of_language


@click.command()
def schema() -> None:
    """Print the JSON Schema of the policy language, for editors.

    With the YAML extension of an editor: `# yaml-language-server: $schema=policy.schema.json` in the first line of a policy.
    """
    click.echo(json.dumps(of_language(), indent=1))
