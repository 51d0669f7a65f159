"""The group `aegis audit` and the table of its commands; a command is imported only to be run."""

from aegis.surfaces.cli.lazy import lazy_group

COMMANDS: dict[str, tuple[str, str, str]] = {
    "tail": ("audit.tail:tail", "read", "print the newest events, one a line"),
    "erase": ("audit.erase:erase", "operate", "destroy the key under which the data of one person is sealed"),
    "noise": ("audit.noise:noise", "read", "show refusals of callers who were not authenticated"),
}

audit = lazy_group("audit", COMMANDS, "Read the journal, and prove what it holds.")
