"""`python -m local`: arguments in, an exit code out."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from local import child, database, state
from local.up import Plan, up
from lockstep import errors
from lockstep.develop.sandbox import binaries, embedded, stale_server

if TYPE_CHECKING:
    from collections.abc import Sequence

MAX_PORT = 65535


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code; every expected error is one line and its cure."""
    arguments = _parser().parse_args(argv)
    for name in database.strange_variables():
        del os.environ[name]
    signals = child.Signals()
    try:
        return int(arguments.verb(arguments, signals))
    except errors.MigratorError as error:
        if signals.number:  # told to stop: what broke off is no news
            print("stopped", flush=True)
            return 128 + signals.number
        print(f"error: {error.message}", file=sys.stderr)
        if error.cure:
            print(f"       {error.cure}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local", description=sys.modules["local"].__doc__)
    parser.add_argument(
        "--directory",
        type=lambda text: Path(text).absolute(),
        default=os.environ.get("LOCAL_DIRECTORY") or state.DIRECTORY,
        help="where the data is kept (default: .local) (env: LOCAL_DIRECTORY)",
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    verb = verbs.add_parser("up", help="start the database, run the migrator, then the app")
    verb.add_argument("--port", default=os.environ.get("PORT") or "8000", help="where the app serves (env: PORT)")
    python = shlex.quote(sys.executable)
    verb.add_argument("--migrator", default=f"{python} -m migrator upgrade", help="the command that migrates")
    verb.add_argument("--app", default=f"{python} -m app", help="the command that serves")
    verb.set_defaults(verb=_up)
    verb = verbs.add_parser("reset", help="throw the local database away")
    verb.set_defaults(verb=_reset)
    verb = verbs.add_parser("run", help="run a command on the local database: run -- python -m migrator status")
    verb.add_argument("command", nargs="+", help="finds the database in MIGRATOR_DATABASE_URL and DATABASE_URL")
    verb.set_defaults(verb=_run)
    verb = verbs.add_parser("psql", help="open psql on the local database, as its owner")
    verb.add_argument("arguments", nargs="*", help="psql's own arguments, after --")
    verb.set_defaults(verb=_psql)
    return parser


def _up(arguments: argparse.Namespace, signals: child.Signals) -> int:
    if not arguments.port.isdecimal() or not 1 <= int(arguments.port) <= MAX_PORT:
        raise errors.Usage(f"PORT={arguments.port[:40]} is not a port", f"Give a number from 1 to {MAX_PORT}")
    signals.take_over()
    commands = shlex.split(arguments.migrator), shlex.split(arguments.app)
    return up(Plan(arguments.directory, int(arguments.port), *map(tuple, commands)), signals)


def _reset(arguments: argparse.Namespace, _signals: child.Signals) -> int:
    directory = arguments.directory
    if not directory.exists():
        print("nothing to throw away")
        return 0
    with embedded.held(directory / state.DATA):
        stale_server.stop(directory / state.DATA)
        state.remove(directory)
    print(f"thrown away: {directory}")
    return 0


def _run(arguments: argparse.Namespace, _signals: child.Signals) -> int:
    with database.reached(arguments.directory) as found:
        return _foreground(arguments.command, found.environment())


def _psql(arguments: argparse.Namespace, _signals: child.Signals) -> int:
    psql = binaries.find() / "psql"
    with database.reached(arguments.directory) as found:
        place = {"PGHOST": embedded.HOST, "PGPORT": str(found.port), "PGDATABASE": database.NAME}
        login = {"PGUSER": database.OWNER, "PGPASSWORD": found.passwords.migrator}
        return _foreground([str(psql), *arguments.arguments], {**found.environment(), **place, **login})


def _foreground(command: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command that has the terminal; Ctrl-C is its business."""
    # Handled, and not ignored: the new process would inherit that.
    signal.signal(signal.SIGINT, lambda *_: None)
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise errors.Usage(f"cannot run {command[0]}: {error.strerror}", "Name a command that is there") from None
    return child.exit_code(process)


if __name__ == "__main__":
    sys.exit(main())
