"""`python -m lockstep_gate VERB`: what an app's image runs beside the app."""

from __future__ import annotations

import importlib
import os
import sys

VERBS = {
    "ask": ("lockstep_gate.commands.ask", "does the schema serve this release? Asks once"),
    "wait": ("lockstep_gate.commands.wait", "asks until it does, or the time is up"),
    "predeploy": (
        "lockstep_gate.predeploy.command",
        "has the migrator of this commit run on Render, passes once it has",
    ),
    "contract": ("lockstep_gate.commands.contract", "writes what this release needs of the schema, as JSON"),
    "ship": ("lockstep_gate.predeploy.ship", "deploys the app on Render from CI, and follows the deploy"),
    "revisions": (
        "lockstep_gate.predeploy.revisions",
        "prints the last revisions of a directory, for an image's build",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the verb and return its exit code."""
    from lockstep_gate import __version__, exits  # noqa: PLC0415 - --help needs nothing else

    arguments = sys.argv[1:] if arguments is None else arguments
    verb = arguments[0] if arguments else ""
    if verb in VERBS:
        module = importlib.import_module(VERBS[verb][0])
        return module.main(arguments[1:])
    if verb == "--version":
        print(f"lockstep-gate {__version__}")
        return exits.DONE.code
    lines = [f"  {name:<10} {what}" for name, (_, what) in VERBS.items()]
    text = "\n".join(["usage: python -m lockstep_gate VERB [--help]", "", *lines, ""])
    if verb in ("-h", "--help"):
        print(text)
        return exits.DONE.code
    print(f"{text}\ngate: {verb!r} is no verb" if verb else text, file=sys.stderr)
    return exits.USAGE.code


def run() -> None:
    """Run the command line of this process and end it, whatever thread still waits for a database."""
    try:
        code = main()
    except SystemExit as ending:  # argparse
        code = ending.code if isinstance(ending.code, int) else 0
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    run()
