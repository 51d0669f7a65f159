"""The command `aegis`: what it can do, and how every command ends.

Exit codes: 0 done; 1 a check failed; 2 usage; 3 denied; 4 waits for approval; 5 could not reach or decide; 130 interrupted.
`--help`, completion and usage errors import no product module, so that they stay fast.
"""

import os
import sys
from pathlib import Path
from typing import Any

import click

from aegis.surfaces.cli.lazy import Lazy

DONE, FAILED, USAGE, DENIED, WAITS, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

COMMANDS: dict[str, tuple[str, str, str]] = {
    "init": ("setup:init", "start", "make a working directory: settings, a tenant, keys, an example"),
    "up": ("serve:up", "start", "run the gateway here, until Ctrl-C"),
    "demo": ("demo.command:demo", "start", "see the whole thing at work, with real tool servers"),
    "check": ("check:check", "start", "check settings, keys, contracts and policies, and run the policy's tests"),
    "keys": ("keys:keys", "set up", "make, list, rotate and retire keys"),
    "token": ("token:token", "set up", "issue a token for an agent"),
    "credentials": ("credentials:credentials", "set up", "seal, list and remove the credentials that tools want"),
    "tools": ("tools:tools", "set up", "list tools, show, sign and approve their contracts"),
    "artifacts": ("artifacts:artifacts", "set up", "sign and check prompts and workflows"),
    "contract": ("contract:contract", "set up", "compare two versions of a tool's contract"),
    "policy": ("policy.group:policy", "set up", "write, test, ship and look after policy sets"),
    "workflow": ("workflow.group:workflow", "set up", "write, check, draw and run workflows"),
    "call": ("call:call", "act", "call a tool through the gateway"),
    "decide": ("call:decide", "act", "ask what would be decided, and record it"),
    "approvals": ("approvals:approvals", "operate", "see what waits for people, approve or deny it"),
    "guardrail": ("guardrail:guardrail", "operate", "answer approvals by rules, with a key of its own"),
    "calls": ("calls:calls", "operate", "see calls by state, settle those whose outcome nobody knows"),
    "messages": ("messages:messages", "operate", "see messages between agents, put dead letters back or discard them"),
    "queue": ("queue:queue", "operate", "see the queues of agents' tasks; pause, resume and drain them"),
    "dlq": ("dlq:dlq", "operate", "see what runs could not do: edit, requeue or discard it"),
    "replay": ("replay:replay", "operate", "fold the events of a run again, and compare"),
    "halt": ("halts:halt", "operate", "stop a tool, an agent, a run, a workflow, a queue, a tenant or all, at once and everywhere"),
    "resume": ("halts:resume", "operate", "lift a halt"),
    "halts": ("halts:halts", "operate", "list what is halted or in safe mode"),
    "revoke": ("halts:revoke", "operate", "take back a token, what a key signed, or all tokens of an agent, a person or a tenant"),
    "access": ("access:access", "operate", "see who may do what, prove that roles keep to it, read what changed"),
    "explain": ("explain:explain", "operate", "tell why a request was decided as it was"),
    "audit": ("audit.group:audit", "operate", "read the journal, and prove what it holds"),
    "witness": ("witness.group:witness", "operate", "run a witness, which cosigns the checkpoints of logs"),
    "fsck": ("audit.fsck:fsck", "operate", "check that the store does not contradict itself"),
}


@click.group(cls=Lazy, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Working directory (or AEGIS_DIR; default: here).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on standard output, for programs.")
@click.version_option(package_name="aegis-runtime", prog_name="aegis")
@click.pass_context
def cli(ctx: click.Context, directory: Path | None, as_json: bool) -> None:
    """Aegis lets AI agents act, and proves what it decided.

    \b
    New here?   aegis demo                 the whole thing at work
                aegis init my-aegis        a working directory of your own
                aegis --dir my-aegis up    the gateway
    """  # noqa: D301 - click reads the \b
    ctx.obj = {"dir": directory or Path(os.environ.get("AEGIS_DIR", ".")), "json": as_json}


def main(args: list[str] | None = None) -> None:
    """Entry point of the command; turns every ending into its exit code."""
    try:
        code = cli.main(args=args, prog_name="aegis", standalone_mode=False)
    except click.exceptions.Exit as ending:
        code = ending.exit_code
    except click.Abort:
        code = INTERRUPTED
    except click.ClickException as error:
        error.show(sys.stderr)
        if isinstance(error, click.NoSuchOption) and error.option_name in ("--json", "--dir"):
            click.echo(f"{error.option_name} stands before the command: aegis {error.option_name} ...", err=True)
        code = USAGE
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = DONE
    except Exception as error:
        code = _failed(error)
    sys.exit(code if isinstance(code, int) else DONE)


def _failed(error: Exception) -> int:
    """Say what went wrong in one line and choose the exit code; what is not one of ours is a defect and raises."""
    from aegis import errors

    codes: dict[type[Exception], int] = {
        errors.PolicyViolation: DENIED,
        errors.ApprovalPending: WAITS,
        errors.GatewayError: UNREACHABLE,
        errors.StoreError: UNREACHABLE,
        errors.ConfigError: USAGE,
        errors.IdentityError: DENIED,
        errors.BundleError: FAILED,
    }
    if not isinstance(error, errors.AegisError):
        raise error
    problem: Any = getattr(error, "problem", None) or {}
    click.echo(f"aegis: {error}", err=True)
    if problem.get("next"):
        click.echo(f"  what to do: {problem['next']}", err=True)
    if problem.get("request_id"):
        click.echo(f"  request id: {problem['request_id']}   (aegis explain {problem['request_id']})", err=True)
    if problem.get("approval_id"):
        click.echo(f"  approval:   {problem['approval_id']}   (aegis approvals show {problem['approval_id']})", err=True)
    return next((code for kind, code in codes.items() if isinstance(error, kind)), UNREACHABLE)
