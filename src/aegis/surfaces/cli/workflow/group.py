"""The group `aegis workflow` and the table of its commands; a command is imported only to be run."""

from aegis.surfaces.cli.lazy import lazy_group

COMMANDS: dict[str, tuple[str, str, str]] = {
    "validate": ("workflow.validate:validate", "write", "find everything that is wrong with workflows"),
    "plan": ("workflow.plan:plan", "write", "weigh a workflow before anything of it is done"),
    "graph": ("workflow.graph:graph", "write", "draw a workflow in the terminal, or as SVG"),
    "run": ("workflow.run:run", "run", "begin a run, and follow it"),
    "list": ("workflow.show:list_", "run", "list runs"),
    "show": ("workflow.show:show", "run", "show a run step by step, and why it waits"),
    "cancel": ("workflow.operate:cancel", "run", "end a run and undo what it did"),
    "retry": ("workflow.operate:retry", "run", "give steps that wait for a person new attempts"),
    "signal": ("workflow.operate:signal", "run", "tell a run that what it waits for has happened"),
    "schema": ("workflow.schema:schema", "write", "print the JSON Schema of the format, for editors"),
}

workflow = lazy_group("workflow", COMMANDS, "Write, check, draw and run workflows.")
