"""The group `aegis audit` and the table of its commands; a command is imported only to be run."""

from aegis.surfaces.cli.lazy import lazy_group

COMMANDS: dict[str, tuple[str, str, str]] = {
    "tail": ("audit.tail:tail", "read", "print the newest events, one a line"),
    "search": ("audit.search:find", "read", "find events by agent, tool, run, rule, person, time, cost and more"),
    "show": ("audit.show:show", "read", "tell the whole story of a request or a run, across agents"),
    "reindex": ("audit.reindex:reindex", "operate", "check the index that searches use, or make it anew"),
    "erase": ("audit.erase:erase", "operate", "destroy the key under which the data of one person is sealed"),
    "retain": ("audit.retain:retain", "operate", "archive old events, then let go of them"),
    "export": ("audit.export:export", "read", "write events for SIEMs and other systems, to go on later"),
    "push": ("audit.export:push", "operate", "send events to the receiver of the settings"),
    "verify": ("audit.verify:verify", "prove", "check that nothing was changed, removed or added"),
    "checkpoint": ("audit.checkpoint:checkpoint", "prove", "print the newest signed checkpoint of a log, for somebody to keep"),
    "bundle": ("audit.bundle:bundle", "prove", "write events with their proof, for an auditor"),
    "prove": ("audit.prove:prove", "prove", "print the proof that an event stands in the log"),
    "verify-proof": ("audit.prove:verify_proof", "prove", "check such a proof"),
    "consistency": ("audit.prove:consistency", "prove", "print the proof that the log only grew"),
    "spans": ("audit.spans:spans", "prove", "compare spans that a collector kept with the journal"),
    "noise": ("audit.noise:noise", "read", "show refusals of callers who were not authenticated"),
}

audit = lazy_group("audit", COMMANDS, "Read the journal, and prove what it holds.")
