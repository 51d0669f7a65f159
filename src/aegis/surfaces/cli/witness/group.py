"""The group `aegis witness` and the table of its commands; a command is imported only to be run."""

from aegis.surfaces.cli.lazy import lazy_group

COMMANDS: dict[str, tuple[str, str, str]] = {
    "init": ("witness.setup:init", "set up", "make a witness: a directory with a key of its own"),
    "add": ("witness.setup:add", "set up", "let it know another log, or a new key of one"),
    "serve": ("witness.serve:serve", "run", "cosign checkpoints over HTTP, until Ctrl-C"),
    "show": ("witness.show:show", "run", "show its key, what it cosigned last, and what it refused"),
    "keys": ("witness.keys:keys", "at a gateway", "print the keys of this gateway's logs, for its witnesses and auditors"),
}

witness = lazy_group(
    "witness",
    COMMANDS,
    "Run a witness: a small service of somebody else, on another host, that cosigns a log's checkpoints and so keeps it from being"
    " put back or rewritten.",
)
