"""`aegis workflow schema`: the JSON Schema of the format."""

import json

import click

from aegis.workflow.schema import schema as of_format


@click.command()
def schema() -> None:
    """Print the JSON Schema of workflows, for editors.

    With the YAML extension of an editor: `# yaml-language-server: $schema=workflow.schema.json` in the first line of a workflow.
    """
    click.echo(json.dumps(of_format(), indent=1))
