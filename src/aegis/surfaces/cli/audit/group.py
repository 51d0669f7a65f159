"""The group `aegis audit` and the table of its commands; a command is imported only to be run."""

from aegis.surfaces.cli.lazy import lazy_group

COMMANDS: dict[str, tuple[str, str, str]] = {
    "tail": ("audit.tail:tail", "read", "print the newest events, one a line"),
    "erase": ("audit.erase:erase", "operate", "destroy the key under which the data of one person is sealed"),
    "export": ("audit.export:export", "read", "write events for SIEMs and other systems, to go on later"),
    "push": ("audit.export:push", "operate", "send events to the receiver of the settings"),
    "noise": ("audit.noise:noise", "read", "show refusals of callers who were not authenticated"),
}

audit = lazy_group("audit", COMMANDS, "Read the journal, and prove what it holds.")
